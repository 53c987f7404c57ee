//! Time, as the remote engine sees it.

use std::time::{Duration, Instant};

use autoglm_spec::Cancel;

/// How long a sleeper does not look whether it is cancelled.
const NAP: Duration = Duration::from_millis(20);

/// A clock that can be waited for.
pub trait Clock: Send + Sync {
    /// Time since some moment that stays the same.
    fn now(&self) -> Duration;

    /// Waits for a time, or until the flag is raised.
    fn sleep(&self, time: Duration, cancel: &Cancel);
}

/// The machine's clock.
#[derive(Debug, Clone, Copy)]
pub struct SystemClock(Instant);

impl Default for SystemClock {
    fn default() -> Self {
        Self(Instant::now())
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Duration {
        self.0.elapsed()
    }

    fn sleep(&self, time: Duration, cancel: &Cancel) {
        let end = self.now() + time;
        while !cancel.is_cancelled() {
            let left = end.saturating_sub(self.now());
            if left.is_zero() {
                return;
            }
            std::thread::sleep(left.min(NAP));
        }
    }
}
