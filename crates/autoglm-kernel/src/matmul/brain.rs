//! Products of bfloat16 weights that round activations: with more tokens than are streamed in tiles, on
//! machines that have them.

use std::ops::Range;

use crate::activation::{Activations, FloatTile, TILE, WIDE};
use crate::lanes::{Floats, Line};
use crate::pack::coding::BLOCK;
use crate::pack::{PackedMatrix, pairs};

use super::output::Output;
use super::rows_of;

/// Pairs of columns in a block: the lines of a group's block.
pub(super) const PAIRS: usize = BLOCK / 2;

/// Kernels that multiply two groups of 16 rows with two wide tiles at once.
#[derive(Clone, Copy)]
pub(super) struct WideBrains {
    /// Does the work of a task, which may call the other.
    pub(super) session: fn(&mut dyn FnMut()),
    /// The products over all columns.
    pub(super) multiply: Multiply,
}

/// What belongs to the first and the second wide tile, or group.
pub(super) type Two<T> = [T; 2];

/// Of each wide tile, and of each group with it.
pub(super) type WideSums = Two<Two<[Floats; WIDE]>>;

/// Multiplies weights with activations.
type Multiply = fn(Two<&[Line]>, Two<&[Line]>, &mut WideSums);

/// The lines of a group.
pub(super) fn lines_of(w: &[Line], group: usize, cols: usize) -> &[Line] {
    let lines = pairs(cols);
    &w[group * lines..(group + 1) * lines]
}

/// A tile of activations as a group is multiplied with it.
#[derive(Clone, Copy)]
pub(super) struct OneTile<'a> {
    pub(super) all: &'a Activations,
    pub(super) tile: usize,
    /// Where the weights round activations.
    pub(super) rounded: Option<FloatTile<'a>>,
}

impl<'a> OneTile<'a> {
    /// Tile `tile` for these weights; `scratch` holds it where it is there in another layout.
    pub(super) fn of(
        w: &PackedMatrix,
        (all, tile): (&'a Activations, usize),
        scratch: &'a mut Vec<f32>,
    ) -> Self {
        let rounds = w.rounds_activations();
        Self {
            all,
            tile,
            rounded: rounds.then(|| all.brain_tile(tile, scratch)),
        }
    }
}

/// The products of a share of the groups. Two groups stay in the core's cache while all tokens
/// pass.
pub(super) fn multiply_share(
    kernels: WideBrains,
    w: &[Line],
    x: &Activations,
    y: &Output<'_>,
    share: Range<usize>,
) {
    let mut sums = [const { [const { [Floats::ZERO; WIDE] }; 2] }; 2];
    (kernels.session)(&mut || {
        for groups in two_of(share.clone()) {
            let w = groups.map(|group| lines_of(w, group, x.cols()));
            for tiles in two_of(0..x.wide_tiles()) {
                (kernels.multiply)(w, tiles.map(|tile| x.wide_brains(tile)), &mut sums);
                for (tile, sums) in distinct(tiles, &mut sums) {
                    for (group, sums) in distinct(groups, sums) {
                        for (half, sums) in sums.chunks_mut(TILE).enumerate() {
                            y.finish(2 * tile + half, rows_of(group, y.outputs), sums);
                        }
                    }
                }
            }
        }
    });
}

/// The numbers of a range two by two; a last one without a second is its own.
fn two_of(range: Range<usize>) -> impl Iterator<Item = Two<usize>> {
    let end = range.end;
    range.step_by(2).map(move |i| [i, (i + 1).min(end - 1)])
}

/// Both numbers with what belongs to them, or one if they are the same.
fn distinct<T>(numbers: Two<usize>, of: &mut Two<T>) -> impl Iterator<Item = (usize, &mut T)> {
    let count = if numbers[0] == numbers[1] { 1 } else { 2 };
    numbers.into_iter().zip(of).take(count)
}
