//! Whether a sentence follows from its source: by the words that both have, and by how much likelier
//! the model finds it with the source than without.

use autoglm_spec::{Cancel, Normalise, Prompt, Score, ScoreRequest};
use serde::Serialize;

use super::AnswerSettings;
use super::cite::Sentence;
use crate::RetrieveError;
use crate::search::{Ranked, cut_bytes};

/// Bytes of a source that the model reads to judge a sentence.
const SOURCE_BYTES: usize = 2_000;

/// How far a source bears out a sentence.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Support {
    /// The share of its words, beyond those of the question, that the source has.
    pub overlap: f64,
    /// How much likelier the model finds it with the source than without, in natural logarithms a
    /// token; none where it was not asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gain: Option<f64>,
}

impl Support {
    /// Whether both are as much as is asked for.
    pub(super) fn is_enough(self, settings: &AnswerSettings) -> bool {
        self.overlap >= settings.min_overlap
            && self.gain.is_none_or(|gain| gain >= settings.min_gain)
    }
}

/// Asks the model about each sentence with its source and without.
pub(super) fn gains(
    score: &dyn Score,
    question: &str,
    sentences: &mut [Sentence],
    (sources, cancel): (&[Ranked], &Cancel),
) -> Result<(), RetrieveError> {
    let mut requests = Vec::new();
    for sentence in sentences.iter() {
        let Some(citation) = &sentence.citation else {
            continue;
        };
        let source = sources[citation.number - 1].passage.with_titles();
        let ask = format!("Question: {question}\nAnswer:");
        let with = format!("{}\n\n{ask}", cut_bytes(&source, SOURCE_BYTES));
        requests.extend([with, ask].map(|prompt| request(prompt, &sentence.text)));
    }
    let scored = score.score(&requests, cancel);
    if scored.len() != requests.len() {
        return Err(RetrieveError::ResultCount {
            given: scored.len(),
            wanted: requests.len(),
        });
    }
    let mut logprobs = Vec::with_capacity(scored.len());
    for scoring in scored {
        let option = scoring?.options.first().copied();
        logprobs.push(option.map_or(0.0, |o| f64::from(o.logprob) / o.tokens.max(1) as f64));
    }
    let cited = sentences
        .iter_mut()
        .filter(|sentence| sentence.citation.is_some());
    for (sentence, pair) in cited.zip(logprobs.as_chunks::<2>().0) {
        sentence.support.gain = Some(pair[0] - pair[1]);
    }
    Ok(())
}

fn request(prompt: String, sentence: &str) -> ScoreRequest {
    ScoreRequest {
        prompt: Prompt::Plain(prompt),
        options: vec![format!(" {sentence}")],
        normalise: Normalise::Vocabulary,
        states: false,
        adapter: None,
    }
}
