//! The compute threads: a fixed team that runs numbered tasks.
//!
//! Every thread begins with a contiguous share of the tasks and, when that is done, takes over what
//! others have left. A run is complete when its tasks are, whoever took part: a thread that another
//! process keeps off its core holds up at most the task that it has begun. So *which* thread runs
//! a task depends on timing, and nothing that a task computes may depend on it.
//!
//! Nothing is allocated per run. Waiting is spin-then-sleep, so that a run costs about a microsecond
//! while kernels follow each other closely and no core is burnt when they do not.

mod disjoint;
mod gate;
mod share;
#[cfg(test)]
mod tests;

use std::any::Any;
use std::cell::Cell;
use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::thread::JoinHandle;

pub(crate) use disjoint::DisjointMut;
use gate::{Door, Gate};
use share::Share;

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
    /// Open during a run: workers come in to do tasks, and the caller waits until all are out.
    door: Door,
    /// What is left of each thread's share of the current run.
    shares: Vec<Share>,
    stopping: AtomicBool,
    /// What the first worker that panicked in this run panicked with.
    panic: Mutex<Option<Payload>>,
}

type Payload = Box<dyn Any + Send>;

#[derive(Clone, Copy)]
struct Job {
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
            started: Gate::at(0),
            door: Door::new(),
            shares: (0..threads).map(|_| Share::empty()).collect(),
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
    /// Worker `w` of `n` begins with task `w*tasks/n` and goes on in ascending order up to task
    /// `(w+1)*tasks/n`, then with the last tasks of the others; the caller is worker 0. A single
    /// task, and a run started inside a task, run on the calling thread.
    ///
    /// # Panics
    /// With the panic of a task, if one panicked, after all workers have stopped; which of the
    /// remaining tasks are run is not said. The pool stays usable. Also with 2³² tasks or more.
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
        // SAFETY: only the lifetime changes. Workers use the reference behind the door only, and this
        // function neither returns nor unwinds before it has closed the door, waited until all of
        // them are out, and removed the job.
        let task: &'static (dyn Fn(usize) + Sync) = unsafe { std::mem::transmute(task) };
        team.share_out(tasks);
        team.set_job(Some(Job { task }));
        team.door.open();
        team.started.add(1);
        let own = team.run_tasks(0, task);
        team.door.close_and_wait();
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
        self.team.started.add(1);
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
    /// A worker's life: wait for a run, do tasks while there are some.
    fn work(&self, worker: usize) {
        let mut seen = 0;
        loop {
            seen = self.started.wait_until(|started| started != seen);
            if self.stopping.load(Ordering::Acquire) {
                return;
            }
            // A run that is over is none of its business, and a later one as good as the one it
            // was woken for.
            if self.door.enter() {
                let job = *self.job.read().unwrap_or_else(PoisonError::into_inner);
                if let Some(Err(payload)) = job.map(|job| self.run_tasks(worker, job.task)) {
                    lock(&self.panic).get_or_insert(payload);
                }
                self.door.leave();
            }
        }
    }

    /// Gives every thread its share of a run.
    fn share_out(&self, tasks: usize) {
        let tasks = u32::try_from(tasks).expect("fewer than 2³² tasks");
        let threads = self.shares.len() as u64;
        let bound = |w: u64| (w * u64::from(tasks) / threads) as u32;
        for (w, share) in (0..).zip(&self.shares) {
            share.fill(bound(w)..bound(w + 1));
        }
    }

    /// Runs tasks of the current job until none is left, and catches their panic.
    fn run_tasks(&self, worker: usize, task: &(dyn Fn(usize) + Sync)) -> Result<(), Payload> {
        INSIDE_TASK.set(true);
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            while let Some(own) = self.shares[worker].take_first() {
                task(own as usize);
            }
            let (before, after) = self.shares.split_at(worker);
            for share in after.iter().chain(before) {
                while let Some(of_another) = share.take_last() {
                    task(of_another as usize);
                }
            }
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

/// Nothing that these locks guard can be left half changed by a panic.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
