//! Where calls from several threads meet: each hands its requests in, one of the waiting threads
//! runs passes for all of them, and each takes its own answers.
//!
//! There is no thread of the engine's own: a thread whose call has open requests takes the
//! scheduler when it lies here, runs one pass, brings what came of it and the scheduler back.
//! While it hands out its own deltas another call's thread goes on. A panic in a pass fails the
//! requests that were in it, and the scheduler begins anew.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use autoglm_spec::{Cancel, Delta, EngineError};

use crate::error::LocalError;
use crate::request::{Answer, CallId, Event, Job, News};
use crate::runner::Machine;
use crate::scheduler::{Room, Scheduler, Standing};
use crate::stats::EngineStats;

/// Calls that are answered at once at most; one more is refused. Each has a thread that waits.
const MAX_CALLS: usize = 256;

/// How long a call's thread sleeps before it looks whether the call was cancelled: the flag wakes
/// nobody. 256 sleeping calls then look 2,560 times a second, about a hundredth of a core.
const NAP: Duration = Duration::from_millis(100);

/// A request's answer with its index in the call.
pub(crate) type Indexed = (usize, Result<Answer, EngineError>);

/// More calls at once than are taken.
pub(crate) struct Busy {
    pub(crate) calls: usize,
    pub(crate) limit: usize,
}

/// Calls and the scheduler, when no thread has it.
pub(crate) struct Desk {
    state: Mutex<State>,
    /// The scheduler was brought back while someone wanted it alone.
    returned: Condvar,
    /// Makes a scheduler with an empty cache.
    make: Box<dyn Fn() -> Scheduler + Send + Sync>,
}

struct State {
    calls: BTreeMap<CallId, Call>,
    scheduler: Option<Box<Scheduler>>,
    /// Threads that want the scheduler for themselves.
    borrowers: usize,
    last_call: CallId,
    /// The call whose request was begun last: the next one is the next call's.
    turn: CallId,
    stats: EngineStats,
}

/// What a call has open.
struct Call {
    cancel: Cancel,
    waiting: VecDeque<(usize, Job)>,
    deltas: Vec<(usize, Delta)>,
    answers: Vec<Indexed>,
    /// Requests without an answer.
    open: usize,
    /// Whether the call's thread is handing out deltas, so that it cannot run a pass.
    handing_out: bool,
    wake: Arc<Condvar>,
}

impl Call {
    /// Whether the call's thread has nothing to do but to run passes.
    fn can_run(&self) -> bool {
        self.open > 0 && self.deltas.is_empty() && !self.handing_out
    }

    /// Ends the requests that were not begun.
    fn cancel_waiting(&mut self) {
        let cancelled = |(index, _)| (index, Err(EngineError::Cancelled));
        self.open -= self.waiting.len();
        self.answers.extend(self.waiting.drain(..).map(cancelled));
    }
}

/// What the thread of a call does next.
enum Next {
    HandOut(Vec<(usize, Delta)>),
    Run(Box<Scheduler>),
    Return(Vec<Indexed>),
}

impl Desk {
    pub(crate) fn new(make: impl Fn() -> Scheduler + Send + Sync + 'static) -> Self {
        let scheduler = make();
        let state = State {
            calls: BTreeMap::new(),
            stats: scheduler.stats(),
            scheduler: Some(Box::new(scheduler)),
            borrowers: 0,
            last_call: 0,
            turn: 0,
        };
        Self {
            state: Mutex::new(state),
            returned: Condvar::new(),
            make: Box::new(make),
        }
    }

    /// Answers requests together with those of all other calls; returns when all are answered.
    ///
    /// # Errors
    /// [`Busy`] when too many calls are being answered already.
    pub(crate) fn answer(
        &self,
        machine: Machine<'_>,
        jobs: Vec<(usize, Job)>,
        cancel: &Cancel,
        on_delta: &mut dyn FnMut(usize, &Delta),
    ) -> Result<Vec<Indexed>, Busy> {
        let ticket = self.register(jobs, cancel)?;
        loop {
            match ticket.next() {
                Next::HandOut(deltas) => {
                    for (index, delta) in &deltas {
                        on_delta(*index, delta);
                    }
                }
                Next::Run(scheduler) => self.run(machine, scheduler, ticket.id),
                Next::Return(answers) => return Ok(answers),
            }
        }
    }

