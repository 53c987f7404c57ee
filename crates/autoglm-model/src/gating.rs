//! How much of its past a decoding sequence attends to, layer by layer: the first positions, a
//! recent window that widens and narrows with what attention is found to rest on, and the tiles
//! between them that may matter most. `docs/attention.md` has the formula and its sources.

use autoglm_kernel::{Gate, GateMeasure};

/// What bounds a gated sequence's attention. Positions are rounded up to whole tiles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GatingLimits {
    /// First positions that are always attended to.
    pub sink_tokens: usize,
    /// The narrowest recent window.
    pub least_recent_tokens: usize,
    /// The widest recent window.
    pub most_recent_tokens: usize,
    /// Positions between the first and the recent ones, chosen anew at every step.
    pub selected_tokens: usize,
}

/// What one step counts in the running means: about the last eight steps.
const RATE: f32 = 1.0 / 8.0;
/// The window doubles when its older half holds more of the weights.
const WIDEN_ABOVE: f32 = 0.12;
/// The window loses a tile when its older half holds less of the weights.
const NARROW_BELOW: f32 = 0.06;
/// The window does not narrow, and doubles, while weights are spread over tiles as evenly as this
/// share of the greatest entropy says.
const EVEN_ABOVE: f32 = 0.85;

/// The gate of one layer.
#[derive(Debug, Clone, Copy)]
struct LayerGate {
    recent: usize,
    edge: f32,
    entropy: f32,
}

/// The gates of a sequence from one position on.
#[derive(Debug, Clone)]
pub struct Gating {
    from: usize,
    sinks: usize,
    least_recent: usize,
    most_recent: usize,
    selected: usize,
    layers: Vec<LayerGate>,
}

impl Gating {
    /// Gates for positions from `from` on, of a model with this many layers; before it, and in
    /// passes of several tokens, a sequence attends to all of its past.
    pub fn new(limits: GatingLimits, layers: usize, from: usize) -> Self {
        let tiles = |tokens: usize| tokens.div_ceil(Gate::TILE);
        let least_recent = tiles(limits.least_recent_tokens).max(1);
        let gate = LayerGate {
            recent: least_recent,
            edge: f32::midpoint(WIDEN_ABOVE, NARROW_BELOW),
            entropy: 0.0,
        };
        Self {
            from,
            sinks: tiles(limits.sink_tokens),
            least_recent,
            most_recent: tiles(limits.most_recent_tokens).max(least_recent),
            selected: tiles(limits.selected_tokens),
            layers: vec![gate; layers],
        }
    }

    /// Whether the token at a position is gated.
    pub(crate) fn covers(&self, position: usize) -> bool {
        position >= self.from
    }

    /// The gate of a layer's next step.
    pub(crate) fn gate(&self, layer: usize) -> Gate {
        Gate {
            sinks: self.sinks,
            recent: self.layers[layer].recent,
            selected: self.selected,
        }
    }

    /// Takes in what the step found.
    pub(crate) fn observe(&mut self, layer: usize, measure: &GateMeasure) {
        let gate = &mut self.layers[layer];
        gate.edge += RATE * (measure.edge - gate.edge);
        gate.entropy += RATE * (measure.entropy - gate.entropy);
        if gate.edge > WIDEN_ABOVE || gate.entropy > EVEN_ABOVE {
            gate.recent = (2 * gate.recent).min(self.most_recent);
        } else if gate.edge < NARROW_BELOW {
            gate.recent = (gate.recent - 1).max(self.least_recent);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: GatingLimits = GatingLimits {
        sink_tokens: 64,
        least_recent_tokens: 256,
        most_recent_tokens: 2_000,
        selected_tokens: 1_000,
    };

    fn after(edge: f32, entropy: f32, steps: usize) -> Gate {
        let mut gating = Gating::new(LIMITS, 2, 0);
        let measure = GateMeasure {
            selected: 0.3,
            edge,
            entropy,
        };
        (0..steps).for_each(|_| gating.observe(1, &measure));
        assert_eq!(gating.gate(0).recent, 4, "layers are independent");
        gating.gate(1)
    }

    #[test]
    fn a_gate_begins_with_the_narrowest_window() {
        let gate = after(0.0, 0.0, 0);
        assert_eq!((gate.sinks, gate.recent, gate.selected), (1, 4, 16));
    }

    #[test]
    fn weight_in_the_older_half_of_the_window_widens_it_to_its_limit() {
        assert!(after(0.4, 0.2, 3).recent > 4);
        assert_eq!(after(0.4, 0.2, 50).recent, 32);
    }

    #[test]
    fn weights_that_are_spread_evenly_widen_the_window() {
        assert_eq!(after(0.01, 0.99, 50).recent, 32);
    }

    #[test]
    fn a_window_whose_older_half_is_not_looked_at_narrows_again() {
        let mut gating = Gating::new(LIMITS, 1, 0);
        let measure = |edge| GateMeasure {
            selected: 0.3,
            edge,
            entropy: 0.3,
        };
        (0..50).for_each(|_| gating.observe(0, &measure(0.5)));
        (0..80).for_each(|_| gating.observe(0, &measure(0.01)));
        assert_eq!(gating.gate(0).recent, 4);
    }
}
