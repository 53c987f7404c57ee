//! Feedback from a run to the next one.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use autoglm_spec::{Cancel, Embed, Embedding, EmbeddingSpace, EngineError, Similarity, TaskSpec};

use super::*;
use crate::learn::Giver;
use crate::records::{InputFormat, Records};
use crate::scripted::{Script, Scripted, review_task};
use crate::store::{FeedbackStore, Judgement, SqliteStore, Withdrawal};

fn at() -> SystemTime {
    UNIX_EPOCH
}

/// Runs 40 reviews, even ones splendid and odd ones dreadful, and returns the rows.
fn run_all(
    store: &mut SqliteStore,
    correction: Option<Correction<'_>>,
    resume: Resume,
) -> Result<(RunReport, Vec<Row>), TaskError> {
    run_by(store, correction, resume, RunSettings::default())
}

fn run_by(
    store: &mut SqliteStore,
    correction: Option<Correction<'_>>,
    resume: Resume,
    settings: RunSettings,
) -> Result<(RunReport, Vec<Row>), TaskError> {
    let engine = Scripted::new(Script::default());
    let line = |n: usize| {
        let word = if usize::is_multiple_of(n, 2) {
            "splendid"
        } else {
            "dreadful"
        };
        format!("{{\"text\": \"{word} thing {n}\"}}\n")
    };
    let input: String = (0..40).map(line).collect();
    let spec = review_task();
    let job = Job {
        spec: &spec,
        choosing: None,
        engine: &engine,
        taught: None,
        similar: None,
        settings,
        source: "/in.jsonl".to_owned(),
        survey: None,
        output: "/out".to_owned(),
        resume,
        correction,
    };
    let mut records = Records::new(input.as_bytes(), InputFormat::Jsonl, "text");
    let hooks = Hooks {
        now: &at,
        cancel: &Cancel::default(),
        progress: &|_| {},
        step: &|_| {},
    };
    let mut rows = Vec::new();
    let report = run(&job, &mut records, store, &mut rows, hooks)?;
    Ok((report, rows))
}

/// Says what is right of each record of a run, as one batch.
fn correct_all(store: &mut SqliteStore, run: RunId) -> i64 {
    let spec = review_task();
    let giver = Giver {
        spec: &spec,
        gold_field: None,
        note: None,
        pinned: false,
    };
    let rows = (0..40).map(|index| {
        let label = if u64::is_multiple_of(index, 2) {
            "positive"
        } else {
            "Negative"
        };
        let said = Judgement::Correct(label.to_owned());
        giver.on_record(store, (run, index), said).unwrap()
    });
    let rows: Vec<_> = rows.collect();
    store.put_feedback(&spec.name, &rows, at()).unwrap()
}

fn right(rows: &[Row]) -> usize {
    let is_right = |row: &&Row| {
        let wanted = if row.index.is_multiple_of(2) {
            "positive"
        } else {
            "negative"
        };
        row.verdict.as_ref().is_some_and(|v| v.answer == wanted)
    };
    rows.iter().filter(is_right).count()
}

fn corrector(store: &SqliteStore) -> crate::learn::Corrector {
    let feedback = store.feedback("reviews").unwrap();
    let learnt = crate::learn::Corrector::learn(&review_task(), &feedback, &BTreeMap::new());
    learnt.unwrap().expect("there is feedback").0
}

fn correction(corrector: &crate::learn::Corrector) -> Correction<'_> {
    Correction {
        corrector,
        embedder: None,
    }
}

