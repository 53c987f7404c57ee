//! What becomes known of one HTTP request, from its head to the last byte of its answer.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use serde_json::Value;

use super::Observer;
use super::call::Call;
use crate::trace::Context;

/// Calls of models that are kept of one request; a batch may make thousands.
const MOST_CALLS: usize = 64;
/// Characters of a client's name that are kept.
const MOST_NAME_CHARS: usize = 128;

/// The head of a request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Head {
    /// Its method, or `_OTHER`.
    pub(crate) method: &'static str,
    /// The route as it is declared, or [`OTHER`].
    pub(crate) route: String,
    /// The path, without what is behind the question mark.
    pub(crate) path: String,
    /// `http` or `https`.
    pub(crate) scheme: &'static str,
    /// The protocol's version.
    pub(crate) protocol: &'static str,
    /// The other end of the connection.
    pub(crate) peer: Option<IpAddr>,
    /// The program that the client says it is.
    pub(crate) agent: Option<String>,
}

/// What paths are called that no route is declared for.
pub(crate) const OTHER: &str = "other";

impl Head {
    /// The route, where there is one.
    pub(crate) fn route(&self) -> Option<&str> {
        (self.route != OTHER).then_some(&self.route)
    }
}

/// What is noted of a request while it is answered. Times are those of the clock.
#[derive(Debug, Clone, Default)]
pub(crate) struct Noted {
    /// Who asks.
    pub(crate) client: Option<String>,
    /// The model that is to answer.
    pub(crate) model: Option<String>,
    /// When the body had come.
    pub(crate) body_read: Option<Duration>,
    /// From when to when it waited.
    pub(crate) queue: Option<(Duration, Duration)>,
    /// The first calls of models.
    pub(crate) calls: Vec<Call>,
    /// Tokens of all calls.
    pub(crate) tokens: Tokens,
    /// What was said to the model, where that is recorded.
    pub(crate) input: Option<Value>,
    /// The status of the answer; none where its client left before.
    pub(crate) status: Option<u16>,
    /// Why it was refused or failed.
    pub(crate) reason: Option<&'static str>,
    /// Bytes of the body that came.
    pub(crate) received_bytes: u64,
    /// Bytes of the body that went.
    pub(crate) sent_bytes: u64,
}

/// Tokens.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tokens {
    /// Of prompts.
    pub(crate) prompt: usize,
    /// Of these, in the cache.
    pub(crate) cached: usize,
    /// Of answers.
    pub(crate) generated: usize,
}

/// One HTTP request.
pub(crate) struct Observation {
    /// Who observes.
    pub(crate) observer: Arc<Observer>,
    /// The request's head.
    pub(crate) head: Head,
    /// Where it stands in its trace.
    pub(crate) context: Context,
    /// When it came, by the clock.
    pub(crate) arrived: Duration,
    /// When it came, by the calendar.
    pub(crate) arrived_at: SystemTime,
    noted: Mutex<Noted>,
}

impl Observation {
    /// A request that has just come.
    pub(super) fn new(observer: Arc<Observer>, head: Head, context: Context) -> Self {
        let noted = Noted {
            client: head.peer.map(|peer| peer.to_string()),
            ..Noted::default()
        };
        Self {
            arrived: observer.clock.now(),
            arrived_at: (observer.surroundings.now)(),
            observer,
            head,
            context,
            noted: Mutex::new(noted),
        }
    }

    /// What is noted.
    pub(crate) fn noted(&self) -> MutexGuard<'_, Noted> {
        // Nothing that is done under the lock panics half way.
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long it waited.
    pub(crate) fn queued(&self) -> Duration {
        let queue = self.noted().queue;
        queue.map_or(Duration::ZERO, |(from, until)| until.saturating_sub(from))
    }

    /// A moment of the clock, by the calendar.
    pub(crate) fn at(&self, moment: Duration) -> SystemTime {
        self.arrived_at + moment.saturating_sub(self.arrived)
    }
}

/// The status of requests whose client left before there was one, as web servers tell it.
const LEFT: u16 = 499;

impl Noted {
    /// The status of the answer.
    pub(crate) fn status_or_left(&self) -> u16 {
        self.status.unwrap_or(LEFT)
    }

    /// Who asks.
    pub(super) fn client(&mut self, name: &str) {
        self.client = Some(name.chars().take(MOST_NAME_CHARS).collect());
    }

    /// A model was called.
    pub(super) fn called(&mut self, call: Call) {
        self.tokens.prompt += call.tokens.prompt;
        self.tokens.cached += call.tokens.cached;
        self.tokens.generated += call.tokens.generated;
        if self.calls.len() < MOST_CALLS {
            self.calls.push(call);
        }
    }
}
