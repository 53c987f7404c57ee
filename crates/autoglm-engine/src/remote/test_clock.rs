//! A clock for tests: sleeping takes no time, it only moves the hands.

use std::sync::Mutex;
use std::time::Duration;

use autoglm_spec::Cancel;

use super::clock::Clock;

#[derive(Debug, Default)]
pub(crate) struct TestClock {
    now: Mutex<Duration>,
}

impl TestClock {
    pub(crate) fn advance(&self, time: Duration) {
        *self.now.lock().unwrap() += time;
    }
}

impl Clock for TestClock {
    fn now(&self) -> Duration {
        *self.now.lock().unwrap()
    }

    fn sleep(&self, time: Duration, _: &Cancel) {
        self.advance(time);
    }
}