#[test]
fn what_was_corrected_is_answered_right_the_next_time_and_says_what_the_model_said() {
    let mut store = SqliteStore::in_memory().unwrap();
    let (first, before) = run_all(&mut store, None, Resume::No).unwrap();
    correct_all(&mut store, first.run);
    let learner = corrector(&store);
    let (second, after) = run_all(&mut store, Some(correction(&learner)), Resume::No).unwrap();
    assert!(
        right(&before) <= 24 && right(&after) >= 34,
        "{} and {}",
        right(&before),
        right(&after)
    );
    assert_eq!(store.rows(second.run, 0, 99).unwrap(), after);
    for (old, new) in before.iter().zip(&after) {
        let (old, new) = (old.verdict.as_ref().unwrap(), new.verdict.as_ref().unwrap());
        let learnt = new.learnt.as_ref().expect("feedback took part");
        assert_eq!(learnt.version, learner.version());
        for ((name, _), before) in new.distribution.iter().zip(&learnt.before) {
            assert!(old.distribution.contains(&(name.clone(), *before)));
        }
    }
    // Feedback on a corrected answer still knows what the model alone had said.
    let batch = correct_all(&mut store, second.run);
    let rows = store.feedback("reviews").unwrap();
    let (one, two) = (&rows[0], &rows[40]);
    assert_eq!(
        (one.batch, two.batch, two.run),
        (1, batch, Some(second.run))
    );
    let sorted = |opinion: &Option<Vec<(String, f32)>>| {
        let mut opinion = opinion.clone().unwrap();
        opinion.sort_by(|a, b| a.0.cmp(&b.0));
        opinion
    };
    assert_eq!(sorted(&one.opinion), sorted(&two.opinion));
}

#[test]
fn a_run_goes_on_with_the_feedback_that_it_began_with_or_not_at_all() {
    let mut store = SqliteStore::in_memory().unwrap();
    let (first, _) = run_all(&mut store, None, Resume::No).unwrap();
    correct_all(&mut store, first.run);
    let learner = corrector(&store);
    let (begun, rows) = run_all(&mut store, Some(correction(&learner)), Resume::No).unwrap();
    let again = run_all(
        &mut store,
        Some(correction(&learner)),
        Resume::Run(begun.run),
    );
    assert_eq!(again.unwrap().1, rows);
    let refused = run_all(&mut store, None, Resume::Run(begun.run)).unwrap_err();
    assert!(
        matches!(
            refused,
            TaskError::ResumeMismatch {
                what: "feedback",
                ..
            }
        ),
        "{refused}"
    );
    store.withdraw("reviews", Withdrawal::Row(7), at()).unwrap();
    let other = corrector(&store);
    let refused =
        run_all(&mut store, Some(correction(&other)), Resume::Run(begun.run)).unwrap_err();
    assert!(
        matches!(
            refused,
            TaskError::ResumeMismatch {
                what: "feedback",
                ..
            }
        ),
        "{refused}"
    );
}

/// A space in which splendid and dreadful things lie apart.
struct Opposites(EmbeddingSpace);

impl Embed for Opposites {
    fn space(&self) -> &EmbeddingSpace {
        &self.0
    }

    fn embed(&self, texts: &[&str], _: &Cancel) -> Vec<Result<Embedding, EngineError>> {
        let vector = |text: &&str| {
            let side = if text.contains("splendid") { 1.0 } else { -1.0 };
            Ok(Embedding {
                vector: vec![side, 0.0],
                tokens: 3,
                cut_tokens: 0,
            })
        };
        texts.iter().map(vector).collect()
    }
}

fn opposites() -> Opposites {
    Opposites(EmbeddingSpace {
        name: "opposites".to_owned(),
        dimensions: 2,
        max_tokens: 99,
        similarity: Similarity::Cosine,
    })
}

/// A store with feedback on a run, and the vectors of its records by the rows' numbers.
fn store_with_sides() -> (SqliteStore, Vec<(i64, Vec<f32>)>) {
    let mut store = SqliteStore::in_memory().unwrap();
    let (first, _) = run_all(&mut store, None, Resume::No).unwrap();
    correct_all(&mut store, first.run);
    let feedback = store.feedback("reviews").unwrap();
    let vectors = feedback.iter().map(|row| {
        let is_even = row.index.unwrap_or_default().is_multiple_of(2);
        (row.id, vec![if is_even { 1.0 } else { -1.0 }, 0.0])
    });
    let vectors = vectors.collect();
    (store, vectors)
}

