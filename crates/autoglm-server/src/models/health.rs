//! Whether a candidate may take a version's place: it must answer, with finite numbers, about as
//! fast as the live version, and expect about the same next tokens.

use std::collections::BTreeMap;
use std::time::Duration;

use autoglm_spec::{
    AttentionPolicy, Cancel, Completion, Decoding, EngineError, GenerateRequest, Prompt, Sampling,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::ServerError;
use crate::backend::{Backend, Skill};

/// What both versions are given: English, Chinese, numbers, code.
const PROBES: [&str; 6] = [
    "The committee will meet on Thursday morning to decide whether the old bridge can be repaired.",
    "Please send me the invoice again, because the first one has never arrived at our office.",
    "今天下午我们一起去图书馆，把上个月借的书还掉，然后再去吃饭。",
    "这家店的衣服质量很好，价格也不贵，快递三天就到了。",
    "1 + 1 = 2, 2 + 2 = 4, 4 + 4 = 8, 8 + 8 = 16, 16 + 16 = 32",
    "def total(prices):\n    result = 0\n    for price in prices:\n        result += price\n    return result",
];

/// Places of each probe at which the next token's distributions are compared.
const PLACES: usize = 4;

/// Tokens that each probe is continued by, to see how long they take.
const PROBE_TOKENS: usize = 16;

/// Seconds that a token takes at least: below that, what else the machine does is what is measured.
const LEAST_TOKEN_SECONDS: f64 = 0.001;

/// How far a candidate may be from the live version.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HealthLimits {
    /// How many times as long it may take.
    pub latency_ratio: f64,
    /// The mean divergence of its next tokens from the live version's, in nats.
    pub shift_nats: f64,
}

impl Default for HealthLimits {
    /// The same weights in four bits are about 0.1 nats from those in sixteen (`docs/quantization.md`),
    /// another model is nats away.
    fn default() -> Self {
        Self {
            latency_ratio: 3.0,
            shift_nats: 0.5,
        }
    }
}

/// What an examination found.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Health {
    /// How many times as long as the live version it took.
    latency_ratio: f64,
    /// The mean divergence of its next tokens from the live version's, in nats.
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
            "the divergence of its next tokens from the live version's in nats",
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
    let (Skill::Write(candidate), Skill::Write(live)) = (candidate, live) else {
        still_answers(candidate, live)?;
        return Ok(Health {
            latency_ratio: 1.0,
            shift_nats: 0.0,
        });
    };
    let (theirs, their_time) = continuations(&**live)?;
    let (ours, our_time) = examine_writer(&**candidate, &**live)?;
    Ok(Health {
        latency_ratio: per_token(&ours, our_time) / per_token(&theirs, their_time),
        shift_nats: shift(&**candidate, &**live)?,
    })
}

/// Checks that a version that was examined before answers and does what another one does, which is
/// asked for nothing. Blocks.
///
/// # Errors
/// As for [`examine`].
pub(crate) fn still_answers(candidate: &Skill, other: &Skill) -> Result<(), ServerError> {
    match (candidate, other) {
        (Skill::Write(candidate), Skill::Write(other)) => {
            examine_writer(&**candidate, &**other).map(drop)
        }
        (Skill::Embed(candidate), Skill::Embed(other)) => {
            if candidate.space().dimensions != other.space().dimensions {
                return unhealthy("its vectors have another length");
            }
            let vectors = candidate.embed(&PROBES, &Cancel::default());
            let vectors: Vec<_> = vectors.into_iter().collect::<Result<_, _>>()?;
            let finite = |vector: &[f32]| vector.iter().all(|x| x.is_finite());
            if !vectors.iter().all(|found| finite(&found.vector)) {
                return unhealthy("its vectors hold numbers that are none");
            }
            Ok(())
        }
        _ => unhealthy("it does something else than the live version"),
    }
}

/// How a candidate continues the probes, which must be with finite numbers, and how long it takes.
fn examine_writer(
    candidate: &dyn Backend,
    live: &dyn Backend,
) -> Result<(Vec<Completion>, Duration), ServerError> {
    if live.facts().chat && !candidate.facts().chat {
        return unhealthy("it has no chat template, and the live version has one");
    }
    let (ours, our_time) = continuations(candidate)?;
    let all = ours.iter().flat_map(|completion| &completion.logprobs);
    if all.clone().any(|p| !p.is_finite()) || all.count() == 0 {
        return unhealthy("it gives no probabilities, or numbers that are none");
    }
    Ok((ours, our_time))
}

