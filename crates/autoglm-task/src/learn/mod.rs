//! What feedback teaches: an online learner over words and the model's own opinion, which takes a
//! row at a time in and is made anew from the stored rows, so that what is withdrawn is undone.

mod corrector;
mod drift;
mod features;
mod ftrl;
mod giving;
mod hash;
mod learner;
mod lens;
mod report;
mod router;
mod school;
mod suspicion;
#[cfg(test)]
mod tests;
mod validation;

pub use corrector::Corrector;
pub use drift::{Adwin, Change};
pub use features::{Featurizer, record_text};
pub use ftrl::Rates;
pub use giving::Giver;
pub use learner::{Learner, Lesson, Observation, Shape};
pub use report::{Drift, FeedbackReport, PinnedWrong, Stretch, SuspiciousBatch};
pub use router::{Annealing, Router};
pub use validation::{Validation, ValidationPoint, ValidationReport};

/// Bits of the number of buckets: 262,144, of which 35,000 reviews in Chinese fill nine of ten.
pub const BITS: u32 = 18;

/// Seed of the hash. It is fixed, so that the same feedback makes the same learner everywhere.
pub const SEED: u64 = 1;
