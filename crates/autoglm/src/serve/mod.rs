//! What `autoglm serve` puts behind the server: models on this machine, collections of documents,
//! randomness, the time.

mod backend;
mod knowledge;
mod load;
mod prefixes;
mod tasks;

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context;
use autoglm_server::Surroundings;
use rand::{RngCore, SeedableRng};
use rand_chacha::ChaCha20Rng;

pub(crate) use knowledge::Collections;
pub(crate) use load::{ModelPlan, load};
pub(crate) use prefixes::KeptPrefixes;

/// Talks to whoever runs the server.
#[expect(
    clippy::print_stderr,
    reason = "talk to the user goes to standard error"
)]
pub(crate) fn tell(text: &str) {
    eprintln!("{text}");
}
pub(crate) use tasks::Desk;

/// The time, and numbers that nobody can guess.
///
/// # Errors
/// A system without randomness.
pub(crate) fn surroundings() -> anyhow::Result<Surroundings> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).context("the system gives no random numbers")?;
    let random = Mutex::new(ChaCha20Rng::from_seed(seed));
    Ok(Surroundings {
        now: Arc::new(crate::streams::now),
        random: Arc::new(move || {
            let mut random = random.lock().unwrap_or_else(PoisonError::into_inner);
            random.next_u64()
        }),
    })
}
