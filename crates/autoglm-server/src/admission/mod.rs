//! Who may begin: at most so many requests are worked on at once, the others wait in a bounded
//! queue in which clients take turns, and beyond it they are refused at once.
//!
//! A client with a hundred requests does not hold up one with a single request: whenever a place
//! falls free, the next client's oldest request has it.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::ServerError;
use crate::auth::Account;
use crate::observe::Waits;

/// How much is taken on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AdmissionLimits {
    /// Requests that are worked on at once, at least 1.
    pub running: usize,
    /// Requests that wait beside them.
    pub waiting: usize,
}

impl Default for AdmissionLimits {
    /// 32 requests fill a batch of the engine; a queue of 256 is some seconds' work.
    fn default() -> Self {
        Self {
            running: 32,
            waiting: 256,
        }
    }
}

/// How many requests are being worked on and wait.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Occupancy {
    /// Requests with a permit.
    pub running: usize,
    /// Requests in the queue.
    pub waiting: usize,
}

/// The door that requests go through. Clones are the same door.
#[derive(Clone)]
pub struct Admission(Arc<Door>);

struct Door {
    limits: AdmissionLimits,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    running: usize,
    queues: BTreeMap<String, VecDeque<oneshot::Sender<Permit>>>,
    waiting: usize,
    /// The client whose request was begun last.
    turn: String,
    /// The mean time that a permit was held, over about the last ten.
    held: Duration,
}

/// Leave to work on one request; given back when it is dropped.
pub struct Permit {
    /// None once there is nothing to give back.
    door: Option<Arc<Door>>,
    since: Instant,
    payer: Option<Arc<Account>>,
}

impl Admission {
    /// A door with these limits.
    pub fn new(limits: AdmissionLimits) -> Self {
        let limits = AdmissionLimits {
            running: limits.running.max(1),
            ..limits
        };
        Self(Arc::new(Door {
            limits,
            state: Mutex::default(),
        }))
    }

    /// Waits for leave to work on a request of this client. A caller that stops waiting loses its
    /// place.
    ///
    /// # Errors
    /// [`ServerError::Busy`] where the queue is full.
    pub async fn admit(&self, client: &str) -> Result<Permit, ServerError> {
        let waits = Waits::begin(client);
        let permit = match self.0.enter(client)? {
            Entry::Free => Permit::new(&self.0),
            Entry::Queued(receiver) => receiver.await.map_err(|_| ServerError::Stopping)?,
        };
        waits.granted();
        Ok(permit)
    }

    /// How many there may be.
    pub fn limits(&self) -> AdmissionLimits {
        self.0.limits
    }

    /// How many requests there are.
    pub fn occupancy(&self) -> Occupancy {
        let mut state = self.0.lock();
        state.forget_gone();
        Occupancy {
            running: state.running,
            waiting: state.waiting,
        }
    }
}

enum Entry {
    Free,
    Queued(oneshot::Receiver<Permit>),
}

impl Door {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing that is done under the lock panics half way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enter(&self, client: &str) -> Result<Entry, ServerError> {
        let mut state = self.lock();
        if state.running < self.limits.running && state.waiting == 0 {
            state.running += 1;
            client.clone_into(&mut state.turn);
            return Ok(Entry::Free);
        }
        if state.waiting >= self.limits.waiting {
            state.forget_gone();
        }
        if state.waiting >= self.limits.waiting {
            return Err(ServerError::Busy {
                waiting: state.waiting,
                limit: self.limits.waiting,
                retry_after: state.time_to_clear(self.limits.running),
            });
        }
        let (sender, receiver) = oneshot::channel();
        state.waiting += 1;
        state
            .queues
            .entry(client.to_owned())
            .or_default()
            .push_back(sender);
        Ok(Entry::Queued(receiver))
    }

    /// Takes a permit back and hands its place on.
    fn leave(self: &Arc<Self>, held: Duration) {
        let mut state = self.lock();
        state.running -= 1;
        state.held = (state.held * 9 + held) / 10;
        while state.running < self.limits.running {
            let Some(sender) = state.next() else { break };
            state.running += 1;
            if let Err(mut unwanted) = sender.send(Permit::new(self)) {
                // It must not come back through the lock that is held here.
                unwanted.door = None;
                state.running -= 1;
            }
        }
    }
}

impl State {
    /// The oldest request of the next client in turn.
    fn next(&mut self) -> Option<oneshot::Sender<Permit>> {
        let after = (Bound::Excluded(self.turn.clone()), Bound::Unbounded);
        let client = self
            .queues
            .range(after)
            .chain(self.queues.iter())
            .map(|(client, _)| client.clone())
            .next()?;
        let queue = self.queues.get_mut(&client)?;
        let sender = queue.pop_front();
        if queue.is_empty() {
            self.queues.remove(&client);
        }
        self.turn = client;
        self.waiting -= usize::from(sender.is_some());
        sender
    }

    /// Takes requests out of the queue whose callers have stopped waiting.
    fn forget_gone(&mut self) {
        self.queues.retain(|_, queue| {
            queue.retain(|sender| !sender.is_closed());
            !queue.is_empty()
        });
        self.waiting = self.queues.values().map(VecDeque::len).sum();
    }

    /// About when the queue will have room: as long as the work ahead takes, at least a second.
    fn time_to_clear(&self, places: usize) -> Duration {
        let rounds = self.waiting.div_ceil(places).max(1) as u32;
        (self.held * rounds).clamp(Duration::from_secs(1), Duration::from_mins(1))
    }
}

impl Permit {
    fn new(door: &Arc<Door>) -> Self {
        Self {
            door: Some(Arc::clone(door)),
            since: Instant::now(),
            payer: None,
        }
    }

    /// The same, with an account that its work is put down to.
    pub(crate) fn paid_by(mut self, payer: Option<Arc<Account>>) -> Self {
        self.payer = payer;
        self
    }

    /// Puts tokens down to the account, and gives the permit back.
    pub(crate) fn used(self, tokens: usize) {
        if let Some(payer) = &self.payer {
            payer.charge(tokens);
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(door) = self.door.take() {
            door.leave(self.since.elapsed());
        }
    }
}
