//! When a request that failed is tried again.

use std::time::Duration;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// How often and how long requests are tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetrySettings {
    /// Attempts at most, the first included.
    pub attempts: u32,
    /// The wait behind the first attempt; each further one doubles it.
    pub first_wait: Duration,
    /// The longest wait, unless the server asks for a longer one.
    pub longest_wait: Duration,
    /// The time that a request's attempts and waits may take together; an attempt that is under
    /// way is not broken off.
    pub total: Duration,
}

impl Default for RetrySettings {
    fn default() -> Self {
        Self {
            attempts: 6,
            first_wait: Duration::from_millis(500),
            longest_wait: Duration::from_secs(30),
            total: Duration::from_mins(5),
        }
    }
}

/// Whether a failure may pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hope {
    /// The same request would fail again.
    None,
    /// It may go better soon.
    Soon,
    /// It may go better when the server says so.
    After(Duration),
}

/// What to do behind a failed attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// Try again behind this wait.
    Wait(Duration),
    /// The attempts or the time are used up.
    GiveUp,
    /// The server asks for a wait that the time does not allow.
    TooLong(Duration),
}

/// The waits of one request.
#[derive(Debug)]
pub(crate) struct Backoff {
    settings: RetrySettings,
    random: ChaCha8Rng,
    begun: Duration,
    attempts: u32,
}

impl Backoff {
    /// The waits of a request that begins now; `seed` decides their jitter.
    pub(crate) fn new(settings: RetrySettings, seed: u64, now: Duration) -> Self {
        Self {
            settings,
            random: ChaCha8Rng::seed_from_u64(seed),
            begun: now,
            attempts: 0,
        }
    }

    /// Attempts that have failed.
    pub(crate) fn attempts(&self) -> u32 {
        self.attempts
    }

    /// What to do behind one more attempt, which failed now.
    pub(crate) fn next(&mut self, hope: Hope, now: Duration) -> Next {
        self.attempts += 1;
        if hope == Hope::None || self.attempts >= self.settings.attempts {
            return Next::GiveUp;
        }
        let own = self.own_wait();
        let wait = match hope {
            Hope::After(asked) => asked.saturating_add(own.min(asked / 10)),
            Hope::None | Hope::Soon => own,
        };
        let spent = now.saturating_sub(self.begun);
        match (spent.saturating_add(wait) > self.settings.total, hope) {
            (false, _) => Next::Wait(wait),
            (true, Hope::After(asked)) => Next::TooLong(asked),
            (true, _) => Next::GiveUp,
        }
    }

    /// Twice the wait before, and of that a random part from a half to all, so that clients that
    /// failed together do not come back together.
    fn own_wait(&mut self) -> Duration {
        let doublings = (self.attempts - 1).min(30);
        let full = self.settings.first_wait.saturating_mul(1 << doublings);
        let share = 0.5 + 0.5 * self.random.random::<f64>();
        full.min(self.settings.longest_wait).mul_f64(share)
    }
}

/// What a `Retry-After` header asks for: seconds. Dates are left aside, for they need the clock of
/// the wall.
pub(crate) fn retry_after(header: &str) -> Option<Duration> {
    let seconds: f64 = header.trim().parse().ok()?;
    (0.0..=1e9)
        .contains(&seconds)
        .then(|| Duration::from_secs_f64(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: RetrySettings = RetrySettings {
        attempts: 5,
        first_wait: Duration::from_secs(1),
        longest_wait: Duration::from_secs(3),
        total: Duration::from_mins(1),
    };

    fn waits(settings: RetrySettings, hope: Hope, seed: u64) -> Vec<Next> {
        let mut backoff = Backoff::new(settings, seed, Duration::ZERO);
        (0..settings.attempts)
            .map(|_| backoff.next(hope, Duration::ZERO))
            .collect()
    }

    #[test]
    fn waits_double_up_to_the_longest_with_jitter_and_then_it_gives_up() {
        for seed in 0..50 {
            let waits = waits(SETTINGS, Hope::Soon, seed);
            for (wait, full) in waits.iter().zip([1.0, 2.0, 3.0, 3.0]) {
                let Next::Wait(wait) = wait else {
                    panic!("{waits:?}");
                };
                assert!(
                    (full / 2.0..=full).contains(&wait.as_secs_f64()),
                    "{waits:?}"
                );
            }
            assert_eq!(waits[4], Next::GiveUp);
        }
        assert_ne!(
            waits(SETTINGS, Hope::Soon, 1),
            waits(SETTINGS, Hope::Soon, 2)
        );
    }

    #[test]
    fn the_servers_word_counts_for_more_than_the_own_wait() {
        let asked = Duration::from_secs(20);
        let mut backoff = Backoff::new(SETTINGS, 1, Duration::ZERO);
        let Next::Wait(wait) = backoff.next(Hope::After(asked), Duration::ZERO) else {
            panic!("it waits");
        };
        assert!(wait >= asked && wait <= asked.mul_f64(1.1), "{wait:?}");
    }

    #[test]
    fn the_total_time_is_kept() {
        let mut backoff = Backoff::new(SETTINGS, 1, Duration::ZERO);
        let late = Duration::from_secs(59);
        assert_eq!(
            backoff.next(Hope::After(Duration::from_secs(5)), late),
            Next::TooLong(Duration::from_secs(5))
        );
        assert_eq!(backoff.next(Hope::Soon, SETTINGS.total), Next::GiveUp);
    }

    #[test]
    fn what_would_fail_again_is_not_tried_again() {
        let mut backoff = Backoff::new(SETTINGS, 1, Duration::ZERO);
        assert_eq!(backoff.next(Hope::None, Duration::ZERO), Next::GiveUp);
    }

    #[test]
    fn a_header_in_seconds_is_read() {
        assert_eq!(retry_after(" 7 "), Some(Duration::from_secs(7)));
        assert_eq!(retry_after("0.5"), Some(Duration::from_millis(500)));
        for odd in ["", "-1", "inf", "1e300", "Wed, 21 Oct 2026 07:28:00 GMT"] {
            assert_eq!(retry_after(odd), None, "{odd}");
        }
    }
}
