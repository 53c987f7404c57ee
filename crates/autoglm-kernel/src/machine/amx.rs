//! Advanced Matrix Extensions: `tdpbusd` on whole tiles.

use std::arch::asm;

use super::DotProducts;

pub(super) const DOT_PRODUCTS: DotProducts = DotProducts {
    products: SUMS * 16 * 16 * 64,
    run,
};

/// Enough to hide the latency of the instruction.
const SUMS: usize = 4;

/// A palette in which each of the eight registers has 16 lines of 64 bytes.
#[repr(C, align(64))]
struct Shapes([u8; 64]);

static SHAPES: Shapes = Shapes({
    let mut shapes = [0; 64];
    shapes[0] = 1;
    let mut register = 0;
    while register < 8 {
        shapes[16 + 2 * register] = 64;
        shapes[48 + register] = 16;
        register += 1;
    }
    shapes
});

#[repr(C, align(64))]
struct Lines([i32; 256]);

fn run(steps: usize) -> i32 {
    // Bytes of one, so that no product is zero.
    let ones = Lines([0x0101_0101; 256]);
    let mut sums = Lines([0; 256]);
    // SAFETY: `super::dot_products` has made sure that there are tile registers; each is loaded
    // from and stored to 16 lines of 64 bytes.
    unsafe {
        asm!(
            "ldtilecfg [{shapes}]",
            "tileloadd tmm4, [{ones} + {line}*1]",
            "tileloadd tmm5, [{ones} + {line}*1]",
            "tilezero tmm0",
            "tilezero tmm1",
            "tilezero tmm2",
            "tilezero tmm3",
            "2:",
            "tdpbusd tmm0, tmm4, tmm5",
            "tdpbusd tmm1, tmm4, tmm5",
            "tdpbusd tmm2, tmm4, tmm5",
            "tdpbusd tmm3, tmm4, tmm5",
            "dec {steps}",
            "jnz 2b",
            "tilestored [{sums} + {line}*1], tmm0",
            "tilerelease",
            shapes = in(reg) &raw const SHAPES,
            ones = in(reg) &raw const ones,
            sums = in(reg) &raw mut sums,
            steps = inout(reg) steps.max(1) => _,
            line = in(reg) 64_usize,
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _, out("tmm4") _,
            out("tmm5") _, options(nostack),
        );
    }
    sums.0.into_iter().fold(1, |all, sum| all | sum)
}
