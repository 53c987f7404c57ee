//! A scripted model that moves the clock, behind a real server on loopback, and a client.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use autoglm_server::{
    AdmissionLimits, App, Backend, Clock, ConnectionLimits, Load, Loaded, LogRecord, LogSink,
    OtlpSettings, Reading, Settings, Skill, Surroundings, Talk, Telemetry, TelemetrySettings,
    Version, router, serve,
};
use autoglm_spec::{
    Cancel, Completion, Delta, Embed, Embedding, EmbeddingSpace, EngineError, FinishReason,
    Generate, GenerateRequest, ModelFacts, OptionScore, Prompt, Score, ScoreRequest, Scoring,
    Similarity, Usage,
};
use autoglm_token::{AnswerParser, TokenId};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

/// When every request comes, by the calendar.
pub(crate) const EPOCH_SECONDS: u64 = 1_800_000_000;
/// From the beginning of an answer to its first token.
pub(crate) const PREFILL: Duration = Duration::from_millis(200);
/// From one token to the next.
pub(crate) const STEP: Duration = Duration::from_millis(50);

/// A clock that is moved by hand.
#[derive(Clone, Default)]
pub(crate) struct Hand(Arc<AtomicU64>);

impl Hand {
    pub(crate) fn advance(&self, time: Duration) {
        let micros = u64::try_from(time.as_micros()).unwrap();
        self.0.fetch_add(micros, Ordering::SeqCst);
    }

    fn clock(&self) -> Clock {
        let now = Arc::clone(&self.0);
        Clock::of(move || Duration::from_micros(now.load(Ordering::SeqCst)))
    }
}

/// A door that a model stands before until it is opened.
#[derive(Default)]
pub(crate) struct Gate {
    is_shut: Mutex<bool>,
    changed: Condvar,
}

impl Gate {
    pub(crate) fn shut(&self) {
        *self.is_shut.lock().unwrap() = true;
    }

    pub(crate) fn open(&self) {
        *self.is_shut.lock().unwrap() = false;
        self.changed.notify_all();
    }

    fn pass(&self) {
        let is_shut = self.is_shut.lock().unwrap();
        drop(self.changed.wait_while(is_shut, |shut| *shut).unwrap());
    }
}

/// A model whose tokens are characters. It answers with the prompt; a prompt that begins with
/// `fail` fails it, and four tokens of every prompt are in its cache.
pub(crate) struct Scripted {
    facts: ModelFacts,
    pub(crate) hand: Hand,
    pub(crate) gate: Gate,
    /// Calls that have begun.
    pub(crate) begun: AtomicUsize,
    pub(crate) load: Mutex<Load>,
}

impl Scripted {
    fn write(
        &self,
        index: usize,
        request: &GenerateRequest,
        cancel: &Cancel,
        on_delta: &mut dyn FnMut(usize, &Delta),
    ) -> Result<Completion, EngineError> {
        let Prompt::Tokens(prompt) = &request.prompt else {
            unreachable!("the server encodes prompts");
        };
        let text: String = prompt.iter().filter_map(|&id| char::from_u32(id)).collect();
        if text.starts_with("fail") {
            return Err(EngineError::BadRequest {
                field: "prompt",
                given: "fail".to_owned(),
                wanted: "something else",
            });
        }
        let mut tokens = Vec::new();
        for &token in prompt.iter().take(request.max_tokens) {
            self.gate.pass();
            if cancel.is_cancelled() {
                break;
            }
            self.hand
                .advance(if tokens.is_empty() { PREFILL } else { STEP });
            tokens.push(token);
            on_delta(
                index,
                &Delta {
                    text: char::from_u32(token).unwrap().to_string(),
                    tokens: vec![token],
                    ..Delta::default()
                },
            );
        }
        let finish = match () {
            () if cancel.is_cancelled() => FinishReason::Cancelled,
            () if tokens.len() < prompt.len() => FinishReason::Length,
            () => FinishReason::Stop,
        };
        Ok(Completion {
            text: tokens.iter().filter_map(|&id| char::from_u32(id)).collect(),
            usage: Usage {
                prompt_tokens: prompt.len(),
                cached_tokens: prompt.len().min(4),
                completion_tokens: tokens.len(),
                compute: Duration::ZERO,
            },
            tokens,
            logprobs: Vec::new(),
            top: Vec::new(),
            finish,
        })
    }
}

