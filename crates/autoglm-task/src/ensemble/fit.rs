//! From labelled rows to an ensemble.

use std::collections::BTreeSet;

use autoglm_spec::{Blame, Blamed, Cancel, EngineError, Example, TaskSpec};
use serde_json::json;
use sha2::{Digest, Sha256};

use super::anchors::{Anchors, NEIGHBOURS, Seen};
use super::discriminant::Discriminant;
use super::halves::{LabelledRow, can_be_checked, deal, examples, labelled, most_of_a_label};
use super::panel::{Engines, Panel, PromptEvidence};
use super::pool::{Opinions, Pool, accuracy, losses, scaled_loss};
use super::trial::{Trial, is_surely_above_zero, most_within_an_error};
use super::view::{Centre, View, Views, depths};
use super::{Ensemble, FitReport, ViewReport};
use crate::TaskError;
use crate::library::record_text;
use crate::run::hexadecimal;

/// Raised whenever the same rows give another ensemble.
const REVISION: u32 = 12;
/// Rows that are asked together.
const WINDOW_ROWS: usize = 64;
/// Rows that numbers of examples are compared on.
const TRIAL_ROWS: usize = 96;
/// Examples of each label that are tried.
const SHOTS: [usize; 5] = [0, 1, 2, 4, 8];
/// Examples of a prompt at most, unless one of each label is more.
const PROMPT_EXAMPLES: usize = 40;
/// Labels of which a prompt holds examples at most.
const SHOWN_LABELS: usize = 100;
/// Rows at most: each costs a pass of the model.
const ROWS: usize = 12_000;
/// How far covariances are shrunk that are tried, the first where none does better.
const SHRINKAGES: [f64; 4] = [0.85, 0.5, 0.1, 0.02];
/// Parts of the rows, each judged by a probe that is fitted to the others.
const FOLDS_OF_FEW: usize = 10;
const FOLDS_OF_MANY: usize = 5;
/// From how many rows on they are many.
const MANY_ROWS: usize = 500;

/// What an ensemble is fitted with.
pub struct Fitting<'a> {
    /// The task; its own examples count as labelled rows.
    pub spec: &'a TaskSpec,
    /// The engines.
    pub engines: Engines<'a>,
    /// What else than the model's name determines what the engines say, such as an adapter.
    pub scope: &'a str,
    /// What may take part.
    pub settings: FitSettings,
    /// Raised to stop.
    pub cancel: &'a Cancel,
    /// Called as the fit goes on.
    pub progress: &'a dyn Fn(&FitProgress),
}

/// What may take part in an ensemble.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct FitSettings {
    /// The views that are tried.
    pub views: BTreeSet<View>,
    /// Examples of each label in a prompt; the number that does best where none is given.
    pub shots: Option<usize>,
}

impl Default for FitSettings {
    fn default() -> Self {
        Self {
            views: BTreeSet::from([View::Scores, View::States, View::Vectors]),
            shots: None,
        }
    }
}

/// How far a fit has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FitProgress {
    /// Rows that were asked, over all prompts.
    pub asked: usize,
    /// Rows that are to be asked, as far as it is known.
    pub total: usize,
}

/// A hash in hexadecimal of all that determines the ensemble that a fit to these rows gives.
pub fn key(fitting: &Fitting<'_>, rows: &[Example]) -> String {
    let spec = TaskSpec {
        name: String::new(),
        ..fitting.spec.clone()
    };
    let mut rows: Vec<String> = rows.iter().map(|row| json!(row).to_string()).collect();
    rows.sort_unstable();
    let all = json!({
        "revision": REVISION,
        "task": spec,
        "model": fitting.engines.language.facts(),
        "scope": fitting.scope,
        "settings": fitting.settings,
        "rows": rows,
    });
    hexadecimal(&Sha256::digest(all.to_string())[..16])
}