/// An engine for vectors that is gone until it is back.
struct Gone(std::sync::atomic::AtomicBool, Opposites);

impl Embed for Gone {
    fn space(&self) -> &EmbeddingSpace {
        self.1.space()
    }

    fn embed(&self, texts: &[&str], cancel: &Cancel) -> Vec<Result<Embedding, EngineError>> {
        if self.0.load(std::sync::atomic::Ordering::Relaxed) {
            let fault = |text: &&str| Err(broken(&format!("{text} 300")).unwrap());
            return texts.iter().map(fault).collect();
        }
        self.1.embed(texts, cancel)
    }
}

#[test]
fn answers_are_kept_where_the_vectors_to_correct_them_by_cannot_be_made() {
    let (mut store, vectors) = store_with_sides();
    let feedback = store.feedback("reviews").unwrap();
    let vectors = vectors.into_iter().collect();
    let learnt = crate::learn::Corrector::learn(&review_task(), &feedback, &vectors).unwrap();
    let (learner, _) = learnt.expect("there is feedback");
    let embedder = Gone(true.into(), opposites());
    let correction = Correction {
        corrector: &learner,
        embedder: Some(&embedder),
    };
    let settings = || RunSettings {
        calibration: Calibration::None,
        ..RunSettings::default()
    };
    let ended = run_by(&mut store, Some(correction), Resume::No, settings());
    assert!(matches!(ended, Err(TaskError::Engine { .. })));
    let run = RunId(2);
    let stored = store.rows(run, 0, 99).unwrap();
    assert_eq!(stored.len(), 40);
    assert!(stored.iter().all(|row| row.raw.is_some()));
    embedder
        .0
        .store(false, std::sync::atomic::Ordering::Relaxed);
    let resumed = run_by(&mut store, Some(correction), Resume::Run(run), settings());
    let (report, rows) = resumed.unwrap();
    assert_eq!((report.resumed, rows.len()), (40, 40));
    // As if nothing had happened.
    let (_, whole) = run_by(&mut store, Some(correction), Resume::No, settings()).unwrap();
    assert_eq!(rows, whole);
    assert!(rows.iter().all(|row| {
        let verdict = row.verdict.as_ref();
        verdict.is_some_and(|verdict| verdict.learnt.is_some())
    }));
}

#[test]
fn vectors_of_the_records_are_made_where_the_learner_looks_at_them() {
    let (mut store, vectors) = store_with_sides();
    let feedback = store.feedback("reviews").unwrap();
    assert_eq!(store.usual_space("reviews").unwrap(), None);
    store.put_vectors("opposites", &vectors).unwrap();
    store.put_vectors("fewer", &vectors[..3]).unwrap();
    let usual = store.usual_space("reviews").unwrap();
    assert_eq!(usual.as_deref(), Some("opposites"));
    let stored = store.vectors("reviews", "opposites").unwrap();
    assert_eq!(stored.len(), 40);
    assert!(store.vectors("reviews", "another").unwrap().is_empty());
    let learnt = crate::learn::Corrector::learn(&review_task(), &feedback, &stored).unwrap();
    let (learner, _) = learnt.expect("there is feedback");
    let embedder = opposites();
    let correction = Correction {
        corrector: &learner,
        embedder: Some(&embedder),
    };
    let (report, rows) = run_all(&mut store, Some(correction), Resume::No).unwrap();
    assert!(right(&rows) >= 39, "{}", right(&rows));
    let key = store.run(report.run).unwrap().key.feedback.unwrap();
    assert_eq!(key.space.as_deref(), Some("opposites"));
}

