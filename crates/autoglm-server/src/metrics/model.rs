//! What is counted of one model, under vLLM's names.

use std::time::Duration;

use prometheus::{GaugeVec, Histogram, HistogramVec, IntCounter, IntCounterVec};

use super::buckets;
use super::catalogue::Catalogue;

/// The labels of every instrument of a model. vLLM tells its engines apart by number; here a model
/// has one.
pub(super) const MODEL: &[&str] = &["model_name", "engine"];
/// The number of a model's only engine.
pub(super) const ENGINE: &str = "0";

/// How an answer ended, in vLLM's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Finish {
    /// By itself.
    Stop,
    /// At its limit of tokens.
    Length,
    /// Because nobody wanted it any more.
    Abort,
    /// By an error.
    Error,
}

impl Finish {
    const ALL: [Self; 4] = [Self::Stop, Self::Length, Self::Abort, Self::Error];

    /// The word.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Length => "length",
            Self::Abort => "abort",
            Self::Error => "error",
        }
    }
}

/// One answer of a model, when it has ended.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Answered {
    /// How.
    pub(crate) finish: Finish,
    /// From the arrival of its request.
    pub(crate) whole: Duration,
    /// Of these, in the queue.
    pub(crate) queued: Duration,
    /// Of these, until its first token; none where it has none.
    pub(crate) prefill: Option<Duration>,
    /// Of these, from the first token on.
    pub(crate) decode: Option<Duration>,
    /// Tokens of the prompt.
    pub(crate) prompt_tokens: usize,
    /// Tokens of the answer.
    pub(crate) generated_tokens: usize,
    /// Tokens that it might have had.
    pub(crate) max_tokens: usize,
}

/// The instruments of all models.
pub(super) struct ModelFamilies {
    success: IntCounterVec,
    prompt_tokens: IntCounterVec,
    cached_tokens: IntCounterVec,
    generated_tokens: IntCounterVec,
    prefix_queries: IntCounterVec,
    prefix_hits: IntCounterVec,
    first_token: HistogramVec,
    between_tokens: [HistogramVec; 2],
    per_token: HistogramVec,
    whole: HistogramVec,
    queue: HistogramVec,
    inference: HistogramVec,
    prefill: HistogramVec,
    decode: HistogramVec,
    prompt: HistogramVec,
    generation: HistogramVec,
    choices: HistogramVec,
    max_tokens: HistogramVec,
    /// Requests that the engine works on.
    pub(super) running: GaugeVec,
    /// Requests that wait.
    pub(super) waiting: GaugeVec,
    /// How full the cache is.
    pub(super) cache_usage: GaugeVec,
}

/// The instruments of one model.
pub(crate) struct ModelMetrics {
    success: Vec<IntCounter>,
    prompt_tokens: IntCounter,
    cached_tokens: IntCounter,
    generated_tokens: IntCounter,
    prefix_queries: IntCounter,
    prefix_hits: IntCounter,
    first_token: Histogram,
    between_tokens: [Histogram; 2],
    per_token: Histogram,
    whole: Histogram,
    queue: Histogram,
    inference: Histogram,
    prefill: Histogram,
    decode: Histogram,
    prompt: Histogram,
    generation: Histogram,
    choices: Histogram,
    max_tokens: Histogram,
}

impl ModelFamilies {
    /// Makes the instruments. `most_tokens` is what the largest context holds.
    pub(super) fn new(made: &mut Catalogue, most_tokens: usize) -> Self {
        const REASON: &[&str] = &["model_name", "engine", "finished_reason"];
        let tokens = buckets::tokens(most_tokens);
        let mut seconds = |named, bounds| made.histogram(named, MODEL, bounds);
        let first_token = seconds(FIRST_TOKEN, buckets::FIRST_TOKEN_SECONDS);
        let between_tokens = [BETWEEN_TOKENS, BETWEEN_TOKENS_ONCE]
            .map(|named| seconds(named, buckets::TOKEN_SECONDS));
        let per_token = seconds(PER_TOKEN, buckets::TOKEN_SECONDS);
        let [whole, queue, inference, prefill, decode] =
            STAGES.map(|named| seconds(named, buckets::REQUEST_SECONDS));
        let [prompt, generation, max_tokens] =
            LENGTHS.map(|named| made.histogram(named, MODEL, &tokens));
        Self {
            success: made.counter(SUCCESS, REASON),
            prompt_tokens: made.counter(PROMPT_TOKENS, MODEL),
            cached_tokens: made.counter(CACHED_TOKENS, MODEL),
            generated_tokens: made.counter(GENERATED_TOKENS, MODEL),
            prefix_queries: made.counter(PREFIX_QUERIES, MODEL),
            prefix_hits: made.counter(PREFIX_HITS, MODEL),
            choices: made.histogram(CHOICES, MODEL, buckets::CHOICES),
            running: made.gauge(RUNNING, MODEL),
            waiting: made.gauge(WAITING, MODEL),
            cache_usage: made.gauge(CACHE_USAGE, MODEL),
            first_token,
            between_tokens,
            per_token,
            whole,
            queue,
            inference,
            prefill,
            decode,
            prompt,
            generation,
            max_tokens,
        }
    }

