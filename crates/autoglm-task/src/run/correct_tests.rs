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
        engine: &engine,
        taught: None,
        similar: None,
        settings: RunSettings::default(),
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
    assert!(right(&before) < 30, "the scripted model guesses");
    correct_all(&mut store, first.run);
    let learner = corrector(&store);
    let (second, after) = run_all(&mut store, Some(correction(&learner)), Resume::No).unwrap();
    assert_eq!(right(&after), 40);
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

#[test]
fn vectors_of_the_records_are_made_where_the_learner_looks_at_them() {
    let mut store = SqliteStore::in_memory().unwrap();
    let (first, _) = run_all(&mut store, None, Resume::No).unwrap();
    correct_all(&mut store, first.run);
    let feedback = store.feedback("reviews").unwrap();
    let vectors = feedback.iter().map(|row| {
        let side = if row.index.unwrap_or_default().is_multiple_of(2) {
            1.0
        } else {
            -1.0
        };
        (row.id, vec![side, 0.0])
    });
    let vectors: Vec<(i64, Vec<f32>)> = vectors.collect();
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
    let embedder = Opposites(EmbeddingSpace {
        name: "opposites".to_owned(),
        dimensions: 2,
        max_tokens: 99,
        similarity: Similarity::Cosine,
    });
    let correction = Correction {
        corrector: &learner,
        embedder: Some(&embedder),
    };
    let (report, rows) = run_all(&mut store, Some(correction), Resume::No).unwrap();
    assert_eq!(right(&rows), 40);
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
    let from = |line: serde_json::Value| giver.from_line(&store, crate::scripted::record(&line));
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
    for line in [
        serde_json::json!({"text": "nice"}),
        serde_json::json!({"run": run, "record": 3}),
    ] {
        assert!(matches!(from(line), Err(TaskError::NoJudgement)));
    }
}
