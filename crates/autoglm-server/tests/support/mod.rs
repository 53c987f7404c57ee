//! A scripted model behind a real server on loopback, and a client.

#![allow(
    dead_code,
    clippy::allow_attributes,
    clippy::unwrap_used,
    clippy::unused_self,
    clippy::duration_suboptimal_units,
    unreachable_pub,
    missing_docs,
    reason = "each test file uses a part of it"
)]

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, UNIX_EPOCH};

use autoglm_server::{
    App, Backend, ConnectionLimits, Load, Loaded, Loader, Reading, ServerStore, Settings, Skill,
    StoreLimits, Surroundings, Talk, TaskDesk, ToolChoice, Version, router, serve,
};
use autoglm_spec::{
    Cancel, Completion, Delta, Embed, Embedding, EmbeddingSpace, EngineError, FinishReason,
    Generate, GenerateRequest, ModelFacts, OptionScore, Prompt, Score, ScoreRequest, Scoring,
    Similarity, Usage,
};
use autoglm_token::{AnswerParser, TokenId, ToolCallFormat};
use axum::Router;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

/// A model whose tokens are characters and whose answers are given.
pub struct Scripted {
    pub facts: ModelFacts,
    pub answer: Mutex<String>,
    /// Requests as they came.
    pub requests: Mutex<Vec<GenerateRequest>>,
    /// What the conversations said.
    pub talks: Mutex<Vec<Talk>>,
    /// Whether an answer goes on until it is cancelled.
    pub endless: bool,
    /// Answers that were cancelled.
    pub cancelled: AtomicUsize,
    /// How long a token takes.
    pub pace: Duration,
    /// The probability that is told of each token.
    pub likelihood: f32,
    /// Answers that fail, of the next ones.
    pub failing: AtomicUsize,
}

impl Scripted {
    /// A model that always answers this.
    pub fn answering(answer: &str) -> Self {
        Self {
            facts: ModelFacts {
                name: "scripted".to_owned(),
                context_tokens: 1_000,
                chat: true,
            },
            answer: Mutex::new(answer.to_owned()),
            requests: Mutex::default(),
            talks: Mutex::default(),
            endless: false,
            cancelled: AtomicUsize::new(0),
            pace: Duration::ZERO,
            likelihood: 0.5,
            failing: AtomicUsize::new(0),
        }
    }

    /// Changes what it answers.
    pub fn answer_now(&self, answer: &str) {
        answer.clone_into(&mut self.answer.lock().unwrap());
    }

    fn write(
        &self,
        index: usize,
        request: &GenerateRequest,
        cancel: &Cancel,
        on_delta: &mut dyn FnMut(usize, &Delta),
    ) -> Result<Completion, EngineError> {
        let answer = self.answer.lock().unwrap().clone();
        let one_less = |left: usize| left.checked_sub(1);
        if self
            .failing
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less)
            .is_ok()
        {
            return Err(EngineError::Engine {
                blame: autoglm_spec::Blame::Bug,
                source: "broken".into(),
            });
        }
        let mut whole = Delta::default();
        let mut finish = FinishReason::Stop;
        let forever = std::iter::repeat_n('x', usize::MAX);
        for char in answer.chars().chain(forever.take_while(|_| self.endless)) {
            if whole.tokens.len() >= request.max_tokens {
                finish = FinishReason::Length;
                break;
            }
            if cancel.is_cancelled() {
                self.cancelled.fetch_add(1, Ordering::Relaxed);
                finish = FinishReason::Cancelled;
                break;
            }
            std::thread::sleep(self.pace);
            let delta = told(char, request, self.likelihood);
            on_delta(index, &delta);
            whole.append(&delta);
        }
        let prompt_tokens = self.encode(&request.prompt)?.len();
        Ok(Completion {
            text: whole.text,
            usage: Usage {
                prompt_tokens,
                cached_tokens: prompt_tokens / 2,
                completion_tokens: whole.tokens.len(),
                compute: Duration::from_millis(1),
            },
            tokens: whole.tokens,
            logprobs: whole.logprobs,
            top: whole.top,
            finish,
        })
    }
}

/// A character, with the probabilities that were asked for: its own is a half, its neighbour's a
/// quarter.
fn told(char: char, request: &GenerateRequest, likelihood: f32) -> Delta {
    let id = char as u32;
    let top = [(id, likelihood.ln()), (id + 1, 0.25_f32.ln())];
    let wants = request.decoding.logprobs;
    let most = request.decoding.top_logprobs;
    Delta {
        text: char.to_string(),
        tokens: vec![id],
        logprobs: Vec::from_iter(wants.then_some(likelihood.ln())),
        top: Vec::from_iter((most > 0).then(|| top[..most.min(2)].to_vec())),
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
        self.requests.lock().unwrap().extend_from_slice(requests);
        let numbered = requests.iter().enumerate();
        numbered
            .map(|(index, request)| self.write(index, request, cancel, on_delta))
            .collect()
    }
}

