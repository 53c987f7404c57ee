//! Cosines and sines by position, computed when a position is first used.

use std::sync::OnceLock;

/// Positions whose angles are computed together: 256 KiB for 128 pairs.
const POSITIONS_PER_PAGE: usize = 256;

/// Which dimensions form a pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RopeStyle {
    /// Dimensions 2i and 2i+1.
    Interleaved,
    /// Dimensions i and i + rotated/2.
    HalfSplit,
}

/// What determines the angles of a rotary embedding.
#[derive(Clone, Debug, PartialEq)]
pub struct RopeParams {
    /// Which dimensions form a pair.
    pub style: RopeStyle,
    /// The head width D.
    pub width: usize,
    /// How many leading dimensions of a head are rotated: even, at most `width`.
    pub rotated: usize,
    /// The base of the geometric row of frequencies, often 10,000.
    pub base: f64,
    /// What positions are multiplied by: 1, or `1/f` for a context stretched linearly by `f`.
    pub position_scale: f64,
    /// A divisor for the frequency of each pair, `rotated / 2` of them (Llama 3 stretches its
    /// context with them).
    pub frequency_factors: Option<Vec<f32>>,
}

/// The rotations of all positions below a limit, made as they are needed.
#[derive(Debug)]
pub struct RopeTable {
    style: RopeStyle,
    width: usize,
    rotated: usize,
    max_positions: usize,
    /// The angle of each pair at position 1.
    frequencies: Vec<f64>,
    pages: Vec<OnceLock<Page>>,
}

/// `[POSITIONS_PER_PAGE, columns]`, see [`RopeTable::columns`].
#[derive(Debug)]
struct Page {
    cos: Vec<f32>,
    sin: Vec<f32>,
}

/// The rotation of one position: a value per pair, or, for interleaved pairs, a value per
/// dimension with the sine of even dimensions negated.
#[derive(Clone, Copy)]
pub(super) struct Rotation<'a> {
    pub(super) cos: &'a [f32],
    pub(super) sin: &'a [f32],
}

impl RopeTable {
    /// A table for positions `0..max_positions`; nothing is computed yet.
    ///
    /// # Panics
    /// If `rotated` is odd or above `width`, or the frequency factors are not one per pair.
    pub fn new(params: &RopeParams, max_positions: usize) -> Self {
        let RopeParams {
            style,
            width,
            rotated,
            base,
            position_scale,
            ..
        } = *params;
        assert!(
            rotated.is_multiple_of(2) && rotated <= width,
            "rope: {rotated} rotated dimensions in a head of {width}"
        );
        let pairs = rotated / 2;
        let factors = params.frequency_factors.as_deref();
        assert!(
            factors.is_none_or(|factors| factors.len() == pairs),
            "rope: {} frequency factors for {pairs} pairs",
            factors.map_or(0, <[f32]>::len)
        );
        let frequency = |pair: usize| {
            let factor = factors.map_or(1.0, |factors| f64::from(factors[pair]));
            position_scale / factor * base.powf(-2.0 * pair as f64 / rotated as f64)
        };
        Self {
            style,
            width,
            rotated,
            max_positions,
            frequencies: (0..pairs).map(frequency).collect(),
            pages: (0..max_positions.div_ceil(POSITIONS_PER_PAGE))
                .map(|_| OnceLock::new())
                .collect(),
        }
    }

    /// The head width D.
    pub fn width(&self) -> usize {
        self.width
    }

    /// How many leading dimensions of a head are rotated.
    pub fn rotated(&self) -> usize {
        self.rotated
    }

    /// Which dimensions form a pair.
    pub fn style(&self) -> RopeStyle {
        self.style
    }

    /// The first position that is not in the table.
    pub fn max_positions(&self) -> usize {
        self.max_positions
    }

    /// Computes what is missing for these positions.
    pub(super) fn prepare(&self, positions: &[u32]) {
        for position in positions {
            self.page(*position as usize);
        }
    }

    pub(super) fn rotation(&self, position: u32) -> Rotation<'_> {
        let position = position as usize;
        let page = self.page(position);
        let columns = self.columns();
        let start = position % POSITIONS_PER_PAGE * columns;
        Rotation {
            cos: &page.cos[start..][..columns],
            sin: &page.sin[start..][..columns],
        }
    }

    fn page(&self, position: usize) -> &Page {
        assert!(
            position < self.max_positions,
            "rope: position {position} in a table of {} positions",
            self.max_positions
        );
        let page = position / POSITIONS_PER_PAGE;
        self.pages[page].get_or_init(|| self.make_page(page * POSITIONS_PER_PAGE))
    }

    fn make_page(&self, first_position: usize) -> Page {
        let len = POSITIONS_PER_PAGE * self.columns();
        let mut page = Page {
            cos: Vec::with_capacity(len),
            sin: Vec::with_capacity(len),
        };
        for position in first_position..first_position + POSITIONS_PER_PAGE {
            for frequency in &self.frequencies {
                let (sin, cos) = (position as f64 * frequency).sin_cos();
                let (sin, cos) = (sin as f32, cos as f32);
                match self.style {
                    RopeStyle::Interleaved => {
                        page.cos.extend([cos, cos]);
                        page.sin.extend([-sin, sin]);
                    }
                    RopeStyle::HalfSplit => {
                        page.cos.push(cos);
                        page.sin.push(sin);
                    }
                }
            }
        }
        page
    }

    /// Values per position in a page.
    fn columns(&self) -> usize {
        match self.style {
            RopeStyle::Interleaved => self.rotated,
            RopeStyle::HalfSplit => self.rotated / 2,
        }
    }
}
