//! Whether a candidate may take a version's place: it must answer, with finite numbers, about as
//! fast as the live version, and find about as likely what the live version says.

use std::time::Duration;

use autoglm_spec::{
    AttentionPolicy, Cancel, Completion, Decoding, EngineError, GenerateRequest, Normalise, Prompt,
    Sampling, ScoreRequest,
};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::ServerError;
use crate::backend::{Backend, Skill};

/// What both versions are given: English, Chinese, numbers, code.
const PROBES: [&str; 6] = [
    "The capital of France is",
    "List three fruits:",
    "今天天气很好，我们一起去",
    "中国的首都是",
    "1 + 1 = 2, 2 + 2 =",
    "def add(a, b):\n    return",
];

/// Tokens that each probe is continued by.
const PROBE_TOKENS: usize = 16;

/// How far a candidate may be from the live version.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HealthLimits {
    /// How many times as long it may take.
    pub latency_ratio: f64,
    /// Nats a token by which it may find the live version's answers less likely, in the mean.
    pub shift_nats: f64,
}

impl Default for HealthLimits {
    /// A candidate of the same weights in another format is within 0.2 nats; one that has learnt
    /// something else is not.
    fn default() -> Self {
        Self {
            latency_ratio: 3.0,
            shift_nats: 1.0,
        }
    }
}

/// What an examination found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Health {
    /// How many times as long as the live version it took.
    latency_ratio: f64,
    /// Nats a token by which it finds the live version's answers less likely.
    shift_nats: f64,
}

impl Health {
    pub(crate) fn told(self) -> Value {
        json!({"latency_ratio": self.latency_ratio, "shift_nats": self.shift_nats})
    }

    /// Checks it against limits.
    ///
    /// # Errors
    /// [`ServerError::Unhealthy`].
    pub(crate) fn check(self, limits: HealthLimits) -> Result<(), ServerError> {
        let check = |what, found: f64, limit: f64| {
            if found <= limit {
                return Ok(());
            }
            Err(ServerError::Unhealthy {
                what: format!("{what} is {found:.3}, the limit is {limit}"),
            })
        };
        check(
            "its time as a multiple of the live version's",
            self.latency_ratio,
            limits.latency_ratio,
        )?;
        check(
            "its distance from the live version in nats a token",
            self.shift_nats,
            limits.shift_nats,
        )
    }
}

/// Examines a candidate for the place of a live version. Blocks.
///
/// # Errors
/// [`ServerError::Unhealthy`] where it does not answer, gives numbers that are none, or does
/// something else than the live version.
pub(crate) fn examine(candidate: &Skill, live: &Skill) -> Result<Health, ServerError> {
    match (candidate, live) {
        (Skill::Write(candidate), Skill::Write(live)) => examine_writer(&**candidate, &**live),
        (Skill::Embed(candidate), Skill::Embed(live)) => {
            if candidate.space().dimensions != live.space().dimensions {
                return unhealthy("its vectors have another length");
            }
            let vectors = candidate.embed(&PROBES, &Cancel::default());
            let vectors: Vec<_> = vectors.into_iter().collect::<Result<_, _>>()?;
            let finite = |vector: &[f32]| vector.iter().all(|x| x.is_finite());
            if !vectors.iter().all(|found| finite(&found.vector)) {
                return unhealthy("its vectors hold numbers that are none");
            }
            Ok(Health {
                latency_ratio: 1.0,
                shift_nats: 0.0,
            })
        }
        _ => unhealthy("it does something else than the live version"),
    }
}

fn examine_writer(candidate: &dyn Backend, live: &dyn Backend) -> Result<Health, ServerError> {
    if live.facts().chat && !candidate.facts().chat {
        return unhealthy("it has no chat template, and the live version has one");
    }
    let (theirs, their_time) = answers(live)?;
    let (ours, our_time) = answers(candidate)?;
    let all = ours.iter().flat_map(|completion| &completion.logprobs);
    if all.clone().any(|p| !p.is_finite()) || all.count() == 0 {
        return unhealthy("it gives no probabilities, or numbers that are none");
    }
    Ok(Health {
        latency_ratio: per_token(&ours, our_time) / per_token(&theirs, their_time).max(1e-9),
        shift_nats: shift(candidate, &theirs)?,
    })
}

/// What a version says to the probes, and how long it takes once it has said it before.
fn answers(backend: &dyn Backend) -> Result<(Vec<Completion>, Duration), ServerError> {
    let requests = PROBES.map(probe);
    let ask = || backend.generate(&requests, &Cancel::default(), &mut |_, _| {});
    ask();
    let begun = Instant::now();
    let results = ask();
    let took = begun.elapsed();
    let failed = |error: EngineError| ServerError::Unhealthy {
        what: format!("a probe was not answered: {error}"),
    };
    let all: Result<Vec<_>, _> = results.into_iter().collect();
    Ok((all.map_err(failed)?, took))
}

fn probe(text: &str) -> GenerateRequest {
    GenerateRequest {
        prompt: Prompt::Plain(text.to_owned()),
        max_tokens: PROBE_TOKENS,
        sampling: Sampling::GREEDY,
        logit_bias: Vec::new(),
        stop: Vec::new(),
        constraint: None,
        decoding: Decoding::default(),
        attention: AttentionPolicy::Full,
        adapter: None,
    }
}

fn per_token(completions: &[Completion], took: Duration) -> f64 {
    let tokens: usize = completions.iter().map(|c| c.logprobs.len()).sum();
    took.as_secs_f64() / tokens.max(1) as f64
}

/// Nats a token by which a candidate finds the live version's answers less likely than that does.
fn shift(candidate: &dyn Backend, theirs: &[Completion]) -> Result<f64, ServerError> {
    let said = PROBES.iter().zip(theirs);
    let said: Vec<_> = said.filter(|(_, answer)| !answer.text.is_empty()).collect();
    let requests: Vec<ScoreRequest> = said
        .iter()
        .map(|(probe, answer)| ScoreRequest {
            prompt: Prompt::Plain((**probe).to_owned()),
            options: vec![answer.text.clone()],
            normalise: Normalise::Vocabulary,
            states: false,
            adapter: None,
        })
        .collect();
    let found = candidate.score(&requests, &Cancel::default());
    let mut ours = Mean::default();
    for scoring in found {
        let option = scoring?.options[0];
        ours.add(f64::from(option.logprob), option.tokens);
    }
    let mut live = Mean::default();
    for (_, answer) in said {
        let sum: f64 = answer.logprobs.iter().map(|&p| f64::from(p)).sum();
        live.add(sum, answer.logprobs.len());
    }
    Ok(live.value() - ours.value())
}

/// A mean over tokens.
#[derive(Default)]
struct Mean {
    sum: f64,
    tokens: usize,
}

impl Mean {
    fn add(&mut self, sum: f64, tokens: usize) {
        self.sum += sum;
        self.tokens += tokens;
    }

    fn value(&self) -> f64 {
        self.sum / self.tokens.max(1) as f64
    }
}

fn unhealthy<T>(what: &str) -> Result<T, ServerError> {
    Err(ServerError::Unhealthy {
        what: what.to_owned(),
    })
}
