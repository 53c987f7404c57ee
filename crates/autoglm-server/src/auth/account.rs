//! What a client has asked for, and how much more it may: buckets that fill over a minute.

use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::file::KeyLimits;
use crate::ServerError;

/// When to try again where too many requests are under way: nobody knows when one will end.
const SOON: Duration = Duration::from_secs(1);

/// One client's account. It outlives changes of its limits.
#[derive(Debug)]
pub(crate) struct Account {
    id: String,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    requests: Option<Bucket>,
    tokens: Option<Bucket>,
    at_once: Option<NonZeroU32>,
    running: u32,
}

/// Leave for one request; given back when it is dropped.
pub(crate) struct Leave(Arc<Account>);

/// What is left of an allowance.
#[derive(Debug, Clone, Copy)]
struct Bucket {
    per_minute: f64,
    /// Below zero where an answer took more tokens than were left.
    level: f64,
    at: Instant,
}

/// What is left of a client's allowance, as headers tell it.
pub(crate) struct Remaining {
    /// `requests` or `tokens`.
    pub(crate) what: &'static str,
    pub(crate) limit: u64,
    pub(crate) left: u64,
    /// Until all of it is there again.
    pub(crate) full_in: Duration,
}

impl Account {
    /// An account with these limits that nothing was asked of yet.
    pub(crate) fn new(id: &str, limits: KeyLimits) -> Self {
        let state = State {
            requests: Bucket::renewed(None, limits.requests_per_minute),
            tokens: Bucket::renewed(None, limits.tokens_per_minute),
            at_once: limits.concurrent_requests,
            running: 0,
        };
        Self {
            id: id.to_owned(),
            state: Mutex::new(state),
        }
    }

    /// The client's id.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// Other limits from now on; what was used of the old ones stays used.
    pub(crate) fn set_limits(&self, limits: KeyLimits) {
        let mut state = self.lock();
        state.requests = Bucket::renewed(state.requests, limits.requests_per_minute);
        state.tokens = Bucket::renewed(state.tokens, limits.tokens_per_minute);
        state.at_once = limits.concurrent_requests;
    }

    /// Leave to begin a request.
    ///
    /// # Errors
    /// [`ServerError::Limited`] where a limit is reached; nothing is used up then.
    pub(crate) fn enter(self: &Arc<Self>) -> Result<Leave, ServerError> {
        let mut state = self.lock();
        let limited = |limit: u32, what, retry_after| ServerError::Limited {
            client: self.id.clone(),
            limit,
            what,
            retry_after,
        };
        if let Some(most) = state.at_once
            && state.running >= most.get()
        {
            return Err(limited(most.get(), "requests at once", SOON));
        }
        // Any token that is left will do: how many the answer takes is not known before.
        let tokens = state.tokens.as_mut().map(|bucket| bucket.lacks(1.0));
        let requests = state.requests.as_mut().map(|bucket| bucket.lacks(1.0));
        if let Some(Err((limit, wait))) = tokens {
            return Err(limited(limit, "tokens a minute", wait));
        }
        if let Some(Err((limit, wait))) = requests {
            return Err(limited(limit, "requests a minute", wait));
        }
        if let Some(bucket) = &mut state.requests {
            bucket.level -= 1.0;
        }
        state.running += 1;
        Ok(Leave(Arc::clone(self)))
    }

    /// Puts tokens down that a request took.
    pub(crate) fn charge(&self, tokens: usize) {
        if let Some(bucket) = &mut self.lock().tokens {
            bucket.fill();
            bucket.level -= tokens as f64;
        }
    }

