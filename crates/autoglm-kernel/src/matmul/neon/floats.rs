//! Weights in float formats.

use std::arch::aarch64::{
    float32x4_t, vaddq_f32, vandq_u32, vdupq_n_f32, vdupq_n_u32, vfmaq_n_f32, vreinterpretq_f32_u8,
    vreinterpretq_f32_u32, vreinterpretq_u32_u8, vshlq_n_u32,
};

use super::super::{FloatColumns, PAIRS};
use super::registers::{Running, load, load_sums, store_sums, widen};
use super::{TOKENS, with_tokens};
use crate::activation::FloatTile;
use crate::lanes::{Floats, Halves, Line};
use crate::pack::coding::BLOCK;

/// What a row of a tile has.
const EACH: &str = "a number for each token";

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
            for (first, sums) in (0..).step_by(TOKENS).zip(sums.chunks_mut(TOKENS)) {
                with_tokens!(sums.len(), multiply_pairs[](w, (x, first), sums));
            }
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
        let x: &[f32; N] = x[first..].first_chunk().expect(EACH);
        let w: [float32x4_t; 4] = std::array::from_fn(|part| read(w, part));
        for (running, x) in running.iter_mut().zip(x) {
            for (sum, w) in running.iter_mut().zip(w) {
                *sum = vfmaq_n_f32(*sum, w, *x);
            }
        }
    }
    store_sums(running, sums);
}

/// bfloat16 weights with activations in single precision, in one chain for each token.
#[inline]
#[target_feature(enable = "neon")]
fn multiply_pairs<const N: usize>(
    w: &[Line],
    (x, first): (FloatTile<'_>, usize),
    sums: &mut [Floats],
) {
    let mut running: Running<N> = load_sums(sums);
    let high = vdupq_n_u32(0xffff_0000);
    for (line, pair) in w.iter().zip(x.columns.chunks_exact(2 * x.width)) {
        let words: [_; 4] = std::array::from_fn(|part| vreinterpretq_u32_u8(load(line, part)));
        let even = words.map(|words| vreinterpretq_f32_u32(vshlq_n_u32::<16>(words)));
        let odd = words.map(|words| vreinterpretq_f32_u32(vandq_u32(words, high)));
        for (w, x) in [even, odd].into_iter().zip(pair.chunks_exact(x.width)) {
            let x: &[f32; N] = x[first..].first_chunk().expect(EACH);
            for (running, x) in running.iter_mut().zip(x) {
                for (sum, w) in running.iter_mut().zip(w) {
                    *sum = vfmaq_n_f32(*sum, w, *x);
                }
            }
        }
    }
    store_sums(running, sums);
}

/// bfloat16 weights and activations: of each token the chains of even and of odd columns.
#[target_feature(enable = "neon")]
pub(super) fn multiply_brains(w: &[Line], x: FloatTile<'_>, sums: &mut [Floats]) {
    for (first, sums) in (0..).step_by(TOKENS / 2).zip(sums.chunks_mut(TOKENS / 2)) {
        match sums.len() {
            1 => multiply_brain_tokens::<1>(w, (x, first), sums),
            _ => multiply_brain_tokens::<{ TOKENS / 2 }>(w, (x, first), sums),
        }
    }
}

#[inline]
#[target_feature(enable = "neon")]
fn multiply_brain_tokens<const N: usize>(
    w: &[Line],
    (x, first): (FloatTile<'_>, usize),
    sums: &mut [Floats],
) {
    let mut running: Running<N> = load_sums(sums);
    let high = vdupq_n_u32(0xffff_0000);
    let blocks = x.columns.chunks_exact(BLOCK * x.width);
    for (w, block) in w.as_chunks::<PAIRS>().0.iter().zip(blocks) {
        let zero = [vdupq_n_f32(0.0); 4];
        let (mut even, mut odd) = ([zero; N], [zero; N]);
        for (line, pair) in w.iter().zip(block.chunks_exact(2 * x.width)) {
            let x_even: &[f32; N] = pair[first..].first_chunk().expect(EACH);
            let x_odd: &[f32; N] = pair[x.width + first..].first_chunk().expect(EACH);
            for part in 0..4 {
                let words = vreinterpretq_u32_u8(load(line, part));
                let w_even = vreinterpretq_f32_u32(vshlq_n_u32::<16>(words));
                let w_odd = vreinterpretq_f32_u32(vandq_u32(words, high));
                for n in 0..N {
                    even[n][part] = vfmaq_n_f32(even[n][part], w_even, x_even[n]);
                    odd[n][part] = vfmaq_n_f32(odd[n][part], w_odd, x_odd[n]);
                }
            }
        }
        for (running, (even, odd)) in running.iter_mut().zip(even.into_iter().zip(odd)) {
            for part in 0..4 {
                running[part] = vaddq_f32(running[part], vaddq_f32(even[part], odd[part]));
            }
        }
    }
    store_sums(running, sums);
}
