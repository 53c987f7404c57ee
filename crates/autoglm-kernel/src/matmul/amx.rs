//! Advanced Matrix Extensions: products of 16 tokens with 16 rows over a block of 32 columns in one
//! instruction, of bytes four times what `vpdpbusd` does in the time, of bfloat16 words eight times
//! what single precision does.
//!
//! A tile register holds 16 lines of 64 bytes. The lines of a block of weights are the second
//! factor as they lie ([`Unpacked`]: a line is four columns of 16 rows), and 16 rows of a
//! [`WideTile`] are the first. Everything before and after the integers is that of AVX-512, and the
//! integers are exact, so the bits are the same. Few tokens go the way of AVX-512 altogether: there
//! the weights' bytes are the time.
//!
//! The compiler does not offer these instructions yet, so they are written out.

use std::arch::asm;
use std::arch::x86_64::{
    __m512, _mm512_cvtepi32_ps, _mm512_fmadd_ps, _mm512_load_ps, _mm512_load_si512, _mm512_mul_ps,
    _mm512_set1_ps, _mm512_store_ps,
};

use crate::activation::{WIDE, WideTile};
use crate::lanes::{Floats, LANES, Line};
use crate::pack::coding::{BLOCK, Meaning, QUADS};
use crate::pack::unpack::{PackedChunk, Unpacked};

use super::brain::{PAIRS, Two, WideBrains, WideSums};
use super::{Kernels, Wide, avx512};

pub(super) const KERNELS: Kernels = Kernels {
    wide: Some(Wide {
        session: |work| {
            let _tiles = Tiles::configure(&SHAPES);
            work();
        },
        unpack: |chunk, out| {
            // SAFETY: `Kernels::of` has made sure of the target features.
            unsafe { unpack(chunk, out) }
        },
        multiply: |w, x, sums| {
            // SAFETY: as above.
            unsafe { multiply(w, x, sums) }
        },
        brains: WideBrains {
            session: |work| {
                let _tiles = Tiles::configure(&BRAIN_SHAPES);
                work();
            },
            multiply: multiply_brains,
        },
    }),
    streamed_tiles: 2,
    ..avx512::KERNELS
};

/// Unpacks a chunk; values around zero become signed bytes.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")]
fn unpack(chunk: &PackedChunk<'_>, out: &mut Unpacked) {
    out.read(chunk, |words| avx512::widen(words));
    let (Meaning::Centred { shift } | Meaning::CentredHalves { shift }) = out.coding.meaning else {
        return;
    };
    for line in out.values[..out.blocks].as_flattened_mut() {
        for value in &mut line.0 {
            *value = value.wrapping_sub(1 << shift);
        }
    }
}

/// While it lives, the registers of this thread have shapes.
struct Tiles;

/// The operand of `ldtilecfg`.
#[repr(C, align(64))]
struct Shapes {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    /// Bytes of a line of each register.
    line_bytes: [u16; 16],
    /// Lines of each register.
    lines: [u8; 16],
}

/// The registers: `tmm0` and `tmm1` hold sums, `tmm2` 16 tokens of a block and `tmm3` its weights,
/// `tmm4` and `tmm5` tokens and weights of half a block.
static SHAPES: Shapes = {
    const SUMS: (u8, u16) = (WIDE as u8, 4 * LANES as u16);
    const OF_BLOCK: [(u8, u16); 2] = [(WIDE as u8, BLOCK as u16), (QUADS as u8, 64)];
    const OF_HALF: [(u8, u16); 2] = [(WIDE as u8, BLOCK as u16 / 2), (QUADS as u8 / 2, 64)];
    const USED: [(u8, u16); 6] = [SUMS, SUMS, OF_BLOCK[0], OF_BLOCK[1], OF_HALF[0], OF_HALF[1]];
    let (mut line_bytes, mut lines) = ([0; 16], [0; 16]);
    let mut register = 0;
    while register < USED.len() {
        (lines[register], line_bytes[register]) = USED[register];
        register += 1;
    }
    Shapes {
        palette: 1,
        start_row: 0,
        reserved: [0; 14],
        line_bytes,
        lines,
    }
};

/// The registers for bfloat16, all of 16 lines of 64 bytes: `tmm0` to `tmm3` hold sums, `tmm4` and
/// `tmm5` a block of 16 tokens each, `tmm6` and `tmm7` its weights of 16 rows each.
static BRAIN_SHAPES: Shapes = {
    let (mut line_bytes, mut lines) = ([0; 16], [0; 16]);
    let mut register = 0;
    while register < 8 {
        (lines[register], line_bytes[register]) = (WIDE as u8, 64);
        register += 1;
    }
    Shapes {
        palette: 1,
        start_row: 0,
        reserved: [0; 14],
        line_bytes,
        lines,
    }
};

