//! What tells which branches of a route a record goes to, made anew from the route's lessons.

use autoglm_spec::{Field, Record};

use super::features::Featurizer;
use super::learner::Observation;
use super::router::{Branches, Router};
use super::{BITS, SEED};
use crate::strategy::Route;

/// A router that has learnt a route's lessons.
pub(crate) struct Gate {
    router: Router,
    featurizer: Featurizer,
    fields: Vec<Field>,
}

impl Gate {
    /// Learns the lessons of a route in their order.
    ///
    /// # Panics
    /// When the route has fewer than two branches, or a lesson does not have one merit for each.
    pub(crate) fn of(route: &Route, fields: &[Field]) -> Self {
        let featurizer = Featurizer::new(BITS, SEED);
        let experts = route.branches.len();
        let mut gate = Self {
            router: Router::new(experts, featurizer.buckets()),
            featurizer,
            fields: fields.to_vec(),
        };
        for lesson in &route.lessons {
            let buckets = gate.buckets(&lesson.input);
            gate.router.learn(&observation(&buckets), &lesson.merits);
        }
        gate
    }

    /// Which branches a record goes to.
    pub(crate) fn branches(&self, record: &Record) -> Branches {
        self.router.branches(&observation(&self.buckets(record)))
    }

    fn buckets(&self, record: &Record) -> Vec<u32> {
        let mut buckets = Vec::new();
        self.featurizer.record(&self.fields, record, &mut buckets);
        buckets
    }
}

fn observation(buckets: &[u32]) -> Observation<'_> {
    Observation {
        buckets,
        ..Observation::default()
    }
}
