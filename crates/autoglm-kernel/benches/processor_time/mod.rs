//! Processor time instead of wall time, for figures from a busy machine.

use criterion::measurement::{Measurement, ValueFormatter, WallTime};

/// The time that the calling thread has run, in nanoseconds.
pub(crate) struct ProcessorTime;

impl ProcessorTime {
    pub(crate) fn now() -> f64 {
        let path = "/proc/thread-self/schedstat";
        let text = std::fs::read_to_string(path).expect("Linux tells a thread its run time");
        let run_time = text.split(' ').next().and_then(|ns| ns.parse().ok());
        run_time.expect("the first number is the run time")
    }
}

impl Measurement for ProcessorTime {
    type Intermediate = f64;
    type Value = f64;

    fn start(&self) -> f64 {
        Self::now()
    }

    fn end(&self, start: f64) -> f64 {
        Self::now() - start
    }

    fn add(&self, a: &f64, b: &f64) -> f64 {
        a + b
    }

    fn zero(&self) -> f64 {
        0.0
    }

    fn to_f64(&self, value: &f64) -> f64 {
        *value
    }

    fn formatter(&self) -> &dyn ValueFormatter {
        WallTime.formatter()
    }
}
