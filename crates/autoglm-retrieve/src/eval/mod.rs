//! How good search and answers are where the right ones are known.

mod answers;
mod benchmark;
mod bootstrap;
mod ranking;
mod reading;

pub use answers::{
    AnswerReport, Answered, ClosedBookReport, exact_match, measure_answers, measure_closed_book,
    token_f1,
};
pub use benchmark::{Benchmark, Judged};
pub use bootstrap::{Estimate, estimate};
pub use ranking::{Grades, RankingReport, measure_rankings};
pub use reading::{Asked, Reading};
