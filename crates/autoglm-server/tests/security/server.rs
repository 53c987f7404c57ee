//! A server on an ephemeral port, with a model that says what the test wants.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use autoglm_server::{
    AdmissionLimits, App, Backend, ConnectionLimits, Guard, Keys, Load, Loaded, Metrics, Reading,
    Settings, Skill, Surroundings, Talk, Tls, Version, WallClock, adopt, guarded, listen, serve,
    serve_tls,
};
use autoglm_spec::{
    Cancel, Completion, Delta, EngineError, FinishReason, Generate, GenerateRequest, ModelFacts,
    Prompt, Score, ScoreRequest, Scoring, Usage,
};
use autoglm_token::{AnswerParser, TokenId};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// Bytes of each piece of a flood.
const FLOOD_PIECE: usize = 64 << 10;

/// A model that writes `word ` as often as it may. A prompt with `hold` waits before the second
/// word until the test lets it go on, one with `flood` writes long words.
pub(crate) struct Model {
    facts: ModelFacts,
    go_on: AtomicBool,
    held: AtomicUsize,
    cancelled: AtomicUsize,
}

impl Model {
    fn new(name: &str) -> Self {
        Self {
            facts: ModelFacts {
                name: name.to_owned(),
                context_tokens: 4_096,
                chat: true,
            },
            go_on: AtomicBool::new(false),
            held: AtomicUsize::new(0),
            cancelled: AtomicUsize::new(0),
        }
    }

    /// Lets all prompts with `hold` go on.
    pub(crate) fn go_on(&self) {
        self.go_on.store(true, Ordering::SeqCst);
    }

    /// Waits until so many requests have been held up.
    pub(crate) async fn held(&self, requests: usize) {
        until(|| self.held.load(Ordering::SeqCst) >= requests).await;
    }

    /// Waits until so many requests have been cancelled.
    pub(crate) async fn cancelled(&self, requests: usize) {
        until(|| self.cancelled.load(Ordering::SeqCst) >= requests).await;
    }

    fn hold(&self, cancel: &Cancel) {
        self.held.fetch_add(1, Ordering::SeqCst);
        while !self.go_on.load(Ordering::SeqCst) && !cancel.is_cancelled() {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn answer(
        &self,
        request: &GenerateRequest,
        cancel: &Cancel,
        on_delta: &mut dyn FnMut(&Delta),
    ) -> Completion {
        let prompt = prompt_text(&request.prompt);
        let word = if prompt.contains("flood") {
            "x".repeat(FLOOD_PIECE)
        } else {
            "word ".to_owned()
        };
        let mut text = String::new();
        let mut finish = FinishReason::Length;
        let mut written = 0;
        for number in 0..request.max_tokens {
            if number == 1 && prompt.contains("hold") {
                self.hold(cancel);
            }
            if cancel.is_cancelled() {
                self.cancelled.fetch_add(1, Ordering::SeqCst);
                finish = FinishReason::Cancelled;
                break;
            }
            on_delta(&Delta {
                text: word.clone(),
                ..Delta::default()
            });
            text.push_str(&word);
            written += 1;
        }
        Completion {
            text,
            tokens: Vec::new(),
            logprobs: Vec::new(),
            top: Vec::new(),
            finish,
            usage: Usage {
                prompt_tokens: prompt.len(),
                completion_tokens: written,
                ..Usage::default()
            },
        }
    }
}

/// Tokens of this model are bytes.
fn prompt_text(prompt: &Prompt) -> String {
    match prompt {
        Prompt::Plain(text) => text.clone(),
        Prompt::Chat(turns) => turns.iter().map(|turn| turn.text.as_str()).collect(),
        Prompt::Tokens(tokens) => tokens
            .iter()
            .map(|&token| char::from(token as u8))
            .collect(),
    }
}

impl Generate for Model {
    fn facts(&self) -> &ModelFacts {
        &self.facts
    }

    fn generate(
        &self,
        requests: &[GenerateRequest],
        cancel: &Cancel,
        on_delta: &mut dyn FnMut(usize, &Delta),
    ) -> Vec<Result<Completion, EngineError>> {
        let numbered = requests.iter().enumerate();
        let answers = numbered.map(|(index, request)| {
            Ok(self.answer(request, cancel, &mut |delta| on_delta(index, delta)))
        });
        answers.collect()
    }
}

impl Score for Model {
    fn score(
        &self,
        requests: &[ScoreRequest],
        _cancel: &Cancel,
    ) -> Vec<Result<Scoring, EngineError>> {
        let cancelled = |_| Err(EngineError::Cancelled);
        requests.iter().map(cancelled).collect()
    }
}

impl Backend for Model {
    fn read(&self, talk: &Talk) -> Result<Reading, EngineError> {
        Ok(Reading {
            tokens: vec![1; talk.messages.len()],
            parser: AnswerParser::new(None, &[], false),
            constraint: None,
        })
    }

    fn encode(&self, prompt: &Prompt) -> Result<Vec<TokenId>, EngineError> {
        Ok(self.encode_text(&prompt_text(prompt)))
    }

    fn encode_text(&self, text: &str) -> Vec<TokenId> {
        text.bytes().map(TokenId::from).collect()
    }

    fn token_bytes(&self, _token: TokenId) -> Vec<u8> {
        b"x".to_vec()
    }

    fn load(&self) -> Load {
        Load::default()
    }
}

/// 2030-01-01: certificates and keys of these tests go by it.
pub(crate) fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_hours(525_960)
}

/// A clock that stands still.
pub(crate) fn clock() -> WallClock {
    Arc::new(now)
}

/// What a server is started with.
#[derive(Default)]
pub(crate) struct Setup {
    pub(crate) keys: Option<Keys>,
    pub(crate) tls: Option<Tls>,
    pub(crate) limits: ConnectionLimits,
    pub(crate) listener: Option<std::net::TcpListener>,
}

impl Setup {
    /// A server that asks for the keys of a file.
    pub(crate) fn with_keys(file: &Path) -> Self {
        Self {
            keys: Some(Keys::open(file, clock()).unwrap()),
            ..Self::default()
        }
    }
}

/// A server that runs.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) model: Arc<Model>,
    stop: oneshot::Sender<()>,
    ended: JoinHandle<usize>,
}

