//! Answers that rest on passages, and say which one each sentence rests on.
//!
//! What a document says is data. It stands between the instruction and the question, marked as
//! documents, and no answer is believed that the passages do not bear out.

mod cite;
mod compose;
mod coverage;
mod support;
#[cfg(test)]
mod tests;

use autoglm_spec::{
    AttentionPolicy, Cancel, Decoding, Generate, GenerateRequest, Prompt, Sampling, Score, Usage,
};
use serde::Serialize;

use crate::RetrieveError;
use crate::chunk::CountTokens;
use crate::search::Ranked;
use crate::store::Store;
use crate::text::TextLanguage;
use coverage::Wanted;

pub(crate) use cite::is_borne_out;
pub use cite::{Citation, Sentence};
pub use compose::{Composed, Documents, compose};
pub use coverage::coverage;
pub use support::Support;

/// How answers are made.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AnswerSettings {
    /// Tokens of the passages together at most.
    pub context_tokens: usize,
    /// Passages at most.
    pub passages: usize,
    /// Tokens of the answer at most.
    pub answer_tokens: usize,
    /// How much of a question a passage must cover for it to be answered from it, from 0 to 1.
    pub min_coverage: f64,
    /// The same for questions in Chinese, of which pairs of characters are compared.
    pub min_coverage_chinese: f64,
    /// The share of a sentence's words that its source must have for it to be supported.
    pub min_overlap: f64,
    /// How much likelier, in natural logarithms a token, the model must find a sentence with its
    /// source than without.
    pub min_gain: f64,
}

impl Default for AnswerSettings {
    /// Bounds that were measured (`docs/knowledge.md`).
    fn default() -> Self {
        Self {
            context_tokens: 1_200,
            passages: 3,
            answer_tokens: 96,
            min_coverage: 0.56,
            min_coverage_chinese: 0.3,
            min_overlap: 1.0,
            min_gain: 0.0,
        }
    }
}

impl AnswerSettings {
    /// How much of a question a passage must cover.
    fn wanted_coverage(&self, question: &str) -> f64 {
        if is_chinese(question) {
            self.min_coverage_chinese
        } else {
            self.min_coverage
        }
    }
}

/// Why a question was not answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Refusal {
    /// No passage was found.
    NothingFound,
    /// The passages say too little of what the question asks.
    NotCovered,
    /// The model says that the passages do not answer it.
    ModelSays,
    /// The passages do not bear out what the model wrote.
    NotSupported,
}

impl Refusal {
    /// Its name in JSON.
    pub fn word(self) -> &'static str {
        match self {
            Self::NothingFound => "nothing-found",
            Self::NotCovered => "not-covered",
            Self::ModelSays => "model-says",
            Self::NotSupported => "not-supported",
        }
    }
}

/// An answer with what it rests on.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Answer {
    /// The answer with its citations, or that there is none in the documents.
    pub text: String,
    /// Why there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<Refusal>,
    /// Whether the answer is the documents' own sentence, since they do not bear out what the model
    /// wrote.
    pub quoted: bool,
    /// The sentences of the answer, and those that the model wrote and nothing bears out.
    pub sentences: Vec<Sentence>,
    /// The passages that the model was given, the first is `[1]`.
    pub sources: Vec<Ranked>,
    /// How much of the question the passages cover, from 0 to 1.
    pub coverage: f64,
    /// What the model's work cost.
    pub usage: Usage,
}

/// Answers questions from passages.
pub struct Asker<'a> {
    /// The collection that the passages are from, which knows how rare words are.
    pub store: &'a dyn Store,
    /// What writes answers.
    pub generate: &'a dyn Generate,
    /// What judges whether sentences follow from their sources; none judges by words alone.
    pub score: Option<&'a dyn Score>,
    /// How the model counts tokens.
    pub tokens: &'a dyn CountTokens,
}

