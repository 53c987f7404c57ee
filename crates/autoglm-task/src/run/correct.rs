//! Verdicts corrected by what feedback has taught, before they are stored and written.

use autoglm_spec::{Cancel, Embed, EngineError, Record, Verdict};

use super::answer::Stop;
use crate::learn::{Corrector, record_text};
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
                *verdict = Some(self.corrected(input, vector.as_deref(), old));
            }
        }
        Ok(())
    }

    fn corrected(&self, input: &Record, vector: Option<&[f32]>, verdict: Verdict) -> Verdict {
        self.corrector.correct(input, vector, verdict)
    }

    /// A vector for each record; none where the model cannot make one of it.
    fn vectors(&self, inputs: &[&Record], cancel: &Cancel) -> Result<Vec<Option<Vec<f32>>>, Stop> {
        let Some(embedder) = self.embedder.filter(|_| self.corrector.uses_vectors()) else {
            return Ok(vec![None; inputs.len()]);
        };
        let fields = self.corrector.fields();
        let texts: Vec<String> = inputs.iter().map(|i| record_text(fields, i)).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let vector = |result| match result {
            Ok(autoglm_spec::Embedding { vector, .. }) => Ok(Some(vector)),
            Err(EngineError::Cancelled) => Err(Stop::Cancelled),
            Err(_) => Ok(None),
        };
        embedder
            .embed(&texts, cancel)
            .into_iter()
            .map(vector)
            .collect()
    }
}
