//! The machine's limits, and the speed that they allow.

use std::time::Instant;

use anyhow::Context;
use autoglm_kernel::{Isa, machine};
use autoglm_model::Pool;

use super::limits::Demand;

/// Read for the bandwidth. Far more than the last cache of most machines holds.
const ARRAY_BYTES: usize = 512 << 20;

/// What the machine can do at most with the threads in use.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Machine {
    pub(super) instructions: &'static str,
    /// Bytes that all threads read from memory in a second.
    pub(super) read_bytes: f64,
    /// Integer operations a second, two for a product that is added.
    pub(super) integer_operations: f64,
}

/// The speed that the machine allows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Limit {
    pub(super) tokens_per_second: f64,
    /// What holds it back: `memory` or `arithmetic`.
    pub(super) bound: &'static str,
}

impl Machine {
    /// Measures both limits, in about a second.
    ///
    /// # Errors
    /// No memory for the array that is read.
    pub(super) fn measure(pool: &Pool) -> anyhow::Result<Self> {
        let began = Instant::now();
        let clock = || began.elapsed();
        Ok(Self {
            instructions: Isa::best().name(),
            read_bytes: machine::read_bandwidth(pool, ARRAY_BYTES, clock)
                .context("cannot measure the read bandwidth")?,
            integer_operations: machine::integer_peak(pool, clock),
        })
    }

    /// Takes the higher of each limit.
    pub(super) fn keep_better(&mut self, other: &Self) {
        self.read_bytes = self.read_bytes.max(other.read_bytes);
        self.integer_operations = self.integer_operations.max(other.integer_operations);
    }

    /// The speed at which work with this demand runs at most; `None` where no limit is known.
    pub(super) fn limit(&self, demand: &Demand) -> Option<Limit> {
        let memory = demand.read_bytes / self.read_bytes;
        let arithmetic = match demand.integer_operations {
            Some(operations) => operations / self.integer_operations,
            // One token is bound by memory whatever its arithmetic.
            None if demand.tokens == 1 => 0.0,
            None => return None,
        };
        let (seconds, bound) = if arithmetic > memory {
            (arithmetic, "arithmetic")
        } else {
            (memory, "memory")
        };
        Some(Limit {
            tokens_per_second: demand.tokens as f64 / seconds,
            bound,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MACHINE: Machine = Machine {
        instructions: "none",
        read_bytes: 1_000.0,
        integer_operations: 10_000.0,
    };

    fn limit(tokens: usize, integer_operations: Option<f64>) -> Option<Limit> {
        MACHINE.limit(&Demand {
            tokens,
            read_bytes: 500.0,
            integer_operations,
        })
    }

    #[test]
    fn what_takes_longer_is_the_limit() {
        let memory = limit(4, Some(1_000.0)).unwrap();
        assert_eq!((memory.tokens_per_second, memory.bound), (8.0, "memory"));
        let arithmetic = limit(4, Some(20_000.0)).unwrap();
        assert_eq!(arithmetic.tokens_per_second, 2.0);
        assert_eq!(arithmetic.bound, "arithmetic");
    }

    #[test]
    fn without_a_known_peak_only_one_token_has_a_limit() {
        assert_eq!(limit(1, None).unwrap().tokens_per_second, 2.0);
        assert_eq!(limit(2, None), None);
    }
}