    /// What is left of each allowance that is limited.
    pub(crate) fn remaining(&self) -> Vec<Remaining> {
        let mut state = self.lock();
        let State {
            requests, tokens, ..
        } = &mut *state;
        let both = [("requests", requests), ("tokens", tokens)];
        let limited = both
            .into_iter()
            .filter_map(|(what, bucket)| Some((what, bucket.as_mut()?)));
        limited
            .map(|(what, bucket)| bucket.remaining(what))
            .collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing that is done under the lock panics half way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Leave {
    fn drop(&mut self) {
        self.0.lock().running -= 1;
    }
}

impl Bucket {
    /// The bucket of a limit: full where there was none before.
    fn renewed(before: Option<Self>, limit: Option<NonZeroU32>) -> Option<Self> {
        let per_minute = f64::from(limit?.get());
        let level = before.map_or(per_minute, |bucket| bucket.level.min(per_minute));
        Some(Self {
            per_minute,
            level,
            at: before.map_or_else(Instant::now, |bucket| bucket.at),
        })
    }

    fn fill(&mut self) {
        let now = Instant::now();
        let minutes = (now - self.at).as_secs_f64() / 60.0;
        self.level = (self.level + minutes * self.per_minute).min(self.per_minute);
        self.at = now;
    }

    /// Whether there is less than this: then the limit, and when there will be as much.
    fn lacks(&mut self, wanted: f64) -> Result<(), (u32, Duration)> {
        self.fill();
        if self.level >= wanted {
            return Ok(());
        }
        Err((self.per_minute as u32, self.time_to(wanted)))
    }

    fn time_to(&self, wanted: f64) -> Duration {
        let minutes = (wanted - self.level).max(0.0) / self.per_minute;
        // No limit is so low that this is out of range: at least one a minute.
        Duration::from_secs_f64(minutes * 60.0)
    }

    fn remaining(&mut self, what: &'static str) -> Remaining {
        self.fill();
        Remaining {
            what,
            limit: self.per_minute as u64,
            left: self.level.max(0.0) as u64,
            full_in: self.time_to(self.per_minute),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(requests: u32, tokens: u32, at_once: u32) -> Arc<Account> {
        Arc::new(Account::new("a", limits(requests, tokens, at_once)))
    }

    fn limits(requests: u32, tokens: u32, at_once: u32) -> KeyLimits {
        KeyLimits {
            requests_per_minute: NonZeroU32::new(requests),
            tokens_per_minute: NonZeroU32::new(tokens),
            concurrent_requests: NonZeroU32::new(at_once),
        }
    }

    fn wait(account: &Arc<Account>) -> Option<Duration> {
        match account.enter() {
            Ok(_) => None,
            Err(ServerError::Limited { retry_after, .. }) => Some(retry_after),
            Err(other) => panic!("{other}"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn requests_come_back_over_a_minute() {
        let account = account(6, 0, 0);
        for _ in 0..6 {
            assert_eq!(wait(&account), None);
        }
        assert_eq!(wait(&account), Some(Duration::from_secs(10)));
        tokio::time::advance(Duration::from_secs(10)).await;
        assert_eq!(wait(&account), None);
        assert!(wait(&account).is_some());
        tokio::time::advance(Duration::from_hours(1)).await;
        assert_eq!(account.remaining()[0].left, 6);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_may_take_more_tokens_than_are_left_and_the_next_waits_for_it() {
        let account = account(0, 600, 0);
        assert_eq!(wait(&account), None);
        account.charge(900);
        // 300 too many and one to go on with, at 10 a second.
        assert_eq!(wait(&account), Some(Duration::from_millis(30_100)));
        assert_eq!(account.remaining()[0].left, 0);
        tokio::time::advance(Duration::from_millis(30_100)).await;
        assert_eq!(wait(&account), None);
    }

    #[tokio::test]
    async fn requests_at_once_end_when_they_are_dropped() {
        let account = account(0, 0, 2);
        let one = account.enter().ok().unwrap();
        let _two = account.enter().ok().unwrap();
        assert_eq!(wait(&account), Some(SOON));
        drop(one);
        assert_eq!(wait(&account), None);
    }

    #[tokio::test(start_paused = true)]
    async fn other_limits_do_not_give_back_what_was_used() {
        let account = account(3, 0, 0);
        for _ in 0..3 {
            assert_eq!(wait(&account), None);
        }
        account.set_limits(limits(60, 0, 0));
        assert_eq!(wait(&account), Some(Duration::from_secs(1)));
        account.set_limits(limits(0, 0, 0));
        assert_eq!(wait(&account), None);
        assert!(account.remaining().is_empty());
    }
}
