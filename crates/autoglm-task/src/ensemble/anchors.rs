//! Labelled rows as anchors in the model's own output space: a record is what the rows are whose
//! scores are spread most like its own.

use serde::{Deserialize, Serialize};

use super::panel::PromptEvidence;
use super::pool::Opinions;
use super::view::Centre;

/// Numbers of neighbours that are tried, the first where none does better.
pub(super) const NEIGHBOURS: [usize; 4] = [7, 3, 15, 31];
/// Rows behind one prompt that are looked at: each record is compared with all of them.
const MOST_ANCHORS: usize = 4_096;
/// Probabilities count as this much at least: the divergence from 0 has no bound.
const LEAST_LOG: f64 = -12.0;

/// Nearest neighbours by how the labels' scores are spread, one set a prompt.
///
/// # Source
/// Xu et al. 2023, kNN Prompting: Beyond-Context Learning with Calibration-Free Nearest Neighbor
/// Inference, section 3, over the labels in place of the vocabulary.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Anchors {
    sets: Vec<Vec<Anchor>>,
    neighbours: usize,
    labels: usize,
}

/// A labelled row as it looks behind a prompt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Anchor {
    label: usize,
    /// The labels' log-probabilities without the lean.
    logs: Vec<f64>,
}

/// A labelled row with what was said behind one prompt.
#[derive(Clone, Copy)]
pub(super) struct Seen<'a> {
    pub(super) set: usize,
    pub(super) label: usize,
    pub(super) evidence: &'a PromptEvidence,
}

impl Anchors {
    /// The rows as anchors of so many labels.
    pub(super) fn new(
        rows: &[Seen<'_>],
        centres: &[Centre],
        (labels, neighbours): (usize, usize),
    ) -> Self {
        let mut sets: Vec<Vec<Anchor>> = centres.iter().map(|_| Vec::new()).collect();
        for row in rows {
            let set = &mut sets[row.set];
            if set.len() < MOST_ANCHORS {
                set.push(Anchor {
                    label: row.label,
                    logs: spread(&centres[row.set], row.evidence),
                });
            }
        }
        Self {
            sets,
            neighbours,
            labels,
        }
    }

    /// The opinion on a record, by what was said behind a prompt.
    pub(super) fn opinion(
        &self,
        set: usize,
        centre: &Centre,
        evidence: &PromptEvidence,
    ) -> Vec<f64> {
        self.among(&self.sets[set], None, &spread(centre, evidence))
    }

    /// The opinions on the rows that are anchors themselves, each by the others; `rows` as they
    /// were given to [`Anchors::new`].
    pub(super) fn opinions_without_each(&self, rows: &[Seen<'_>], centres: &[Centre]) -> Opinions {
        let mut places = vec![0usize; self.sets.len()];
        let opinion = |row: &Seen<'_>| {
            let place = places[row.set];
            places[row.set] += 1;
            let logs = spread(&centres[row.set], row.evidence);
            self.among(&self.sets[row.set], Some(place), &logs)
        };
        rows.iter().map(opinion).collect()
    }

    /// The labels' shares among the nearest anchors, each label counting one vote in all besides.
    fn among(&self, anchors: &[Anchor], without: Option<usize>, logs: &[f64]) -> Vec<f64> {
        let others = anchors.iter().enumerate();
        let others = others.filter(|(place, _)| Some(*place) != without);
        let mut near: Vec<(f64, usize)> = others
            .map(|(_, anchor)| (divergence(logs, &anchor.logs), anchor.label))
            .collect();
        let count = self.neighbours.min(near.len());
        if count < near.len() {
            near.select_nth_unstable_by(count, |a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        }
        let mut votes = vec![1.0 / self.labels as f64; self.labels];
        for (_, label) in &near[..count] {
            votes[*label] += 1.0;
        }
        let all = count as f64 + 1.0;
        votes.into_iter().map(|votes| (votes / all).ln()).collect()
    }
}

fn spread(centre: &Centre, evidence: &PromptEvidence) -> Vec<f64> {
    let logs = centre.scores(evidence).into_iter();
    logs.map(|log| log.max(LEAST_LOG)).collect()
}

/// The Kullback–Leibler divergence of a record's spread from an anchor's.
fn divergence(record: &[f64], anchor: &[f64]) -> f64 {
    let labels = record.iter().zip(anchor);
    labels.map(|(p, q)| p.exp() * (p - q)).sum()
}

#[cfg(test)]
mod tests {
    use autoglm_spec::Usage;
    use proptest::prelude::*;

    use super::*;

    fn evidence(logprobs: &[f32]) -> PromptEvidence {
        PromptEvidence {
            logprobs: logprobs.to_vec(),
            states: Vec::new(),
            usage: Usage::default(),
        }
    }

    /// Rows of labels by their scores, behind two prompts in turn.
    fn seen<'a>(rows: &'a [(PromptEvidence, usize)]) -> Vec<Seen<'a>> {
        let row = |(place, (evidence, label)): (usize, &'a (PromptEvidence, usize))| Seen {
            set: place % 2,
            label: *label,
            evidence,
        };
        rows.iter().enumerate().map(row).collect()
    }