impl Generate for Scripted {
    fn facts(&self) -> &ModelFacts {
        &self.facts
    }

    fn generate(
        &self,
        requests: &[GenerateRequest],
        cancel: &Cancel,
        on_delta: &mut dyn FnMut(usize, &Delta),
    ) -> Vec<Result<Completion, EngineError>> {
        self.begun.fetch_add(1, Ordering::SeqCst);
        let numbered = requests.iter().enumerate();
        numbered
            .map(|(index, request)| self.write(index, request, cancel, on_delta))
            .collect()
    }
}

impl Score for Scripted {
    fn score(&self, requests: &[ScoreRequest], _: &Cancel) -> Vec<Result<Scoring, EngineError>> {
        self.hand.advance(PREFILL);
        let one = |request: &ScoreRequest| {
            let option = OptionScore {
                logprob: 0.5_f32.ln(),
                tokens: 1,
            };
            Ok(Scoring {
                options: vec![option; request.options.len()],
                states: Vec::new(),
                usage: Usage {
                    prompt_tokens: 10,
                    cached_tokens: 6,
                    ..Usage::default()
                },
            })
        };
        requests.iter().map(one).collect()
    }
}

impl Backend for Scripted {
    fn read(&self, talk: &Talk) -> Result<Reading, EngineError> {
        let text: String = talk.messages.iter().map(|m| m.content.as_str()).collect();
        Ok(Reading {
            tokens: self.encode_text(&text),
            parser: AnswerParser::new(None, &[], false),
            constraint: None,
        })
    }

    fn encode(&self, prompt: &Prompt) -> Result<Vec<TokenId>, EngineError> {
        Ok(self.encode_text(&prompt.display_text()))
    }

    fn encode_text(&self, text: &str) -> Vec<TokenId> {
        text.chars().map(|char| char as u32).collect()
    }

    fn token_bytes(&self, token: TokenId) -> Vec<u8> {
        let char = char::from_u32(token).unwrap();
        char.to_string().into_bytes()
    }

    fn load(&self) -> Load {
        *self.load.lock().unwrap()
    }
}

/// A model of vectors, of which each text takes five tokens.
struct Vectors(EmbeddingSpace);

impl Embed for Vectors {
    fn space(&self) -> &EmbeddingSpace {
        &self.0
    }

    fn embed(&self, texts: &[&str], _: &Cancel) -> Vec<Result<Embedding, EngineError>> {
        let one = |_: &&str| {
            Ok(Embedding {
                vector: vec![1.0],
                tokens: 5,
                cut_tokens: 0,
            })
        };
        texts.iter().map(one).collect()
    }
}

/// How a server is set up.
#[derive(Default)]
pub(crate) struct Setup {
    pub(crate) admission: AdmissionLimits,
    pub(crate) telemetry: TelemetrySettings,
    pub(crate) export: Option<OtlpSettings>,
    /// A sink beside the one that keeps records.
    pub(crate) log: Option<LogSink>,
}

/// A server that runs until it is dropped.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) app: Arc<App>,
    pub(crate) model: Arc<Scripted>,
    pub(crate) records: Arc<Mutex<Vec<LogRecord>>>,
    runtime: Option<Runtime>,
    stop: Option<oneshot::Sender<()>>,
}

/// Serves a model called `tiny` and one of vectors called `vectors`.
pub(crate) fn start(setup: Setup) -> Server {
    let hand = Hand::default();
    let model = Arc::new(Scripted {
        facts: ModelFacts {
            name: "tiny-q4_0".to_owned(),
            context_tokens: 1_000,
            chat: true,
        },
        hand: hand.clone(),
        gate: Gate::default(),
        begun: AtomicUsize::new(0),
        load: Mutex::default(),
    });
    let records = Arc::<Mutex<Vec<LogRecord>>>::default();
    let telemetry = Telemetry {
        settings: setup.telemetry,
        export: setup.export,
        log: Some(keeping(&records, setup.log)),
        clock: hand.clock(),
    };
    let settings = Settings {
        admission: setup.admission,
        ..Settings::default()
    };
    let models = vec![
        served("tiny", Skill::Write(Arc::clone(&model) as Arc<dyn Backend>)),
        served("vectors", Skill::Embed(Arc::new(Vectors(space())))),
    ];
    let app = Arc::new(App::observed(models, settings, surroundings(), telemetry));
    let runtime = Runtime::new().unwrap();
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let routes = router(Arc::clone(&app));
    let metrics = Arc::clone(app.metrics());
    let limits = ConnectionLimits::default();
    runtime.spawn(serve(listener, routes, metrics, limits, async move {
        // A server that is dropped stops, too.
        let _ = stopped.await;
    }));
    Server {
        address,
        app,
        model,
        records,
        runtime: Some(runtime),
        stop: Some(stop),
    }
}

