//! A desk for tests: the real task loop and store behind a model that follows a rule.

#![allow(
    dead_code,
    clippy::allow_attributes,
    clippy::unwrap_used,
    unreachable_pub,
    missing_docs,
    reason = "each test file uses a part of it"
)]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use autoglm_server::{
    FeedbackTaken, Means, RunEvent, RunHead, RunOrder, Said, ServerError, StrategyChoice, TaskDesk,
    TaskState, conduct,
};
use autoglm_spec::{
    Cancel, Completion, Delta, EngineError, Example, Field, FinishReason, Generate,
    GenerateRequest, Knowledge, Label, Language, ModelFacts, OptionScore, Output, Score,
    ScoreRequest, Scoring, TaskKind, TaskSpec, Usage,
};
use autoglm_task::TaskError;
use autoglm_task::judge::Prior;
use autoglm_task::learn::Giver;
use autoglm_task::library::{Added, Entry, Library, Source, labelled};
use autoglm_task::report::{RunList, RunPage, TaskReport, Wanted, collect, list_runs, open_run};
use autoglm_task::run::{Job, Resume, RunReport, RunSettings};
use autoglm_task::store::{FeedbackStore, RunId, SqliteStore};
use autoglm_task::strategy::{
    NewStrategy, Strategy, StrategyId, StrategyKey, StrategyStore, StrategyVersion,
};
use serde_json::json;

pub const NOW: SystemTime = UNIX_EPOCH;

/// Says 正面 where a record has 好 in it, and less surely so behind 吧; a record with 太长 is too
/// long for it. What it writes is always the same.
pub struct Ruler {
    facts: ModelFacts,
    /// How long a record takes.
    pub pace: Duration,
}

impl Ruler {
    fn admit(&self, text: &str, cancel: &Cancel) -> Result<(), EngineError> {
        std::thread::sleep(self.pace);
        if cancel.is_cancelled() {
            return Err(EngineError::Cancelled);
        }
        if text.contains("太长") {
            return Err(EngineError::ContextExceeded {
                prompt_tokens: 2_000,
                reserved_tokens: 0,
                limit_tokens: 1_000,
            });
        }
        Ok(())
    }
}

impl Generate for Ruler {
    fn facts(&self) -> &ModelFacts {
        &self.facts
    }

    fn generate(
        &self,
        requests: &[GenerateRequest],
        cancel: &Cancel,
        _on_delta: &mut dyn FnMut(usize, &Delta),
    ) -> Vec<Result<Completion, EngineError>> {
        let one = |request: &GenerateRequest| {
            self.admit(&request.prompt.display_text(), cancel)?;
            Ok(Completion {
                text: r#"{"city": "杭州"}"#.to_owned(),
                tokens: vec![1],
                logprobs: vec![-0.1],
                top: Vec::new(),
                finish: FinishReason::Stop,
                usage: Usage::default(),
            })
        };
        requests.iter().map(one).collect()
    }
}

impl Score for Ruler {
    fn score(
        &self,
        requests: &[ScoreRequest],
        cancel: &Cancel,
    ) -> Vec<Result<Scoring, EngineError>> {
        let one = |request: &ScoreRequest| {
            let text = request.prompt.display_text();
            self.admit(&text, cancel)?;
            let record = text.rsplit("评论：").next().unwrap_or_default();
            let sure = if record.contains('吧') { 0.6_f32 } else { 0.9 };
            let positive = if record.contains('好') {
                sure
            } else {
                1.0 - sure
            };
            let option = |p: f32| OptionScore {
                logprob: p.ln(),
                tokens: 1,
            };
            Ok(Scoring {
                options: vec![option(positive), option(1.0 - positive)],
                states: Vec::new(),
                usage: Usage {
                    prompt_tokens: 10,
                    cached_tokens: 8,
                    completion_tokens: 1,
                    compute: Duration::ZERO,
                },
            })
        };
        requests.iter().map(one).collect()
    }
}

pub struct Desk {
    specs: Vec<Arc<TaskSpec>>,
    pub engine: Ruler,
    store: Mutex<SqliteStore>,
    /// Where the failures of a run are found.
    pub broken: Mutex<Option<TaskError>>,
}

