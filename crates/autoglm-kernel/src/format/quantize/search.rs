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
        let mut best = Affine { scale: 0.0, min };
        if span <= 0.0 {
            return best;
        }
        let mut best_error = f32::INFINITY;
        for start in 0..STARTS {
            let steps = top + FIRST_START + START_STEP * start as f32;
            let mut fit = Affine {
                scale: span / steps,
                min,
            };
            for _ in 0..2 {
                let q = self.affine_integers(fit, top);
                fit = self.affine_for(&q, fit);
                let error = self.error(&q, fit);
                if error < best_error {
                    (best, best_error) = (fit, error);
                }
            }
        }
        best
    }

    /// The least-squares scale and minimum for given integers; `otherwise` where they do not
    /// determine one.
    #[inline(always)]
    fn affine_for(&self, q: &[f32; N], otherwise: Affine) -> Affine {
        let (x, w) = (self.x, &self.w);
        let (sum_w, sum_x) = (sum::<N>(|i| w[i]), sum::<N>(|i| w[i] * x[i]));
        let (sum_q, sum_qq) = (sum::<N>(|i| w[i] * q[i]), sum::<N>(|i| w[i] * q[i] * q[i]));
        let sum_qx = sum::<N>(|i| w[i] * q[i] * x[i]);
        let determinant = sum_w * sum_qq - sum_q * sum_q;
        if determinant <= 0.0 {
            return otherwise;
        }
        let min = (sum_q * sum_qx - sum_qq * sum_x) / determinant;
        let fit = if min < 0.0 {
            Affine {
                scale: sum_qx / sum_qq,
                min: 0.0,
            }
        } else {
            Affine {
                scale: (sum_w * sum_qx - sum_q * sum_x) / determinant,
                min,
            }
        };
        if fit.scale > 0.0 { fit } else { otherwise }
    }

    /// A scale for integers from `-bottom` to `bottom - 1`.
    #[inline(always)]
    pub(super) fn fit_signed(&self, bottom: f32) -> f32 {
        let peak = super::lanes::peak(self.x);
        let (mut best, mut best_error) = (0.0, f32::INFINITY);
        if peak == 0.0 {
            return best;
        }
        for start in 0..STARTS {
            let steps = bottom + FIRST_START + START_STEP * start as f32;
            // The peak may stand at either end; it reaches one step further at the lower.
            for scale in [-peak / steps, peak / steps] {
                let q = self.signed_integers(scale, bottom);
                let scale = self.signed_for(&q, scale);
                let error = self.error(&q, Affine { scale, min: 0.0 });
                if error < best_error {
                    (best, best_error) = (scale, error);
                }
            }
        }
        best
    }

    #[inline(always)]
    fn signed_for(&self, q: &[f32; N], otherwise: f32) -> f32 {
        let sum_qq = sum::<N>(|i| self.w[i] * q[i] * q[i]);
        if sum_qq <= 0.0 {
            return otherwise;
        }
        sum::<N>(|i| self.w[i] * q[i] * self.x[i]) / sum_qq
    }
}

/// `x` within bounds; unlike `f32::clamp` it does not check them.
#[inline(always)]
fn clamped(x: f32, low: f32, high: f32) -> f32 {
    let x = if x < low { low } else { x };
    if x > high { high } else { x }
}
