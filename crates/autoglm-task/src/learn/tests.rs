//! The learner beside its formulas in plain `f64`, and what feedback does to verdicts.

use std::collections::{BTreeMap, HashMap};

use autoglm_spec::{Calibration, Verdict};
use proptest::prelude::*;
use serde_json::json;

use super::features::Featurizer;
use super::ftrl::Rates;
use super::learner::Observation;
use super::learner::{Learner, Lesson, Shape};
use super::*;
use crate::scripted::{record, review_task};
use crate::store::{Feedback, Judgement};

/// Ad Click Prediction, KDD 2013, algorithm 1, one map entry a coordinate, the sums as the paper has them.
struct Naive {
    shape: Shape,
    /// `(z, n)` by kind, row and output.
    state: HashMap<(char, usize, usize), (f64, f64)>,
}

impl Naive {
    fn weight(&self, key: (char, usize, usize), rates: &Rates) -> f64 {
        let (z, n) = self.state.get(&key).copied().unwrap_or_default();
        if z.abs() <= f64::from(rates.l1) {
            return 0.0;
        }
        let pace = (f64::from(rates.beta) + n.sqrt()) / f64::from(rates.alpha);
        -(z - z.signum() * f64::from(rates.l1)) / (pace + f64::from(rates.l2))
    }

    /// Inputs as `(kind, row, value)`; the outputs of two labels are one.
    fn inputs(&self, seen: &Observation<'_>) -> Vec<(char, usize, f64, Rates)> {
        let value = 1.0 / (seen.buckets.len().max(1) as f64).sqrt();
        let words = seen.buckets.iter();
        let mut all: Vec<_> = words
            .map(|&bucket| ('w', bucket as usize, value, self.shape.words))
            .collect();
        all.push(('b', 0, 1.0, self.shape.words));
        let numbers = seen.dense.iter().enumerate();
        all.extend(numbers.map(|(at, x)| ('n', at, f64::from(*x), self.shape.numbers)));
        all
    }

    fn outputs(&self) -> usize {
        if self.shape.labels == 2 {
            1
        } else {
            self.shape.labels
        }
    }

    fn fit(&mut self, seen: &Observation<'_>, right: usize) -> Vec<f64> {
        let mut scores = vec![0.0; self.shape.labels];
        for (kind, row, value, rates) in self.inputs(seen) {
            for (output, score) in scores.iter_mut().enumerate().take(self.outputs()) {
                *score += value * self.weight((kind, row, output), &rates);
            }
        }
        let belief = (1.0 + self.weight(('o', 0, 0), &self.shape.belief)).max(0.0);
        for (score, p) in scores.iter_mut().zip(seen.opinion) {
            *score += belief * f64::from(*p).ln();
        }
        let sum: f64 = scores.iter().map(|s| s.exp()).sum();
        let probabilities: Vec<f64> = scores.iter().map(|s| s.exp() / sum).collect();
        let gradient = |label: usize| probabilities[label] - f64::from(u8::from(label == right));
        for (kind, row, value, rates) in self.inputs(seen) {
            for output in 0..self.outputs() {
                self.step((kind, row, output), gradient(output) * value, &rates);
            }
        }
        let products = seen.opinion.iter().enumerate();
        let sum = products.map(|(label, p)| gradient(label) * f64::from(*p).ln());
        let (sum, rates) = (sum.sum(), self.shape.belief);
        self.step(('o', 0, 0), sum, &rates);
        probabilities
    }

    fn step(&mut self, key: (char, usize, usize), g: f64, rates: &Rates) {
        let weight = self.weight(key, rates);
        let (z, n) = self.state.entry(key).or_default();
        let sigma = ((*n + g * g).sqrt() - n.sqrt()) / f64::from(rates.alpha);
        *z += g - sigma * weight;
        *n += g * g;
    }
}

fn rates() -> impl Strategy<Value = Rates> {
    (0.05f32..1.0, 0.05f32..1.0, 0.0f32..0.05, 0.0f32..0.5).prop_map(|(alpha, beta, l1, l2)| {
        Rates {
            alpha,
            beta,
            l1,
            l2,
        }
    })
}

/// Buckets, vector, opinion or none, label.
type Row = (Vec<u32>, Vec<f32>, Vec<f32>, usize);

fn row(labels: usize) -> impl Strategy<Value = Row> {
    (
        prop::collection::vec(0u32..16, 0..8),
        prop::collection::vec(-1.0f32..1.0, 3),
        prop_oneof![
            prop::collection::vec(0.05f32..1.0, labels),
            Just(Vec::new())
        ],
        0..labels,
    )
}