#[test]
fn feedback_that_fits_nothing_is_refused_by_name() {
    let mut store = SqliteStore::in_memory().unwrap();
    let (first, _) = run_all(&mut store, None, Resume::No).unwrap();
    let mut spec = review_task();
    let refusal = |spec: &TaskSpec, place, judgement| {
        let giver = Giver {
            spec,
            gold_field: None,
            note: None,
            pinned: false,
        };
        giver
            .on_record(&store, place, judgement)
            .unwrap_err()
            .to_string()
    };
    let correct = |label: &str| Judgement::Correct(label.to_owned());
    assert_eq!(
        refusal(&spec, (first.run, 0), correct("neutral")),
        "\"neutral\" is no label of the task, it has positive, negative"
    );
    assert!(refusal(&spec, (RunId(99), 0), Judgement::Good).starts_with("there is no run 99"));
    assert!(refusal(&spec, (first.run, 40), Judgement::Bad).contains("no readable record 40"));
    spec.name = "others".to_owned();
    assert_eq!(
        refusal(&spec, (first.run, 0), Judgement::Good),
        "run 1 is one of the task \"reviews\", not of \"others\""
    );
    let missing = store
        .withdraw("reviews", Withdrawal::Batch(3), at())
        .unwrap_err();
    assert!(missing.to_string().contains("no feedback batch 3"));
}

#[test]
fn lines_of_a_file_are_records_with_labels_or_speak_of_stored_ones() {
    let mut store = SqliteStore::in_memory().unwrap();
    let (first, rows) = run_all(&mut store, None, Resume::No).unwrap();
    let spec = review_task();
    let giver = Giver {
        spec: &spec,
        gold_field: None,
        note: Some("seen"),
        pinned: true,
    };
    let from = |line: serde_json::Value| giver.from_line(&store, &crate::scripted::record(&line));
    let own = from(serde_json::json!({"text": "nice", "label": "positive"})).unwrap();
    assert_eq!(own.judgement, Judgement::Correct("positive".to_owned()));
    assert_eq!((own.record, own.opinion, own.pinned), (None, None, true));
    let run = first.run.0;
    let stored = from(serde_json::json!({"run": run, "record": 3, "bad": true})).unwrap();
    assert_eq!(stored.judgement, Judgement::Bad);
    assert_eq!(
        stored.given,
        rows[3].verdict.as_ref().map(|v| v.answer.clone())
    );
    assert_eq!(stored.note.as_deref(), Some("seen"));
    let refusal = |line| from(line).unwrap_err().to_string();
    let reference = serde_json::json!({"run": run, "record": 3});
    assert!(refusal(reference).contains("does not say what is right"));
    let unlabelled = refusal(serde_json::json!({"text": "nice"}));
    assert!(
        unlabelled.contains("it has no right answer"),
        "{unlabelled}"
    );
    let lacking = refusal(serde_json::json!({"label": "positive"}));
    assert!(lacking.contains("it has no field \"text\""), "{lacking}");
}

#[test]
fn references_are_read_from_csv_and_wrong_numbers_are_named() {
    let mut store = SqliteStore::in_memory().unwrap();
    let (_, _) = run_all(&mut store, None, Resume::No).unwrap();
    let spec = review_task();
    let giver = Giver {
        spec: &spec,
        gold_field: None,
        note: None,
        pinned: false,
    };
    let said = |csv: &str| -> Vec<Result<_, TaskError>> {
        let head = "run,record,correct,good,text,label,other\n";
        let file = format!("{head}{csv}");
        let lines = Records::new(file.as_bytes(), InputFormat::Csv, "text");
        lines
            .map(|line| giver.from_line(&store, &line.unwrap().record))
            .collect()
    };
    let rows = said("1,3,negative,,,,\n1,4,,true,,,\n,,,,nice,positive,7\n");
    let rows: Vec<_> = rows.into_iter().map(Result::unwrap).collect();
    let places: Vec<_> = rows.iter().map(|row| row.record.map(|r| r.1)).collect();
    assert_eq!(places, [Some(3), Some(4), None]);
    let correct = |label: &str| Judgement::Correct(label.to_owned());
    let judgements: Vec<_> = rows.iter().map(|row| row.judgement.clone()).collect();
    assert_eq!(
        judgements,
        [correct("negative"), Judgement::Good, correct("positive")]
    );
    // Of a record of one's own, the task's fields are kept, and no other.
    assert_eq!(
        rows[2].input,
        crate::scripted::record(&serde_json::json!({"text": "nice"}))
    );
    let refusal = |csv| said(csv).pop().unwrap().unwrap_err().to_string();
    assert_eq!(
        refusal("1,-3,negative,,,,"),
        "record is \"-3\", want a whole number from 0 on"
    );
    assert_eq!(
        refusal("-1,3,negative,,,,"),
        "run is \"-1\", want a whole number from 0 on"
    );
    assert_eq!(
        refusal("1,,negative,,,,"),
        "record is \"\", want a whole number from 0 on"
    );
    let json = serde_json::json!({"run": 1, "record": -3, "bad": true});
    let refused = giver.from_line(&store, &crate::scripted::record(&json));
    assert_eq!(
        refused.unwrap_err().to_string(),
        "record is -3, want a whole number from 0 on"
    );
}

