//! What a pass demands of the machine at least, read off the tensors of the file.

use autoglm_kernel::BlockFormat;
use autoglm_model::{GgufFile, ModelError, Tensor};

/// What one pass demands at least.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Demand {
    /// Tokens that the pass computes.
    pub(super) tokens: usize,
    /// Bytes of weights, keys and values, each read once.
    pub(super) read_bytes: f64,
    /// Operations of the matrix products, two for a weight and token; `None` where most weights
    /// are floats, for which the integer peak says nothing.
    pub(super) integer_operations: Option<f64>,
}

/// The matrices of a file, as a pass uses them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Weights {
    blocks: Group,
    /// The matrices of experts, of which a token uses some.
    experts: Group,
    /// The part of the experts that a token uses.
    expert_share: f64,
    head: Group,
}

/// Matrices that are used alike.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Group {
    bytes: f64,
    quantised: f64,
    floats: f64,
}

impl Weights {
    /// Reads the tensors of a file.
    ///
    /// # Errors
    /// Counts of experts that are no numbers.
    pub(super) fn of(file: &GgufFile) -> Result<Self, ModelError> {
        let (mut blocks, mut experts, mut head) =
            (Group::default(), Group::default(), Group::default());
        // Without a head of its own the embedding is the head; else a pass reads single rows of it.
        let tied = file.tensor("output.weight").is_none();
        for tensor in file.tensors().filter(|tensor| tensor.rows() > 1) {
            match tensor.name {
                "output.weight" => head.add(&tensor),
                "token_embd.weight" if tied => head.add(&tensor),
                "token_embd.weight" => {}
                name if name.contains("_exps.") => experts.add(&tensor),
                _ => blocks.add(&tensor),
            }
        }
        let architecture = file.architecture()?;
        let count = |key: &str| file.get::<usize>(&format!("{architecture}.{key}"));
        let expert_share = match (count("expert_used_count")?, count("expert_count")?) {
            (Some(used), Some(all)) if all > 0 => (used as f64 / all as f64).min(1.0),
            _ => 1.0,
        };
        Ok(Self {
            blocks,
            experts,
            expert_share,
            head,
        })
    }

    /// What a pass over `rows` tokens demands, of which `outputs` have logits.
    pub(super) fn demand(&self, rows: usize, outputs: usize) -> Demand {
        // Each token draws its experts; where draws are even, this part of them is drawn at all.
        let drawn = 1.0 - (1.0 - self.expert_share).powf(rows as f64);
        let (rows, outputs) = (rows as f64, outputs as f64);
        let products = |kind: fn(&Group) -> f64| {
            (kind(&self.blocks) + kind(&self.experts) * self.expert_share) * rows
                + kind(&self.head) * outputs
        };
        let quantised = products(|group| group.quantised);
        let mostly_floats = products(|group| group.floats) > quantised;
        Demand {
            tokens: rows as usize,
            read_bytes: self.blocks.bytes + self.experts.bytes * drawn + self.head.bytes,
            integer_operations: (!mostly_floats).then_some(2.0 * quantised),
        }
    }
}

impl Group {
    fn add(&mut self, tensor: &Tensor<'_>) {
        let weights = (tensor.rows() * tensor.cols()) as f64;
        self.bytes += tensor.bytes.len() as f64;
        match tensor.format {
            BlockFormat::F32 | BlockFormat::F16 | BlockFormat::Bf16 => self.floats += weights,
            _ => self.quantised += weights,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIXTURE: Weights = Weights {
        blocks: Group {
            bytes: 100.0,
            quantised: 200.0,
            floats: 1.0,
        },
        experts: Group {
            bytes: 800.0,
            quantised: 1_600.0,
            floats: 0.0,
        },
        expert_share: 0.25,
        head: Group {
            bytes: 50.0,
            quantised: 100.0,
            floats: 0.0,
        },
    };

    #[test]
    fn one_token_reads_its_experts_alone_and_many_read_nearly_all() {
        let one = MIXTURE.demand(1, 1);
        assert_eq!(one.read_bytes, 100.0 + 200.0 + 50.0);
        assert_eq!(one.integer_operations, Some(2.0 * (200.0 + 400.0 + 100.0)));
        let many = MIXTURE.demand(64, 1);
        assert!((949.0..=950.0).contains(&many.read_bytes), "{many:?}");
        assert_eq!(many.integer_operations, Some(2.0 * (64.0 * 600.0 + 100.0)));
    }

    #[test]
    fn weights_that_are_floats_have_no_integer_limit() {
        let floats = Group {
            bytes: 400.0,
            quantised: 0.0,
            floats: 200.0,
        };
        let weights = Weights {
            blocks: floats,
            experts: Group::default(),
            expert_share: 1.0,
            head: floats,
        };
        assert_eq!(weights.demand(4, 1).integer_operations, None);
    }
}
