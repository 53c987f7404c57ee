//! A counter that some threads change and others wait for: they spin a bounded time, then sleep.
//! And a door made of one, which counts who is inside.

use std::hint::spin_loop;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};

/// How often a waiter looks before it sleeps. A `pause` takes 40–140 cycles on current x86, so
/// this is 15–50 µs: longer than the gap between two kernels of a model, shorter than a scheduler
/// slice, so that a waiter gives its core away soon when another process wants it.
const SPINS: u32 = 1_000;

/// Aligned to two cache lines: the prefetcher of x86 fetches lines in pairs.
#[repr(align(128))]
pub(super) struct Gate {
    value: AtomicU32,
    sleepers: AtomicU32,
    sleep: Mutex<()>,
    wake: Condvar,
}

impl Gate {
    pub(super) const fn at(value: u32) -> Self {
        Self {
            value: AtomicU32::new(value),
            sleepers: AtomicU32::new(0),
            sleep: Mutex::new(()),
            wake: Condvar::new(),
        }
    }

    /// Adds `n` (wrapping) and wakes those who sleep. Everything the caller wrote before is seen by
    /// a waiter that sees the new value.
    pub(super) fn add(&self, n: u32) {
        // Sequentially consistent with `sleep_until`: either this thread sees the sleeper, or the
        // sleeper, which counts itself before it looks, sees the new value.
        self.value.fetch_add(n, Ordering::SeqCst);
        if self.sleepers.load(Ordering::SeqCst) > 0 {
            // The lock makes sure that a sleeper is not between its look and its sleep.
            drop(self.sleep.lock().unwrap_or_else(PoisonError::into_inner));
            self.wake.notify_all();
        }
    }

    /// Waits until `reached` holds for the value, and returns that value.
    pub(super) fn wait_until(&self, reached: impl Fn(u32) -> bool) -> u32 {
        for _ in 0..SPINS {
            let value = self.value.load(Ordering::Acquire);
            if reached(value) {
                return value;
            }
            spin_loop();
        }
        self.sleep_until(reached)
    }

    #[cold]
    fn sleep_until(&self, reached: impl Fn(u32) -> bool) -> u32 {
        let mut guard = self.sleep.lock().unwrap_or_else(PoisonError::into_inner);
        self.sleepers.fetch_add(1, Ordering::SeqCst);
        let value = loop {
            let value = self.value.load(Ordering::SeqCst);
            if reached(value) {
                break value;
            }
            guard = self
                .wake
                .wait(guard)
                .unwrap_or_else(PoisonError::into_inner);
        };
        self.sleepers.fetch_sub(1, Ordering::SeqCst);
        value
    }
}

/// Set while nobody may come in.
const CLOSED: u32 = 1 << 31;

/// Lets threads in while it is open.
pub(super) struct Door {
    /// How many are inside, and whether it is closed.
    inside: Gate,
}

impl Door {
    /// A closed door with nobody inside.
    pub(super) const fn new() -> Self {
        Self {
            inside: Gate::at(CLOSED),
        }
    }

    /// Opens a closed door. What the caller wrote before is seen by those who come in.
    pub(super) fn open(&self) {
        self.inside.value.store(0, Ordering::SeqCst);
    }

    /// Comes in, unless it is closed.
    pub(super) fn enter(&self) -> bool {
        let one_more = |inside: u32| (inside & CLOSED == 0).then_some(inside + 1);
        let value = &self.inside.value;
        value
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_more)
            .is_ok()
    }

    /// Goes out. What the caller wrote before is seen by the one who empties the room.
    pub(super) fn leave(&self) {
        // One less.
        self.inside.add(u32::MAX);
    }

    /// Closes an open door and waits until nobody is inside.
    pub(super) fn close_and_wait(&self) {
        self.inside.value.fetch_or(CLOSED, Ordering::SeqCst);
        self.inside.wait_until(|inside| inside == CLOSED);
    }
}
