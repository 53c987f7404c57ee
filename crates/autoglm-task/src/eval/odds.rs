//! How near the probabilities that labels are given come to the truth.

/// The lowest and highest temperature that is tried, and the ratio between neighbours.
const TEMPERATURES: [f64; 2] = [1.0 / 16.0, 16.0];
const STEP: f64 = 1.189_207_115_002_721; // the fourth root of 2

/// The probabilities of a record's labels.
#[derive(Debug, Clone, PartialEq)]
pub struct Odds {
    /// The right label's.
    pub gold: f64,
    /// Those of all others.
    pub others: Vec<f64>,
}

impl Odds {
    /// The probabilities of labels by their names; none where the right one is not among them.
    pub(super) fn of(distribution: &[(String, f32)], gold: &str) -> Option<Self> {
        let is_gold = |(name, _): &&(String, f32)| name == gold;
        let probability = |(_, p): &(String, f32)| f64::from(*p);
        let gold = distribution.iter().find(is_gold).map(probability)?;
        let others = distribution.iter().filter(|label| !is_gold(label));
        Some(Self {
            gold,
            others: others.map(probability).collect(),
        })
    }

    /// From 0, where all probability is on a wrong label, to 1, where all is on the right one:
    /// `1 − ½ Σ (pₖ − yₖ)²` with pₖ the probability of label k at a temperature and yₖ 1 for the
    /// right one.
    ///
    /// # Source
    /// Brier 1950, Verification of forecasts expressed in terms of probability.
    fn nearness(&self, temperature: f64) -> f64 {
        let power = |p: f64| p.max(f64::MIN_POSITIVE).powf(1.0 / temperature);
        let gold = power(self.gold);
        let others: Vec<f64> = self.others.iter().map(|p| power(*p)).collect();
        let sum = gold + others.iter().sum::<f64>();
        let squares: f64 = others.iter().map(|p| (p / sum).powi(2)).sum();
        1.0 - 0.5 * ((1.0 - gold / sum).powi(2) + squares)
    }
}

/// How near each record's probabilities come to the truth, in [0, 1], at the one temperature at which
/// they do so best; 0 where there are none. So it counts which label is thought how much likelier than
/// others in which records, and not how sure all answers are together: that confidences are corrected
/// for by other means.
pub fn nearness(odds: &[Option<Odds>]) -> Vec<f64> {
    let at = |temperature: f64| -> Vec<f64> {
        let of = |odds: &Option<Odds>| odds.as_ref().map_or(0.0, |o| o.nearness(temperature));
        odds.iter().map(of).collect()
    };
    let sum = |values: &Vec<f64>| values.iter().sum::<f64>();
    let [lowest, highest] = TEMPERATURES;
    let temperatures = std::iter::successors(Some(lowest), |t| Some(t * STEP));
    let all = temperatures.take_while(|t| *t <= highest).map(at);
    all.max_by(|a, b| sum(a).total_cmp(&sum(b)))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn odds(gold: f64, others: &[f64]) -> Odds {
        let others = others.to_vec();
        Odds { gold, others }
    }

    #[test]
    fn the_truth_is_one_and_its_opposite_nothing() {
        let near = |gold, others: &[f64]| odds(gold, others).nearness(1.0);
        assert_eq!(near(1.0, &[0.0, 0.0]), 1.0);
        assert!(near(0.0, &[1.0, 0.0]).abs() < 1e-12);
        // Python: 1 - 0.5 * ((1 - .5)**2 + .3**2 + .2**2)
        assert!((near(0.5, &[0.3, 0.2]) - 0.81).abs() < 1e-12);
    }

    #[test]
    fn how_sure_all_are_together_does_not_count() {
        let timid = [odds(0.55, &[0.45]), odds(0.6, &[0.4]), odds(0.48, &[0.52])];
        let squared = |o: &Odds| {
            let [gold, other] = [o.gold.powi(4), o.others[0].powi(4)];
            odds(gold / (gold + other), &[other / (gold + other)])
        };
        let bold: Vec<Option<Odds>> = timid.iter().map(squared).map(Some).collect();
        let timid = timid.map(Some);
        for (a, b) in nearness(&timid).into_iter().zip(nearness(&bold)) {
            assert!((a - b).abs() < 1e-9, "{a} {b}");
        }
    }

    #[test]
    fn a_record_without_an_answer_counts_as_wrong() {
        let near = nearness(&[Some(odds(0.9, &[0.1])), None]);
        assert!(near[0] > 0.9 && near[1] == 0.0, "{near:?}");
        assert!(nearness(&[]).is_empty());
    }
}
