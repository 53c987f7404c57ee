//! Weights in float formats.

use std::arch::x86_64::{
    __m256, _mm256_castsi256_ps, _mm256_cvtepu16_epi32, _mm256_fmadd_ps, _mm256_set1_ps,
    _mm256_slli_epi32,
};

use super::super::FloatColumns;
use super::TOKENS;
use super::registers::{Running, load, load_halves, load_sums, prefetch, store_sums, widen};
use crate::activation::FloatTile;
use crate::lanes::{Floats, Halves, Line};

/// How far ahead of the weight that is multiplied one is fetched: half a page.
const AHEAD_BYTES: usize = 2048;

#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn multiply(w: FloatColumns<'_>, x: FloatTile<'_>, sums: &mut [Floats]) {
    match w {
        FloatColumns::Single(w) => {
            let read = |line: &Line, half| _mm256_castsi256_ps(load(line, half));
            multiply_columns(w, x, sums, read);
        }
        FloatColumns::Half(w) => {
            let read = |words: &Halves, half| widen(words, half);
            multiply_columns(w, x, sums, read);
        }
        FloatColumns::Brain(w) => {
            let read = |words: &Halves, half| {
                let wide = _mm256_cvtepu16_epi32(load_halves(words, half));
                _mm256_castsi256_ps(_mm256_slli_epi32::<16>(wide))
            };
            multiply_columns(w, x, sums, read);
        }
    }
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn multiply_columns<W>(
    w: &[W],
    x: FloatTile<'_>,
    sums: &mut [Floats],
    read: impl Fn(&W, usize) -> __m256,
) {
    for (first, sums) in (0..).step_by(TOKENS).zip(sums.chunks_mut(TOKENS)) {
        match sums.len() {
            1 => multiply_tokens::<W, 1>(w, (x, first), sums, &read),
            2 => multiply_tokens::<W, 2>(w, (x, first), sums, &read),
            3 => multiply_tokens::<W, 3>(w, (x, first), sums, &read),
            _ => multiply_tokens::<W, TOKENS>(w, (x, first), sums, &read),
        }
    }
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn multiply_tokens<W, const N: usize>(
    w: &[W],
    (x, first): (FloatTile<'_>, usize),
    sums: &mut [Floats],
    read: &impl Fn(&W, usize) -> __m256,
) {
    let mut running: Running<N> = load_sums(sums);
    for (w, x) in w.iter().zip(x.columns.chunks_exact(x.width)) {
        prefetch(std::slice::from_ref(w), AHEAD_BYTES);
        let x: &[f32; N] = x[first..].first_chunk().expect("a number for each token");
        let w = [read(w, 0), read(w, 1)];
        for (running, x) in running.iter_mut().zip(x) {
            let x = _mm256_set1_ps(*x);
            running[0] = _mm256_fmadd_ps(w[0], x, running[0]);
            running[1] = _mm256_fmadd_ps(w[1], x, running[1]);
        }
    }
    store_sums(running, sums);
}