impl Desk {
    /// A desk with the tasks `评论` and `places`; each record takes so long.
    pub fn new(pace: Duration) -> Arc<Self> {
        Arc::new(Self {
            specs: vec![Arc::new(reviews()), Arc::new(places())],
            engine: Ruler {
                facts: ModelFacts {
                    name: "ruler".to_owned(),
                    context_tokens: 1_000,
                    chat: false,
                },
                pace,
            },
            store: Mutex::new(SqliteStore::in_memory().unwrap()),
            broken: Mutex::default(),
        })
    }

    pub fn store(&self) -> MutexGuard<'_, SqliteStore> {
        self.store.lock().unwrap()
    }

    fn spec(&self, task: &str) -> &TaskSpec {
        let found = self.specs.iter().find(|spec| spec.name == task);
        found.unwrap()
    }

    /// Adds a strategy with other words and returns its number.
    pub fn add_strategy(&self, task: &str, instruction: &str) -> i64 {
        let spec = self.spec(task);
        let strategy = Strategy {
            instruction: Some(instruction.to_owned()),
            ..Strategy::as_written(&RunSettings::default())
        };
        let version = NewStrategy {
            key: StrategyKey::of(spec),
            parent: None,
            changes: vec!["other words".to_owned()],
            strategy,
            scores: None,
            calls: 0,
            usage: Usage::default(),
            origin: "test".to_owned(),
            model: "ruler".to_owned(),
            made_for: spec.instruction.clone(),
        };
        self.store().add_strategy(&version, NOW).unwrap().0
    }
}

fn field(name: &str, title: &str) -> Field {
    Field {
        name: name.to_owned(),
        title: title.to_owned(),
    }
}

fn reviews() -> TaskSpec {
    let label = |name: &str| Label {
        name: name.to_owned(),
        word: name.to_owned(),
    };
    let example = |text: &str, output: &str| Example {
        input: json!({ "text": text }).as_object().unwrap().clone(),
        output: output.to_owned(),
    };
    TaskSpec {
        name: "评论".to_owned(),
        kind: TaskKind::Classification,
        instruction: "判断评论是正面还是负面。".to_owned(),
        language: Language::Chinese,
        fields: vec![field("text", "评论")],
        answer_title: "情感".to_owned(),
        output: Output::Labels {
            labels: vec![label("正面"), label("负面")],
        },
        constraints: Vec::new(),
        examples: vec![example("质量不错", "正面"), example("坏了", "负面")],
        knowledge: None,
    }
}

fn places() -> TaskSpec {
    TaskSpec {
        name: "places".to_owned(),
        kind: TaskKind::Extraction,
        instruction: "Which city is the letter from?".to_owned(),
        language: Language::English,
        fields: vec![field("sender", "Sender"), field("letter", "Letter")],
        answer_title: "City".to_owned(),
        output: Output::Json {
            schema: json!({"type": "object", "properties": {"city": {"type": "string"}}}),
            max_tokens: 20,
        },
        constraints: Vec::new(),
        examples: Vec::new(),
        knowledge: Some(Knowledge {
            collections: vec!["guide".to_owned()],
            passages: 3,
            tokens: 1_200,
        }),
    }
}

impl TaskDesk for Desk {
    fn tasks(&self) -> Vec<Arc<TaskSpec>> {
        self.specs.clone()
    }

    fn state(&self, task: &str) -> Result<TaskState, ServerError> {
        let store = self.store();
        let live = store.live_strategy(&StrategyKey::of(self.spec(task)))?;
        let feedback = store.feedback(task)?;
        Ok(TaskState {
            live_strategy: live.map(|version| version.id.0),
            examples: store.examples(task)?.len(),
            feedback: feedback.iter().filter(|row| row.is_live()).count(),
        })
    }

