//! Weights in float formats.

use std::arch::aarch64::{
    float32x4_t, vfmaq_n_f32, vmovl_u16, vreinterpretq_f32_u8, vreinterpretq_f32_u32, vshlq_n_u32,
};

use super::super::FloatColumns;
use super::registers::{Running, load, load_halves, load_sums, store_sums, widen};
use super::{TOKENS, with_tokens};
use crate::activation::FloatTile;
use crate::lanes::{Floats, Halves, Line};

#[target_feature(enable = "neon")]
pub(super) fn multiply(w: FloatColumns<'_>, x: FloatTile<'_>, sums: &mut [Floats]) {
    match w {
        FloatColumns::Single(w) => {
            let read = |line: &Line, part| vreinterpretq_f32_u8(load(line, part));
            multiply_columns(w, x, sums, read);
        }
        FloatColumns::Half(w) => {
            let read = |words: &Halves, part| widen(words, part);
            multiply_columns(w, x, sums, read);
        }
        FloatColumns::Brain(w) => {
            let read = |words: &Halves, part| {
                let wide = vmovl_u16(load_halves(words, part));
                vreinterpretq_f32_u32(vshlq_n_u32::<16>(wide))
            };
            multiply_columns(w, x, sums, read);
        }
    }
}

#[inline]
#[target_feature(enable = "neon")]
fn multiply_columns<W>(
    w: &[W],
    x: FloatTile<'_>,
    sums: &mut [Floats],
    read: impl Fn(&W, usize) -> float32x4_t,
) {
    for (first, sums) in (0..).step_by(TOKENS).zip(sums.chunks_mut(TOKENS)) {
        with_tokens!(sums.len(), multiply_tokens[W, _](w, (x, first), sums, &read));
    }
}

#[inline]
#[target_feature(enable = "neon")]
fn multiply_tokens<W, R: Fn(&W, usize) -> float32x4_t, const N: usize>(
    w: &[W],
    (x, first): (FloatTile<'_>, usize),
    sums: &mut [Floats],
    read: &R,
) {
    let mut running: Running<N> = load_sums(sums);
    for (w, x) in w.iter().zip(x.columns.chunks_exact(x.width)) {
        let x: &[f32; N] = x[first..].first_chunk().expect("a number for each token");
        let w: [float32x4_t; 4] = std::array::from_fn(|part| read(w, part));
        for (running, x) in running.iter_mut().zip(x) {
            for (sum, w) in running.iter_mut().zip(w) {
                *sum = vfmaq_n_f32(*sum, w, *x);
            }
        }
    }
    store_sums(running, sums);
}
