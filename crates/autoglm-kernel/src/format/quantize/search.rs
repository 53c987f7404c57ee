//! The best real scale (and minimum) of a few weights, by weighted least squares.
//!
//! For given integers the best scale solves a linear equation, for a given scale the best integers
//! are the nearest. Neither finds the optimum alone, as rounding makes many local ones; so the
//! search starts from a grid of scales and takes the best that it meets.

use super::lanes::{nearest, reciprocal, sum};

/// Starting scales: the one that spans the weights exactly with this much more or less of a step.
/// Smaller steps than the span's clip the ends, which is often worth it.
const STARTS: i32 = 20;
/// From `top - 1.2` to `top + 0.8` steps over the span, a tenth each.
const FIRST_START: f32 = -1.2;
const START_STEP: f32 = 0.1;
/// Further fits from the best one, each with the integers that are nearest with the last.
const POLISH: usize = 3;
/// Integers determine a minimum when their variance is more than this part of their mean square:
/// five times what rounding makes of none, a third of what 31 thirty-ones and a thirty have.
const SPREAD: f32 = 1e-5;

/// Weights with what an error in each of them counts.
pub(super) struct Weighted<'a, const N: usize> {
    pub(super) x: &'a [f32; N],
    pub(super) w: [f32; N],
}

/// A scale and a minimum: `x ≈ scale·q - min`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Affine {
    pub(super) scale: f32,
    /// Not negative.
    pub(super) min: f32,
}

/// What the fits of one set of weights have in common.
struct Sums {
    w: f32,
    wx: f32,
    /// The least minimum that is allowed.
    floor: f32,
}

impl<'a, const N: usize> Weighted<'a, N> {
    /// Weighs an error by the weight's magnitude plus the root mean square of all: large weights
    /// meet large activations more often than their share, and none counts for nothing.
    #[inline(always)]
    pub(super) fn by_magnitude(x: &'a [f32; N]) -> Self {
        let rms = (sum::<N>(|i| x[i] * x[i]) / N as f32).sqrt();
        Self {
            x,
            w: x.map(|x| rms + x.abs()),
        }
    }

    /// The nearest integers for `scale·q - min`, from 0 to `top`.
    #[inline(always)]
    pub(super) fn affine_integers(&self, fit: Affine, top: f32) -> [f32; N] {
        let inverse = reciprocal(fit.scale);
        self.x
            .map(|x| clamped(nearest((x + fit.min) * inverse), 0.0, top))
    }

    /// The nearest integers for `scale·q`, from `-bottom` to `bottom - 1`.
    #[inline(always)]
    pub(super) fn signed_integers(&self, scale: f32, bottom: f32) -> [f32; N] {
        let inverse = reciprocal(scale);
        self.x
            .map(|x| clamped(nearest(x * inverse), -bottom, bottom - 1.0))
    }

    /// The weighted squared error of `scale·q - min`.
    #[inline(always)]
    pub(super) fn error(&self, q: &[f32; N], fit: Affine) -> f32 {
        sum::<N>(|i| {
            let off = fit.scale * q[i] - fit.min - self.x[i];
            self.w[i] * off * off
        })
    }

    /// A scale and a minimum for integers from 0 to `top`.
    #[inline(always)]
    pub(super) fn fit_affine(&self, top: f32) -> Affine {
        let (low, high) = super::lanes::extremes(self.x);
        let min = -low.min(0.0);
        let span = high + min;
        if span <= 0.0 {
            return Affine { scale: 0.0, min };
        }
        // From the minimum on the numbers are small where their spread is, and rounding is small
        // beside the differences that decide.
        let shifted = self.x.map(|x| x + min);
        let above = Weighted {
            x: &shifted,
            w: self.w,
        };
        let best = above.fit_above(span, -min, top);
        Affine {
            scale: best.scale,
            min: min + best.min,
        }
    }

