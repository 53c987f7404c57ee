//! Sets of examples to try: how many, which, and in which order.

use std::collections::{BTreeMap, BTreeSet};

use autoglm_spec::{Example, Output, TaskSpec};

use super::describe::words;
use crate::chance::Chance;
use crate::eval::Labelled;
use crate::library::{identity, record_text};

/// Examples of a set at most: beyond, small models get worse and every prompt longer.
const MOST_EXAMPLES: usize = 48;
/// Records that the search for a diverse set looks at, a label; it compares each with each.
const DIVERSE_POOL: usize = 60;
/// What a record's typicality counts against its likeness to those chosen already.
const TYPICAL_WEIGHT: f64 = 0.5;

/// A set of examples with its description.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ExampleSet {
    pub(super) examples: Vec<Example>,
    pub(super) about: String,
}

/// The sets to try, the most promising kinds first.
pub(super) fn example_sets(spec: &TaskSpec, pool: &[Labelled], seed: u64) -> Vec<ExampleSet> {
    let groups = groups(spec, pool);
    let draws = |per_label: usize, round: u64| random(&groups, per_label, seed, round);
    let sets = [
        draws(2, 1),
        draws(4, 2),
        diverse(spec, &groups, 2, seed),
        draws(8, 3),
        draws(1, 4),
        diverse(spec, &groups, 4, seed),
        draws(4, 5),
        draws(2, 6),
        draws(8, 7),
        Some(none()),
        diverse(spec, &groups, 8, seed),
        draws(1, 8),
    ];
    let mut kept: Vec<ExampleSet> = Vec::new();
    for set in sets.into_iter().flatten() {
        if kept.iter().all(|other| other.examples != set.examples) {
            kept.push(set);
        }
    }
    kept
}

/// Examples among the records that were answered wrongly, filled up with others; none where too
/// few were wrong.
pub(super) fn hard_set(
    spec: &TaskSpec,
    pool: &[Labelled],
    wrong: &BTreeSet<String>,
    seed: u64,
) -> Option<ExampleSet> {
    if wrong.len() < 2 {
        return None;
    }
    let mut groups = groups(spec, pool);
    let mut chance = Chance::new(seed);
    for group in groups.values_mut() {
        chance.shuffle(group);
        group.sort_by_key(|labelled| !wrong.contains(&identity(&spec.fields, &labelled.record)));
    }
    let per_label = if groups.len() * 4 <= MOST_EXAMPLES {
        4
    } else {
        2
    };
    let examples = in_turns(&groups, per_label, &mut chance)?;
    Some(ExampleSet {
        about: format!("{per_label} a label, those answered wrongly first"),
        examples,
    })
}

fn none() -> ExampleSet {
    ExampleSet {
        examples: Vec::new(),
        about: "no examples".to_owned(),
    }
}

/// Records by label, or all together where answers are open, in an order that does not depend on
/// the file's.
fn groups<'a>(spec: &TaskSpec, pool: &'a [Labelled]) -> BTreeMap<&'a str, Vec<&'a Labelled>> {
    let closed = matches!(spec.output, Output::Labels { .. });
    let mut groups: BTreeMap<&str, Vec<&Labelled>> = BTreeMap::new();
    for labelled in pool {
        let group = if closed { labelled.gold.as_str() } else { "" };
        groups.entry(group).or_default().push(labelled);
    }
    for group in groups.values_mut() {
        group.sort_by_key(|labelled| identity(&spec.fields, &labelled.record));
    }
    groups
}

fn random(
    groups: &BTreeMap<&str, Vec<&Labelled>>,
    per_label: usize,
    seed: u64,
    round: u64,
) -> Option<ExampleSet> {
    let mut chance = Chance::new(seed ^ round.wrapping_mul(0x9e37_79b9));
    let mut shuffled = groups.clone();
    for group in shuffled.values_mut() {
        chance.shuffle(group);
    }
    Some(ExampleSet {
        examples: in_turns(&shuffled, per_label, &mut chance)?,
        about: format!("{per_label} a label, draw {round}"),
    })
}

/// The labels take turns: each label's first, then each label's second; each turn in a random
/// order. None where that is too many.
fn in_turns(
    groups: &BTreeMap<&str, Vec<&Labelled>>,
    per_label: usize,
    chance: &mut Chance,
) -> Option<Vec<Example>> {
    // Open answers have one group, for which a handful is the least that shows a pattern.
    let per_group = if groups.len() == 1 {
        2 * per_label
    } else {
        per_label
    };
    if per_group * groups.len() > MOST_EXAMPLES {
        return None;
    }
    let mut examples = Vec::new();
    for turn in 0..per_group {
        let mut round: Vec<&&Labelled> = groups.values().filter_map(|g| g.get(turn)).collect();
        chance.shuffle(&mut round);
        examples.extend(round.into_iter().map(|labelled| example(labelled)));
    }
    Some(examples)
}

