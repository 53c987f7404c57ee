//! The language model's own opinion of how well passages suit a query.

use autoglm_spec::{Cancel, Normalise, Prompt, Score, ScoreRequest};
use serde::{Deserialize, Serialize};

use super::Ranked;
use crate::RetrieveError;
use crate::text::TextLanguage;

/// What the model is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Relevance {
    /// How likely the query is as a text behind the passage, a token.
    ///
    /// # Source
    /// Sachan et al. 2022, Improving Passage Retrieval with Zero-Shot Question Generation, §2.
    Likelihood,
    /// Whether the passage answers the query, yes or no, less what the model says of that with no
    /// passage at all.
    YesNo,
}

/// How passages are ranked anew.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rerank {
    /// What the model is asked.
    pub relevance: Relevance,
    /// Passages that it is asked about, from the top.
    pub depth: usize,
    /// What the model's opinion counts beside the score of the search; both are brought to mean 0
    /// and deviation 1 over the passages asked about.
    pub weight: f64,
    /// Bytes of a passage that the model reads at most.
    pub passage_bytes: usize,
}

impl Default for Rerank {
    fn default() -> Self {
        Self {
            relevance: Relevance::Likelihood,
            depth: 20,
            weight: 0.25,
            passage_bytes: 1_500,
        }
    }
}

impl Rerank {
    /// Ranks the first passages anew.
    ///
    /// # Errors
    /// An engine that fails.
    pub fn apply(
        &self,
        score: &dyn Score,
        query: &str,
        mut found: Vec<Ranked>,
        cancel: &Cancel,
    ) -> Result<Vec<Ranked>, RetrieveError> {
        let rest = found.split_off(found.len().min(self.depth));
        let opinions = self.opinions(score, query, &found, cancel)?;
        for (ranked, opinion) in found.iter_mut().zip(opinions) {
            ranked.relevance = Some(opinion);
        }
        let scores: Vec<f64> = found.iter().map(|ranked| ranked.score).collect();
        let opinions: Vec<f64> = found.iter().filter_map(|ranked| ranked.relevance).collect();
        let both = standard(&scores).into_iter().zip(standard(&opinions));
        let mixed: Vec<f64> = both
            .map(|(score, opinion)| (1.0 - self.weight) * score + self.weight * opinion)
            .collect();
        let mut order: Vec<(f64, Ranked)> = mixed.into_iter().zip(found).collect();
        order.sort_by(|a, b| b.0.total_cmp(&a.0));
        Ok(order
            .into_iter()
            .map(|(_, ranked)| ranked)
            .chain(rest)
            .collect())
    }

    /// What the model says of each passage; more is better.
    fn opinions(
        &self,
        score: &dyn Score,
        query: &str,
        found: &[Ranked],
        cancel: &Cancel,
    ) -> Result<Vec<f64>, RetrieveError> {
        let texts = found.iter().map(|ranked| {
            let text = ranked.passage.with_titles();
            cut_bytes(&text, self.passage_bytes).to_owned()
        });
        let mut requests: Vec<ScoreRequest> =
            texts.map(|text| self.request(query, &text)).collect();
        let is_yes_no = self.relevance == Relevance::YesNo;
        if is_yes_no {
            requests.push(self.request(query, "…"));
        }
        let scored = score.score(&requests, cancel);
        if scored.len() != requests.len() {
            return Err(RetrieveError::ResultCount {
                given: scored.len(),
                wanted: requests.len(),
            });
        }
        let mut opinions = Vec::with_capacity(scored.len());
        for scoring in scored {
            let options = scoring?.options;
            let of = |n: usize| {
                options
                    .get(n)
                    .map_or(0.0, |option| f64::from(option.logprob))
            };
            let tokens = options.first().map_or(1, |option| option.tokens.max(1));
            opinions.push(if is_yes_no {
                of(0) - of(1)
            } else {
                of(0) / tokens as f64
            });
        }
        let bias = if is_yes_no {
            opinions.pop().unwrap_or(0.0)
        } else {
            0.0
        };
        Ok(opinions.into_iter().map(|opinion| opinion - bias).collect())
    }

    fn request(&self, query: &str, passage: &str) -> ScoreRequest {
        let is_chinese = TextLanguage::of(query) == TextLanguage::Chinese;
        let (prompt, options, normalise) = match (self.relevance, is_chinese) {
            (Relevance::Likelihood, false) => (
                format!("{passage}\n\nThe text above answers this question or claim:"),
                vec![format!(" {query}")],
                Normalise::Vocabulary,
            ),
            (Relevance::Likelihood, true) => (
                format!("{passage}\n\n上文回答了这个问题："),
                vec![query.to_owned()],
                Normalise::Vocabulary,
            ),
            (Relevance::YesNo, false) => (
                format!(
                    "Text: {passage}\n\nQuestion or claim: {query}\n\nIs the text relevant to it? Answer yes or no:"
                ),
                vec![" yes".to_owned(), " no".to_owned()],
                Normalise::Options,
            ),
            (Relevance::YesNo, true) => (
                format!("文本：{passage}\n\n问题：{query}\n\n文本是否与问题相关？回答是或否："),
                vec!["是".to_owned(), "否".to_owned()],
                Normalise::Options,
            ),
        };
        ScoreRequest {
            prompt: Prompt::Plain(prompt),
            options,
            normalise,
            states: false,
            adapter: None,
        }
    }
}

/// Numbers brought to mean 0 and deviation 1.
fn standard(numbers: &[f64]) -> Vec<f64> {
    let count = numbers.len().max(1) as f64;
    let mean = numbers.iter().sum::<f64>() / count;
    let variance = numbers.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / count;
    let deviation = if variance > 0.0 { variance.sqrt() } else { 1.0 };
    numbers.iter().map(|x| (x - mean) / deviation).collect()
}

/// The beginning of a text, of so many bytes at most.
pub(crate) fn cut_bytes(text: &str, limit: usize) -> &str {
    let mut end = limit.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}
