use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use proptest::prelude::*;

use super::*;

fn pool(threads: usize) -> Pool {
    Pool::new(NonZeroUsize::new(threads).unwrap())
}

fn counts_of_a_run(pool: &Pool, tasks: usize) -> Vec<usize> {
    let counts: Vec<AtomicUsize> = (0..tasks).map(|_| AtomicUsize::new(0)).collect();
    pool.run(tasks, |task| {
        counts[task].fetch_add(1, Ordering::Relaxed);
    });
    counts.into_iter().map(AtomicUsize::into_inner).collect()
}

fn panic_message(run: impl FnOnce()) -> String {
    let payload = catch_unwind(AssertUnwindSafe(run)).unwrap_err();
    payload.downcast_ref::<&str>().map_or_else(
        || {
            payload
                .downcast_ref::<String>()
                .cloned()
                .unwrap_or_default()
        },
        |text| (*text).to_owned(),
    )
}

#[test]
fn every_task_runs_once_whatever_the_number_of_threads() {
    for threads in 1..=5 {
        let pool = pool(threads);
        for tasks in 0..40 {
            assert_eq!(
                counts_of_a_run(&pool, tasks),
                vec![1; tasks],
                "{threads} threads"
            );
        }
    }
}

#[test]
fn runs_close_together_and_far_apart_all_complete() {
    let pool = pool(3);
    let sum = AtomicUsize::new(0);
    for run in 0..20_000 {
        pool.run(run % 7, |task| {
            sum.fetch_add(task + 1, Ordering::Relaxed);
        });
        if run % 1_000 == 0 {
            std::thread::sleep(Duration::from_millis(2));
        }
    }
    let expected: usize = (0..20_000).map(|run| (run % 7) * (run % 7 + 1) / 2).sum();
    assert_eq!(sum.into_inner(), expected);
}

#[test]
fn a_thread_that_is_held_up_leaves_its_tasks_to_the_others() {
    let pool = pool(2);
    let done = AtomicUsize::new(0);
    // Whoever gets task 0 waits until the other thread has done everything else.
    pool.run(8, |task| {
        if task == 0 {
            while done.load(Ordering::Acquire) < 7 {
                std::thread::yield_now();
            }
        } else {
            done.fetch_add(1, Ordering::Release);
        }
    });
    assert_eq!(done.into_inner(), 7);
}

#[test]
fn runs_of_more_threads_than_cores_and_tasks_do_every_task_once() {
    // Most threads are asleep when a run begins, and many come when it is over.
    let pool = pool(32);
    for _ in 0..50 {
        std::thread::sleep(Duration::from_millis(1));
        assert_eq!(counts_of_a_run(&pool, 3), vec![1; 3]);
    }
}

#[test]
fn a_pool_of_one_stays_on_the_calling_thread() {
    let pool = pool(1);
    assert!(pool.workers.is_empty());
    let caller = std::thread::current().id();
    pool.run(5, |_| assert_eq!(std::thread::current().id(), caller));
}

#[test]
fn a_panic_reaches_the_caller_and_the_pool_stays_usable() {
    let pool = pool(4);
    for panicking in 0..16 {
        let message = panic_message(|| {
            pool.run(16, |task| assert_ne!(task, panicking, "task {task} fails"));
        });
        assert!(
            message.contains(&format!("task {panicking} fails")),
            "{message}"
        );
        assert_eq!(counts_of_a_run(&pool, 16), vec![1; 16]);
    }
}

#[test]
fn a_panic_waits_for_tasks_that_have_begun() {
    let pool = pool(2);
    let (begun, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let message = panic_message(|| {
        pool.run(2, |task| {
            if task == 0 {
                while begun.load(Ordering::Acquire) == 0 {
                    std::thread::yield_now();
                }
                panic!("the first task fails");
            }
            begun.fetch_add(1, Ordering::Release);
            std::thread::sleep(Duration::from_millis(20));
            done.fetch_add(1, Ordering::Relaxed);
        });
    });
    assert!(message.contains("the first task fails"), "{message}");
    assert_eq!(done.into_inner(), 1);
}

#[test]
fn a_run_inside_a_task_runs_inline() {
    let (outer, other) = (pool(3), pool(2));
    let sum = AtomicUsize::new(0);
    outer.run(6, |_| {
        let thread = std::thread::current().id();
        for inner in [&outer, &other] {
            inner.run(4, |task| {
                assert_eq!(std::thread::current().id(), thread);
                sum.fetch_add(task, Ordering::Relaxed);
            });
        }
    });
    assert_eq!(sum.into_inner(), 6 * 2 * 6);
}

#[test]
fn threads_that_share_a_pool_take_turns() {
    let pool = pool(2);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                for tasks in 0..300 {
                    assert_eq!(counts_of_a_run(&pool, tasks % 9), vec![1; tasks % 9]);
                }
            });
        }
    });
}

#[test]
fn more_threads_than_cores_still_finish() {
    let pool = pool(16);
    for _ in 0..200 {
        assert_eq!(counts_of_a_run(&pool, 50), vec![1; 50]);
    }
}

#[test]
fn dropping_a_pool_ends_its_threads() {
    let pool = pool(3);
    let team = Arc::downgrade(&pool.team);
    pool.run(3, |_| {});
    drop(pool);
    assert!(team.upgrade().is_none(), "a worker still holds the team");
}

#[test]
#[should_panic(expected = "range 3..6 of a slice of 5 elements")]
fn a_part_outside_the_slice_is_refused() {
    let mut data = [0u8; 5];
    let data = DisjointMut::new(&mut data);
    // SAFETY: no other part is taken.
    unsafe { data.range(3..6) }.fill(1);
}

proptest! {
    #[test]
    fn shares_are_taken_from_both_ends_once_each(tasks in 0u32..200, order in proptest::collection::vec(any::<bool>(), 0..250)) {
        let share = Share::empty();
        share.fill(0..tasks);
        let mut left: std::collections::VecDeque<u32> = (0..tasks).collect();
        for first in order {
            if first {
                prop_assert_eq!(share.take_first(), left.pop_front());
            } else {
                prop_assert_eq!(share.take_last(), left.pop_back());
            }
        }
    }

    #[test]
    fn chunks_are_those_of_the_standard_library(len in 0usize..300, chunk_len in 1usize..50, threads in 1usize..5) {
        let mut data: Vec<usize> = (0..len).collect();
        let mut expected = data.clone();
        let change = |chunk: usize, part: &mut [usize]| {
            let part_len = part.len();
            for x in part {
 *x += 1_000 * chunk + part_len;
}
        };
        pool(threads).for_each_chunk(&mut data, chunk_len, change);
        expected.chunks_mut(chunk_len).enumerate().for_each(|(chunk, part)| change(chunk, part));
        prop_assert_eq!(data, expected);
    }
}