    fn centres(rows: &[Seen<'_>]) -> Vec<Centre> {
        let of = |set: usize| {
            let behind = rows.iter().filter(|row| row.set == set);
            Centre::of(
                &behind
                    .map(|row| (row.evidence, row.label))
                    .collect::<Vec<_>>(),
            )
        };
        (0..2).map(of).collect()
    }

    fn arb_rows() -> impl Strategy<Value = Vec<(PromptEvidence, usize)>> {
        let scores = prop::collection::vec(-9.0f32..0.0, 3);
        prop::collection::vec((scores.prop_map(|s| evidence(&s)), 0usize..3), 8..40)
    }

    proptest! {
        #[test]
        fn opinions_are_probabilities(rows in arb_rows(), neighbours in 1usize..50) {
            let seen = seen(&rows);
            let centres = centres(&seen);
            let anchors = Anchors::new(&seen, &centres, (3, neighbours));
            for opinion in anchors.opinions_without_each(&seen, &centres) {
                let sum: f64 = opinion.iter().map(|log| log.exp()).sum();
                prop_assert!((sum - 1.0).abs() < 1e-9, "{opinion:?}");
            }
        }

        #[test]
        fn a_row_has_no_part_in_the_opinion_on_itself(rows in arb_rows(), label in 0usize..3) {
            let seen_rows = seen(&rows);
            let centres = centres(&seen_rows);
            let before = Anchors::new(&seen_rows, &centres, (3, 5));
            let before = before.opinions_without_each(&seen_rows, &centres);
            // Its label is told otherwise; what is taken off stays as it was.
            let mut turned = rows.clone();
            turned[0].1 = label;
            let turned = seen(&turned);
            let after = Anchors::new(&turned, &centres, (3, 5));
            prop_assert_eq!(&after.opinions_without_each(&turned, &centres)[0], &before[0]);
        }

        #[test]
        fn nothing_is_nearer_than_itself(rows in arb_rows()) {
            let logs: Vec<Vec<f64>> = seen(&rows)
                .iter()
                .map(|row| spread(&Centre::of(&[(row.evidence, row.label)]), row.evidence))
                .collect();
            for one in &logs {
                prop_assert!(divergence(one, one).abs() < 1e-12);
                for other in &logs {
                    prop_assert!(divergence(one, other) > -1e-9);
                }
            }
        }
    }

    #[test]
    fn the_label_of_like_scores_is_told_where_no_line_parts_them() {
        // Label 0 lies in the middle, label 1 on both sides: the most likely label says nothing.
        let row = |place: usize| {
            let side = [0.0f32, 3.0, 0.1, -3.0][place % 4] + (place / 4) as f32 * 0.01;
            (evidence(&[side, 0.0]), place % 4 % 2)
        };
        let rows: Vec<_> = (0..80).map(|i| row(i % 8 / 2 + i / 8 * 4)).collect();
        let seen = seen(&rows);
        let centres = centres(&seen);
        let anchors = Anchors::new(&seen, &centres, (2, 5));
        let right = anchors
            .opinions_without_each(&seen, &centres)
            .iter()
            .zip(&seen)
            .filter(|(opinion, row)| opinion[row.label] > opinion[1 - row.label])
            .count();
        assert_eq!(right, 80);
        let record = evidence(&[-2.9, 0.0]);
        let opinion = anchors.opinion(0, &centres[0], &record);
        assert!(opinion[1] > opinion[0], "{opinion:?}");
    }
}