fn space() -> EmbeddingSpace {
    EmbeddingSpace {
        name: "vectors-f32".to_owned(),
        dimensions: 1,
        max_tokens: 100,
        similarity: Similarity::Cosine,
    }
}

fn served(name: &str, skill: Skill) -> Version {
    let identity = name.to_owned();
    Version::first(
        name,
        name,
        Loaded {
            content: identity.clone(),
            identity,
            skill,
        },
        UNIX_EPOCH,
    )
}

/// Time stands still by the calendar, and random numbers are 1, 2, 3, …, spread over all bits.
fn surroundings() -> Surroundings {
    let numbers = AtomicU64::new(1);
    Surroundings {
        now: Arc::new(epoch),
        random: Arc::new(move || {
            let number = numbers.fetch_add(1, Ordering::Relaxed);
            number.wrapping_mul(0x9e37_79b9_7f4a_7c15)
        }),
    }
}

pub(crate) fn epoch() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(EPOCH_SECONDS)
}

fn keeping(records: &Arc<Mutex<Vec<LogRecord>>>, beside: Option<LogSink>) -> LogSink {
    let records = Arc::clone(records);
    Arc::new(move |record| {
        if let Some(beside) = &beside {
            beside(record);
        }
        records.lock().unwrap().push(record.clone());
    })
}

/// An answer.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) text: String,
    pub(crate) trace: Option<String>,
}

impl Server {
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Asks, and waits until the server is done with the request, too.
    pub(crate) fn post(&self, path: &str, body: &Value) -> Answer {
        self.post_with(path, body, &[])
    }

    pub(crate) fn post_with(&self, path: &str, body: &Value, headers: &[(&str, &str)]) -> Answer {
        let before = self.ended();
        let answer = send(&self.url(path), body, headers);
        self.until_ended(before + 1);
        answer
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        let before = self.ended();
        let answer = read(agent().get(self.url(path)).call());
        self.until_ended(before + 1);
        answer
    }

    /// Requests that have come to their end.
    pub(crate) fn ended(&self) -> usize {
        self.records.lock().unwrap().len()
    }

    pub(crate) fn until_ended(&self, requests: usize) {
        until("requests have ended", || self.ended() >= requests);
    }

    /// The record of the last request that has ended.
    pub(crate) fn last_record(&self) -> LogRecord {
        self.records.lock().unwrap().last().unwrap().clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.model.gate.open();
        drop(self.stop.take());
        let runtime = self.runtime.take().unwrap();
        runtime.shutdown_timeout(Duration::from_secs(5));
    }
}

/// Waits for something that is bound to come.
pub(crate) fn until(what: &str, is_so: impl Fn() -> bool) {
    for _ in 0..3_000 {
        if is_so() {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("{what}: not within 30 s");
}

pub(crate) fn agent() -> ureq::Agent {
    let config = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(Duration::from_mins(1)));
    config.build().into()
}

pub(crate) fn send(url: &str, body: &Value, headers: &[(&str, &str)]) -> Answer {
    let mut request = agent().post(url).header("content-type", "application/json");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    read(request.send(body.to_string()))
}

fn read(response: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Answer {
    let mut response = response.unwrap();
    let trace = response.headers().get("traceresponse");
    Answer {
        status: response.status().as_u16(),
        trace: trace.map(|trace| trace.to_str().unwrap().to_owned()),
        text: response.body_mut().read_to_string().unwrap(),
    }
}

/// The body of a request to continue a text.
pub(crate) fn completion(prompt: &str, stream: bool) -> Value {
    json!({"model": "tiny", "prompt": prompt, "max_tokens": 100, "stream": stream, "seed": 7})
}

/// The body of a request to answer in a conversation.
pub(crate) fn chat(content: &str, stream: bool) -> Value {
    json!({
        "model": "tiny",
        "messages": [{"role": "user", "content": content}],
        "stream": stream,
        "seed": 7,
    })
}