impl Server {
    /// Starts one.
    pub(crate) fn start(setup: Setup) -> Self {
        let listener = match setup.listener {
            Some(listener) => adopt(listener).unwrap(),
            None => listen("127.0.0.1:0".parse().unwrap(), false).unwrap(),
        };
        let model = Arc::new(Model::new("tiny"));
        let app = Arc::new(app(&model));
        let address = listener.local_addr().unwrap();
        let guard = Guard::new(address, setup.keys, setup.tls.as_ref()).unwrap();
        let routes = guarded(Arc::clone(&app), guard);
        let metrics = Arc::clone(app.metrics());
        let (stop, stopped) = oneshot::channel();
        let stopping = Arc::clone(&app);
        let stopped = async move {
            // A test that does not stop its server drops it.
            let _ = stopped.await;
            stopping.stop();
        };
        let serving = serve_either(
            listener,
            setup.tls,
            (routes, metrics),
            setup.limits,
            stopped,
        );
        Self {
            address,
            model,
            stop,
            ended: tokio::spawn(serving),
        }
    }

    /// Tells it to stop, and gives what its end gives.
    pub(crate) fn stop(self) -> JoinHandle<usize> {
        self.stop.send(()).unwrap();
        self.ended
    }
}

async fn serve_either(
    listener: TcpListener,
    tls: Option<Tls>,
    (routes, metrics): (axum::Router, Arc<Metrics>),
    limits: ConnectionLimits,
    stopped: impl Future<Output = ()>,
) -> usize {
    match tls {
        Some(tls) => serve_tls(listener, tls, routes, metrics, limits, stopped).await,
        None => serve(listener, routes, metrics, limits, stopped).await,
    }
}

fn app(model: &Arc<Model>) -> App {
    let served = |name: &str, backend: Arc<dyn Backend>| {
        let identity = name.to_owned();
        let skill = Skill::Write(backend);
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
    };
    let tiny: Arc<dyn Backend> = Arc::<Model>::clone(model);
    let models = vec![
        served("tiny", tiny),
        served("other", Arc::new(Model::new("other"))),
    ];
    let settings = Settings {
        admission: AdmissionLimits {
            running: 8,
            waiting: 64,
        },
        ..Settings::default()
    };
    let surroundings = Surroundings {
        now: clock(),
        random: Arc::new(|| 7),
    };
    App::new(models, settings, surroundings)
}

/// Waits until something holds, and fails the test where it does not come to hold.
pub(crate) async fn until(holds: impl Fn() -> bool) {
    for _ in 0..10_000 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    panic!("it did not come to hold");
}
