//! Vectors of texts: passes over many texts together, and what becomes of their hidden states.
//!
//! A text's vector depends on the text alone, bit for bit: attention does not reach other texts, and
//! sums over its own hidden states run in the order of its tokens.

use std::ops::Range;

use autoglm_model::{BLOCK_TOKENS, CacheFull, KvCache, Outputs, Pooling, Sequence, Step};
use autoglm_spec::{Cancel, Embed, Embedding, EmbeddingSpace, EngineError, Similarity};
use autoglm_token::{Specials, TokenId};

use crate::error::LocalError;
use crate::local::{LocalEngine, LocalSettings};
use crate::runner::{Machine, PASS_TOKENS, Runner};

/// A text that is to be embedded.
struct Text {
    tokens: Vec<TokenId>,
    cut_tokens: usize,
}

impl LocalEngine {
    /// The engine with another way to make a text's vector of its hidden states. What a model that
    /// was trained for embeddings says of itself is right; others have no way that is theirs, and
    /// take the mean.
    #[must_use]
    pub fn with_pooling(mut self, pooling: Pooling) -> Self {
        self.pooling = pooling;
        self.describe_space();
        self
    }

    /// Says what space the vectors lie in.
    pub(crate) fn describe_space(&mut self) {
        let config = self.model().config();
        let name = &self.facts.name;
        self.space = EmbeddingSpace {
            name: if config.pooling == Some(self.pooling) {
                name.clone()
            } else {
                format!("{name}/{}", pooling_name(self.pooling))
            },
            dimensions: config.width,
            max_tokens: self
                .facts
                .context_tokens
                .saturating_sub(self.virtual_tokens()),
            similarity: Similarity::Cosine,
        };
    }

    /// The tokens of a text, cut at its end where there are more than the model takes.
    fn text(&self, text: &str) -> Result<Text, EngineError> {
        let tokenizer = self.tokenizer();
        let (prefix, suffix) = (tokenizer.prefix(), tokenizer.suffix());
        let mut own = tokenizer.encode(text, Specials::AsText);
        let room = self
            .space
            .max_tokens
            .saturating_sub(prefix.len() + suffix.len());
        let cut_tokens = own.len().saturating_sub(room);
        own.truncate(room);
        let tokens = [prefix, &own, suffix].concat();
        if tokens.is_empty() {
            return Err(EngineError::BadRequest {
                field: "text",
                given: "no token".to_owned(),
                wanted: "at least one token",
            });
        }
        Ok(Text { tokens, cut_tokens })
    }

    /// Embeds texts that go through together; where the cache has too little room, in halves.
    fn embed_together(&self, texts: &[&Text]) -> Vec<Result<Embedding, EngineError>> {
        let machine = self.machine();
        let vectors = self.desk.borrow(|scheduler| {
            let tokens: Vec<&[TokenId]> = texts.iter().map(|text| &text.tokens[..]).collect();
            vectors_of(&mut scheduler.runner, machine, &tokens, self.pooling)
        });
        let embedding = |(vector, text): (Vec<f32>, &&Text)| {
            Ok(Embedding {
                vector: normalised(vector)?,
                tokens: text.tokens.len(),
                cut_tokens: text.cut_tokens,
            })
        };
        match vectors {
            Ok(vectors) => vectors.into_iter().zip(texts).map(embedding).collect(),
            Err(_) if texts.len() > 1 => {
                let (first, second) = texts.split_at(texts.len() / 2);
                let mut results = self.embed_together(first);
                results.extend(self.embed_together(second));
                results
            }
            Err(full) => vec![Err(EngineError::engine(LocalError::CacheFull(full)))],
        }
    }
}

impl Embed for LocalEngine {
    fn space(&self) -> &EmbeddingSpace {
        &self.space
    }

    fn embed(&self, texts: &[&str], cancel: &Cancel) -> Vec<Result<Embedding, EngineError>> {
        let mut results = Vec::with_capacity(texts.len());
        let mut rest = texts.iter().map(|text| self.text(text)).peekable();
        while rest.peek().is_some() {
            let mut batch = Batch::default();
            while let Some(text) = rest.next_if(|text| batch.has_room(text)) {
                batch.add(text);
            }
            let embedded = if cancel.is_cancelled() {
                let cancelled = |_: &&Text| Err(EngineError::Cancelled);
                batch.texts().iter().map(cancelled).collect()
            } else {
                self.embed_together(&batch.texts())
            };
            results.extend(batch.merge(embedded));
        }
        results
    }
}

/// Texts that go through one pass, and errors of others that stand between them.
#[derive(Default)]
struct Batch {
    entries: Vec<Result<Text, EngineError>>,
    tokens: usize,
    blocks: usize,
}

impl Batch {
    /// Whether another text still belongs to the pass. A long one has a pass, or several, alone.
    fn has_room(&self, text: &Result<Text, EngineError>) -> bool {
        /// Blocks of a cache of the smallest size.
        const BLOCKS: usize = LocalSettings::MIN_CACHE_TOKENS / BLOCK_TOKENS;
        let Ok(Text { tokens, .. }) = text else {
            return true;
        };
        let blocks = self.blocks + KvCache::blocks_for(0, tokens.len());
        self.tokens == 0 || self.tokens + tokens.len() <= PASS_TOKENS && blocks <= BLOCKS
    }

