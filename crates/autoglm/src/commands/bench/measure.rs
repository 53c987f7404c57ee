//! Measuring: the model itself with random tokens, and whole requests for shared prefixes.

use std::collections::BTreeMap;
use std::time::Instant;

use autoglm_engine::LocalEngine;
use autoglm_model::{
    BLOCK_TOKENS, CacheType, Gating, KvCache, Outputs, Pool, Sequence, Step, Workspace,
};
use autoglm_spec::{
    AttentionPolicy, Cancel, Completion, Decoding, Generate, GenerateRequest, Prompt, Sampling,
};
use autoglm_token::{Specials, TokenId};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::work::{SUFFIX_TOKENS, Work};

/// Tokens of one pass, as the engine cuts prompts.
const PASS_TOKENS: usize = 512;

/// Sizes that all kinds of work share.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sizes {
    /// Tokens that are decoded for one measurement.
    pub(super) decode: usize,
    pub(super) seed: u64,
    /// How keys and values are stored.
    pub(super) cache_type: CacheType,
}

/// A model that is measured.
pub(super) struct Bench<'a> {
    engine: &'a LocalEngine,
    pool: &'a Pool,
    cache: KvCache,
    workspace: Workspace,
    /// Sequences to decode behind, by their length; filled when they are first needed.
    contexts: BTreeMap<usize, Sequence>,
    decode: usize,
    random: ChaCha8Rng,
}

impl<'a> Bench<'a> {
    /// A bench whose cache holds what the works need.
    pub(super) fn new(
        engine: &'a LocalEngine,
        pool: &'a Pool,
        sizes: Sizes,
        works: &[Work],
    ) -> Self {
        // The contexts stay while everything else comes and goes; forks copy a last block.
        let tokens: usize = works
            .iter()
            .map(|work| work.cache_tokens(sizes.decode) + 2 * BLOCK_TOKENS)
            .sum();
        Self {
            engine,
            pool,
            cache: KvCache::of_type(sizes.cache_type, engine.model().config(), tokens),
            workspace: Workspace::default(),
            contexts: BTreeMap::new(),
            decode: sizes.decode,
            random: ChaCha8Rng::seed_from_u64(sizes.seed),
        }
    }

    /// One sample, in the unit of the work.
    pub(super) fn measure(&mut self, work: &Work, cancel: &Cancel) -> anyhow::Result<f64> {
        match *work {
            Work::Prefill { tokens } => self.prefill(tokens),
            Work::Decode { depth } => {
                let sequence = self.context(depth)?;
                self.decode(vec![sequence])
            }
            Work::GatedDecode { depth, limits } => {
                let mut sequence = self.context(depth)?;
                let layers = self.engine.model().config().layers.len();
                sequence.gate(Gating::new(limits, layers, depth));
                self.decode(vec![sequence])
            }
            Work::Sequences { count } => {
                self.decode((0..count).map(|_| Sequence::default()).collect())
            }
            Work::FirstToken { prefix } => {
                let prefix = self.text(prefix);
                let (_, seconds) = self.ask(&prefix, 1, 1, cancel)?;
                Ok(seconds * 1e3)
            }
            Work::NextFirstToken { prefix } => {
                let prefix = self.text(prefix);
                self.ask(&prefix, 1, 1, cancel)?;
                let (_, seconds) = self.ask(&prefix, 1, 1, cancel)?;
                Ok(seconds * 1e3)
            }
            Work::Clients { prefix, clients } => {
                let prefix = self.text(prefix);
                self.ask(&prefix, 1, 1, cancel)?;
                let (tokens, seconds) = self.ask(&prefix, clients, self.decode, cancel)?;
                Ok(tokens as f64 / seconds)
            }
        }
    }

    fn prefill(&mut self, count: usize) -> anyhow::Result<f64> {
        let tokens = self.tokens(count);
        let mut sequence = Sequence::default();
        let began = Instant::now();
        self.feed(&mut sequence, &tokens)?;
        let seconds = began.elapsed().as_secs_f64();
        self.cache.release(sequence);
        Ok(count as f64 / seconds)
    }

