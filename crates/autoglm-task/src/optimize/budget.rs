//! What a search may spend, and what it has spent.

use std::fmt;
use std::time::Duration;

use autoglm_spec::Usage;
use serde::{Deserialize, Serialize};

/// A cap on what a search spends. It is never exceeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Budget {
    /// Requests to the engine.
    Calls(u64),
    /// Tokens of prompts, read from a cache or not, and of answers.
    Tokens(u64),
    /// Time.
    Time(Duration),
}

/// What a search has spent. Calls that the store answers count like others, so that a search that
/// was stopped ends like one that was not.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spent {
    /// Requests.
    pub calls: u64,
    /// Of these, requests that the store answered.
    pub stored: u64,
    /// What all requests cost, when they were made.
    pub usage: Usage,
    /// Time since this part of the search began.
    pub elapsed: Duration,
}

impl Spent {
    /// Tokens of prompts and answers.
    pub fn tokens(&self) -> u64 {
        (self.usage.prompt_tokens + self.usage.completion_tokens) as u64
    }
}

impl Budget {
    /// The budget as a number: calls, tokens or milliseconds.
    pub(super) fn limit(self) -> f64 {
        match self {
            Self::Calls(calls) => calls as f64,
            Self::Tokens(tokens) => tokens as f64,
            Self::Time(time) => time.as_secs_f64() * 1e3,
        }
    }

    /// What of the budget is spent, in the same unit.
    pub(super) fn spent(self, spent: &Spent) -> f64 {
        match self {
            Self::Calls(_) => spent.calls as f64,
            Self::Tokens(_) => spent.tokens() as f64,
            Self::Time(_) => spent.elapsed.as_secs_f64() * 1e3,
        }
    }

    /// What is left, in the same unit.
    pub(super) fn left(self, spent: &Spent) -> f64 {
        (self.limit() - self.spent(spent)).max(0.0)
    }

    /// An amount in the budget's unit, as people say it.
    pub(super) fn amount(self, amount: f64) -> String {
        match self {
            Self::Calls(_) => format!("{amount:.0} calls"),
            Self::Tokens(_) => format!("{amount:.0} tokens"),
            Self::Time(_) => format!("{:.0} s", amount / 1e3),
        }
    }
}

impl fmt::Display for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.amount(self.limit()))
    }
}
