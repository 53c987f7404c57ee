//! Metrics in OTLP's JSON: the same instruments that Prometheus reads, sums since the start.

use std::time::SystemTime;

use prometheus::proto::{Histogram, Metric, MetricFamily, MetricType};
use serde_json::{Value, json};

use super::json::{Resource, text_pair};
use crate::trace::nanos;

/// Sums are told since the start, as Prometheus has them.
const CUMULATIVE: u8 = 2;

/// The body of a request with metrics, between the start and now.
pub(super) fn body(
    resource: &Resource,
    families: &[MetricFamily],
    (started, now): (SystemTime, SystemTime),
) -> Value {
    let times = Times {
        started: nanos(started).to_string(),
        now: nanos(now).to_string(),
    };
    let families = families.iter().map(|family| times.metric(family)).collect();
    resource.body(["resourceMetrics", "scopeMetrics", "metrics"], families)
}

struct Times {
    started: String,
    now: String,
}

impl Times {
    fn metric(&self, family: &MetricFamily) -> Value {
        let points = family.get_metric().iter();
        let mut told = json!({
            "name": family.name(),
            "description": family.help(),
            "unit": unit(family.name()),
        });
        match family.get_field_type() {
            MetricType::COUNTER => {
                let points: Vec<Value> = points
                    .map(|metric| self.number(metric, metric.get_counter().get_value()))
                    .collect();
                told["sum"] = json!({
                    "aggregationTemporality": CUMULATIVE,
                    "isMonotonic": true,
                    "dataPoints": points,
                });
            }
            MetricType::HISTOGRAM => {
                let points: Vec<Value> = points.map(|metric| self.histogram(metric)).collect();
                told["histogram"] = json!({
                    "aggregationTemporality": CUMULATIVE,
                    "dataPoints": points,
                });
            }
            _ => {
                let points: Vec<Value> = points
                    .map(|metric| self.number(metric, metric.get_gauge().get_value()))
                    .collect();
                told["gauge"] = json!({"dataPoints": points});
            }
        }
        told
    }

    fn number(&self, metric: &Metric, value: f64) -> Value {
        let mut point = self.point(metric);
        point["asDouble"] = json!(value);
        point
    }

    fn histogram(&self, metric: &Metric) -> Value {
        let histogram = metric.get_histogram();
        let (bounds, counts) = buckets(histogram);
        let counts: Vec<String> = counts.iter().map(ToString::to_string).collect();
        let mut point = self.point(metric);
        point["count"] = json!(histogram.get_sample_count().to_string());
        point["sum"] = json!(histogram.get_sample_sum());
        point["explicitBounds"] = json!(bounds);
        point["bucketCounts"] = json!(counts);
        point
    }

    fn point(&self, metric: &Metric) -> Value {
        let labels = metric.get_label().iter();
        let labels: Vec<Value> = labels
            .map(|label| text_pair(label.name(), label.value()))
            .collect();
        json!({
            "attributes": labels,
            "startTimeUnixNano": self.started,
            "timeUnixNano": self.now,
        })
    }
}

/// The bounds, and how many values lie between each two of them and above the last. Prometheus
/// counts those below each bound.
fn buckets(histogram: &Histogram) -> (Vec<f64>, Vec<u64>) {
    let buckets = histogram.get_bucket().iter();
    let buckets = buckets.filter(|bucket| bucket.upper_bound().is_finite());
    let (mut bounds, mut counts, mut below) = (Vec::new(), Vec::new(), 0);
    for bucket in buckets {
        bounds.push(bucket.upper_bound());
        counts.push(bucket.cumulative_count().saturating_sub(below));
        below = bucket.cumulative_count();
    }
    counts.push(histogram.get_sample_count().saturating_sub(below));
    (bounds, counts)
}

/// The unit by UCUM, which names of Prometheus end with.
fn unit(name: &str) -> &'static str {
    let stem = name.trim_end_matches("_total");
    let units = [("_seconds", "s"), ("_bytes", "By"), ("_tokens", "{token}")];
    let found = units.iter().find(|(end, _)| stem.ends_with(end));
    found.map_or("1", |(_, unit)| unit)
}