    fn run(
        &self,
        order: &RunOrder,
        cancel: &Cancel,
        on_event: &mut dyn FnMut(RunEvent),
    ) -> Result<RunReport, ServerError> {
        if let Some(error) = self.broken.lock().unwrap().take() {
            return Err(error.into());
        }
        let written = self.spec(&order.task);
        let settings = RunSettings {
            min_confidence: order.min_confidence,
            prior: Some(Prior::none()),
            ..RunSettings::default()
        };
        let version = match order.strategy {
            Some(StrategyChoice::None) => None,
            Some(StrategyChoice::Number(id)) => Some(self.strategy(&order.task, id)?),
            None => self.store().live_strategy(&StrategyKey::of(written))?,
        };
        let (spec, settings) = match &version {
            Some(version) => version.strategy.apply(written, &settings),
            None => (written.clone(), settings),
        };
        let job = Job {
            spec: &spec,
            engine: &self.engine,
            taught: None,
            settings,
            similar: None,
            source: "-".to_owned(),
            survey: None,
            output: "-".to_owned(),
            resume: Resume::No,
            correction: None,
            choosing: None,
        };
        let head = RunHead {
            model: "ruler".to_owned(),
            strategy: version.map(|version| version.id.0),
            examples: spec.examples.clone(),
            ..RunHead::default()
        };
        // Every look at the clock is a millisecond later.
        let looks = AtomicUsize::new(0);
        let now = || NOW + Duration::from_millis(looks.fetch_add(1, Ordering::Relaxed) as u64);
        let mut means = Means {
            store: &mut *self.store(),
            now: &now,
            cancel,
        };
        Ok(conduct(&job, order, &head, &mut means, on_event)?)
    }

    fn give_feedback(&self, task: &str, said: &[Said]) -> Result<FeedbackTaken, ServerError> {
        let mut store = self.store();
        let mut rows = Vec::new();
        for (index, said) in said.iter().enumerate() {
            let giver = Giver {
                spec: self.spec(task),
                gold_field: None,
                note: said.note.as_deref(),
                pinned: false,
            };
            let place = (RunId(said.run), said.record);
            let row = giver.on_record(&*store, place, said.judgement.clone());
            rows.push(row.map_err(|source| ServerError::Task {
                place: format!("[{index}]"),
                source: Box::new(source),
            })?);
        }
        let batch = store.put_feedback(task, &rows, NOW)?;
        Ok(FeedbackTaken {
            batch,
            rows: rows.len(),
            total: store.feedback(task)?.len(),
        })
    }

    fn examples(&self, task: &str) -> Result<Vec<Entry>, ServerError> {
        Ok(self.store().examples(task)?)
    }

    fn add_examples(&self, task: &str, examples: &[Example]) -> Result<Added, ServerError> {
        let spec = self.spec(task);
        let checked: Result<Vec<Example>, ServerError> = examples
            .iter()
            .map(|example| {
                let known = labelled(spec, &example.input, &example.output);
                known.map_err(|reason| TaskError::UnusableFeedback { reason }.into())
            })
            .collect();
        Ok(self
            .store()
            .add_examples(task, &checked?, Source::Added, NOW)?)
    }

    fn remove_example(&self, task: &str, id: i64) -> Result<(), ServerError> {
        Ok(self.store().remove_examples(task, &[id])?)
    }

    fn strategies(&self, task: &str) -> Result<Vec<StrategyVersion>, ServerError> {
        Ok(self.store().strategies(Some(task))?)
    }

    fn strategy(&self, _task: &str, id: i64) -> Result<StrategyVersion, ServerError> {
        Ok(self.store().strategy(StrategyId(id))?)
    }

    fn promote(&self, task: &str, id: i64) -> Result<StrategyVersion, ServerError> {
        let key = StrategyKey::of(self.spec(task));
        self.store().promote(&key, Some(StrategyId(id)), NOW)?;
        self.strategy(task, id)
    }

    fn roll_back(&self, task: &str) -> Result<Option<i64>, ServerError> {
        let key = StrategyKey::of(self.spec(task));
        Ok(self.store().roll_back(&key)?.map(|id| id.0))
    }

    fn runs(&self, task: &str, count: usize) -> Result<RunList, ServerError> {
        let spec = self.spec(task);
        Ok(list_runs(&*self.store(), spec, count)?)
    }

    fn open_run(
        &self,
        task: &str,
        run: i64,
        first: u64,
        count: usize,
    ) -> Result<RunPage, ServerError> {
        let (store, spec) = (self.store(), self.spec(task));
        Ok(open_run(&*store, spec, RunId(run), first, count)?)
    }

    fn report(&self, task: &str, run: Option<i64>) -> Result<TaskReport, ServerError> {
        let wanted = Wanted {
            spec: self.spec(task),
            run: run.map(RunId),
            now: NOW,
        };
        Ok(collect(&*self.store(), &wanted)?)
    }
}
