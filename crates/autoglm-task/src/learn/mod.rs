//! What feedback teaches: an online learner over words and the model's own opinion, which takes a
//! row at a time in and is made anew from the stored rows, so that what is withdrawn is undone.

mod corrector;
mod drift;
mod features;
mod ftrl;
mod gate;
mod giving;
mod hash;
mod learner;
mod lens;
mod pins;
mod reader;
mod report;
mod router;
mod school;
mod sift;
mod suspicion;
#[cfg(test)]
mod tests;
mod validation;
mod vectors;

pub use corrector::Corrector;
pub(crate) use gate::Gate;
pub use giving::Giver;
pub use pins::Overruled;
pub use report::{Drift, FeedbackReport, Stretch, SuspiciousBatch};
pub(crate) use router::Branches;
pub use sift::{leave_out, only_opinions_of, only_present_opinions};
pub use validation::{Validation, ValidationPoint, ValidationReport};
pub(crate) use vectors::vectors_of;
pub use vectors::vectors_of_feedback;

/// Bits of the number of buckets: 262,144, of which 35,000 reviews in Chinese fill nine of ten.
const BITS: u32 = 18;

/// Seed of the hash. It is fixed, so that the same feedback makes the same learner everywhere.
const SEED: u64 = 1;