/// A labelled record as an example.
pub(super) fn example(labelled: &Labelled) -> Example {
    Example {
        input: labelled.record.clone(),
        output: labelled.gold.clone(),
    }
}

/// Examples that are typical of their label and unlike each other.
///
/// # Source
/// Carbonell, Goldstein 1998, The Use of MMR, with the mean likeness to the label's records in
/// place of the likeness to a query; likeness is that of sets of words (Jaccard).
fn diverse(
    spec: &TaskSpec,
    groups: &BTreeMap<&str, Vec<&Labelled>>,
    per_label: usize,
    seed: u64,
) -> Option<ExampleSet> {
    let mut chance = Chance::new(seed);
    let mut chosen = groups.clone();
    for group in chosen.values_mut() {
        chance.shuffle(group);
        group.truncate(DIVERSE_POOL);
        let bags: Vec<BTreeSet<String>> = group
            .iter()
            .map(|labelled| words(&record_text(&spec.fields, &labelled.record)))
            .collect();
        let order = spread_out(&bags, 2 * per_label);
        *group = order.into_iter().map(|place| group[place]).collect();
    }
    Some(ExampleSet {
        examples: in_turns(&chosen, per_label, &mut chance)?,
        about: format!("{per_label} a label, typical and unlike each other"),
    })
}

/// The places of `count` bags, each typical and unlike those before it.
fn spread_out(bags: &[BTreeSet<String>], count: usize) -> Vec<usize> {
    let typical: Vec<f64> = bags
        .iter()
        .map(|bag| bags.iter().map(|other| likeness(bag, other)).sum::<f64>() / bags.len() as f64)
        .collect();
    let mut chosen: Vec<usize> = Vec::new();
    while chosen.len() < count.min(bags.len()) {
        let worth = |place: &usize| {
            let nearest = chosen
                .iter()
                .map(|&other| likeness(&bags[*place], &bags[other]))
                .fold(0.0, f64::max);
            TYPICAL_WEIGHT * typical[*place] - (1.0 - TYPICAL_WEIGHT) * nearest
        };
        let open = (0..bags.len()).filter(|place| !chosen.contains(place));
        let best = open.max_by(|a, b| worth(a).total_cmp(&worth(b)).then(b.cmp(a)));
        chosen.extend(best);
    }
    chosen
}

fn likeness(a: &BTreeSet<String>, b: &BTreeSet<String>) -> f64 {
    let shared = a.intersection(b).count() as f64;
    let all = a.len() as f64 + b.len() as f64 - shared;
    if all == 0.0 { 0.0 } else { shared / all }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::scripted::{record, review_task};

    fn pool() -> Vec<Labelled> {
        let row = |i: usize| Labelled {
            record: record(&json!({ "text": format!("text number{i} of {}", i % 5) })),
            gold: if i.is_multiple_of(2) {
                "positive"
            } else {
                "negative"
            }
            .to_owned(),
        };
        (0..40).map(row).collect()
    }

    #[test]
    fn sets_are_balanced_and_the_same_for_the_same_seed_whatever_the_order_of_the_file() {
        let sets = example_sets(&review_task(), &pool(), 3);
        assert!(sets.len() >= 10);
        for set in &sets {
            let positive = set.examples.iter().filter(|e| e.output == "positive");
            assert_eq!(2 * positive.count(), set.examples.len(), "{}", set.about);
        }
        let mut reversed = pool();
        reversed.reverse();
        assert_eq!(example_sets(&review_task(), &reversed, 3), sets);
        assert_ne!(example_sets(&review_task(), &pool(), 4), sets);
    }

    #[test]
    fn likely_twins_do_not_both_become_examples() {
        let bag = |text: &str| words(text);
        let bags = [
            bag("red green blue"),
            bag("red green blue black"),
            bag("cat dog red"),
        ];
        let order = spread_out(&bags, 2);
        assert!(order.contains(&2), "{order:?}");
    }

    #[test]
    fn what_was_answered_wrongly_comes_first() {
        let spec = review_task();
        let wrong: BTreeSet<String> = pool()[10..16]
            .iter()
            .map(|l| identity(&spec.fields, &l.record))
            .collect();
        let set = hard_set(&spec, &pool(), &wrong, 1).unwrap();
        let hard = set
            .examples
            .iter()
            .filter(|e| wrong.contains(&identity(&spec.fields, &e.input)));
        assert_eq!((hard.count(), set.examples.len()), (6, 8));
        assert_eq!(hard_set(&spec, &pool(), &BTreeSet::new(), 1), None);
    }
}
