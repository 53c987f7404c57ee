//! The winner beside the start on records that nothing was chosen by.

use std::collections::BTreeSet;

use super::calls::{Caller, Halt, Survivors};
use super::race::{Race, measured};
use super::trial::Trial;
use super::{Course, SearchHooks, Winner};
use crate::eval::{Compared, Labelled};
use crate::strategy::{Strategy, StrategyScores};

/// Records that the winner and the start are compared on at most.
const MOST_UNTOUCHED: usize = 1_000;

impl Course<'_> {
    /// Compares the winner with the start on untouched records; nothing where the start has won.
    pub(super) fn finish(
        &self,
        caller: &mut Caller<'_>,
        hooks: &SearchHooks<'_>,
        race: &Race<'_>,
    ) -> Result<Option<Winner>, Halt> {
        if let Some(survivors) = caller.survivors() {
            self.likely(caller, hooks, (race, survivors))?;
            return Ok(None);
        }
        let (winner, start) = race.winner();
        if winner.strategy == start.strategy {
            return Ok(None);
        }
        let trials = self.trials(hooks, [&start.strategy, &winner.strategy])?;
        let mut records = self.untouched(race);
        records.truncate(self.affordable(caller, &trials, &records));
        let best = measured(winner).map(|measured| measured.value);
        self.tell(
            caller,
            hooks,
            "untouched records",
            &[2, records.len()],
            best,
        );
        let untouched = match self.compared(caller, &trials, &records) {
            Ok(compared) => Some(compared).filter(|compared| compared.worth.rows > 0),
            Err(Halt::Budget) => None,
            Err(halt) => return Err(halt),
        };
        Ok(Some(Winner {
            scores: StrategyScores {
                measure: self.worth.measure().to_string(),
                chosen_on: measured(winner),
                start_on: measured(start),
                untouched,
            },
            strategy: winner.strategy.clone(),
        }))
    }

    /// What the comparison is likely to cost: one half of the records by a winner with one order of
    /// the examples, the other by one with both.
    fn likely(
        &self,
        caller: &mut Caller<'_>,
        hooks: &SearchHooks<'_>,
        (race, survivors): (&Race<'_>, Survivors),
    ) -> Result<(), Halt> {
        let (_, start) = race.winner();
        let one = race.likely_winner(caller, survivors)?.strategy;
        let both = Strategy {
            both_orders: true,
            ..one.clone()
        };
        let records = self.untouched(race);
        let halves = records.split_at(records.len() / 2);
        for (winner, records) in [(one, halves.0), (both, halves.1)] {
            let trials = self.trials(hooks, [&start.strategy, &winner])?;
            let count = self.affordable(caller, &trials, records);
            self.compared(caller, &trials, &records[..count])?;
        }
        Ok(())
    }

    fn trials<'t>(
        &'t self,
        hooks: &SearchHooks<'t>,
        strategies: [&Strategy; 2],
    ) -> Result<[Trial<'t>; 2], Halt> {
        let [first, second] = strategies;
        Ok([
            Trial::new(self.ground(hooks), first)?,
            Trial::new(self.ground(hooks), second)?,
        ])
    }

    fn compared(
        &self,
        caller: &mut Caller<'_>,
        trials: &[Trial<'_>; 2],
        records: &[Labelled],
    ) -> Result<Compared, Halt> {
        let first = trials[0].run(caller, records)?;
        let second = trials[1].run(caller, records)?;
        let seed = self.search.seed;
        Ok(Compared::of(&first.grades, &second.grades, seed))
    }

    /// The records that nothing was proposed or chosen by: the part that was kept, and behind it what
    /// the race has left of the records to choose by.
    fn untouched(&self, race: &Race<'_>) -> Vec<Labelled> {
        let left = self.split.select[race.used()..].iter();
        let all = self.split.untouched.iter().chain(left);
        all.take(MOST_UNTOUCHED).cloned().collect()
    }

    /// How many of the records both can answer for what is left.
    pub(super) fn affordable(
        &self,
        caller: &Caller<'_>,
        trials: &[Trial<'_>; 2],
        records: &[Labelled],
    ) -> usize {
        let mut left = caller.left();
        let mut count = 0;
        // Records without content, by which some are calibrated, are asked once.
        let mut counted = BTreeSet::new();
        for record in records {
            let one = std::slice::from_ref(record);
            let requests: Vec<_> = trials.iter().flat_map(|t| t.all_requests(one)).collect();
            left -= caller.most_beyond(&requests, self.search.engine.facts(), &mut counted);
            if left < 0.0 {
                break;
            }
            count += 1;
        }
        count
    }
}