/// How a version continues the probes, and how long it takes once it has done it before.
fn continuations(backend: &dyn Backend) -> Result<(Vec<Completion>, Duration), ServerError> {
    let requests = PROBES.map(|text| probe(text, PROBE_TOKENS));
    ask(backend, &requests)?;
    let begun = Instant::now();
    let completions = ask(backend, &requests)?;
    Ok((completions, begun.elapsed()))
}

fn ask(
    backend: &dyn Backend,
    requests: &[GenerateRequest],
) -> Result<Vec<Completion>, ServerError> {
    let results = backend.generate(requests, &Cancel::default(), &mut |_, _| {});
    let failed = |error: EngineError| ServerError::Unhealthy {
        what: format!("a probe was not answered: {error}"),
    };
    let all: Result<Vec<_>, _> = results.into_iter().collect();
    all.map_err(failed)
}

fn probe(text: &str, max_tokens: usize) -> GenerateRequest {
    GenerateRequest {
        prompt: Prompt::Plain(text.to_owned()),
        max_tokens,
        sampling: Sampling::GREEDY,
        logit_bias: Vec::new(),
        stop: Vec::new(),
        constraint: None,
        decoding: Decoding {
            top_logprobs: Decoding::MAX_TOP_LOGPROBS,
            ..Decoding::default()
        },
        attention: AttentionPolicy::Full,
        adapter: None,
    }
}

fn per_token(completions: &[Completion], took: Duration) -> f64 {
    let tokens: usize = completions.iter().map(|c| c.logprobs.len()).sum();
    (took.as_secs_f64() / tokens.max(1) as f64).max(LEAST_TOKEN_SECONDS)
}

/// The mean divergence of a candidate's next tokens from the live version's.
fn shift(candidate: &dyn Backend, live: &dyn Backend) -> Result<f64, ServerError> {
    let cut = |text: &'static str, place: usize| {
        let chars = text.chars().count() * place / PLACES;
        text.chars().take(chars).collect::<String>()
    };
    let places = PROBES
        .iter()
        .flat_map(|text| (1..=PLACES).map(move |place| cut(text, place)));
    let requests: Vec<GenerateRequest> = places.map(|text| probe(&text, 1)).collect();
    let theirs = ask(live, &requests)?;
    let ours = ask(candidate, &requests)?;
    let pairs = theirs.iter().zip(&ours);
    let divergences: Vec<f64> = pairs
        .filter_map(|(theirs, ours)| {
            let theirs = distribution(live, theirs)?;
            Some(divergence(&theirs, &distribution(candidate, ours)?))
        })
        .collect();
    Ok(divergences.iter().sum::<f64>() / divergences.len().max(1) as f64)
}

/// The likeliest next tokens by their bytes, since vocabularies may differ; none where the model
/// ends at once.
fn distribution(backend: &dyn Backend, next: &Completion) -> Option<BTreeMap<Vec<u8>, f64>> {
    let top = next.top.first()?.iter();
    Some(
        top.map(|&(id, logprob)| (backend.token_bytes(id), f64::from(logprob)))
            .collect(),
    )
}

/// `Σ p·(ln p − ln q)` over the likeliest tokens of `p` (Kullback, Leibler 1951). A token that is
/// not among those of `q` counts as likely as the least of them, so that this is a lower bound.
fn divergence(p: &BTreeMap<Vec<u8>, f64>, q: &BTreeMap<Vec<u8>, f64>) -> f64 {
    let least = q.values().copied().fold(f64::INFINITY, f64::min);
    let terms = p.iter().map(|(token, log_p)| {
        let log_q = q.get(token).copied().unwrap_or(least);
        log_p.exp() * (log_p - log_q)
    });
    terms.sum::<f64>().max(0.0)
}

fn unhealthy<T>(what: &str) -> Result<T, ServerError> {
    Err(ServerError::Unhealthy {
        what: what.to_owned(),
    })
}
