//! The versions of one name: the live one, the one before, and a candidate on trial.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Health, Version};
use crate::ServerError;

/// How a candidate begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Mode {
    /// It takes over at once.
    Switch,
    /// It answers this share of requests, in percent.
    Canary(u64),
    /// It answers copies of requests, which nobody is given.
    Shadow,
}

/// A candidate on trial.
pub(super) struct Trial {
    pub(super) version: Arc<Version>,
    pub(super) mode: Mode,
    pub(super) health: Health,
    /// Whether a copy of a request is being answered: one at a time, others are passed over.
    pub(super) is_busy: AtomicBool,
    /// Requests that might have been the canary's.
    pub(super) offered: AtomicU64,
    pub(super) compared: AtomicU64,
    /// Answers that were those of the live version.
    pub(super) same: AtomicU64,
}

impl Trial {
    pub(super) fn new(version: Arc<Version>, mode: Mode, health: Health) -> Self {
        Self {
            version,
            mode,
            health,
            is_busy: AtomicBool::new(false),
            offered: AtomicU64::new(0),
            compared: AtomicU64::new(0),
            same: AtomicU64::new(0),
        }
    }

    /// Whether the next request is one of so many in a hundred, which are spread evenly.
    pub(super) fn takes_next(&self, percent: u64) -> bool {
        let before = self.offered.fetch_add(1, Ordering::Relaxed) % 100;
        (before + 1) * percent / 100 > before * percent / 100
    }
}

/// The versions of one name.
#[derive(Clone)]
pub(super) struct Slot {
    /// The content of the model that the server began with.
    pub(super) given: String,
    pub(super) live: Arc<Version>,
    /// The version before, which is kept so that it can come back at once.
    pub(super) previous: Option<Arc<Version>>,
    pub(super) trial: Option<Arc<Trial>>,
    pub(super) versions: u64,
    /// What happened last, in words.
    pub(super) last: Option<String>,
    /// How often it was changed.
    pub(super) changes: u64,
}

impl Slot {
    pub(super) fn switch_to(&mut self, version: Arc<Version>) {
        self.last = Some(format!("version {} took over", version.number));
        self.previous = Some(std::mem::replace(&mut self.live, version));
        self.trial = None;
    }

    /// Takes the version before back; `false` where there is none.
    pub(super) fn switch_back(&mut self, why: &str) -> bool {
        let Some(previous) = self.previous.take() else {
            return false;
        };
        self.last = Some(format!("{why}; version {} is back", previous.number));
        self.live = previous;
        true
    }

    /// Puts the candidate in the live version's place.
    pub(super) fn promote(&mut self, name: &str) -> Result<(), ServerError> {
        let trial = self.trial.take().ok_or_else(|| ServerError::Conflict {
            what: format!("the model {name} has no candidate on trial"),
        })?;
        self.switch_to(Arc::clone(&trial.version));
        Ok(())
    }

    /// Takes a candidate off its trial, or else the version before back.
    pub(super) fn roll_back(&mut self, name: &str) -> Result<(), ServerError> {
        if self.trial.take().is_none() && !self.switch_back("rolled back on request") {
            return Err(ServerError::Conflict {
                what: format!("the model {name} has no version before its live one"),
            });
        }
        Ok(())
    }

    pub(super) fn told(&self, name: &str) -> Value {
        let trial = self.trial.as_ref().map(|trial| {
            let mut told = trial.version.told();
            told["mode"] = match trial.mode {
                Mode::Switch => json!("switch"),
                Mode::Shadow => json!("shadow"),
                Mode::Canary(percent) => json!({"canary_percent": percent}),
            };
            told["health"] = trial.health.told();
            if trial.mode == Mode::Shadow {
                told["compared"] = trial.compared.load(Ordering::Relaxed).into();
                told["same"] = trial.same.load(Ordering::Relaxed).into();
            }
            told
        });
        json!({
            "name": name,
            "live": self.live.told(),
            "previous": self.previous.as_ref().map(|version| version.told()),
            "candidate": trial,
            "last": self.last,
        })
    }
}
