//! Which requests are followed.

use std::collections::BTreeMap;

use super::context::{Context, Parent, SpanId, TraceId};

/// Which requests are followed. Every request has ids, in its log line and in the header of its
/// answer; spans are made and sent only of those that are followed.
#[derive(Debug, Clone, PartialEq)]
pub struct Sampling {
    /// The share of requests, from 0 to 1. Which ones depends on the id of the trace alone, so
    /// that servers with the same ratio follow the same traces.
    pub ratio: f64,
    /// Whether a caller that says whether it records its trace is followed in that.
    pub parent_based: bool,
    /// Shares of routes that are not treated as the rest, by the route as it is declared.
    pub routes: BTreeMap<String, f64>,
}

impl Default for Sampling {
    /// Everything, but what machines ask every few seconds.
    fn default() -> Self {
        let quiet = ["/metrics", "/health/live", "/health/ready"];
        Self {
            ratio: 1.0,
            parent_based: true,
            routes: quiet.map(|route| (route.to_owned(), 0.0)).into(),
        }
    }
}

impl Sampling {
    /// Where a request of a route stands in its trace.
    pub(crate) fn context(
        &self,
        route: &str,
        parent: Option<Parent>,
        random: &dyn Fn() -> u64,
    ) -> Context {
        let span = SpanId::new(random);
        let Some(parent) = parent else {
            let trace = TraceId::new(random);
            return Context {
                is_sampled: self.chooses(route, trace),
                trace,
                span,
                parent: None,
                state: None,
            };
        };
        let is_sampled = if self.parent_based {
            parent.is_sampled
        } else {
            self.chooses(route, parent.trace)
        };
        Context {
            is_sampled,
            trace: parent.trace,
            span,
            parent: Some(parent.span),
            state: parent.state,
        }
    }

    fn chooses(&self, route: &str, trace: TraceId) -> bool {
        let ratio = *self.routes.get(route).unwrap_or(&self.ratio);
        // 2^53 different fractions, each exact.
        let place = (trace.random_half() >> 11) as f64 / (1_u64 << 53) as f64;
        place < ratio
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    /// A stream of numbers that differ in all bits.
    fn numbers() -> impl Fn() -> u64 {
        let state = Cell::new(0_u64);
        move || {
            state.set(state.get().wrapping_add(0x9e37_79b9_7f4a_7c15));
            let mixed = (state.get() ^ (state.get() >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            mixed ^ (mixed >> 27)
        }
    }

    fn share(sampling: &Sampling, route: &str) -> f64 {
        let random = numbers();
        let chosen = (0..10_000).filter(|_| sampling.context(route, None, &random).is_sampled);
        chosen.count() as f64 / 10_000.0
    }

    #[test]
    fn a_ratio_is_kept_and_a_route_may_have_its_own() {
        let sampling = Sampling {
            ratio: 0.25,
            routes: BTreeMap::from([("/v1/embeddings".to_owned(), 0.75)]),
            parent_based: true,
        };
        assert!((share(&sampling, "/v1/chat/completions") - 0.25).abs() < 0.02);
        assert!((share(&sampling, "/v1/embeddings") - 0.75).abs() < 0.02);
    }

    #[test]
    fn nought_is_none_and_one_is_all() {
        let of = |ratio| Sampling {
            ratio,
            ..Sampling::default()
        };
        assert_eq!(share(&of(0.0), "/v1/completions"), 0.0);
        assert_eq!(share(&of(1.0), "/v1/completions"), 1.0);
        assert_eq!(share(&of(1.0), "/metrics"), 0.0);
    }

    #[test]
    fn a_caller_decides_where_it_may_and_its_trace_goes_on_where_it_may_not() {
        let random = numbers();
        let caller = |is_sampled| Parent {
            trace: TraceId::new(&random),
            span: SpanId::new(&random),
            is_sampled,
            state: Some("a=b".to_owned()),
        };
        let follows = Sampling::default();
        let free = Sampling {
            parent_based: false,
            ..Sampling::default()
        };
        for is_sampled in [false, true] {
            let parent = caller(is_sampled);
            let context = follows.context("/v1/completions", Some(parent.clone()), &random);
            assert_eq!(context.is_sampled, is_sampled);
            let context = free.context("/v1/completions", Some(parent.clone()), &random);
            assert!(context.is_sampled);
            assert_eq!(
                (context.trace, context.parent, context.state),
                (parent.trace, Some(parent.span), parent.state)
            );
        }
    }
}