impl Tiles {
    /// Gives the registers of this thread these shapes.
    fn configure(shapes: &'static Shapes) -> Self {
        // SAFETY: `Kernels::of` has made sure that there are tile registers; the operand is 64
        // bytes of a palette that they have.
        unsafe {
            asm!("ldtilecfg [{}]", in(reg) std::ptr::from_ref(shapes), options(nostack, readonly));
        }
        Self
    }
}

impl Drop for Tiles {
    /// Empties the registers, so that nobody has to save them.
    fn drop(&mut self) {
        // SAFETY: `self` was made by `configure`, so there are such registers.
        unsafe {
            asm!("tilerelease", options(nostack, nomem));
        }
    }
}

/// The integer products of 16 tokens with 16 rows: a line a token.
#[repr(C, align(64))]
struct Dots([Line; WIDE]);

impl Dots {
    const ZERO: Self = Self([Line::ZERO; WIDE]);
}

/// The variants of [`Meaning`] as constants.
const CENTRED: u8 = 0;
const HALVES: u8 = 1;
const MINIMUM: u8 = 2;

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")]
fn multiply(w: &Unpacked, x: WideTile<'_>, sums: &mut [Floats; WIDE]) {
    match w.coding.meaning {
        Meaning::Centred { .. } => multiply_blocks::<CENTRED>(w, x, sums),
        Meaning::CentredHalves { .. } => multiply_blocks::<HALVES>(w, x, sums),
        Meaning::WithMinimum => multiply_blocks::<MINIMUM>(w, x, sums),
    }
}

/// Goes on with the chains of a chunk. The products of a block are stored while those of the one
/// before are scaled and added.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")]
fn multiply_blocks<const MEANING: u8>(w: &Unpacked, x: WideTile<'_>, home: &mut [Floats; WIDE]) {
    let mut sums = home.each_ref().map(|sum| load_floats(sum));
    let mut dots = [const { [Dots::ZERO; 2] }; 2];
    let blocks = w.blocks;
    store_dots::<MEANING>(&w.values[0], x.values(0), &mut dots[0]);
    for b in 0..blocks {
        if b + 1 < blocks {
            let next = &mut dots[(b + 1) % 2];
            store_dots::<MEANING>(&w.values[b + 1], x.values(b + 1), next);
        }
        let (dots, scales) = (&dots[b % 2], x.scales(b));
        if MEANING == HALVES {
            add_dots(&mut sums, &dots[0], &w.scales.scales[2 * b], scales);
            add_dots(&mut sums, &dots[1], &w.scales.scales[2 * b + 1], scales);
        } else {
            add_dots(&mut sums, &dots[0], &w.scales.scales[b], scales);
        }
        if MEANING == MINIMUM {
            add_minima(&mut sums, &w.scales.mins[b], x.scaled_sums(b));
        }
    }
    for (home, sum) in home.iter_mut().zip(sums) {
        // SAFETY: the sixteen numbers are aligned to 64 bytes.
        unsafe { _mm512_store_ps(home.0.as_mut_ptr(), sum) }
    }
}

/// Stores the products of 16 tokens, 32 bytes apart from `x` on, with the lines of `w`, in the
/// registers given: sums, tokens, weights.
macro_rules! store_product {
    ($multiply:tt [$sums:tt, $tokens:tt, $weights:tt] $x:expr, $w:expr, $out:expr) => {
        asm!(
            concat!("tileloadd ", $tokens, ", [{x} + {row}*1]"),
            concat!("tileloadd ", $weights, ", [{w} + {line}*1]"),
            concat!("tilezero ", $sums),
            concat!($multiply, " ", $sums, ", ", $tokens, ", ", $weights),
            concat!("tilestored [{out} + {line}*1], ", $sums),
            x = in(reg) $x, w = in(reg) $w, out = in(reg) $out,
            row = in(reg) BLOCK, line = in(reg) size_of::<Line>(),
            out($sums) _, out($tokens) _, out($weights) _, options(nostack),
        )
    };
}

/// `out[0]` becomes the products of a block, or `out` those of its halves.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")]
fn store_dots<const MEANING: u8>(w: &[Line; QUADS], x: &[Line; QUADS], out: &mut [Dots; 2]) {
    let [first, second] = out.each_mut().map(|dots| dots.0.as_mut_ptr());
    match MEANING {
        CENTRED => {
            // SAFETY: `Kernels::of` has made sure that there are tile registers, and `SHAPES` says
            // what is touched: of tokens 16 lines of 32 bytes, 32 apart, of weights 8 lines of 64,
            // of sums 16 lines of 64. They are there.
            unsafe { store_product!("tdpbssd" ["tmm0", "tmm2", "tmm3"] x, w, first) }
        }
        MINIMUM => {
            // SAFETY: as above.
            unsafe { store_product!("tdpbsud" ["tmm0", "tmm2", "tmm3"] x, w, first) }
        }
        _ => {
            let (w_first, w_second) = w.split_at(QUADS / 2);
            // SAFETY: as above, but of half the bytes of each token and half the lines of weights.
            unsafe { store_product!("tdpbssd" ["tmm0", "tmm4", "tmm5"] x, w_first.as_ptr(), first) }
            let x_second = x.as_ptr().cast::<u8>().wrapping_add(BLOCK / 2);
            // SAFETY: as above; the second half of a token lies behind its first.
            unsafe {
                store_product!("tdpbssd" ["tmm1", "tmm4", "tmm5"] x_second, w_second.as_ptr(), second);
            }
        }
    }
}

