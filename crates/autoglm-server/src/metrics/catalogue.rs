//! Instruments, registered under their names, and the list of them that the documentation shows.

use prometheus::core::Collector;
use prometheus::{
    CounterVec, GaugeVec, HistogramOpts, HistogramVec, IntCounterVec, Opts, Registry,
};

/// An instrument, as the documentation tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Described {
    /// Its name.
    pub(super) name: &'static str,
    /// Counter, gauge or histogram.
    pub(super) kind: &'static str,
    /// The names of its labels.
    pub(super) labels: &'static [&'static str],
    /// What it measures.
    pub(super) help: &'static str,
}

/// Makes instruments, and keeps account of them.
#[derive(Default)]
pub(super) struct Catalogue {
    pub(super) registry: Registry,
    pub(super) described: Vec<Described>,
}

/// The name of an instrument and what it measures.
pub(super) type Named = (&'static str, &'static str);

impl Catalogue {
    /// A counter of whole things.
    pub(super) fn counter(
        &mut self,
        named: Named,
        labels: &'static [&'static str],
    ) -> IntCounterVec {
        self.describe(named, "counter", labels);
        self.register(IntCounterVec::new(options(named), labels))
    }

    /// A counter of seconds.
    pub(super) fn seconds(&mut self, named: Named, labels: &'static [&'static str]) -> CounterVec {
        self.describe(named, "counter", labels);
        self.register(CounterVec::new(options(named), labels))
    }

    /// A gauge.
    pub(super) fn gauge(&mut self, named: Named, labels: &'static [&'static str]) -> GaugeVec {
        self.describe(named, "gauge", labels);
        self.register(GaugeVec::new(options(named), labels))
    }

    /// A histogram with these bounds.
    pub(super) fn histogram(
        &mut self,
        named: Named,
        labels: &'static [&'static str],
        bounds: &[f64],
    ) -> HistogramVec {
        self.describe(named, "histogram", labels);
        let options = HistogramOpts::from(options(named)).buckets(bounds.to_vec());
        self.register(HistogramVec::new(options, labels))
    }

    fn describe(&mut self, named: Named, kind: &'static str, labels: &'static [&'static str]) {
        self.described.push(Described {
            name: named.0,
            kind,
            labels,
            help: named.1,
        });
    }

    fn register<C: Collector + Clone + 'static>(&self, made: prometheus::Result<C>) -> C {
        let instrument = made.expect("names, labels and bounds are constants that a test makes");
        self.registry
            .register(Box::new(instrument.clone()))
            .expect("every name is given once");
        instrument
    }
}

fn options((name, help): Named) -> Opts {
    Opts::new(name, help)
}
