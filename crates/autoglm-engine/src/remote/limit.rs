//! How much is sent: requests and tokens a minute, and requests at once.

use std::collections::VecDeque;
use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use autoglm_spec::Cancel;

use super::clock::Clock;

/// The window that limits count in.
const MINUTE: Duration = Duration::from_mins(1);

/// How long a thread that waits for its turn does not look whether it is cancelled.
const NAP: Duration = Duration::from_millis(20);

/// What a server allows in any stretch of 60 seconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RateLimits {
    /// Requests; no limit where there is none.
    pub requests_per_minute: Option<NonZeroU32>,
    /// Tokens of prompts and answers; no limit where there is none.
    pub tokens_per_minute: Option<NonZeroU32>,
}

/// Keeps requests within the limits: in no 60 seconds more is begun than they allow.
#[derive(Debug)]
pub(crate) struct RateLimiter {
    limits: RateLimits,
    begun: Mutex<Begun>,
}

/// What was begun in the last minute, oldest first.
#[derive(Debug, Default)]
struct Begun {
    entries: VecDeque<Entry>,
    last: u64,
}

#[derive(Debug)]
struct Entry {
    number: u64,
    at: Duration,
    tokens: u64,
}

/// A request that was begun.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ticket(u64);

impl RateLimiter {
    pub(crate) fn new(limits: RateLimits) -> Self {
        Self {
            limits,
            begun: Mutex::default(),
        }
    }

    /// Waits until a request of so many tokens may begin; `None` when cancelled before. One that
    /// is larger than the limit itself begins when nothing else was begun for a minute.
    pub(crate) fn begin(&self, tokens: u64, clock: &dyn Clock, cancel: &Cancel) -> Option<Ticket> {
        loop {
            if cancel.is_cancelled() {
                return None;
            }
            let wait = match self.lock().try_begin(self.limits, tokens, clock.now()) {
                Ok(ticket) => return Some(ticket),
                Err(wait) => wait,
            };
            clock.sleep(wait, cancel);
        }
    }

    /// Puts what a request took in place of what it was taken for.
    pub(crate) fn settle(&self, ticket: Ticket, tokens: u64) {
        let mut begun = self.lock();
        let entry = begun.entries.iter_mut().find(|e| e.number == ticket.0);
        if let Some(entry) = entry {
            entry.tokens = tokens;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Begun> {
        self.begun.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Begun {
    /// Begins a request, or says how long to wait until it might begin.
    fn try_begin(
        &mut self,
        limits: RateLimits,
        tokens: u64,
        now: Duration,
    ) -> Result<Ticket, Duration> {
        while self.entries.front().is_some_and(|e| e.at + MINUTE <= now) {
            self.entries.pop_front();
        }
        if let Some(oldest) = self.entries.front()
            && !self.has_room(limits, tokens)
        {
            return Err((oldest.at + MINUTE).saturating_sub(now));
        }
        self.last += 1;
        if limits != RateLimits::default() {
            self.entries.push_back(Entry {
                number: self.last,
                at: now,
                tokens,
            });
        }
        Ok(Ticket(self.last))
    }

    fn has_room(&self, limits: RateLimits, tokens: u64) -> bool {
        let requests = self.entries.len() as u64 + 1;
        let tokens = self.entries.iter().map(|e| e.tokens).sum::<u64>() + tokens;
        let within = |limit: Option<NonZeroU32>, used| limit.is_none_or(|l| used <= l.get().into());
        within(limits.requests_per_minute, requests) && within(limits.tokens_per_minute, tokens)
    }
}

/// Requests that are under way at once.
#[derive(Debug)]
pub(crate) struct Slots {
    free: Mutex<usize>,
    freed: Condvar,
}

/// One of the requests under way.
pub(crate) struct Slot<'a>(&'a Slots);

impl Slots {
    pub(crate) fn new(count: NonZeroUsize) -> Self {
        Self {
            free: Mutex::new(count.get()),
            freed: Condvar::new(),
        }
    }

    /// Waits for a place; `None` when cancelled before.
    pub(crate) fn take(&self, cancel: &Cancel) -> Option<Slot<'_>> {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        while *free == 0 {
            if cancel.is_cancelled() {
                return None;
            }
            let waited = self.freed.wait_timeout(free, NAP);
            free = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        *free -= 1;
        Some(Slot(self))
    }
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        let mut free = self.0.free.lock().unwrap_or_else(PoisonError::into_inner);
        *free += 1;
        self.0.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::super::test_clock::TestClock;
    use super::*;

    fn limits(requests: u32, tokens: u32) -> RateLimits {
        RateLimits {
            requests_per_minute: NonZeroU32::new(requests),
            tokens_per_minute: NonZeroU32::new(tokens),
        }
    }

    /// When each of some requests begins, in seconds.
    fn begins(limits: RateLimits, tokens: &[u64]) -> Vec<u64> {
        let clock = TestClock::default();
        let limiter = RateLimiter::new(limits);
        let begin = |&tokens: &u64| {
            let ticket = limiter.begin(tokens, &clock, &Cancel::default());
            assert!(ticket.is_some());
            clock.now().as_secs()
        };
        tokens.iter().map(begin).collect()
    }

    #[test]
    fn without_limits_nothing_waits() {
        assert_eq!(begins(limits(0, 0), &[1_000_000; 5]), [0; 5]);
    }

    #[test]
    fn requests_of_a_minute_are_limited() {
        assert_eq!(begins(limits(2, 0), &[1; 5]), [0, 0, 60, 60, 120]);
    }

    #[test]
    fn tokens_of_a_minute_are_limited() {
        assert_eq!(begins(limits(0, 100), &[60, 30, 30, 90]), [0, 0, 60, 120]);
    }

    #[test]
    fn a_request_beyond_the_limit_itself_goes_alone() {
        assert_eq!(begins(limits(0, 100), &[10, 500, 10]), [0, 60, 120]);
    }

    #[test]
    fn what_a_request_took_replaces_what_it_was_taken_for() {
        let clock = TestClock::default();
        let limiter = RateLimiter::new(limits(0, 100));
        let ticket = limiter.begin(90, &clock, &Cancel::default()).unwrap();
        limiter.settle(ticket, 10);
        assert!(limiter.begin(90, &clock, &Cancel::default()).is_some());
        assert_eq!(clock.now(), Duration::ZERO);
    }

    #[test]
    fn a_cancelled_request_does_not_begin() {
        let cancel = Cancel::default();
        cancel.cancel();
        let limiter = RateLimiter::new(limits(1, 0));
        assert!(limiter.begin(1, &TestClock::default(), &cancel).is_none());
        let slots = Slots::new(NonZeroUsize::MIN);
        let _taken = slots.take(&Cancel::default()).unwrap();
        assert!(slots.take(&cancel).is_none());
    }

    #[test]
    fn in_no_minute_more_is_begun_than_allowed() {
        let clock = TestClock::default();
        let allowed = limits(7, 50);
        let limiter = RateLimiter::new(allowed);
        let mut begun: Vec<(Duration, u64)> = Vec::new();
        for step in 0..500_u64 {
            clock.advance(Duration::from_millis(step * 7919 % 9000));
            let tokens = step * 31 % 20;
            limiter.begin(tokens, &clock, &Cancel::default()).unwrap();
            begun.push((clock.now(), tokens));
            let since = |at: &Duration| *at + MINUTE > clock.now();
            let recent: Vec<_> = begun.iter().filter(|(at, _)| since(at)).collect();
            assert!(recent.len() <= 7);
            assert!(recent.iter().map(|(_, tokens)| tokens).sum::<u64>() <= 50);
        }
    }
}
