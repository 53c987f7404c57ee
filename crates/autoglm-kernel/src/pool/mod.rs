//! The compute threads: a fixed team that runs numbered tasks with a static partition.
//!
//! The partition depends on the number of tasks and threads only, never on timing, and nothing is
//! allocated per run. Waiting is spin-then-sleep, so that a run costs well under a microsecond
//! while kernels follow each other closely and no core is burnt when they do not.

mod disjoint;
mod gate;
#[cfg(test)]
mod tests;

use std::any::Any;
use std::cell::Cell;
use std::num::NonZeroUsize;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::thread::JoinHandle;

pub(crate) use disjoint::DisjointMut;
use gate::Gate;

/// A team of compute threads; the thread that calls [`Pool::run`] is one of them.
///
/// Several threads may share a pool; their runs follow one another. A run that is started from
/// inside a task (of this pool or another) runs all its tasks inline, on the thread of that task.
pub struct Pool {
    team: Arc<Team>,
    workers: Vec<JoinHandle<()>>,
    /// Held for the length of a run: one run at a time.
    turn: Mutex<()>,
}

/// What the caller and the workers share.
struct Team {
    threads: usize,
    /// The job of the current run; `None` between runs.
    job: RwLock<Option<Job>>,
    /// Counts the runs: workers wait for the next one.
    started: Gate,
    /// Counts the shares that workers have finished, over all runs: the caller waits for it.
    finished: Gate,
    stopping: AtomicBool,
    /// What the first worker that panicked in this run panicked with.
    panic: Mutex<Option<Payload>>,
}

type Payload = Box<dyn Any + Send>;

#[derive(Clone, Copy)]
struct Job {
    tasks: usize,
    /// Borrowed from the caller of `run`; the lifetime is erased there, with the reason.
    task: &'static (dyn Fn(usize) + Sync),
}

thread_local! {
    /// Whether this thread is inside a task of some pool.
    static INSIDE_TASK: Cell<bool> = const { Cell::new(false) };
}

impl Pool {
    /// A team of `threads`, the caller of [`Pool::run`] included: `threads - 1` are spawned.
    ///
    /// # Panics
    /// If the operating system refuses to start a thread.
    pub fn new(threads: NonZeroUsize) -> Self {
        let threads = threads.get();
        let team = Arc::new(Team {
            threads,
            job: RwLock::new(None),
            started: Gate::new(),
            finished: Gate::new(),
            stopping: AtomicBool::new(false),
            panic: Mutex::new(None),
        });
        let workers = (1..threads).map(|worker| spawn(&team, worker)).collect();
        Self {
            team,
            workers,
            turn: Mutex::new(()),
        }
    }

    /// The number of threads that take part in a run.
    pub fn threads(&self) -> usize {
        self.team.threads
    }

    /// Calls `f` once for every task in `0..tasks` and returns when all are done.
    ///
    /// Worker `w` of `n` runs tasks `w*tasks/n .. (w+1)*tasks/n` in ascending order; the caller is
    /// worker 0. A single task, and a run started inside a task, run on the calling thread.
    ///
    /// # Panics
    /// With the panic of a task, if one panicked, after all workers have stopped; the panicking
    /// worker's remaining tasks are not run. The pool stays usable.
    pub fn run(&self, tasks: usize, f: impl Fn(usize) + Sync) {
        if tasks <= 1 || self.team.threads == 1 || INSIDE_TASK.get() {
            (0..tasks).for_each(f);
        } else {
            self.run_as_team(tasks, &f);
        }
    }

    /// Cuts `data` into chunks of `chunk_len` (the last may be shorter) and calls `f` with each
    /// chunk and its number, one task a chunk.
    ///
    /// # Panics
    /// If `chunk_len` is 0, and as [`Pool::run`] does.
    pub fn for_each_chunk<T: Send>(
        &self,
        data: &mut [T],
        chunk_len: usize,
        f: impl Fn(usize, &mut [T]) + Sync,
    ) {
        assert!(chunk_len > 0, "for_each_chunk: the chunk length is 0");
        let len = data.len();
        let data = DisjointMut::new(data);
        self.run(len.div_ceil(chunk_len), |chunk| {
            let start = chunk * chunk_len;
            let end = len.min(start + chunk_len);
            // SAFETY: every chunk number occurs in one task only and the chunks do not overlap.
            let part = unsafe { data.range(start..end) };
            f(chunk, part);
        });
    }

    fn run_as_team(&self, tasks: usize, task: &(dyn Fn(usize) + Sync)) {
        let turn = lock(&self.turn);
        let team = &*self.team;
        // SAFETY: only the lifetime changes. Workers use the reference between `started` and their
        // `finished` of this run only, and this function neither returns nor unwinds before it has
        // waited for all of them and removed the job.
        let task: &'static (dyn Fn(usize) + Sync) = unsafe { std::mem::transmute(task) };
        team.set_job(Some(Job { tasks, task }));
        let finished_before = team.finished.value();
        team.started.advance();
        let own = team.run_share(0);
        let workers = team.threads as u32 - 1;
        team.finished
            .wait_until(|finished| finished.wrapping_sub(finished_before) == workers);
        team.set_job(None);
        let of_worker = lock(&team.panic).take();
        drop(turn);
        if let Some(payload) = own.err().or(of_worker) {
            resume_unwind(payload);
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.team.stopping.store(true, Ordering::Release);
        self.team.started.advance();
        for worker in self.workers.drain(..) {
            // A worker catches what its tasks panic with, so there is nothing to hand on.
            let _ = worker.join();
        }
    }
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pool")
            .field("threads", &self.team.threads)
            .finish_non_exhaustive()
    }
}

impl Team {
    /// A worker's life: wait for a run, do the share, say so.
    fn work(&self, worker: usize) {
        let mut seen = 0;
        loop {
            seen = self.started.wait_until(|started| started != seen);
            if self.stopping.load(Ordering::Acquire) {
                return;
            }
            if let Err(payload) = self.run_share(worker) {
                lock(&self.panic).get_or_insert(payload);
            }
            self.finished.advance();
        }
    }

    /// Runs the tasks of `worker` in the current job and catches their panic.
    fn run_share(&self, worker: usize) -> Result<(), Payload> {
        let job = *self.job.read().unwrap_or_else(PoisonError::into_inner);
        let Some(job) = job else { return Ok(()) };
        INSIDE_TASK.set(true);
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            share(job.tasks, worker, self.threads).for_each(job.task);
        }));
        INSIDE_TASK.set(false);
        outcome
    }

    fn set_job(&self, job: Option<Job>) {
        *self.job.write().unwrap_or_else(PoisonError::into_inner) = job;
    }
}

fn spawn(team: &Arc<Team>, worker: usize) -> JoinHandle<()> {
    let team = Arc::clone(team);
    std::thread::Builder::new()
        .name(format!("compute-{worker}"))
        .spawn(move || team.work(worker))
        .expect("the operating system starts a compute thread")
}

/// The tasks of worker `worker` of `threads`: contiguous, and their counts differ by one at most.
fn share(tasks: usize, worker: usize, threads: usize) -> Range<usize> {
    let bound = |w: usize| (w as u128 * tasks as u128 / threads as u128) as usize;
    bound(worker)..bound(worker + 1)
}

/// Nothing that these locks guard can be left half changed by a panic.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
