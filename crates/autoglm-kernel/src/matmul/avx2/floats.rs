//! Weights in float formats.

use std::arch::x86_64::{
    __m256, _mm256_add_ps, _mm256_and_si256, _mm256_castsi256_ps, _mm256_fmadd_ps,
    _mm256_set1_epi32, _mm256_set1_ps, _mm256_setzero_ps, _mm256_slli_epi32,
};

use super::super::{FloatColumns, PAIRS};
use super::TOKENS;
use super::registers::{Running, load, load_sums, prefetch, store_sums, widen};
use crate::activation::FloatTile;
use crate::lanes::{Floats, Halves, Line};
use crate::pack::coding::BLOCK;

/// How far ahead of the weight that is multiplied one is fetched: half a page.
const AHEAD_BYTES: usize = 2048;

/// What a row of a tile has.
const EACH: &str = "a number for each token";

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
        FloatColumns::Brain(w) => multiply_pairs(w, x, sums),
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
        let x: &[f32; N] = x[first..].first_chunk().expect(EACH);
        let w = [read(w, 0), read(w, 1)];
        for (running, x) in running.iter_mut().zip(x) {
            let x = _mm256_set1_ps(*x);
            running[0] = _mm256_fmadd_ps(w[0], x, running[0]);
            running[1] = _mm256_fmadd_ps(w[1], x, running[1]);
        }
    }
    store_sums(running, sums);
}

/// bfloat16 weights with activations in single precision, in one chain for each token.
#[target_feature(enable = "avx2,fma,f16c")]
fn multiply_pairs(w: &[Line], x: FloatTile<'_>, sums: &mut [Floats]) {
    for (first, sums) in (0..).step_by(TOKENS).zip(sums.chunks_mut(TOKENS)) {
        match sums.len() {
            1 => multiply_pair_tokens::<1>(w, (x, first), sums),
            2 => multiply_pair_tokens::<2>(w, (x, first), sums),
            3 => multiply_pair_tokens::<3>(w, (x, first), sums),
            _ => multiply_pair_tokens::<TOKENS>(w, (x, first), sums),
        }
    }
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn multiply_pair_tokens<const N: usize>(
    w: &[Line],
    (x, first): (FloatTile<'_>, usize),
    sums: &mut [Floats],
) {
    let mut running: Running<N> = load_sums(sums);
    let high = _mm256_set1_epi32(0xffff_0000_u32 as i32);
    for (line, pair) in w.iter().zip(x.columns.chunks_exact(2 * x.width)) {
        prefetch(std::slice::from_ref(line), AHEAD_BYTES);
        let lines = [load(line, 0), load(line, 1)];
        let even = lines.map(|line| _mm256_castsi256_ps(_mm256_slli_epi32::<16>(line)));
        let odd = lines.map(|line| _mm256_castsi256_ps(_mm256_and_si256(line, high)));
        for (w, x) in [even, odd].into_iter().zip(pair.chunks_exact(x.width)) {
            let x: &[f32; N] = x[first..].first_chunk().expect(EACH);
            for (running, x) in running.iter_mut().zip(x) {
                let x = _mm256_set1_ps(*x);
                running[0] = _mm256_fmadd_ps(w[0], x, running[0]);
                running[1] = _mm256_fmadd_ps(w[1], x, running[1]);
            }
        }
    }
    store_sums(running, sums);
}

/// bfloat16 weights and activations: of each token the chains of even and of odd columns, of both registers of rows.
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn multiply_brains(w: &[Line], x: FloatTile<'_>, sums: &mut [Floats]) {
    for (first, sums) in (0..).step_by(TOKENS / 2).zip(sums.chunks_mut(TOKENS / 2)) {
        match sums.len() {
            1 => multiply_brain_tokens::<1>(w, (x, first), sums),
            _ => multiply_brain_tokens::<{ TOKENS / 2 }>(w, (x, first), sums),
        }
    }
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn multiply_brain_tokens<const N: usize>(
    w: &[Line],
    (x, first): (FloatTile<'_>, usize),
    sums: &mut [Floats],
) {
    let mut running: Running<N> = load_sums(sums);
    let high = _mm256_set1_epi32(0xffff_0000_u32 as i32);
    let blocks = x.columns.chunks_exact(BLOCK * x.width);
    for (w, block) in w.as_chunks::<PAIRS>().0.iter().zip(blocks) {
        let zero = [_mm256_setzero_ps(); 2];
        let (mut even, mut odd) = ([zero; N], [zero; N]);
        for (line, pair) in w.iter().zip(block.chunks_exact(2 * x.width)) {
            prefetch(std::slice::from_ref(line), AHEAD_BYTES);
            let x_even: &[f32; N] = pair[first..].first_chunk().expect(EACH);
            let x_odd: &[f32; N] = pair[x.width + first..].first_chunk().expect(EACH);
            for half in 0..2 {
                let line = load(line, half);
                let w_even = _mm256_castsi256_ps(_mm256_slli_epi32::<16>(line));
                let w_odd = _mm256_castsi256_ps(_mm256_and_si256(line, high));
                for n in 0..N {
                    let (x_even, x_odd) = (_mm256_set1_ps(x_even[n]), _mm256_set1_ps(x_odd[n]));
                    even[n][half] = _mm256_fmadd_ps(w_even, x_even, even[n][half]);
                    odd[n][half] = _mm256_fmadd_ps(w_odd, x_odd, odd[n][half]);
                }
            }
        }
        for (running, (even, odd)) in running.iter_mut().zip(even.into_iter().zip(odd)) {
            for half in 0..2 {
                let block = _mm256_add_ps(even[half], odd[half]);
                running[half] = _mm256_add_ps(running[half], block);
            }
        }
    }
    store_sums(running, sums);
}