fn rows() -> impl Strategy<Value = (usize, Vec<Row>)> {
    (2usize..5).prop_flat_map(|labels| (Just(labels), prop::collection::vec(row(labels), 1..40)))
}

proptest! {
    #[test]
    fn the_learner_is_the_plain_formula((labels, rows) in rows(), words in rates(), belief in rates()) {
        let shape = Shape {
            labels,
            buckets: 16,
            dense: 3,
            words,
            numbers: words,
            belief,
        };
        let mut learner = Learner::new(shape);
        let mut naive = Naive { shape, state: HashMap::new() };
        for (buckets, dense, opinion, label) in &rows {
            let seen = Observation { buckets, dense, opinion };
            let before = learner.predict(&seen);
            let told = learner.fit_partial(&seen, Lesson::Is(*label));
            let wanted = naive.fit(&seen, *label);
            for ((a, b), wanted) in before.iter().zip(&told).zip(wanted) {
                prop_assert!((a - b).abs() < 1e-6);
                prop_assert!((f64::from(*a) - wanted).abs() < 1e-4, "{a} for {wanted}");
            }
        }
    }
}

#[test]
fn without_feedback_the_model_has_its_say_unchanged() {
    let shape = Shape::beside_a_model(3, 64, 0);
    let opinion = [0.5, 0.3, 0.2];
    let seen = Observation {
        buckets: &[1, 2, 3],
        dense: &[],
        opinion: &opinion,
    };
    let probabilities = Learner::new(shape).predict(&seen);
    for (found, wanted) in probabilities.iter().zip([0.5, 0.3, 0.2]) {
        assert!((found - wanted).abs() < 1e-6, "{probabilities:?}");
    }
}

#[test]
fn what_is_said_to_be_wrong_becomes_less_likely_and_the_rest_keep_their_order() {
    let mut learner = Learner::new(Shape::beside_a_model(3, 64, 0));
    let opinion = [0.5, 0.3, 0.2];
    let seen = Observation {
        buckets: &[1, 2, 3],
        dense: &[],
        opinion: &opinion,
    };
    let before = learner.fit_partial(&seen, Lesson::IsNot(0));
    let after = learner.predict(&seen);
    assert!(after[0] < before[0] && after[1] > before[1] && after[2] > before[2]);
    assert!(after[1] > after[2]);
}

#[test]
fn words_of_any_script_are_cut_as_they_should_be() {
    let count = |text: &str| {
        let mut buckets = Vec::new();
        Featurizer::new(20, 1).text(0, text, &mut buckets);
        buckets
    };
    // Two words and one pair.
    assert_eq!(count("Good service").len(), 3);
    assert_eq!(count("good  SERVICE"), count("Good service"));
    assert_eq!(count("ÄRGER"), count("ärger"));
    // Four characters, three pairs, two triples.
    assert_eq!(count("质量很好").len(), 9);
    // No triple reaches over a mark: 4 characters, 1 mark, 4 pairs.
    assert_eq!(count("很好，推荐").len(), 9);
    assert!(count(" \n").is_empty());
    let mut other = Vec::new();
    Featurizer::new(20, 1).text(1, "good", &mut other);
    assert_ne!(other, count("good"));
}

/// A row of feedback on the text of the review task.
fn said(id: i64, batch: i64, text: &str, judgement: Judgement) -> Feedback {
    Feedback {
        id,
        batch,
        at_ms: 0,
        run: None,
        index: None,
        input: record(&json!({"text": text})),
        opinion: Some(vec![
            ("positive".to_owned(), 0.6),
            ("negative".to_owned(), 0.4),
        ]),
        given: Some("positive".to_owned()),
        judgement,
        note: None,
        pinned: false,
        withdrawn_ms: None,
    }
}

fn correct(label: &str) -> Judgement {
    Judgement::Correct(label.to_owned())
}

/// Reviews that say what they are in one word.
fn honest(rows: i64) -> Vec<Feedback> {
    let row = |id: i64| {
        let (word, label) = if id % 2 == 0 {
            ("splendid", "positive")
        } else {
            ("dreadful", "negative")
        };
        said(
            id,
            (id - 1) / 20 + 1,
            &format!("{word} number {id}"),
            correct(label),
        )
    };
    (1..=rows).map(row).collect()
}