impl Score for Scripted {
    fn score(
        &self,
        requests: &[ScoreRequest],
        _cancel: &Cancel,
    ) -> Vec<Result<Scoring, EngineError>> {
        let one = |request: &ScoreRequest| {
            let text = request.prompt.display_text();
            let yes = if text.contains("Paris is") {
                0.9
            } else {
                0.2_f32
            };
            let option = |text: &String| {
                let tokens = text.chars().count();
                let logprob = match text.as_str() {
                    "yes" => yes.ln(),
                    "no" => (1.0 - yes).ln(),
                    _ => self.likelihood.ln() * tokens as f32,
                };
                OptionScore { logprob, tokens }
            };
            Ok(Scoring {
                options: request.options.iter().map(option).collect(),
                states: Vec::new(),
                usage: Usage::default(),
            })
        };
        requests.iter().map(one).collect()
    }
}

impl Backend for Scripted {
    fn read(&self, talk: &Talk) -> Result<Reading, EngineError> {
        self.talks.lock().unwrap().push(talk.clone());
        let text: String = talk.messages.iter().map(|m| m.content.as_str()).collect();
        let forced = talk.choice != ToolChoice::Auto;
        Ok(Reading {
            tokens: self.encode_text(&text),
            parser: AnswerParser::new(
                Some(ToolCallFormat::TaggedJson),
                &talk.options.tools,
                talk.options.thinking == Some(true),
            ),
            constraint: forced.then(|| autoglm_spec::Constraint::Grammar("a call".to_owned())),
        })
    }

    fn encode(&self, prompt: &Prompt) -> Result<Vec<TokenId>, EngineError> {
        Ok(match prompt {
            Prompt::Tokens(tokens) => tokens.clone(),
            other => self.encode_text(&other.display_text()),
        })
    }

    fn encode_text(&self, text: &str) -> Vec<TokenId> {
        text.chars().map(|char| char as u32).collect()
    }

    fn token_bytes(&self, token: TokenId) -> Vec<u8> {
        let char = char::from_u32(token);
        char.map(|char| char.to_string().into_bytes())
            .unwrap_or_default()
    }

    fn load(&self) -> Load {
        Load::default()
    }
}

/// A space of two dimensions: how many vowels, how many other characters.
pub struct Vowels(pub EmbeddingSpace);

impl Default for Vowels {
    fn default() -> Self {
        Self(EmbeddingSpace {
            name: "vowels".to_owned(),
            dimensions: 2,
            max_tokens: 100,
            similarity: Similarity::Cosine,
        })
    }
}

impl Embed for Vowels {
    fn space(&self) -> &EmbeddingSpace {
        &self.0
    }

    fn embed(&self, texts: &[&str], _cancel: &Cancel) -> Vec<Result<Embedding, EngineError>> {
        let one = |text: &&str| {
            let vowels = text.chars().filter(|c| "aeiou".contains(*c)).count() as f32;
            let others = text.chars().count() as f32 - vowels;
            let length = vowels.hypot(others).max(f32::MIN_POSITIVE);
            Ok(Embedding {
                vector: vec![vowels / length, others / length],
                tokens: text.chars().count(),
                cut_tokens: 0,
            })
        };
        texts.iter().map(one).collect()
    }
}

/// A server that runs until it is dropped.
pub struct Running {
    /// Where it listens.
    pub address: SocketAddr,
    runtime: Option<Runtime>,
    stop: Option<oneshot::Sender<()>>,
    app: Arc<App>,
}

/// Serves a scripted model called `scripted` and an embedder called `vowels`.
pub fn start(model: Arc<Scripted>, settings: Settings) -> Running {
    start_with(model, settings, StoreLimits::default())
}

/// The same, with a memory of these limits.
pub fn start_with(model: Arc<Scripted>, settings: Settings, limits: StoreLimits) -> Running {
    launch(model, settings, limits, |app| app, |routes| routes)
}

/// The same, with other routes before or around the server's own.
pub fn start_behind(model: Arc<Scripted>, front: impl FnOnce(Router) -> Router) -> Running {
    let limits = StoreLimits::default();
    launch(model, Settings::default(), limits, |app| app, front)
}

/// Serves a model whose versions a loader knows.
pub fn start_loading(model: Arc<Scripted>, loader: Arc<Loader>) -> Running {
    start_equipped(model, |app| app.loading(loader))
}

/// Serves a scripted model and tasks.
pub fn start_tasks(desk: Arc<dyn TaskDesk>, settings: Settings) -> Running {
    let model = Arc::new(Scripted::answering("x"));
    let limits = StoreLimits::default();
    let equip = |app: App| app.with_tasks(desk);
    launch(model, settings, limits, equip, |routes| routes)
}

/// Serves a scripted model with more beside it, and remembers no answers.
pub fn start_equipped(model: Arc<Scripted>, equip: impl FnOnce(App) -> App) -> Running {
    let limits = StoreLimits {
        answer_bytes: 0,
        ..StoreLimits::default()
    };
    launch(model, Settings::default(), limits, equip, |routes| routes)
}

/// The same, with the routes that the caller makes of the application.
pub fn start_guarded(
    model: Arc<Scripted>,
    equip: impl FnOnce(App) -> App,
    routes: impl FnOnce(Arc<App>) -> Router,
) -> Running {
    let limits = StoreLimits::default();
    launch_with(model, Settings::default(), limits, equip, routes)
}

