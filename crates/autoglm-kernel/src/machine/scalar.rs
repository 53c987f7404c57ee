//! Plain Rust: as many lanes as a register of SSE2 has.

use super::DotProducts;

pub(super) const DOT_PRODUCTS: DotProducts = DotProducts {
    products: SUMS * LANES,
    run,
};

const SUMS: usize = 8;
const LANES: usize = 4;

fn run(steps: usize) -> i32 {
    let mut sums = [[1_i32; LANES]; SUMS];
    for _ in 0..steps {
        for sum in &mut sums {
            *sum = sum.map(|sum| sum.wrapping_mul(3).wrapping_add(sum));
        }
    }
    sums.as_flattened().iter().fold(0, |all, sum| all ^ sum) | 1
}