fn learn(feedback: &[Feedback]) -> (Corrector, FeedbackReport) {
    let learnt = Corrector::learn(&review_task(), feedback, &BTreeMap::new());
    learnt.unwrap().expect("there is feedback")
}

fn verdict() -> Verdict {
    Verdict {
        answer: "positive".to_owned(),
        confidence: 0.6,
        distribution: vec![("positive".to_owned(), 0.6), ("negative".to_owned(), 0.4)],
        calibration: Calibration::Batch,
        vote: None,
        learnt: None,
    }
}

#[test]
fn corrections_change_answers_to_like_records_and_say_so() {
    let feedback = honest(40);
    let (corrector, report) = learn(&feedback);
    let verdict = corrector.correct(&record(&json!({"text": "dreadful"})), None, verdict());
    assert_eq!(verdict.answer, "negative");
    let learnt = verdict.learnt.unwrap();
    assert_eq!(learnt.before, [0.4, 0.6]);
    assert_eq!((learnt.version.last, learnt.version.rows), (40, 40));
    assert_eq!(report.curve.len(), 4);
    let last = report.curve[3];
    assert_eq!((last.rows, last.right, last.right_before), (10, 10, 5));
    assert!(report.suspicious.is_empty() && report.drift.is_empty());
}

#[test]
fn withdrawn_rows_leave_no_trace() {
    let mut feedback = honest(30);
    let (clean, _) = learn(&feedback);
    for id in 31..=50 {
        let mut row = said(id, 9, "dreadful", correct("positive"));
        row.withdrawn_ms = Some(1);
        feedback.push(row);
    }
    let (rolled_back, report) = learn(&feedback);
    assert_eq!(report.withdrawn, 20);
    for text in ["dreadful", "splendid", "something else"] {
        let of = |corrector: &Corrector| {
            corrector.correct(&record(&json!({"text": text})), None, verdict())
        };
        assert_eq!(of(&rolled_back), of(&clean));
    }
}

#[test]
fn a_batch_of_wrong_feedback_is_noticed() {
    let mut feedback = honest(100);
    assert!(learn(&feedback).1.suspicious.is_empty());
    for id in 101..=120 {
        let swapped = if id % 2 == 0 { "negative" } else { "positive" };
        let word = if id % 2 == 0 { "splendid" } else { "dreadful" };
        feedback.push(said(
            id,
            77,
            &format!("{word} thing {id}"),
            correct(swapped),
        ));
    }
    let (_, report) = learn(&feedback);
    let [batch] = report.suspicious[..] else {
        panic!("one batch is wrong: {:?}", report.suspicious);
    };
    assert_eq!((batch.batch, batch.rows, batch.disagreed), (77, 20, 20));
    assert!(report.to_string().contains("withdraw --batch 77"));
}

#[test]
fn answers_that_become_worse_are_drift() {
    let mut feedback = honest(200);
    for id in 201..=300 {
        // One at a time, so that no batch can be suspicious.
        let label = if id % 2 == 0 { "positive" } else { "negative" };
        feedback.push(said(
            id,
            id,
            &format!("unheard {} of {}", id * 7, id * 11),
            correct(label),
        ));
    }
    let (_, report) = learn(&feedback);
    assert!(report.suspicious.is_empty());
    let [drift] = report.drift[..] else {
        panic!(
            "half of the answers are wrong since 201: {:?}",
            report.drift
        );
    };
    assert!(drift.before > 0.9 && drift.after < 0.8, "{drift:?}");
}

#[test]
fn pinned_records_are_right_whatever_comes_later_and_whatever_the_say_of_the_learner() {
    let mut feedback = honest(20);
    feedback[0].pinned = true;
    for id in 21..=200 {
        feedback.push(said(id, 5, "dreadful number 1", correct("positive")));
    }
    for rows in [1, 20, 200] {
        let (corrector, report) = learn(&feedback[..rows]);
        assert_eq!((report.pinned, &report.overruled[..]), (1, &[][..]));
        let pinned = corrector.correct(&feedback[0].input, None, verdict());
        assert_eq!(pinned.answer, "negative");
        assert_eq!(
            pinned.distribution[0],
            ("negative".to_owned(), pinned.confidence)
        );
        assert!(pinned.confidence >= 0.5);
        let sum: f32 = pinned.distribution.iter().map(|(_, p)| p).sum();
        assert!((sum - 1.0).abs() < 1e-6);
    }
    // The record alone is pinned, not what is like it.
    let (corrector, _) = learn(&feedback);
    let like = corrector.correct(
        &record(&json!({"text": "dreadful number 1."})),
        None,
        verdict(),
    );
    assert_eq!(like.answer, "positive");
}