/// Fits an ensemble to labelled rows; none where there are fewer than two labels with two rows
/// each that the model can read, of which nothing can be learnt that could be checked, and none
/// where the engines tell nothing that a view could look at.
///
/// # Errors
/// An answer that is no label, a task without prompt, an engine that fails, a raised flag.
pub fn fit(fitting: &Fitting<'_>, rows: &[Example]) -> Result<Option<Ensemble>, TaskError> {
    let label_count = fitting.spec.output.labels().len();
    let mut rows = labelled(fitting.spec, rows)?;
    rows.truncate(ROWS);
    let rows = deal(rows, label_count);
    if !can_be_checked(&rows, label_count) {
        return Ok(None);
    }
    let mut work = Work {
        fitting,
        rows: &rows,
        label_count,
        asked: 0,
        total: 0,
    };
    work.fit()
}

/// A fit that goes on.
struct Work<'a> {
    fitting: &'a Fitting<'a>,
    rows: &'a [LabelledRow],
    label_count: usize,
    asked: usize,
    total: usize,
}

/// A row with what was said behind the other half's prompt.
struct Told<'a> {
    row: &'a LabelledRow,
    /// The prompt's place.
    set: usize,
    evidence: PromptEvidence,
}

/// What views say of rows that they were not fitted to, and the views fitted to all rows.
struct Fitted {
    views: Views,
    opinions: Vec<Opinions>,
    /// Labels of the rows of the opinions.
    labels: Vec<usize>,
}

impl Fitted {
    fn pool(&self) -> Pool {
        Pool::fit(&self.views.list(), &self.opinions, &self.labels)
    }

    /// What is fitted, without the anchors where the pool is not better with them by more than the
    /// standard error of the difference: they look at what the scores look at, too.
    fn without_idle_anchors(mut self) -> Self {
        if self.views.anchors.is_none() || self.opinions.len() == 1 {
            return self;
        }
        let of = |fitted: &Self| losses(&fitted.pool().opinions(&fitted.opinions), &fitted.labels);
        let with = of(&self);
        let (anchors, opinion) = (self.views.anchors.take(), self.opinions.pop());
        let without = of(&self);
        let gains: Vec<f64> = without.iter().zip(with).map(|(a, b)| a - b).collect();
        if is_surely_above_zero(&gains) {
            self.views.anchors = anchors;
            self.opinions.extend(opinion);
        }
        self
    }
}

impl<'a> Work<'a> {
    fn fit(&mut self) -> Result<Option<Ensemble>, TaskError> {
        let tried = self.shots();
        self.total = self.rows.len();
        if tried.len() > 1 {
            self.total += tried.len() * self.rows.len().min(TRIAL_ROWS);
        }
        let shots = self.best_shots(&tried)?;
        let fitted = self.fit_with(shots)?;
        // Examples may fill the context so that the model can read no record behind them.
        if fitted.is_none() && shots > 0 {
            return self.fit_with(0);
        }
        Ok(fitted)
    }

    fn fit_with(&mut self, shots: usize) -> Result<Option<Ensemble>, TaskError> {
        let sets = self.sets(shots);
        let rows: Vec<&LabelledRow> = self.rows.iter().collect();
        let told = self.tell(&sets, &rows)?;
        if !self.suffices(&told) {
            return Ok(None);
        }
        let vectors = self.vectors(&told)?;
        let Some(fitted) = self.fit_views(&told, vectors.as_deref()) else {
            return Ok(None);
        };
        let pool = fitted.pool();
        let report = Self::report(&fitted, &pool, (told.len(), shots));
        Ok(Some(Ensemble {
            sets,
            views: fitted.views,
            pool,
            report,
        }))
    }

