//! What a user should know of how a server was used.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// Sentences, each once, some with a number of times.
#[derive(Debug, Default)]
pub(crate) struct Notes(Mutex<BTreeMap<String, usize>>);

impl Notes {
    /// Notes that something happened.
    pub(crate) fn add(&self, sentence: impl Into<String>) {
        let mut notes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *notes.entry(sentence.into()).or_default() += 1;
    }

    /// Notes something that holds for all requests.
    pub(crate) fn state(&self, sentence: impl Into<String>) {
        let mut notes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        notes.insert(sentence.into(), 0);
    }

    /// The sentences; what happened several times says how often.
    pub(crate) fn all(&self) -> Vec<String> {
        let notes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let shown = |(sentence, count): (&String, &usize)| match count {
            0 | 1 => sentence.clone(),
            count => format!("{sentence} ({count} times)"),
        };
        notes.iter().map(shown).collect()
    }
}