#[test]
fn pinned_records_that_contradict_each_other_are_told() {
    let mut feedback = honest(10);
    for (id, label) in [(11, "positive"), (12, "negative")] {
        feedback.push(Feedback {
            pinned: true,
            ..said(id, 3, "the same words", correct(label))
        });
    }
    let (corrector, report) = learn(&feedback);
    assert_eq!(
        (report.pinned, &report.overruled[..]),
        (1, &[Overruled { id: 11, by: 12 }][..])
    );
    let kept = corrector.correct(&feedback[10].input, None, verdict());
    assert_eq!(kept.answer, "negative");
}

/// Rows that the model was not asked about.
fn unasked(feedback: Vec<Feedback>) -> Vec<Feedback> {
    let unasked = |row: Feedback| Feedback {
        opinion: None,
        ..row
    };
    feedback.into_iter().map(unasked).collect()
}

#[test]
fn rows_that_the_model_was_not_asked_about_teach_and_count_for_nothing_else() {
    let asked = honest(60);
    let (_, wanted) = learn(&asked);
    // As many before them, all wrong, from which a batch, a curve and a fall could be made.
    let mut mixed: Vec<Feedback> = unasked(honest(120));
    for row in &mut mixed {
        row.id -= 200;
        row.batch -= 20;
    }
    let (corrector, report) = learn(&mixed);
    assert_eq!((report.share, report.without_opinion), (0.0, 120));
    assert!(report.curve.is_empty() && report.weights > 0);
    let same = corrector.correct(&record(&json!({"text": "dreadful"})), None, verdict());
    assert_eq!(same.distribution, verdict().distribution);
    mixed.extend(asked);
    let (_, report) = learn(&mixed);
    assert_eq!(report.curve.len(), wanted.curve.len());
    assert_eq!(report.share, wanted.share);
    let right = |report: &FeedbackReport| report.curve.iter().map(|s| s.right).sum::<u64>();
    assert!(right(&report) >= right(&wanted), "what they teach is known");
    assert!(report.suspicious.is_empty() && report.drift.is_empty());
}

#[test]
fn an_opinion_that_lacks_a_label_is_none() {
    let mut feedback = honest(40);
    for row in &mut feedback {
        row.opinion = Some(vec![("positive".to_owned(), 1.0)]);
    }
    let (corrector, report) = learn(&feedback);
    assert_eq!((report.without_opinion, report.share), (40, 0.0));
    let one = Verdict {
        distribution: vec![("positive".to_owned(), 1.0)],
        ..verdict()
    };
    let text = record(&json!({"text": "dreadful"}));
    assert_eq!(corrector.correct(&text, None, one.clone()), one);
}

#[test]
fn rows_with_labels_that_the_task_does_not_have_are_counted() {
    let mut feedback = honest(5);
    feedback[1].judgement = correct("neutral");
    feedback[2].judgement = Judgement::Bad;
    feedback[2].given = Some("neutral".to_owned());
    let (_, report) = learn(&feedback);
    assert_eq!((report.version.rows, report.unusable), (5, 2));
    let (corrector, report) = learn(&feedback[1..2]);
    assert_eq!((report.unusable, report.share), (1, 0.0));
    assert_eq!((corrector.version().last, corrector.version().rows), (2, 1));
}

#[test]
fn the_learners_say_grows_with_the_rows() {
    let wrong = |rows: i64| -> Vec<Feedback> {
        let row = |id| said(id, id, &format!("dreadful {id}"), correct("negative"));
        (1..=rows).map(row).collect()
    };
    // Before its first row the learner says what the model says.
    assert_eq!(learn(&wrong(1)).1.share, 0.0);
    let mut last = 0.0;
    for rows in [2, 5, 20, 50, 200] {
        let (corrector, report) = learn(&wrong(rows));
        // The model is wrong all the time, as if nobody told what it has right: as many rows more.
        let most = rows as f32 / (2.0 * rows as f32 + 20.0);
        assert!(
            report.share > last && report.share <= most,
            "{rows}: {}",
            report.share
        );
        last = report.share;
        let text = record(&json!({"text": "dreadful"}));
        let now = corrector.correct(&text, None, verdict());
        let positive = now.distribution.iter().find(|(name, _)| name == "positive");
        let moved = 0.6 - positive.unwrap().1;
        if rows <= 5 {
            assert_eq!(now.answer, "positive");
            assert!(moved < 0.1, "{rows}: {moved}");
        }
        if rows >= 50 {
            assert_eq!(now.answer, "negative");
        }
    }
    assert!(last > 0.45, "{last}");
}

