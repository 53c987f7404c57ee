//! Picks what is near and unlike what was picked before, groups in turn.

/// What nearness counts against likeness to what was picked before.
const NEARNESS_WEIGHT: f64 = 0.7;
/// Candidates that are looked at, the nearest: each is compared with all that were picked.
const SHORTLIST: usize = 64;

/// What may be picked.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Candidate {
    pub(super) place: usize,
    /// What it takes turns with.
    pub(super) group: usize,
    pub(super) score: f64,
}

/// Picks up to `count` candidates. The next is of a group that was picked least, as long as it has
/// any, and of these the one that is near and unlike those before it.
///
/// # Source
/// Carbonell, Goldstein 1998, The Use of MMR, Diversity-Based Reranking, with scores as shares of the
/// highest.
pub(super) fn pick(
    candidates: Vec<Candidate>,
    count: usize,
    likeness: &dyn Fn(usize, usize) -> f64,
) -> Vec<Candidate> {
    let mut open = shortlist(candidates, count);
    let top = open
        .first()
        .map_or(0.0, |first| first.score)
        .max(f64::MIN_POSITIVE);
    let groups = open.iter().map(|c| c.group + 1).max().unwrap_or(0);
    let mut turns = vec![0usize; groups];
    let mut nearest = vec![0.0f64; open.len()];
    let mut picked: Vec<Candidate> = Vec::new();
    while picked.len() < count && !open.is_empty() {
        let turn = open.iter().map(|c| turns[c.group]).min();
        let worth = |i: usize| {
            let nearness = open[i].score / top;
            NEARNESS_WEIGHT * nearness - (1.0 - NEARNESS_WEIGHT) * nearest[i]
        };
        let due = (0..open.len()).filter(|&i| Some(turns[open[i].group]) == turn);
        // Of equals the first, which is the nearer one.
        let best = due.reduce(|best, i| if worth(i) > worth(best) { i } else { best });
        let Some(best) = best else { break };
        let taken = open.remove(best);
        nearest.remove(best);
        turns[taken.group] += 1;
        for (other, nearest) in open.iter().zip(&mut nearest) {
            *nearest = nearest.max(likeness(other.place, taken.place));
        }
        picked.push(taken);
    }
    picked
}

/// The nearest of each group, the nearest first.
fn shortlist(mut candidates: Vec<Candidate>, count: usize) -> Vec<Candidate> {
    let nearer =
        |a: &Candidate, b: &Candidate| b.score.total_cmp(&a.score).then(a.place.cmp(&b.place));
    candidates.sort_by(nearer);
    let groups = candidates.iter().map(|c| c.group + 1).max().unwrap_or(1);
    let of_group = SHORTLIST.div_ceil(groups).max(count);
    let mut taken = vec![0usize; groups];
    candidates.retain(|candidate| {
        taken[candidate.group] += 1;
        taken[candidate.group] <= of_group
    });
    candidates
}