    /// The instruments of a model.
    pub(super) fn of(&self, model: &str) -> ModelMetrics {
        let labels = [model, ENGINE];
        let counter = |family: &IntCounterVec| family.with_label_values(&labels);
        let histogram = |family: &HistogramVec| family.with_label_values(&labels);
        let reasons = Finish::ALL.iter();
        let success = reasons.map(|finish| {
            let labels = [model, ENGINE, finish.word()];
            self.success.with_label_values(&labels)
        });
        ModelMetrics {
            success: success.collect(),
            prompt_tokens: counter(&self.prompt_tokens),
            cached_tokens: counter(&self.cached_tokens),
            generated_tokens: counter(&self.generated_tokens),
            prefix_queries: counter(&self.prefix_queries),
            prefix_hits: counter(&self.prefix_hits),
            first_token: histogram(&self.first_token),
            between_tokens: [0, 1].map(|index| histogram(&self.between_tokens[index])),
            per_token: histogram(&self.per_token),
            whole: histogram(&self.whole),
            queue: histogram(&self.queue),
            inference: histogram(&self.inference),
            prefill: histogram(&self.prefill),
            decode: histogram(&self.decode),
            prompt: histogram(&self.prompt),
            generation: histogram(&self.generation),
            choices: histogram(&self.choices),
            max_tokens: histogram(&self.max_tokens),
        }
    }
}

impl ModelMetrics {
    /// A first token, so long after the arrival of its request.
    pub(crate) fn first_token(&self, after: Duration) {
        self.first_token.observe(after.as_secs_f64());
    }

    /// A later token, or several that came together, so long after what came before.
    pub(crate) fn later_token(&self, after: Duration) {
        for histogram in &self.between_tokens {
            histogram.observe(after.as_secs_f64());
        }
    }

    /// Tokens of answers.
    pub(crate) fn generated(&self, tokens: usize) {
        self.generated_tokens.inc_by(tokens as u64);
    }

    /// Tokens of a prompt, and how many of them the cache had.
    pub(crate) fn read(&self, tokens: usize, cached: usize) {
        self.prompt_tokens.inc_by(tokens as u64);
        self.cached_tokens.inc_by(cached as u64);
        self.prefix_queries.inc_by(tokens as u64);
        self.prefix_hits.inc_by(cached as u64);
    }

    /// A call that asks for so many answers.
    pub(crate) fn asked(&self, choices: usize) {
        self.choices.observe(choices as f64);
    }

    /// An answer has ended.
    pub(crate) fn answered(&self, answer: &Answered) {
        self.success[answer.finish as usize].inc();
        if matches!(answer.finish, Finish::Error) {
            return;
        }
        self.whole.observe(answer.whole.as_secs_f64());
        self.queue.observe(answer.queued.as_secs_f64());
        self.prompt.observe(answer.prompt_tokens as f64);
        self.generation.observe(answer.generated_tokens as f64);
        self.max_tokens.observe(answer.max_tokens as f64);
        let (Some(prefill), Some(decode)) = (answer.prefill, answer.decode) else {
            return;
        };
        self.prefill.observe(prefill.as_secs_f64());
        self.decode.observe(decode.as_secs_f64());
        self.inference.observe((prefill + decode).as_secs_f64());
        if answer.generated_tokens > 1 {
            let steps = (answer.generated_tokens - 1) as f64;
            self.per_token.observe(decode.as_secs_f64() / steps);
        }
    }
}

type Named = super::catalogue::Named;

const RUNNING: Named = (
    "vllm:num_requests_running",
    "Requests that the model works on.",
);
const WAITING: Named = (
    "vllm:num_requests_waiting",
    "Requests that wait for the model: in the server's queue, or for room in its cache.",
);
const CACHE_USAGE: Named = (
    "vllm:kv_cache_usage_perc",
    "How full the key/value cache is with what requests use; 1 is full.",
);
const SUCCESS: Named = (
    "vllm:request_success_total",
    "Answers that have ended, by how they ended.",
);
const PROMPT_TOKENS: Named = ("vllm:prompt_tokens_total", "Tokens of prompts.");
const CACHED_TOKENS: Named = (
    "vllm:prompt_tokens_cached_total",
    "Tokens of prompts that the cache had.",
);
const GENERATED_TOKENS: Named = ("vllm:generation_tokens_total", "Tokens of answers.");
const PREFIX_QUERIES: Named = (
    "vllm:prefix_cache_queries_total",
    "Tokens of prompts that were looked up in the cache.",
);
const PREFIX_HITS: Named = (
    "vllm:prefix_cache_hits_total",
    "Tokens of prompts that were found in the cache.",
);
const FIRST_TOKEN: Named = (
    "vllm:time_to_first_token_seconds",
    "From the arrival of a request to the first token of its answer.",
);
const BETWEEN_TOKENS: Named = (
    "vllm:inter_token_latency_seconds",
    "From one piece of an answer to the next; a piece is a token, or several of one step.",
);
const BETWEEN_TOKENS_ONCE: Named = (
    "vllm:time_per_output_token_seconds",
    "The same as vllm:inter_token_latency_seconds, under the name that it had before.",
);
const PER_TOKEN: Named = (
    "vllm:request_time_per_output_token_seconds",
    "Mean time of a token behind the first, one value an answer.",
);
const STAGES: [Named; 5] = [
    (
        "vllm:e2e_request_latency_seconds",
        "From the arrival of a request to the end of its answer.",
    ),
    ("vllm:request_queue_time_seconds", "In the server's queue."),
    (
        "vllm:request_inference_time_seconds",
        "From the beginning of a model's work on an answer to its end.",
    ),
    (
        "vllm:request_prefill_time_seconds",
        "From the beginning of a model's work on an answer to its first token.",
    ),
    (
        "vllm:request_decode_time_seconds",
        "From the first token of an answer to its end.",
    ),
];
const LENGTHS: [Named; 3] = [
    ("vllm:request_prompt_tokens", "Tokens of a prompt."),
    ("vllm:request_generation_tokens", "Tokens of an answer."),
    (
        "vllm:request_params_max_tokens",
        "Tokens that an answer may have at most.",
    ),
];
const CHOICES: Named = (
    "vllm:request_params_n",
    "Answers that are asked for in one call of a model.",
);
