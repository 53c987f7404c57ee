//! An order carried out by the task loop, for desks that have a job ready: what becomes known is
//! told as it does.

use std::cell::{Cell, RefCell};
use std::io;
use std::time::{Duration, SystemTime};

use autoglm_spec::{Cancel, Generate, TaskSpec};
use autoglm_task::compose::Composer;
use autoglm_task::records::{NumberedRecord, RowSink};
use autoglm_task::run::{Hooks, Job, RunReport, Step, run};
use autoglm_task::store::Store;
use autoglm_task::{Row, TaskError};

use super::{RunEvent, RunHead, RunOrder, StageTimes, TaskAnswer};

/// What an order is carried out with.
pub struct Means<'a> {
    /// Where the run is kept.
    pub store: &'a mut dyn Store,
    /// The time.
    pub now: &'a dyn Fn() -> SystemTime,
    /// Raised to end the run early.
    pub cancel: &'a Cancel,
}

/// Runs a job on the records of an order. `head` is what is known of the run before it has a
/// number.
///
/// # Errors
/// As [`run`].
pub fn conduct(
    job: &Job<'_>,
    order: &RunOrder,
    head: &RunHead,
    means: &mut Means<'_>,
    on_event: &mut dyn FnMut(RunEvent),
) -> Result<RunReport, TaskError> {
    let teller = RefCell::new(on_event);
    let watch = Watch::new(means.now);
    let mut sink = Teller {
        on_event: &teller,
        watch: &watch,
        composer: composer(job, order, head)?,
    };
    let numbered = order.records.iter().zip(1..);
    let mut records = numbered.map(|(record, line)| {
        Ok(NumberedRecord {
            line,
            record: record.clone(),
        })
    });
    let begin = |run: i64| {
        let head = RunHead {
            run,
            ..head.clone()
        };
        (teller.borrow_mut())(RunEvent::Begun(head));
    };
    let hooks = Hooks {
        now: means.now,
        cancel: means.cancel,
        progress: &|_| {},
        step: &|step| match step {
            Step::Begun(id) => begin(id.0),
            stage => watch.enter(stage),
        },
    };
    run(job, &mut records, &mut *means.store, &mut sink, hooks)
}

/// What makes the prompts that are shown, where they are asked for.
fn composer(
    job: &Job<'_>,
    order: &RunOrder,
    head: &RunHead,
) -> Result<Option<Composer>, TaskError> {
    if !order.explain {
        return Ok(None);
    }
    let spec = TaskSpec {
        examples: head.examples.clone(),
        ..job.spec.clone()
    };
    let composer = Composer::new(&spec, Generate::facts(job.engine));
    composer.map(Some).map_err(|error| TaskError::Compose {
        source: Box::new(error),
    })
}

/// How long the stages of a window took.
struct Watch<'a> {
    now: &'a dyn Fn() -> SystemTime,
    since: Cell<SystemTime>,
    stage: Cell<Option<Step>>,
    times: Cell<StageTimes>,
}

impl<'a> Watch<'a> {
    fn new(now: &'a dyn Fn() -> SystemTime) -> Self {
        Self {
            now,
            since: Cell::new(now()),
            stage: Cell::new(None),
            times: Cell::default(),
        }
    }

    fn enter(&self, stage: Step) {
        self.leave();
        if stage == Step::Compose {
            self.times.set(StageTimes::default());
        }
        self.stage.set(Some(stage));
    }

    /// Ends the stage that is under way.
    fn leave(&self) {
        let now = (self.now)();
        let took = now.duration_since(self.since.replace(now));
        let took = took.unwrap_or(Duration::ZERO);
        let mut times = self.times.get();
        match self.stage.take() {
            Some(Step::Compose) => times.compose += took,
            Some(Step::Ask) => times.model += took,
            Some(Step::Judge) => times.judge += took,
            Some(Step::Correct) => times.correct += took,
            Some(Step::Record) => times.record += took,
            Some(Step::Begun(_)) | None => {}
        }
        self.times.set(times);
    }
}

/// Tells rows as answers.
struct Teller<'a, 'e> {
    on_event: &'a RefCell<&'e mut dyn FnMut(RunEvent)>,
    watch: &'a Watch<'a>,
    composer: Option<Composer>,
}

impl RowSink for Teller<'_, '_> {
    fn write_rows(&mut self, rows: &[Row]) -> io::Result<()> {
        self.watch.leave();
        let stages = self.watch.times.get();
        for row in rows {
            let record = row.input.as_ref();
            let composed = record.zip(self.composer.as_ref());
            let composed = composed.and_then(|(record, composer)| composer.compose(record).ok());
            let answer = TaskAnswer {
                row: row.clone(),
                stages,
                prompt: composed.map(|composed| composed.prompt.display_text()),
            };
            (self.on_event.borrow_mut())(RunEvent::Answer(Box::new(answer)));
        }
        Ok(())
    }
}