    /// Calls `work` with the scheduler between two passes.
    pub(crate) fn borrow<T>(&self, work: impl FnOnce(&mut Scheduler) -> T) -> T {
        let mut state = self.lock();
        state.borrowers += 1;
        let mut scheduler = loop {
            match state.scheduler.take() {
                Some(scheduler) => break scheduler,
                None => {
                    state = self
                        .returned
                        .wait(state)
                        .unwrap_or_else(PoisonError::into_inner);
                }
            }
        };
        drop(state);
        let outcome = catch_unwind(AssertUnwindSafe(|| work(&mut scheduler)));
        let mut events = Vec::new();
        if let Err(payload) = &outcome {
            *scheduler = self.begin_anew(&scheduler, &**payload, &mut events);
        }
        let mut state = self.lock();
        state.borrowers -= 1;
        self.bring_back(&mut state, scheduler, events);
        state.wake_a_runner();
        drop(state);
        match outcome {
            Ok(value) => value,
            Err(payload) => std::panic::resume_unwind(payload),
        }
    }

    /// What was done until the last pass ended, and what is open now.
    pub(crate) fn stats(&self) -> EngineStats {
        let state = self.lock();
        let calls = state.calls.values();
        let waiting = calls.clone().map(|call| call.waiting.len()).sum();
        let open: usize = calls.map(|call| call.open).sum();
        EngineStats {
            waiting,
            running: open - waiting,
            ..state.stats
        }
    }