#[test]
fn opinions_of_another_model_or_judge_are_forgotten() {
    let mut store = SqliteStore::in_memory().unwrap();
    let (first, _) = run_all(&mut store, None, Resume::No).unwrap();
    correct_all(&mut store, first.run);
    let model = store.run(first.run).unwrap().key.model.name;
    let kept = |answering: (&str, Option<&str>)| {
        let mut feedback = store.feedback("reviews").unwrap();
        feedback[1].run = Some(RunId(99));
        crate::learn::only_opinions_of(answering, &mut feedback, &store).unwrap();
        feedback.iter().filter(|row| row.opinion.is_some()).count()
    };
    // One row is of a run that is gone.
    assert_eq!(kept((&model, None)), 39);
    assert_eq!(kept(("another", None)), 0);
    assert_eq!(kept((&model, Some("a judge"))), 0);
}

#[test]
fn the_present_model_is_that_of_the_latest_run_which_measured_nothing() {
    let mut store = SqliteStore::in_memory().unwrap();
    let (first, _) = run_all(&mut store, None, Resume::No).unwrap();
    correct_all(&mut store, first.run);
    let kept = |store: &SqliteStore| {
        let mut feedback = store.feedback("reviews").unwrap();
        crate::learn::only_present_opinions("reviews", &mut feedback, store).unwrap();
        feedback.iter().filter(|row| row.opinion.is_some()).count()
    };
    assert_eq!(kept(&store), 40);
    // A later run of another model: what the first said tells nothing of it.
    let mut info = store.run(first.run).unwrap();
    info.key.model.name = "another".to_owned();
    let start = crate::store::RunStart {
        key: &info.key,
        spec: &info.spec,
        at: at(),
    };
    let later = store.begin(&start).unwrap();
    assert_eq!(kept(&store), 40, "a run without records answers nothing");
    let rows = store.rows(first.run, 0, 9).unwrap();
    store.put_rows(later, &rows).unwrap();
    assert_eq!(kept(&store), 0);
}

#[test]
fn records_of_csv_and_json_are_the_same() {
    let mut store = SqliteStore::in_memory().unwrap();
    let spec = review_task();
    let line = serde_json::json!({"text": 4, "label": "positive"});
    let giver = Giver {
        spec: &spec,
        gold_field: None,
        note: None,
        pinned: true,
    };
    let row = giver.from_line(&store, &crate::scripted::record(&line));
    store
        .put_feedback(&spec.name, &[row.unwrap()], at())
        .unwrap();
    let mut feedback = store.feedback("reviews").unwrap();
    let text = crate::scripted::record(&serde_json::json!({"text": "4"}));
    crate::learn::leave_out(&spec, &mut feedback, &[text]);
    assert!(feedback.is_empty());
}

/// Makes vectors as [`Opposites`] does, but for texts that have a fault, and counts what it is
/// asked for.
struct Faulty {
    space: EmbeddingSpace,
    fault: fn(&str) -> Option<EngineError>,
    calls: std::sync::Mutex<Vec<usize>>,
}

impl Faulty {
    fn new(fault: fn(&str) -> Option<EngineError>) -> Self {
        let space = EmbeddingSpace {
            name: "faulty".to_owned(),
            dimensions: 1,
            max_tokens: 99,
            similarity: Similarity::Cosine,
        };
        Self {
            space,
            fault,
            calls: std::sync::Mutex::default(),
        }
    }