/// `sums[n] ← fma(dots[n], scale·x_scales[n], sums[n])`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")]
fn add_dots(sums: &mut [__m512; WIDE], dots: &Dots, scale: &Floats, x_scales: &[f32; WIDE]) {
    let scale = load_floats(scale);
    for ((sum, dots), x_scale) in sums.iter_mut().zip(&dots.0).zip(x_scales) {
        let scale = _mm512_mul_ps(scale, _mm512_set1_ps(*x_scale));
        // SAFETY: the line is aligned to 64 bytes.
        let dots = unsafe { _mm512_load_si512(dots.0.as_ptr().cast()) };
        *sum = _mm512_fmadd_ps(_mm512_cvtepi32_ps(dots), scale, *sum);
    }
}

/// `sums[n] ← fma(min, scaled_sums[n], sums[n])`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")]
fn add_minima(sums: &mut [__m512; WIDE], min: &Floats, scaled_sums: &[f32; WIDE]) {
    let min = load_floats(min);
    for (sum, scaled) in sums.iter_mut().zip(scaled_sums) {
        *sum = _mm512_fmadd_ps(min, _mm512_set1_ps(*scaled), *sum);
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")]
fn load_floats(floats: &Floats) -> __m512 {
    // SAFETY: the sixteen numbers are aligned to 64 bytes.
    unsafe { _mm512_load_ps(floats.0.as_ptr()) }
}

/// The products of two groups of bfloat16 weights with two wide tiles, in registers over all
/// columns.
fn multiply_brains(w: Two<&[Line]>, x: Two<&[Line]>, sums: &mut WideSums) {
    let blocks = w[0].len() / PAIRS;
    assert!(blocks > 0 && w[1].len() == w[0].len());
    assert!(x.iter().all(|x| x.len() == blocks * WIDE));
    let [[first, second], [third, fourth]] = sums
        .each_mut()
        .map(|sums| sums.each_mut().map(|sums| sums.as_mut_ptr()));
    // SAFETY: `Kernels::of` has made sure that there are tile registers, and `BRAIN_SHAPES` says
    // what is touched: 16 lines of 64 bytes each time, of weights and tokens `blocks` times, which
    // are there as has been asserted, and of each of the sums once.
    unsafe {
        asm!(
            "tilezero tmm0",
            "tilezero tmm1",
            "tilezero tmm2",
            "tilezero tmm3",
            "2:",
            "tileloadd tmm4, [{x0} + {line}*1]",
            "tileloadd tmm6, [{w0} + {line}*1]",
            "tileloadd tmm7, [{w1} + {line}*1]",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tdpbf16ps tmm1, tmm4, tmm7",
            "tileloadd tmm5, [{x1} + {line}*1]",
            "tdpbf16ps tmm2, tmm5, tmm6",
            "tdpbf16ps tmm3, tmm5, tmm7",
            "add {x0}, 1024",
            "add {x1}, 1024",
            "add {w0}, 1024",
            "add {w1}, 1024",
            "dec {blocks}",
            "jnz 2b",
            "tilestored [{first} + {line}*1], tmm0",
            "tilestored [{second} + {line}*1], tmm1",
            "tilestored [{third} + {line}*1], tmm2",
            "tilestored [{fourth} + {line}*1], tmm3",
            x0 = inout(reg) x[0].as_ptr() => _, x1 = inout(reg) x[1].as_ptr() => _,
            w0 = inout(reg) w[0].as_ptr() => _, w1 = inout(reg) w[1].as_ptr() => _,
            blocks = inout(reg) blocks => _, line = in(reg) size_of::<Line>(),
            first = in(reg) first, second = in(reg) second,
            third = in(reg) third, fourth = in(reg) fourth,
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
            out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
            options(nostack),
        );
    }
}

const _: () = assert!(size_of::<Shapes>() == 64);
// A block of a wide tile and one of a group are 16 lines each: 1024 bytes.
const _: () = assert!(WIDE == PAIRS && PAIRS * size_of::<Line>() == 1024);
// 16 rows of 32 bytes are as many lines as a block has quads.
const _: () = assert!(WIDE * BLOCK == QUADS * size_of::<Line>());
