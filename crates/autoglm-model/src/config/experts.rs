//! A mixture of experts, and how a row chooses among them.

use super::{ModelConfig, divides};
use crate::error::ModelError;

/// How a router turns its outputs into the scores of the experts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RouterGate {
    /// Every expert for itself: `1 / (1 + e^-x)`.
    Sigmoid,
    /// Over all experts.
    Softmax,
}

/// A mixture of experts: every row runs through the few experts that its router scores highest,
/// and through the shared ones.
///
/// # Source
/// `DeepSeek-AI`, `DeepSeek-V3` Technical Report, 2024, equations 12 to 16.
#[derive(Debug, Clone, PartialEq)]
pub struct ExpertsConfig {
    /// Layers before this one have a dense part.
    pub first_layer: usize,
    /// E, the experts of a layer.
    pub count: usize,
    /// The experts that a row runs through.
    pub used: usize,
    /// The width of an expert's feed-forward part.
    pub feed_forward: usize,
    /// Experts that every row runs through; their tensors stand side by side as one.
    pub shared: usize,
    /// How the router scores.
    pub gate: RouterGate,
    /// The experts are cut into this many groups, in order; a divisor of E.
    pub groups: usize,
    /// The groups that a row's experts may come from: those whose two best experts have the
    /// greatest sum.
    pub groups_used: usize,
    /// Whether the weights of the chosen experts are divided by their sum.
    pub normalise: bool,
    /// What the weights are multiplied with at the end.
    pub scale: f32,
}

impl ExpertsConfig {
    pub(super) fn check(&self, config: &ModelConfig) -> Result<(), ModelError> {
        let wrong = |key: &str, found: usize, wanted| Err(config.wrong(key, found, wanted));
        if self.count == 0 || self.count > MAX_EXPERTS {
            return wrong("expert_count", self.count, "1 to 65536");
        }
        if self.shared > MAX_EXPERTS {
            return wrong("expert_shared_count", self.shared, "up to 65536");
        }
        if !divides(self.groups, self.count) {
            let wanted = "a divisor of the expert count";
            return wrong("expert_group_count", self.groups, wanted);
        }
        if self.groups_used == 0 || self.groups_used > self.groups {
            let wanted = "1 to the number of groups";
            return wrong("expert_group_used_count", self.groups_used, wanted);
        }
        let in_group = self.count / self.groups;
        if self.groups > 1 && in_group < 2 {
            let wanted = "groups of at least two experts";
            return wrong("expert_group_count", self.groups, wanted);
        }
        if self.groups > 1 && self.gate == RouterGate::Softmax {
            let wanted = "1 group where the router's gate is a softmax";
            return wrong("expert_group_count", self.groups, wanted);
        }
        if self.used == 0 || self.used > self.groups_used * in_group {
            let wanted = "1 to the number of experts in the groups used";
            return wrong("expert_used_count", self.used, wanted);
        }
        if self.feed_forward == 0 || self.feed_forward > MAX_WIDTH {
            let wanted = "1 to 1048576";
            return wrong("expert_feed_forward_length", self.feed_forward, wanted);
        }
        Ok(())
    }
}

/// More experts than any model of the field has; a bound for what a file may claim.
const MAX_EXPERTS: usize = 1 << 16;
/// Wider experts than any model of the field has; products with a count stay far from overflow.
const MAX_WIDTH: usize = 1 << 20;
