//! Writing latent rows into the paged cache.

use half::f16;

use super::check_layout;
use crate::simd::{LANES, Simd, Variant, with_simd};

/// [`super::LatentView`], to be written.
#[derive(Debug)]
pub struct LatentViewMut<'a> {
    /// `[blocks, block_tokens, L + R]`.
    pub rows: &'a mut [f16],
    /// Positions in a block.
    pub block_tokens: usize,
    /// L: a multiple of 16.
    pub latent: usize,
    /// R: a multiple of 16.
    pub rope: usize,
}

/// Stores T positions, rounded to half precision, in the given slots; slot `block · block_tokens +
/// offset` is position `offset` of `block`. Of equal slots the last counts. It runs on the calling
/// thread: a row is a KiB, and the products around it take a thousand times as long.
///
/// # Shapes
/// `latent: [T, L]`, `rope: [T, R]`, `slots: [T]`.
///
/// # Panics
/// If a slice has another length than the shapes say, a width is not a multiple of 16, or a slot
/// lies outside the cache.
pub fn store_latent(latent: &[f32], rope: &[f32], slots: &[u32], view: &mut LatentViewMut<'_>) {
    let layout = (view.block_tokens, view.latent, view.rope);
    check_layout("store_latent", view.rows.len(), layout);
    assert_eq!(
        (latent.len(), rope.len()),
        (slots.len() * view.latent, slots.len() * view.rope),
        "store_latent: elements of the latent and the rotated part for {} slots",
        slots.len()
    );
    let width = view.latent + view.rope;
    let variant = Variant::best();
    let rows = latent
        .chunks_exact(view.latent)
        .zip(rope.chunks_exact(view.rope));
    for (slot, (latent, rope)) in slots.iter().zip(rows) {
        let start = *slot as usize * width;
        let row = &mut view.rows[start..start + width];
        let (latent_out, rope_out) = row.split_at_mut(view.latent);
        with_simd!(variant, s => {
            round(s, latent, latent_out);
            round(s, rope, rope_out);
        });
    }
}

#[inline(always)]
fn round<S: Simd>(s: S, x: &[f32], out: &mut [f16]) {
    let vectors = out.as_chunks_mut::<LANES>().0.iter_mut();
    for (x, out) in x.as_chunks::<LANES>().0.iter().zip(vectors) {
        s.store_f16(s.load(x), out);
    }
}