impl Asker<'_> {
    /// Answers a question from passages that were found for it.
    ///
    /// # Errors
    /// A store or an engine that fails.
    pub fn answer(
        &self,
        question: &str,
        found: Vec<Ranked>,
        settings: &AnswerSettings,
        cancel: &Cancel,
    ) -> Result<Answer, RetrieveError> {
        let wanted_words = Wanted::of(self.store, question)?;
        let covered = found.iter().map(|ranked| wanted_words.share_of(ranked));
        let covered: Vec<f64> = covered.collect();
        let best = covered.iter().copied().fold(0.0, f64::max);
        let wanted = settings.wanted_coverage(question);
        let found = if best >= wanted {
            // A passage that is about something else can only mislead.
            let both = found.into_iter().zip(covered);
            both.filter(|(_, covered)| *covered >= wanted)
                .map(|(ranked, _)| ranked)
                .collect()
        } else {
            found
        };
        let composed = compose(
            question,
            found,
            self.tokens,
            (settings, self.generate.facts().chat),
        );
        let mut answer = Answer {
            text: refusal_text(question).to_owned(),
            refused: None,
            quoted: false,
            sentences: Vec::new(),
            sources: composed.sources,
            coverage: best,
            usage: Usage::default(),
        };
        if answer.sources.is_empty() {
            answer.refused = Some(Refusal::NothingFound);
            return Ok(answer);
        }
        if best < wanted {
            answer.refused = Some(Refusal::NotCovered);
            return Ok(answer);
        }
        let written = self.write(composed.prompt, settings, cancel)?;
        answer.usage = written.1;
        if compose::says_nothing(&written.0) {
            answer.refused = Some(Refusal::ModelSays);
            return Ok(answer);
        }
        let asked = (question, &wanted_words);
        self.judge(asked, &written.0, &mut answer, (settings, cancel))?;
        Ok(answer)
    }

    /// What the model says to a question without any document.
    ///
    /// # Errors
    /// An engine that fails.
    pub fn closed_book(
        &self,
        question: &str,
        settings: &AnswerSettings,
        cancel: &Cancel,
    ) -> Result<String, RetrieveError> {
        let prompt = compose::compose_alone(question, self.generate.facts().chat);
        Ok(self.write(prompt, settings, cancel)?.0)
    }

    fn write(
        &self,
        prompt: Prompt,
        settings: &AnswerSettings,
        cancel: &Cancel,
    ) -> Result<(String, Usage), RetrieveError> {
        let request = GenerateRequest {
            prompt,
            max_tokens: settings.answer_tokens,
            sampling: Sampling::GREEDY,
            stop: compose::STOPS.map(str::to_owned).to_vec(),
            constraint: None,
            logit_bias: Vec::new(),
            decoding: Decoding::default(),
            attention: AttentionPolicy::Full,
            adapter: None,
        };
        let mut results = self.generate.generate(&[request], cancel, &mut |_, _| {});
        let completion = results.pop().ok_or(RetrieveError::ResultCount {
            given: 0,
            wanted: 1,
        })??;
        // An answer that is as long as it may be may end within a character.
        let whole = completion
            .text
            .trim_end_matches(char::REPLACEMENT_CHARACTER);
        Ok((whole.trim().to_owned(), completion.usage))
    }

    /// Finds the source of each sentence and what bears it out. Instead of an answer of which nothing
    /// is borne out, the sentence of the sources is given that has most of the question; where none
    /// has enough of it, the question is refused.
    fn judge(
        &self,
        (question, wanted): (&str, &Wanted),
        written: &str,
        answer: &mut Answer,
        (settings, cancel): (&AnswerSettings, &Cancel),
    ) -> Result<(), RetrieveError> {
        let mut sentences = cite::sentences_of(written, &answer.sources, question);
        if let Some(score) = self.score {
            support::gains(score, question, &mut sentences, (&answer.sources, cancel))?;
        }
        let goes_round = cite::goes_round(written);
        for sentence in &mut sentences {
            sentence.supported = !goes_round
                && sentence.support.is_enough(settings)
                && cite::may_answer(&sentence.text);
        }
        if !sentences.iter().any(|sentence| sentence.supported) {
            let least = settings.wanted_coverage(question);
            let quote = cite::quoted(wanted, &answer.sources, least);
            answer.quoted = quote.is_some();
            sentences.extend(quote);
        }
        if sentences.iter().any(|sentence| sentence.supported) {
            answer.text = cite::render(&sentences);
        } else {
            answer.refused = Some(Refusal::NotSupported);
        }
        answer.sentences = sentences;
        Ok(())
    }
}

/// The sentences of a text that answers a question, each with the source that has most of its words;
/// supported are those of which it has enough. No model is asked.
pub fn attribute(
    text: &str,
    sources: &[Ranked],
    question: &str,
    settings: &AnswerSettings,
) -> Vec<Sentence> {
    let mut sentences = cite::sentences_of(text, sources, question);
    for sentence in &mut sentences {
        sentence.supported = sentence.support.is_enough(settings);
    }
    sentences
}

/// That there is no answer, in the question's language.
pub fn refusal_text(question: &str) -> &'static str {
    if is_chinese(question) {
        "文档中没有答案。"
    } else {
        "The documents do not say."
    }
}

/// Whether a text is answered in Chinese.
pub fn is_chinese(text: &str) -> bool {
    matches!(
        TextLanguage::of(text),
        TextLanguage::Chinese | TextLanguage::Mixed
    )
}
