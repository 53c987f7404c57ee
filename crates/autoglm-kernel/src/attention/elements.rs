//! How keys and values are stored: in single or half precision, or as small integers with a scale
//! for each position and head.

use half::f16;

use super::KvView;
use crate::simd::Simd;

use crate::simd::LANES;

/// The keys, or the values, of a paged cache.
#[derive(Clone, Copy, Debug)]
pub enum KvElements<'a> {
    /// Single precision.
    F32(&'a [f32]),
    /// Half precision.
    F16(&'a [f16]),
    /// An integer times the scale of its position and head.
    Q8 {
        /// From -127 to 127.
        quants: &'a [i8],
        /// `[blocks, G, block_tokens]`.
        scales: &'a [f32],
    },
}

/// [`KvElements`], to be written.
#[derive(Debug)]
pub enum KvElementsMut<'a> {
    /// Single precision.
    F32(&'a mut [f32]),
    /// Half precision.
    F16(&'a mut [f16]),
    /// An integer times the scale of its position and head.
    Q8 {
        /// From -127 to 127.
        quants: &'a mut [i8],
        /// `[blocks, G, block_tokens]`.
        scales: &'a mut [f32],
    },
}

impl KvElements<'_> {
    /// How many elements, and how many scales where there are some.
    pub(super) fn len(&self) -> (usize, Option<usize>) {
        match self {
            Self::F32(elements) => (elements.len(), None),
            Self::F16(elements) => (elements.len(), None),
            Self::Q8 { quants, scales } => (quants.len(), Some(scales.len())),
        }
    }
}

impl KvElementsMut<'_> {
    /// The same, to be read.
    pub fn as_ref(&self) -> KvElements<'_> {
        match self {
            Self::F32(elements) => KvElements::F32(elements),
            Self::F16(elements) => KvElements::F16(elements),
            Self::Q8 { quants, scales } => KvElements::Q8 { quants, scales },
        }
    }
}

/// A type that keys and values are stored as.
pub(super) trait Element: Copy + Send + Sync {
    /// Whether a scale belongs to each position and head.
    const SCALED: bool;

    fn load<S: Simd>(s: S, x: &[Self; LANES]) -> S::V;
}

impl Element for f32 {
    const SCALED: bool = false;

    #[inline(always)]
    fn load<S: Simd>(s: S, x: &[Self; LANES]) -> S::V {
        s.load(x)
    }
}

impl Element for f16 {
    const SCALED: bool = false;

    #[inline(always)]
    fn load<S: Simd>(s: S, x: &[Self; LANES]) -> S::V {
        s.load_f16(x)
    }
}

impl Element for i8 {
    const SCALED: bool = true;

    #[inline(always)]
    fn load<S: Simd>(s: S, x: &[Self; LANES]) -> S::V {
        s.load_i8(x)
    }
}

/// Elements of one type with their scales, of which there are none where the type has none.
#[derive(Clone, Copy)]
pub(super) struct Stored<'a, E> {
    pub(super) elements: &'a [E],
    pub(super) scales: &'a [f32],
}

impl<'a, E> Stored<'a, E> {
    /// Elements without scales.
    pub(super) fn plain(elements: &'a [E]) -> Self {
        Self {
            elements,
            scales: &[],
        }
    }
}

/// [`KvView`] with the elements' type known.
#[derive(Clone, Copy)]
pub(super) struct Paged<'a, E> {
    pub(super) keys: Stored<'a, E>,
    pub(super) values: Stored<'a, E>,
    pub(super) block_tokens: usize,
    pub(super) heads: usize,
    pub(super) width: usize,
}

impl<'a, E> Paged<'a, E> {
    pub(super) fn new(kv: &KvView<'a>, [keys, values]: [Stored<'a, E>; 2]) -> Self {
        Self {
            keys,
            values,
            block_tokens: kv.block_tokens,
            heads: kv.heads,
            width: kv.width,
        }
    }
}

/// Evaluates an expression with `$paged` bound to the [`Paged`] view of a [`KvView`].
macro_rules! with_paged {
    ($kv:expr, $paged:ident => $body:expr) => {{
        use $crate::attention::elements::{KvElements, Paged, Stored};
        let kv: &KvView<'_> = $kv;
        match (kv.keys, kv.values) {
            (KvElements::F32(keys), KvElements::F32(values)) => {
                let $paged = Paged::new(kv, [keys, values].map(Stored::plain));
                $body
            }
            (KvElements::F16(keys), KvElements::F16(values)) => {
                let $paged = Paged::new(kv, [keys, values].map(Stored::plain));
                $body
            }
            (
                KvElements::Q8 { quants, scales },
                KvElements::Q8 {
                    quants: value_quants,
                    scales: value_scales,
                },
            ) => {
                let keys = Stored {
                    elements: quants,
                    scales,
                };
                let values = Stored {
                    elements: value_quants,
                    scales: value_scales,
                };
                let $paged = Paged::new(kv, [keys, values]);
                $body
            }
            _ => panic!("attention: keys and values are stored as different types"),
        }
    }};
}
pub(super) use with_paged;