    fn register(&self, jobs: Vec<(usize, Job)>, cancel: &Cancel) -> Result<Ticket<'_>, Busy> {
        let mut state = self.lock();
        let calls = state.calls.len();
        if calls >= MAX_CALLS {
            return Err(Busy {
                calls,
                limit: MAX_CALLS,
            });
        }
        state.last_call += 1;
        let id = state.last_call;
        let call = Call {
            cancel: cancel.clone(),
            open: jobs.len(),
            waiting: jobs.into(),
            deltas: Vec::new(),
            answers: Vec::new(),
            handing_out: false,
            wake: Arc::new(Condvar::new()),
        };
        state.calls.insert(id, call);
        Ok(Ticket { desk: self, id })
    }

    /// Runs one pass and brings back what came of it.
    fn run(&self, machine: Machine<'_>, mut scheduler: Box<Scheduler>, call: CallId) {
        let outcome = catch_unwind(AssertUnwindSafe(|| scheduler.pass(machine)));
        let events = outcome.unwrap_or_else(|payload| {
            let mut events = Vec::new();
            *scheduler = self.begin_anew(&scheduler, &*payload, &mut events);
            events
        });
        let mut state = self.lock();
        self.bring_back(&mut state, scheduler, events);
        if !state.calls.get(&call).is_some_and(Call::can_run) {
            state.wake_a_runner();
        }
    }

    /// A scheduler with an empty cache, and the news that the requests of the old one are lost.
    fn begin_anew(
        &self,
        broken: &Scheduler,
        payload: &(dyn std::any::Any + Send),
        events: &mut Vec<Event>,
    ) -> Scheduler {
        let message = panic_message(payload);
        let lost = |(call, index)| {
            let error = LocalError::Panicked {
                message: message.clone(),
            };
            Event {
                call,
                index,
                news: News::Done(Err(EngineError::engine(error))),
            }
        };
        events.extend(broken.waiters().into_iter().map(lost));
        (self.make)().carrying_on(broken.counts())
    }

    /// Delivers news and lays the scheduler back.
    fn bring_back(&self, state: &mut State, scheduler: Box<Scheduler>, events: Vec<Event>) {
        state.stats = scheduler.stats();
        state.scheduler = Some(scheduler);
        state.deliver(events);
        if state.borrowers > 0 {
            self.returned.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing that is done under the lock panics half way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Puts news into the boxes of their calls and wakes those calls.
    fn deliver(&mut self, events: Vec<Event>) {
        for event in events {
            let Some(call) = self.calls.get_mut(&event.call) else {
                continue;
            };
            match event.news {
                News::Delta(delta) => call.deltas.push((event.index, delta)),
                News::Done(answer) => {
                    call.answers.push((event.index, answer));
                    call.open -= 1;
                }
            }
            call.wake.notify_one();
        }
    }

    /// Wakes a thread that can run the next pass.
    fn wake_a_runner(&self) {
        if let Some(call) = self.calls.values().find(|call| call.can_run()) {
            call.wake.notify_one();
        }
    }

    /// Ends what is cancelled and begins waiting requests as far as there is room, one of each
    /// call in turn.
    fn admit(&mut self, scheduler: &mut Scheduler) {
        let calls = &self.calls;
        let events = scheduler.sort_out(|id| match calls.get(&id) {
            None => Standing::Gone,
            Some(call) if call.cancel.is_cancelled() => Standing::Cancelled,
            Some(_) => Standing::Waiting,
        });
        self.deliver(events);
        let is_cancelled = |call: &&mut Call| call.cancel.is_cancelled();
        for call in self.calls.values_mut().filter(is_cancelled) {
            call.cancel_waiting();
            call.wake.notify_one();
        }
        while let Some((id, index, job)) = self.next_job(scheduler) {
            scheduler.begin(id, index, job);
        }
    }

    /// Ends what a cancelled call has waiting. Nobody need have the scheduler for that.
    fn cancel_waiting(&mut self, id: CallId) {
        let call = self.calls.get_mut(&id);
        if let Some(call) = call.filter(|call| call.cancel.is_cancelled()) {
            call.cancel_waiting();
        }
    }

    /// The next waiting request that can be begun: that of the first call behind the one whose
    /// turn it was. One for which there is no memory now holds up all others, or it might wait
    /// for ever; one of a kind of which enough are worked on does not.
    fn next_job(&mut self, scheduler: &Scheduler) -> Option<(CallId, usize, Job)> {
        let in_turn = self
            .calls
            .range(self.turn + 1..)
            .chain(self.calls.range(..=self.turn));
        let fronts = in_turn.filter_map(|(&id, call)| Some((id, &call.waiting.front()?.1)));
        let (id, room) = fronts
            .map(|(id, job)| (id, scheduler.room(job)))
            .find(|(_, room)| *room != Room::Later)?;
        if room == Room::NoMemory {
            return None;
        }
        self.turn = id;
        let (index, job) = self.calls.get_mut(&id)?.waiting.pop_front()?;
        Some((id, index, job))
    }
}

/// A call's place at the desk. When the call's thread leaves early, its requests are dropped.
struct Ticket<'d> {
    desk: &'d Desk,
    id: CallId,
}

impl Ticket<'_> {
    /// Waits until there is something to do for this call's thread.
    fn next(&self) -> Next {
        let mut state = self.desk.lock();
        loop {
            let call = state.calls.get_mut(&self.id).expect("a ticket has a call");
            call.handing_out = !call.deltas.is_empty();
            if call.handing_out {
                return Next::HandOut(std::mem::take(&mut call.deltas));
            }
            if call.open == 0 {
                return Next::Return(std::mem::take(&mut call.answers));
            }
            let wake = Arc::clone(&call.wake);
            if state.borrowers == 0
                && let Some(mut scheduler) = state.scheduler.take()
            {
                state.admit(&mut scheduler);
                if !scheduler.is_idle() {
                    return Next::Run(scheduler);
                }
                state.scheduler = Some(scheduler);
                continue;
            }
            let slept = wake.wait_timeout(state, NAP);
            state = slept.unwrap_or_else(PoisonError::into_inner).0;
            state.cancel_waiting(self.id);
        }
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        let mut state = self.desk.lock();
        state.calls.remove(&self.id);
        if state.scheduler.is_some() && state.borrowers == 0 {
            state.wake_a_runner();
        }
    }
}

fn panic_message(payload: &(dyn std::any::Any + Send)) -> String {
    let text = payload
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| payload.downcast_ref::<String>().cloned());
    text.unwrap_or_else(|| "no message".to_owned())
}