fn launch(
    model: Arc<Scripted>,
    settings: Settings,
    limits: StoreLimits,
    equip: impl FnOnce(App) -> App,
    front: impl FnOnce(Router) -> Router,
) -> Running {
    launch_with(model, settings, limits, equip, |app| front(router(app)))
}

fn launch_with(
    model: Arc<Scripted>,
    settings: Settings,
    limits: StoreLimits,
    equip: impl FnOnce(App) -> App,
    routes: impl FnOnce(Arc<App>) -> Router,
) -> Running {
    let served = |name: &str, skill| {
        let identity = format!("{name} 1");
        let at = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        Version::first(
            name,
            "first",
            Loaded {
                content: identity.clone(),
                identity,
                skill,
            },
            at,
        )
    };
    let models = vec![
        served("scripted", Skill::Write(model)),
        served("vowels", Skill::Embed(Arc::new(Vowels::default()))),
    ];
    let numbers = AtomicUsize::new(1);
    let surroundings = Surroundings {
        now: Arc::new(|| UNIX_EPOCH + Duration::from_secs(1_800_000_000)),
        random: Arc::new(move || numbers.fetch_add(1, Ordering::Relaxed) as u64),
    };
    let store = ServerStore::in_memory(limits).unwrap();
    let app = App::new(models, settings, surroundings).remembering(store);
    let app = Arc::new(equip(app));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel();
    let routes = routes(Arc::clone(&app));
    let metrics = Arc::clone(app.metrics());
    runtime.spawn(serve(
        listener,
        routes,
        metrics,
        ConnectionLimits::default(),
        async move {
            // A server that is dropped stops, too.
            let _ = stopped.await;
        },
    ));
    Running {
        address,
        runtime: Some(runtime),
        stop: Some(stop),
        app,
    }
}

/// An answer: its status and its JSON.
pub struct Answer {
    pub status: u16,
    pub body: Value,
    pub headers: Vec<(String, String)>,
}

impl Running {
    /// A path's address.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Tells the application that it is to stop, and the server to take no more connections.
    pub fn stop(&mut self) {
        self.app.stop();
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
    }

    /// The application.
    pub fn app(&self) -> &App {
        &self.app
    }

    pub fn get(&self, path: &str) -> Answer {
        answer(agent().get(self.url(path)).call())
    }

    pub fn delete(&self, path: &str) -> Answer {
        answer(agent().delete(self.url(path)).call())
    }

    /// A connection of its own.
    pub fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).unwrap()
    }

    /// Sends a request and does not wait for its answer.
    pub fn send(&self, connection: &mut TcpStream, path: &str, body: &Value) {
        let body = body.to_string();
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n\r\n",
            body.len()
        );
        connection
            .write_all(format!("{head}{body}").as_bytes())
            .unwrap();
    }

    pub fn post(&self, path: &str, body: &Value) -> Answer {
        let request = agent().post(self.url(path));
        let request = request.header("content-type", "application/json");
        answer(request.send(body.to_string()))
    }

    pub fn get_with_key(&self, path: &str, key: &str) -> Answer {
        let request = agent().get(self.url(path));
        answer(request.header("x-api-key", key).call())
    }

    pub fn post_with_key(&self, path: &str, body: &Value, key: &str) -> Answer {
        let request = agent().post(self.url(path)).header("x-api-key", key);
        let request = request.header("content-type", "application/json");
        answer(request.send(body.to_string()))
    }

    /// The data of the events that answer a request.
    pub fn events(&self, path: &str, body: &Value) -> Vec<String> {
        let request = agent().post(self.url(path));
        let request = request.header("content-type", "application/json");
        let response = request.send(body.to_string()).unwrap();
        assert_eq!(response.status().as_u16(), 200);
        let lines = BufReader::new(response.into_body().into_reader()).lines();
        let lines = lines.map(Result::unwrap);
        lines
            .filter_map(|line| line.strip_prefix("data: ").map(str::to_owned))
            .collect()
    }

    /// The events that answer a request as JSON, but for the mark of the end, which must be there.
    pub fn chunks(&self, path: &str, body: &Value) -> Vec<Value> {
        let mut events = self.events(path, body);
        assert_eq!(events.pop().as_deref(), Some("[DONE]"));
        let parsed = events.iter().map(|data| serde_json::from_str(data));
        parsed.collect::<Result<_, _>>().unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop();
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(Duration::from_secs(5));
        }
    }
}

fn agent() -> ureq::Agent {
    let config = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(Duration::from_secs(30)));
    config.build().into()
}

fn answer(response: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Answer {
    let mut response = response.unwrap();
    let text = response.body_mut().read_to_string().unwrap();
    let header = |(name, value): (&ureq::http::HeaderName, &ureq::http::HeaderValue)| {
        (name.to_string(), value.to_str().unwrap().to_owned())
    };
    Answer {
        status: response.status().as_u16(),
        body: serde_json::from_str(&text).unwrap_or(Value::String(text)),
        headers: response.headers().iter().map(header).collect(),
    }
}