    /// [`Weighted::fit_affine`] for weights from 0 to `span`, with a minimum of `floor` at least,
    /// which is 0 or less.
    #[inline(always)]
    fn fit_above(&self, span: f32, floor: f32, top: f32) -> Affine {
        let sums = Sums {
            w: sum::<N>(|i| self.w[i]),
            wx: sum::<N>(|i| self.w[i] * self.x[i]),
            floor,
        };
        let start_at = |steps: f32| Affine {
            scale: span / steps,
            min: 0.0,
        };
        let (mut best, mut most) = (start_at(top), f32::NEG_INFINITY);
        for start in 0..STARTS {
            let fit = start_at(top + FIRST_START + START_STEP * start as f32);
            let (fit, explained) = self.refit(&sums, fit, top);
            if explained > most {
                (best, most) = (fit, explained);
            }
        }
        for _ in 0..POLISH {
            let (fit, explained) = self.refit(&sums, best, top);
            if explained <= most {
                break;
            }
            (best, most) = (fit, explained);
        }
        best
    }

    /// The least-squares scale and minimum for the integers that are nearest with a given one, and
    /// how much of the weighted squares they explain: the error is what is left of them. It is the
    /// same fit, explaining nothing, where the integers determine none that is allowed.
    #[inline(always)]
    fn refit(&self, sums: &Sums, fit: Affine, top: f32) -> (Affine, f32) {
        let q = self.affine_integers(fit, top);
        let wq: [f32; N] = std::array::from_fn(|i| self.w[i] * q[i]);
        let sum_q = sum::<N>(|i| wq[i]);
        let sum_qq = sum::<N>(|i| wq[i] * q[i]);
        let sum_qx = sum::<N>(|i| wq[i] * self.x[i]);
        let determinant = sums.w * sum_qq - sum_q * sum_q;
        let min = (sum_q * sum_qx - sum_qq * sums.wx) / determinant;
        let found = if determinant > SPREAD * sums.w * sum_qq && min >= sums.floor {
            let scale = (sums.w * sum_qx - sum_q * sums.wx) / determinant;
            Affine { scale, min }
        } else if sums.floor == 0.0 {
            // All weights are positive: without a minimum, and where the integers are all the same.
            let scale = sum_qx / sum_qq;
            Affine { scale, min: 0.0 }
        } else {
            return (fit, f32::NEG_INFINITY);
        };
        if found.scale > 0.0 {
            (found, found.scale * sum_qx - found.min * sums.wx)
        } else {
            (fit, f32::NEG_INFINITY)
        }
    }

    /// A scale for integers from `-bottom` to `bottom - 1`.
    #[inline(always)]
    pub(super) fn fit_signed(&self, bottom: f32) -> f32 {
        let peak = super::lanes::peak(self.x);
        let (mut best, mut most) = (0.0, f32::NEG_INFINITY);
        if peak == 0.0 {
            return best;
        }
        for start in (0..STARTS).step_by(2) {
            let steps = bottom + FIRST_START + START_STEP * start as f32;
            // The peak may stand at either end; it reaches one step further at the lower.
            for scale in [-peak / steps, peak / steps] {
                let (scale, explained) = self.refit_signed(scale, bottom);
                if explained > most {
                    (best, most) = (scale, explained);
                }
            }
        }
        for _ in 0..POLISH {
            let (scale, explained) = self.refit_signed(best, bottom);
            if explained <= most {
                break;
            }
            (best, most) = (scale, explained);
        }
        best
    }

    /// As [`Weighted::refit`], without a minimum.
    #[inline(always)]
    fn refit_signed(&self, scale: f32, bottom: f32) -> (f32, f32) {
        let q = self.signed_integers(scale, bottom);
        let wq: [f32; N] = std::array::from_fn(|i| self.w[i] * q[i]);
        let sum_qq = sum::<N>(|i| wq[i] * q[i]);
        let sum_qx = sum::<N>(|i| wq[i] * self.x[i]);
        if sum_qq <= 0.0 {
            return (scale, f32::NEG_INFINITY);
        }
        (sum_qx / sum_qq, sum_qx * sum_qx / sum_qq)
    }
}

/// `x` within bounds; unlike `f32::clamp` it does not check them.
#[inline(always)]
fn clamped(x: f32, low: f32, high: f32) -> f32 {
    let x = if x < low { low } else { x };
    if x > high { high } else { x }
}