    fn suffices(&self, told: &[Told<'_>]) -> bool {
        can_be_checked(told.iter().map(|told| told.row), self.label_count)
    }

    /// Numbers of examples of each label to try.
    fn shots(&self) -> Vec<usize> {
        if let Some(shots) = self.fitting.settings.shots {
            return vec![shots];
        }
        if self.label_count > SHOWN_LABELS {
            return vec![0];
        }
        let most = most_of_a_label(self.rows, self.label_count);
        let fits = |shots: &usize| {
            *shots <= 1 || (*shots <= most && shots * self.label_count <= PROMPT_EXAMPLES)
        };
        SHOTS.into_iter().filter(fits).collect()
    }

    /// The examples of each prompt: one prompt a half, or one without examples for both.
    fn sets(&self, shots: usize) -> Vec<Vec<Example>> {
        if shots == 0 {
            return vec![Vec::new()];
        }
        vec![examples(self.rows, 0, shots), examples(self.rows, 1, shots)]
    }

    /// The number of examples that does best on some of the rows. One whose prompts do not fit into
    /// the model's context is none of them, unless it is the first.
    fn best_shots(&mut self, tried: &[usize]) -> Result<usize, TaskError> {
        let rows: Vec<&LabelledRow> = self.rows.iter().take(TRIAL_ROWS).collect();
        // Without a view of what stands behind prompts, their examples do not matter.
        let of_prompts = [View::Scores, View::States, View::Anchors];
        let sees_prompts = of_prompts.into_iter().any(|view| self.tries(view));
        if tried.len() == 1 || !sees_prompts {
            return Ok(tried[0]);
        }
        let mut trials = Vec::new();
        for &shots in tried {
            let told = self.tell(&self.sets(shots), &rows)?;
            let all_fit = told.len() == rows.len() || shots == tried[0];
            if !all_fit || !self.suffices(&told) {
                continue;
            }
            if let Some(fitted) = self.fit_views(&told, None) {
                let opinions = fitted.pool().opinions(&fitted.opinions);
                trials.push(Trial::new(shots, &losses(&opinions, &fitted.labels)));
            }
        }
        Ok(most_within_an_error(&trials).unwrap_or(tried[0]))
    }

    /// What the model says to rows behind the other half's prompt; rows that it cannot read are
    /// left out.
    fn tell(
        &mut self,
        sets: &[Vec<Example>],
        rows: &[&'a LabelledRow],
    ) -> Result<Vec<Told<'a>>, TaskError> {
        let panel = Panel::new(self.fitting.spec, sets, self.fitting.engines.language)?;
        let mut told = Vec::with_capacity(rows.len());
        for set in 0..sets.len() {
            let behind = rows.iter().filter(|row| set_of(row, sets.len()) == set);
            let behind: Vec<&LabelledRow> = behind.copied().collect();
            for window in behind.chunks(WINDOW_ROWS) {
                self.tell_window((&panel, set), window, &mut told)?;
                self.asked += window.len();
                (self.fitting.progress)(&FitProgress {
                    asked: self.asked,
                    total: self.total,
                });
            }
        }
        Ok(told)
    }

    fn tell_window(
        &self,
        (panel, set): (&Panel<'_>, usize),
        window: &[&'a LabelledRow],
        told: &mut Vec<Told<'a>>,
    ) -> Result<(), TaskError> {
        let mut asked = Vec::with_capacity(window.len());
        for row in window {
            if let Ok(prompt) = panel.prompt(set, &row.example.input) {
                asked.push((*row, prompt));
            }
        }
        let prompts: Vec<_> = asked.iter().map(|(_, prompt)| prompt).collect();
        let answers = panel.ask(&prompts, self.fitting.cancel)?;
        for ((row, _), answer) in asked.iter().zip(answers) {
            match answer {
                Ok(evidence) => told.push(Told { row, set, evidence }),
                Err(error) if error.blame() == Blame::Data => {}
                Err(source) => return Err(TaskError::Engine { line: 0, source }),
            }
        }
        Ok(())
    }

    /// The rows' own vectors, where there is an embedder that may take part.
    fn vectors(&self, told: &[Told<'_>]) -> Result<Option<Vec<Vec<f32>>>, TaskError> {
        let Some(embedder) = self.fitting.engines.embedder else {
            return Ok(None);
        };
        if !self.tries(View::Vectors) {
            return Ok(None);
        }
        let mut vectors = Vec::with_capacity(told.len());
        for window in told.chunks(WINDOW_ROWS) {
            let texts: Vec<String> = window
                .iter()
                .map(|told| record_text(&self.fitting.spec.fields, &told.row.example.input))
                .collect();
            let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            for embedding in embedder.embed(&texts, self.fitting.cancel) {
                let failed = |source: EngineError| TaskError::Engine { line: 0, source };
                vectors.push(embedding.map_err(failed)?.vector);
            }
        }
        Ok(Some(vectors))
    }

    fn tries(&self, view: View) -> bool {
        self.fitting.settings.views.contains(&view)
    }

    /// The views that the evidence allows; none where it allows none.
    fn fit_views(&self, told: &[Told<'_>], vectors: Option<&[Vec<f32>]>) -> Option<Fitted> {
        let labels: Vec<usize> = told.iter().map(|told| told.row.label).collect();
        let centres = centres(told);
        let centre = |told: &Told<'_>| &centres[told.set];
        let is_scored = told.iter().all(|told| !told.evidence.logprobs.is_empty());
        let has_scores = self.tries(View::Scores) && is_scored;
        let mut opinions: Vec<Opinions> = Vec::new();
        if has_scores {
            opinions.push(told.iter().map(|t| centre(t).scores(&t.evidence)).collect());
        }
        let mut states = Vec::new();
        if self.tries(View::States) {
            for depth in 0..depths(told.iter().map(|told| &told.evidence)) {
                let of_row = |t: &Told<'_>| centre(t).state(&t.evidence, depth);
                let of_rows: Vec<Vec<f32>> = told.iter().map(of_row).collect();
                states.push(self.probe(&of_rows, &labels, &mut opinions));
            }
        }
        let vectors = vectors.map(|vectors| self.probe(vectors, &labels, &mut opinions));
        let sees_anchors = self.tries(View::Anchors) && is_scored;
        let anchors = sees_anchors.then(|| self.anchors(told, &centres, &mut opinions));
        if opinions.is_empty() {
            return None;
        }
        let checked = self.checked(&labels);
        let only = |view: &Opinions| keep(view, &checked);
        let fitted = Fitted {
            views: Views {
                centres,
                has_scores,
                states,
                vectors,
                anchors,
            },
            opinions: opinions.iter().map(only).collect(),
            labels: keep(&labels, &checked),
        };
        Some(fitted.without_idle_anchors())
    }

    /// The rows as anchors; what the others of each prompt say of each row is added to the
    /// opinions. How many neighbours are asked is what has the least log loss on these.
    fn anchors(
        &self,
        told: &[Told<'_>],
        centres: &[Centre],
        opinions: &mut Vec<Opinions>,
    ) -> Anchors {
        let mut rows = Vec::with_capacity(told.len());
        for Told { row, set, evidence } in told {
            let (set, label) = (*set, row.label);
            rows.push(Seen {
                set,
                label,
                evidence,
            });
        }
        let of = |&count: &usize| Anchors::new(&rows, centres, (self.label_count, count));
        let mut tried: Vec<Anchors> = NEIGHBOURS.iter().map(of).collect();
        let unseen = tried
            .iter()
            .map(|t| t.opinions_without_each(&rows, centres));
        let labels: Vec<usize> = rows.iter().map(|row| row.label).collect();
        let (best, opinion) = least_loss(unseen.collect(), &labels);
        opinions.push(opinion);
        tried.swap_remove(best)
    }

    /// A probe on all rows; what probes on the other parts say of each part is added to the
    /// opinions. How far its covariance is shrunk is what has the least log loss on these.
    fn probe(
        &self,
        vectors: &[Vec<f32>],
        labels: &[usize],
        opinions: &mut Vec<Opinions>,
    ) -> Discriminant {
        let folds = self.folds(labels);
        let mut unseen: Vec<Opinions> = vec![vec![Vec::new(); vectors.len()]; SHRINKAGES.len()];
        let fold_count = folds.iter().max().map_or(0, |last| last + 1);
        for fold in 0..fold_count {
            let others: Vec<usize> = (0..vectors.len()).filter(|&i| folds[i] != fold).collect();
            let probes = self.probes(vectors, labels, &others, &SHRINKAGES);
            for row in (0..vectors.len()).filter(|&i| folds[i] == fold) {
                for (unseen, probe) in unseen.iter_mut().zip(&probes) {
                    unseen[row] = probe.log_probabilities(&vectors[row]);
                }
            }
        }
        let (best, opinion) = least_loss(unseen, labels);
        opinions.push(opinion);
        let all: Vec<usize> = (0..vectors.len()).collect();
        self.probes(vectors, labels, &all, &[SHRINKAGES[best]])
            .swap_remove(0)
    }

    fn probes(
        &self,
        vectors: &[Vec<f32>],
        labels: &[usize],
        rows: &[usize],
        shrinkages: &[f64],
    ) -> Vec<Discriminant> {
        let of_rows: Vec<&[f32]> = rows.iter().map(|&i| vectors[i].as_slice()).collect();
        Discriminant::fit(&of_rows, &keep(labels, rows), self.label_count, shrinkages)
    }

    /// The part of each row: the rows of a label go to the parts in turn.
    fn folds(&self, labels: &[usize]) -> Vec<usize> {
        let folds = if labels.len() < MANY_ROWS {
            FOLDS_OF_FEW
        } else {
            FOLDS_OF_MANY
        };
        let mut turns = vec![0usize; self.label_count];
        let fold = |&label: &usize| {
            turns[label] += 1;
            (turns[label] - 1) % folds
        };
        labels.iter().map(fold).collect()
    }

    /// The rows whose label has others, so that a probe without them can know it.
    fn checked(&self, labels: &[usize]) -> Vec<usize> {
        let mut counts = vec![0usize; self.label_count];
        for &label in labels {
            counts[label] += 1;
        }
        (0..labels.len())
            .filter(|&i| counts[labels[i]] > 1)
            .collect()
    }

    fn report(fitted: &Fitted, pool: &Pool, (rows, shots): (usize, usize)) -> FitReport {
        let views = fitted.views.list().into_iter();
        let parts = views.zip(&fitted.opinions).zip(&pool.weights);
        FitReport {
            rows,
            shots,
            accuracy: accuracy(&pool.opinions(&fitted.opinions), &fitted.labels),
            views: parts
                .map(|((view, opinions), &weight)| ViewReport {
                    view,
                    accuracy: accuracy(opinions, &fitted.labels),
                    weight,
                })
                .collect(),
        }
    }
}

/// The opinions with the least log loss once each is brought to its best scale, and their place.
fn least_loss(opinions: Vec<Opinions>, labels: &[usize]) -> (usize, Opinions) {
    let mut best = (f64::INFINITY, 0, Opinions::new());
    for (place, opinions) in opinions.into_iter().enumerate() {
        let loss = scaled_loss(&opinions, labels);
        if loss < best.0 {
            best = (loss, place, opinions);
        }
    }
    (best.1, best.2)
}

/// The prompt that a row is judged behind: the other half's, where each half has one.
fn set_of(row: &LabelledRow, sets: usize) -> usize {
    if sets == 1 { 0 } else { 1 - row.half }
}

/// One centre a prompt.
fn centres(told: &[Told<'_>]) -> Vec<Centre> {
    let sets = told.iter().map(|told| told.set + 1).max().unwrap_or(0);
    let of_set = |set: usize| {
        let behind = told.iter().filter(|told| told.set == set);
        let rows: Vec<_> = behind
            .map(|told| (&told.evidence, told.row.label))
            .collect();
        Centre::of(&rows)
    };
    (0..sets).map(of_set).collect()
}

fn keep<T: Clone>(items: &[T], places: &[usize]) -> Vec<T> {
    places.iter().map(|&place| items[place].clone()).collect()
}