    fn calls(&self) -> Vec<usize> {
        std::mem::take(&mut self.calls.lock().unwrap())
    }
}

impl Embed for Faulty {
    fn space(&self) -> &EmbeddingSpace {
        &self.space
    }

    fn embed(&self, texts: &[&str], _: &Cancel) -> Vec<Result<Embedding, EngineError>> {
        self.calls.lock().unwrap().push(texts.len());
        let embed = |text: &&str| match (self.fault)(text) {
            Some(error) => Err(error),
            None => Ok(Embedding {
                vector: vec![1.0],
                tokens: 3,
                cut_tokens: 0,
            }),
        };
        texts.iter().map(embed).collect()
    }
}

/// A fault of the text alone.
fn too_long(text: &str) -> Option<EngineError> {
    text.ends_with(" 7")
        .then_some(EngineError::ContextExceeded {
            prompt_tokens: 9,
            reserved_tokens: 0,
            limit_tokens: 8,
        })
}

/// A fault of the engine.
fn broken(text: &str) -> Option<EngineError> {
    text.ends_with(" 300").then(|| {
        EngineError::engine(TaskError::ResultCount {
            given: 0,
            wanted: 1,
        })
    })
}

/// A store with feedback on 600 records of one's own.
fn store_of_600() -> SqliteStore {
    let mut store = SqliteStore::in_memory().unwrap();
    let spec = review_task();
    let giver = Giver {
        spec: &spec,
        gold_field: None,
        note: None,
        pinned: false,
    };
    let rows: Vec<_> = (0..600)
        .map(|n| serde_json::json!({"text": format!("thing {n}"), "label": "positive"}))
        .map(|line| {
            giver
                .from_line(&store, &crate::scripted::record(&line))
                .unwrap()
        })
        .collect();
    store.put_feedback(&spec.name, &rows, at()).unwrap();
    store
}

#[test]
fn vectors_of_feedback_are_stored_as_they_are_made() {
    let mut store = store_of_600();
    let mut make = |embedder: &Faulty| {
        let feedback = store.feedback("reviews").unwrap();
        let spec = review_task();
        let made = crate::learn::vectors_of_feedback(
            &spec,
            &feedback,
            &mut store,
            embedder,
            &Cancel::default(),
        );
        let stored = store.vectors("reviews", "faulty").unwrap().len();
        (made.map(|made| made.len()), stored, embedder.calls())
    };
    // What was made before the engine broke is kept.
    let (made, stored, calls) = make(&Faulty::new(broken));
    assert!(matches!(made, Err(TaskError::Engine { .. })));
    assert_eq!((stored, calls), (256, vec![256, 256]));
    let (made, stored, calls) = make(&Faulty::new(|_| None));
    assert_eq!((made.unwrap(), stored, calls), (600, 600, vec![256, 88]));
    let (made, _, calls) = make(&Faulty::new(|_| None));
    assert_eq!((made.unwrap(), calls), (600, vec![]));
}

#[test]
fn a_text_without_vector_stops_nothing() {
    let mut store = store_of_600();
    let feedback = store.feedback("reviews").unwrap();
    let spec = review_task();
    let embedder = Faulty::new(too_long);
    let cancel = Cancel::default();
    let vectors =
        crate::learn::vectors_of_feedback(&spec, &feedback, &mut store, &embedder, &cancel);
    let vectors = vectors.unwrap();
    assert_eq!((vectors.len(), vectors.contains_key(&8)), (599, false));
    let cancelled = Faulty::new(|_| Some(EngineError::Cancelled));
    let feedback = store.feedback("reviews").unwrap();
    let stopped =
        crate::learn::vectors_of_feedback(&spec, &feedback, &mut store, &cancelled, &cancel);
    assert!(matches!(
        stopped,
        Err(TaskError::Engine {
            source: EngineError::Cancelled,
            ..
        })
    ));
}
