//! The remote engine against a scripted server: what a caller gets from servers that work, that
//! fail, and that lie.

#![expect(clippy::unwrap_used, reason = "a test may panic, that is how it fails")]

#[path = "../scripted_server/mod.rs"]
mod scripted_server;

mod failures;
mod generating;
mod scoring;

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use autoglm_engine::remote::{Clock, RemoteEngine, RemoteSettings, RetrySettings};
use autoglm_spec::{
    AttentionPolicy, Cancel, Completion, Decoding, EngineError, Generate, GenerateRequest, Prompt,
    Role, Sampling, Segment,
};
use scripted_server::ScriptedServer;

/// A clock on which sleeping takes no time.
#[derive(Default)]
struct QuickClock {
    now: Mutex<Duration>,
    slept: Mutex<Vec<Duration>>,
}

impl Clock for QuickClock {
    fn now(&self) -> Duration {
        *self.now.lock().unwrap()
    }

    fn sleep(&self, time: Duration, _: &Cancel) {
        *self.now.lock().unwrap() += time;
        self.slept.lock().unwrap().push(time);
    }
}

fn settings(server: &ScriptedServer) -> RemoteSettings {
    RemoteSettings {
        concurrency: NonZeroUsize::MIN,
        retry: RetrySettings {
            attempts: 3,
            ..RetrySettings::default()
        },
        ..RemoteSettings::new(server.url().parse().unwrap())
    }
}

fn open(settings: &RemoteSettings) -> Result<RemoteEngine, EngineError> {
    RemoteEngine::open(settings, Arc::new(QuickClock::default()))
}

fn engine(server: &ScriptedServer) -> RemoteEngine {
    open(&settings(server)).unwrap()
}

fn turns(text: &str) -> Prompt {
    Prompt::Chat(vec![Segment {
        role: Role::User,
        text: text.to_owned(),
    }])
}

fn request(prompt: Prompt) -> GenerateRequest {
    GenerateRequest {
        prompt,
        max_tokens: 20,
        sampling: Sampling::GREEDY,
        logit_bias: Vec::new(),
        stop: Vec::new(),
        constraint: None,
        decoding: Decoding {
            logprobs: false,
            ..Decoding::default()
        },
        attention: AttentionPolicy::Full,
        adapter: None,
    }
}

/// One request's answer, with the pieces in which it was handed out.
fn generate(
    engine: &RemoteEngine,
    request: GenerateRequest,
) -> (Result<Completion, EngineError>, Vec<String>) {
    let mut pieces = Vec::new();
    let cancel = Cancel::default();
    let results = engine.generate(&[request], &cancel, &mut |_, delta| {
        pieces.push(delta.text.clone());
    });
    (results.into_iter().next().unwrap(), pieces)
}

/// An error with all its causes, in both ways of showing it.
fn shown(error: &EngineError) -> String {
    let mut texts = vec![format!("{error} {error:?} {error:#?}")];
    let mut cause: Option<&dyn std::error::Error> = std::error::Error::source(error);
    while let Some(error) = cause {
        texts.push(format!("{error} {error:?}"));
        cause = error.source();
    }
    texts.join(" ")
}