    /// Tokens per second of all sequences together, which are given back.
    fn decode(&mut self, mut sequences: Vec<Sequence>) -> anyhow::Result<f64> {
        let count = sequences.len();
        let inputs: Vec<Vec<TokenId>> = (0..self.decode).map(|_| self.tokens(count)).collect();
        let began = Instant::now();
        for tokens in &inputs {
            self.step(&mut sequences, tokens)?;
        }
        let seconds = began.elapsed().as_secs_f64();
        for sequence in sequences {
            self.cache.release(sequence);
        }
        Ok((count * self.decode) as f64 / seconds)
    }

    /// One token for each sequence, with the logits of each.
    fn step(&mut self, sequences: &mut [Sequence], tokens: &[TokenId]) -> anyhow::Result<()> {
        let mut steps: Vec<Step<'_>> = sequences
            .iter_mut()
            .zip(tokens.chunks(1))
            .map(|(sequence, tokens)| Step {
                sequence,
                tokens,
                outputs: Outputs::Last,
            })
            .collect();
        self.pass(&mut steps)
    }

    /// Appends tokens, cut into passes, up to the logits of the last one.
    fn feed(&mut self, sequence: &mut Sequence, tokens: &[TokenId]) -> anyhow::Result<()> {
        let passes = tokens.len().div_ceil(PASS_TOKENS);
        for (pass, tokens) in tokens.chunks(PASS_TOKENS).enumerate() {
            let outputs = if pass + 1 == passes {
                Outputs::Last
            } else {
                Outputs::None
            };
            self.pass(&mut [Step {
                sequence,
                tokens,
                outputs,
            }])?;
        }
        Ok(())
    }

    fn pass(&mut self, steps: &mut [Step<'_>]) -> anyhow::Result<()> {
        let model = self.engine.model();
        let ranges = model.forward(self.pool, &mut self.cache, &mut self.workspace, steps)?;
        let rows: Vec<usize> = ranges.into_iter().flatten().collect();
        if !rows.is_empty() {
            std::hint::black_box(model.logits(self.pool, &mut self.workspace, &rows));
        }
        Ok(())
    }

    /// A sequence behind `depth` tokens.
    fn context(&mut self, depth: usize) -> anyhow::Result<Sequence> {
        if !self.contexts.contains_key(&depth) {
            let tokens = self.tokens(depth);
            let mut sequence = Sequence::default();
            self.feed(&mut sequence, &tokens)?;
            self.contexts.insert(depth, sequence);
        }
        Ok(self.cache.fork(&self.contexts[&depth], depth))
    }

    /// Asks for `max_tokens` of each of several requests that share a prefix; gives the tokens
    /// that came and the seconds that it took.
    fn ask(
        &mut self,
        prefix: &str,
        clients: usize,
        max_tokens: usize,
        cancel: &Cancel,
    ) -> anyhow::Result<(usize, f64)> {
        let requests: Vec<GenerateRequest> = (0..clients)
            .map(|_| GenerateRequest {
                prompt: Prompt::Plain(format!("{prefix}{}", self.text(SUFFIX_TOKENS))),
                max_tokens,
                sampling: Sampling::GREEDY,
                logit_bias: Vec::new(),
                stop: Vec::new(),
                constraint: None,
                decoding: Decoding {
                    lookup_tokens: 0,
                    ..Decoding::default()
                },
                attention: AttentionPolicy::Full,
                adapter: None,
            })
            .collect();
        let began = Instant::now();
        let answers = self.engine.generate(&requests, cancel, &mut |_, _| {});
        let seconds = began.elapsed().as_secs_f64();
        let answers: Vec<Completion> = answers.into_iter().collect::<Result<_, _>>()?;
        let tokens = answers.iter().map(|answer| answer.tokens.len()).sum();
        anyhow::ensure!(tokens > 0, "the model ended every request at once");
        Ok((tokens, seconds))
    }

    fn tokens(&mut self, count: usize) -> Vec<TokenId> {
        let vocabulary = self.engine.model().config().vocabulary as TokenId;
        (0..count)
            .map(|_| self.random.random_range(0..vocabulary))
            .collect()
    }

    /// Random words of letters that make about `count` tokens, never more.
    fn text(&mut self, count: usize) -> String {
        let tokenizer = self.engine.tokenizer();
        let mut text = String::new();
        loop {
            let letters = self.random.random_range(2..8);
            let word: String = (0..letters)
                .map(|_| self.random.random_range('a'..='z'))
                .collect();
            let longer = format!("{text} {word}");
            if tokenizer.encode(&longer, Specials::AsText).len() > count {
                return text;
            }
            text = longer;
        }
    }
}
