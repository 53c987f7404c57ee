//! The tasks of a run that are left to one thread. The owner takes them in order; the others, when
//! they have nothing left of their own, from the end.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

/// A range of tasks. Aligned to two cache lines, which the prefetcher of x86 fetches in pairs.
#[repr(align(128))]
pub(super) struct Share {
    /// The first task in the upper half, the end in the lower one.
    left: AtomicU64,
}

impl Share {
    pub(super) const fn empty() -> Self {
        Self {
            left: AtomicU64::new(0),
        }
    }

    /// Puts in tasks where none is left.
    pub(super) fn fill(&self, tasks: Range<u32>) {
        self.left.store(word(tasks), Ordering::Relaxed);
    }

    /// Takes the first task.
    pub(super) fn take_first(&self) -> Option<u32> {
        self.take(|left| (left.start, left.start + 1..left.end))
    }

    /// Takes the last task.
    pub(super) fn take_last(&self) -> Option<u32> {
        self.take(|left| (left.end - 1, left.start..left.end - 1))
    }

    /// Takes one of the tasks that are left: `split` says which, and what stays.
    ///
    /// The order of memory is the business of [`super::gate::Door`]: tasks are put in before it
    /// opens, and each is taken by the one exchange that succeeds.
    fn take(&self, split: impl Fn(Range<u32>) -> (u32, Range<u32>)) -> Option<u32> {
        let without = |left: u64| {
            let left = tasks(left);
            (!left.is_empty()).then(|| word(split(left).1))
        };
        let before = self
            .left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, without);
        before.ok().map(|left| split(tasks(left)).0)
    }
}

fn word(tasks: Range<u32>) -> u64 {
    u64::from(tasks.start) << 32 | u64::from(tasks.end)
}

fn tasks(word: u64) -> Range<u32> {
    (word >> 32) as u32..word as u32
}