#[test]
fn who_tells_mistakes_alone_does_not_turn_the_learner_against_the_model() {
    // The model is right on nine of ten records, and is told the tenth each time.
    let told = |id: i64| {
        let (given, label) = [("positive", "negative"), ("negative", "positive")][id as usize % 2];
        let opinion = [(given, 0.9), (label, 0.1)].map(|(name, p)| (name.to_owned(), p));
        Feedback {
            opinion: Some(opinion.to_vec()),
            ..said(
                id,
                id,
                &format!("it is a thing, number {id}"),
                correct(label),
            )
        }
    };
    let (corrector, report) = learn(&(1..=200).map(told).collect::<Vec<_>>());
    assert!(report.share < 0.5, "{}", report.share);
    for id in 201..=300 {
        let before = verdict();
        let text = record(&json!({"text": format!("it is a thing, number {id}")}));
        let after = corrector.correct(&text, None, before.clone());
        assert_eq!(after.answer, before.answer);
    }
}

#[test]
fn feedback_on_records_that_are_held_out_is_left_out() {
    let spec = review_task();
    let mut feedback = honest(4);
    // Other fields do not make another record of the task.
    let held_out = [record(
        &json!({"id": 9, "text": "dreadful number 3", "label": "negative"}),
    )];
    leave_out(&spec, &mut feedback, &held_out);
    let ids: Vec<i64> = feedback.iter().map(|row| row.id).collect();
    assert_eq!(ids, [1, 2, 4]);
}

#[test]
fn vectors_are_seen_without_what_all_have_in_common_and_of_length_one() {
    let vectors = [vec![3.0, 1.0], vec![3.0, 5.0]];
    let lens = super::lens::Lens::over(vectors.iter());
    assert_eq!(lens.length(), 2);
    assert_eq!(lens.see(&[3.0, 5.0]), [0.0, 1.0]);
    assert_eq!(lens.see(&[6.0, 7.0]), [0.6, 0.8]);
    assert_eq!(lens.see(&[3.0, 3.0]), [0.0, 0.0]);
    assert!(lens.see(&[1.0]).is_empty());
}

#[test]
fn a_validation_answers_each_row_before_it_learns_it() {
    let mut validation = Validation::new(2);
    for row in 0..250 {
        let (text, label) = [("lamp", 0), ("stone", 1)][row % 2];
        validation.push([text].into_iter(), label);
    }
    let report = validation.report();
    // The first of all is a draw, which is no answer; the first of the second label is wrong.
    assert_eq!((report.rows, report.accuracy), (250, 248.0 / 250.0));
    let points: Vec<(u64, f64)> = report.curve.iter().map(|p| (p.rows, p.accuracy)).collect();
    assert_eq!(points, [(100, 0.98), (200, 0.99)]);
    assert!(report.log_loss < 0.1, "{}", report.log_loss);
    // Two words and the bias, each with one weight.
    assert_eq!(report.weights, 3);
}

#[test]
fn vectors_take_part_where_there_are_some() {
    let feedback: Vec<Feedback> = (1..=40)
        .map(|id| {
            let label = if id % 2 == 0 { "positive" } else { "negative" };
            said(id, 1, &format!("review {}", id * 13), correct(label))
        })
        .collect();
    let vector = |id: i64| vec![(id % 2) as f32, 0.3, (id % 5) as f32 / 50.0];
    let vectors = feedback
        .iter()
        .map(|row| (row.id, vector(row.id)))
        .collect();
    let learnt = Corrector::learn(&review_task(), &feedback, &vectors);
    let (corrector, _) = learnt.unwrap().expect("there is feedback");
    assert!(corrector.uses_vectors());
    let input = record(&json!({"text": "another one"}));
    let answer = |id| {
        corrector
            .correct(&input, Some(&vector(id)), verdict())
            .answer
    };
    assert_eq!(
        (answer(101).as_str(), answer(102).as_str()),
        ("negative", "positive")
    );
}

#[test]
fn a_task_without_labels_cannot_be_corrected() {
    let mut spec = review_task();
    spec.output = autoglm_spec::Output::Text { max_tokens: 9 };
    let error = Corrector::learn(&spec, &honest(3), &BTreeMap::new()).unwrap_err();
    assert!(error.to_string().contains("needs a task with labels"));
}
