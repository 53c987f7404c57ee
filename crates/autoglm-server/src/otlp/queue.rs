//! What waits to be sent: bounded, so that a collector that is down costs memory once.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::log::LogRecord;
use crate::trace::Span;

/// What waits to be sent.
pub(super) struct Queue {
    most: usize,
    batch: usize,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    spans: VecDeque<Span>,
    logs: VecDeque<LogRecord>,
    is_closing: bool,
    has_ended: bool,
}

/// What is sent together.
pub(super) struct Batch {
    pub(super) spans: Vec<Span>,
    pub(super) logs: Vec<LogRecord>,
    /// Whether nothing comes behind it.
    pub(super) is_last: bool,
}

impl Queue {
    /// A queue for so many spans and as many log records, of which so many are sent together.
    pub(super) fn new(most: usize, batch: usize) -> Self {
        Self {
            most,
            batch: batch.max(1),
            state: Mutex::default(),
            changed: Condvar::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing that is done under the lock panics half way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the spans of a request, all or none of them. Says how many it did not take.
    pub(super) fn put_spans(&self, spans: Vec<Span>) -> usize {
        let mut state = self.lock();
        if state.is_closing || state.spans.len() + spans.len() > self.most {
            return spans.len();
        }
        state.spans.extend(spans);
        self.wake(&state);
        0
    }

    /// Takes a log record. Says how many it did not take.
    pub(super) fn put_log(&self, record: LogRecord) -> usize {
        let mut state = self.lock();
        if state.is_closing || state.logs.len() >= self.most {
            return 1;
        }
        state.logs.push_back(record);
        self.wake(&state);
        0
    }

    /// Wakes the thread that sends when there is enough to send.
    fn wake(&self, state: &State) {
        if state.is_full(self.batch) {
            self.changed.notify_all();
        }
    }

    /// Waits for enough to be sent together; or until something has waited for `delay`, or nothing
    /// has come for `limit`.
    pub(super) fn take(&self, delay: Duration, limit: Duration) -> Batch {
        let until = Instant::now() + delay.min(limit);
        let mut state = self.lock();
        while !state.is_closing && !state.is_full(self.batch) {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let waited = self.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        let spans = state.spans.len().min(self.batch);
        let logs = state.logs.len().min(self.batch);
        let batch = Batch {
            spans: state.spans.drain(..spans).collect(),
            logs: state.logs.drain(..logs).collect(),
            is_last: false,
        };
        let is_empty = state.spans.is_empty() && state.logs.is_empty();
        Batch {
            is_last: state.is_closing && is_empty,
            ..batch
        }
    }

    /// Waits for so long, or until the queue is closed. Says whether it is.
    pub(super) fn pause(&self, duration: Duration) -> bool {
        let state = self.lock();
        let paused = self
            .changed
            .wait_timeout_while(state, duration, |state| !state.is_closing);
        paused.unwrap_or_else(PoisonError::into_inner).0.is_closing
    }

    /// Takes nothing more, and waits until all is sent. Says whether that was done in time.
    pub(super) fn close(&self, limit: Duration) -> bool {
        let mut state = self.lock();
        state.is_closing = true;
        self.changed.notify_all();
        let waited = self
            .changed
            .wait_timeout_while(state, limit, |state| !state.has_ended);
        waited.unwrap_or_else(PoisonError::into_inner).0.has_ended
    }

    /// All is sent.
    pub(super) fn end(&self) {
        self.lock().has_ended = true;
        self.changed.notify_all();
    }
}

impl State {
    fn is_full(&self, batch: usize) -> bool {
        self.spans.len() >= batch || self.logs.len() >= batch
    }
}
