//! The examples of a record's own: chosen, and dropped until its prompt has room for them.

use std::sync::Arc;

use autoglm_spec::{Cancel, Embed, EngineError, Example, Record};

use super::Engine;
use super::ask::Asker;
use crate::compose::{ComposeError, Composed};
use crate::learn::vectors_of;
use crate::select::{Chosen, Room, SelectionKey, Selector, TokenCounter};

/// What chooses examples for records, with the engine that makes the vectors of these.
#[derive(Clone)]
pub struct Choosing<'a> {
    /// What chooses.
    pub selector: Arc<Selector>,
    /// The model that makes vectors, where the selector looks at them.
    pub embedder: Option<&'a dyn Embed>,
    /// Counts a prompt's tokens, where the engine can.
    pub tokens: Option<&'a TokenCounter<'a>>,
}

impl Choosing<'_> {
    /// What a run must go on with.
    pub(super) fn key(&self) -> SelectionKey {
        self.selector
            .key(self.embedder().map(|e| e.space().name.clone()))
    }

    fn embedder(&self) -> Option<&dyn Embed> {
        self.embedder.filter(|_| self.selector.uses_vectors())
    }

    /// A vector for each record, where the selector looks at them and the model can make one.
    pub(crate) fn vectors(
        &self,
        records: &[&Record],
        cancel: &Cancel,
    ) -> Result<Vec<Option<Vec<f32>>>, EngineError> {
        match self.embedder() {
            Some(embedder) => vectors_of(self.selector.fields(), records, embedder, cancel),
            None => Ok(vec![None; records.len()]),
        }
    }
}

/// A record's prompts, with the examples that were chosen for it.
#[derive(Debug, Default)]
pub(crate) struct Prompted {
    /// One a way to order the examples.
    pub(crate) prompts: Vec<Composed>,
    /// The nearest last.
    pub(crate) examples: Vec<Chosen>,
}

/// Chooses examples for records and composes their prompts.
pub(super) struct Chooser<'a> {
    choosing: Choosing<'a>,
    room: Room<'a>,
}

impl<'a> Chooser<'a> {
    pub(super) fn new(choosing: Choosing<'a>, engine: &dyn Engine) -> Self {
        let most = choosing.selector.most_tokens();
        Self {
            room: Room::new(engine.facts(), most, choosing.tokens),
            choosing,
        }
    }

    /// A record's prompts behind as many of its examples as there is room for: the least near are
    /// dropped first. A prompt that has no room even without is left to the engine.
    pub(super) fn prompts(
        &self,
        asker: &Asker<'_>,
        record: &Record,
        vector: Option<&[f32]>,
    ) -> Result<Prompted, ComposeError> {
        let mut examples = self.choosing.selector.choose(record, vector);
        loop {
            let shown: Vec<Example> = examples.iter().map(|c| c.example.clone()).collect();
            let prompts = asker.prompts_behind(&shown, record)?;
            let fits = |composed: &Composed| self.room.has_place_for(composed);
            if examples.is_empty() || prompts.iter().all(fits) {
                return Ok(Prompted { prompts, examples });
            }
            examples.remove(0);
        }
    }
}