    fn add(&mut self, text: Result<Text, EngineError>) {
        if let Ok(Text { tokens, .. }) = &text {
            self.tokens += tokens.len();
            self.blocks += KvCache::blocks_for(0, tokens.len());
        }
        self.entries.push(text);
    }

    fn texts(&self) -> Vec<&Text> {
        self.entries.iter().flatten().collect()
    }

    /// The results of the texts, with the errors of the others in their places.
    fn merge(
        self,
        results: Vec<Result<Embedding, EngineError>>,
    ) -> impl Iterator<Item = Result<Embedding, EngineError>> {
        let mut results = results.into_iter();
        self.entries.into_iter().map(move |entry| {
            entry.and_then(|_| results.next().expect("there is a result for each text"))
        })
    }
}

/// What becomes of the hidden states of texts, in their order.
///
/// # Errors
/// Too little room in the cache for all of them together.
fn vectors_of(
    runner: &mut Runner,
    machine: Machine<'_>,
    texts: &[&[TokenId]],
    pooling: Pooling,
) -> Result<Vec<Vec<f32>>, CacheFull> {
    let mut sequences = Vec::with_capacity(texts.len());
    let result = (|| {
        for _ in texts {
            sequences.push(runner.begin(machine)?);
        }
        pool_passes(runner, machine, (texts, &mut sequences), pooling)
    })();
    for sequence in sequences {
        runner.cache.release(sequence);
    }
    result
}

/// Runs all passes that texts need: one, or several for one that is longer than a pass.
fn pool_passes(
    runner: &mut Runner,
    machine: Machine<'_>,
    (texts, sequences): (&[&[TokenId]], &mut [Sequence]),
    pooling: Pooling,
) -> Result<Vec<Vec<f32>>, CacheFull> {
    let config = machine.model.config();
    // A model that sees the whole text takes it at once.
    let piece = if config.causal {
        PASS_TOKENS
    } else {
        usize::MAX
    };
    let mut pooled: Vec<Pooled> = texts.iter().map(|_| Pooled::new(config.width)).collect();
    let longest = texts.iter().map(|text| text.len()).max().unwrap_or(0);
    for first in (0..longest).step_by(piece) {
        let pieces = texts.iter().map(|text| {
            let end = text.len().min(first.saturating_add(piece));
            &text[first.min(end)..end]
        });
        let mut steps = Vec::with_capacity(texts.len());
        for ((sequence, tokens), text) in sequences.iter_mut().zip(pieces).zip(texts) {
            let is_last = first + tokens.len() == text.len();
            steps.push(Step {
                sequence,
                tokens,
                outputs: match pooling {
                    Pooling::Last if is_last => Outputs::Last,
                    Pooling::Last => Outputs::None,
                    Pooling::Mean | Pooling::First => Outputs::All,
                },
            });
        }
        let ranges = runner.forward(machine, &mut steps)?;
        let rows: Range<usize> = 0..ranges.last().map_or(0, |range| range.end);
        let states = runner.hidden_states(machine, rows);
        for (pooled, range) in pooled.iter_mut().zip(ranges) {
            let width = config.width;
            pooled.add(&states[range.start * width..range.end * width], pooling);
        }
    }
    Ok(pooled.into_iter().map(Pooled::vector).collect())
}

/// The sum of hidden states so far, in double precision: a mean over thousands of tokens loses
/// nothing.
struct Pooled {
    sums: Vec<f64>,
    states: usize,
}

impl Pooled {
    fn new(width: usize) -> Self {
        Self {
            sums: vec![0.0; width],
            states: 0,
        }
    }

    fn add(&mut self, states: &[f32], pooling: Pooling) {
        for state in states.chunks_exact(self.sums.len()) {
            if pooling == Pooling::First && self.states > 0 {
                return;
            }
            for (sum, x) in self.sums.iter_mut().zip(state) {
                *sum += f64::from(*x);
            }
            self.states += 1;
        }
    }

    fn vector(self) -> Vec<f32> {
        let count = self.states.max(1) as f64;
        self.sums.iter().map(|sum| (sum / count) as f32).collect()
    }
}

/// A vector of length 1.
///
/// # Errors
/// One that has no direction, as weights that are broken give.
fn normalised(mut vector: Vec<f32>) -> Result<Vec<f32>, EngineError> {
    let squares: f64 = vector.iter().map(|x| f64::from(*x).powi(2)).sum();
    let length = squares.sqrt();
    if !(length.is_finite() && length > 0.0) {
        return Err(EngineError::engine(LocalError::NoDirection { length }));
    }
    for x in &mut vector {
        *x = (f64::from(*x) / length) as f32;
    }
    Ok(vector)
}

fn pooling_name(pooling: Pooling) -> &'static str {
    match pooling {
        Pooling::Mean => "mean",
        Pooling::First => "first",
        Pooling::Last => "last",
    }
}
