//! Verdicts corrected by what feedback has taught, before they are stored and written.

use autoglm_spec::{Cancel, Embed, EngineError, Record};

use super::answer::Stop;
use crate::TaskError;
use crate::learn::{Corrector, vectors_of};
use crate::row::Row;
use crate::store::FeedbackKey;

/// What feedback has taught, with the engine that makes the vectors of records.
#[derive(Clone, Copy)]
pub struct Correction<'a> {
    /// What corrects verdicts.
    pub corrector: &'a Corrector,
    /// The model that makes vectors, where the corrector looks at them.
    pub embedder: Option<&'a dyn Embed>,
}

impl Correction<'_> {
    /// What a run must go on with.
    pub(super) fn key(&self) -> FeedbackKey {
        let embedder = self.embedder.filter(|_| self.corrector.uses_vectors());
        FeedbackKey {
            version: self.corrector.version(),
            space: embedder.map(|embedder| embedder.space().name.clone()),
        }
    }

    /// Corrects the verdicts of rows that have one and were not corrected before.
    pub(super) fn apply(&self, rows: &mut [Row], cancel: &Cancel) -> Result<(), Stop> {
        let waits = |row: &&mut Row| {
            let verdict = row.verdict.as_ref();
            row.input.is_some() && verdict.is_some_and(|verdict| verdict.learnt.is_none())
        };
        let mut rows: Vec<&mut Row> = rows.iter_mut().filter(waits).collect();
        let inputs: Vec<&Record> = rows.iter().filter_map(|row| row.input.as_ref()).collect();
        let vectors = self.vectors(&inputs, cancel)?;
        for (row, vector) in rows.iter_mut().zip(vectors) {
            let Row { input, verdict, .. } = &mut **row;
            if let (Some(input), Some(old)) = (input.as_ref(), verdict.take()) {
                *verdict = Some(self.corrector.correct(input, vector.as_deref(), old));
            }
        }
        Ok(())
    }

    /// A vector for each record; none where the model cannot make one of it.
    fn vectors(&self, inputs: &[&Record], cancel: &Cancel) -> Result<Vec<Option<Vec<f32>>>, Stop> {
        let Some(embedder) = self.embedder.filter(|_| self.corrector.uses_vectors()) else {
            return Ok(vec![None; inputs.len()]);
        };
        let vectors = vectors_of(self.corrector.fields(), inputs, embedder, cancel);
        vectors.map_err(|error| match error {
            EngineError::Cancelled => Stop::Cancelled,
            source => Stop::Failed(TaskError::Engine { line: 0, source }),
        })
    }
}
