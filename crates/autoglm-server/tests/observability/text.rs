//! A reader of Prometheus' text format, written from its description and not from the writer.
//!
//! <https://prometheus.io/docs/instrumenting/exposition_formats/>

use std::collections::BTreeMap;

/// What a scrape says.
#[derive(Debug, Default)]
pub(crate) struct Scrape {
    /// Kinds by name.
    pub(crate) kinds: BTreeMap<String, String>,
    /// Values by name and labels, as `name{a="1",b="2"}` with labels in order of their names.
    pub(crate) values: BTreeMap<String, f64>,
}

impl Scrape {
    /// Reads a text, every line of which must be one that the format knows.
    pub(crate) fn read(text: &str) -> Self {
        let mut scrape = Self::default();
        let mut helped = Vec::new();
        for line in text.lines() {
            if let Some(help) = line.strip_prefix("# HELP ") {
                helped.push(help.split_once(' ').unwrap().0.to_owned());
            } else if let Some(kind) = line.strip_prefix("# TYPE ") {
                let (name, kind) = kind.split_once(' ').unwrap();
                assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
                assert_eq!(helped.last().map(String::as_str), Some(name), "{line}");
                let before = scrape.kinds.insert(name.to_owned(), kind.to_owned());
                assert_eq!(before, None, "{name} has two kinds");
            } else {
                scrape.sample(line);
            }
        }
        scrape
    }

    fn sample(&mut self, line: &str) {
        let (series, value) = line.rsplit_once(' ').unwrap();
        let (name, labels) = match series.split_once('{') {
            Some((name, labels)) => (name, read_labels(labels.strip_suffix('}').unwrap())),
            None => (series, BTreeMap::new()),
        };
        let stems = ["_bucket", "_sum", "_count"].map(|end| name.strip_suffix(end));
        let is_known = stems
            .into_iter()
            .flatten()
            .chain([name])
            .any(|stem| self.kinds.contains_key(stem));
        assert!(is_known, "{line} has no kind");
        let value = match value {
            "+Inf" => f64::INFINITY,
            number => number.parse().unwrap(),
        };
        let labels: Vec<String> = labels.iter().map(|(k, v)| format!("{k}={v:?}")).collect();
        let key = match labels.as_slice() {
            [] => name.to_owned(),
            labels => format!("{name}{{{}}}", labels.join(",")),
        };
        let before = self.values.insert(key, value);
        assert_eq!(before, None, "{line} is there twice");
    }

    /// The value of a series, which must be there.
    pub(crate) fn value(&self, series: &str) -> f64 {
        let value = self.values.get(series);
        *value.unwrap_or_else(|| panic!("there is no {series} in {:#?}", self.values))
    }

    /// The series of a name.
    pub(crate) fn series(&self, name: &str) -> Vec<&str> {
        let series = self.values.keys().map(String::as_str);
        series
            .filter(|series| series.split('{').next() == Some(name))
            .collect()
    }

    /// Holds every histogram against its definition.
    pub(crate) fn check_histograms(&self) {
        let histograms = self.kinds.iter().filter(|(_, kind)| *kind == "histogram");
        for (name, _) in histograms {
            for series in self.series(&format!("{name}_count")) {
                let labels = series.split_once('{').map_or("", |(_, rest)| rest);
                let labels = labels.trim_end_matches('}');
                let mut buckets: Vec<(f64, f64)> = self
                    .series(&format!("{name}_bucket"))
                    .into_iter()
                    .filter(|bucket| without_bound(bucket) == labels)
                    .map(|bucket| (bound(bucket), self.value(bucket)))
                    .collect();
                buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
                let last = buckets.last().unwrap();
                assert_eq!(*last, (f64::INFINITY, self.value(series)), "{series}");
                assert!(buckets.is_sorted_by(|a, b| a.1 <= b.1), "{series}");
            }
        }
    }
}

fn read_labels(text: &str) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (name, behind) = rest.split_once("=\"").unwrap();
        let mut value = String::new();
        let mut chars = behind.char_indices();
        let end = loop {
            match chars.next().unwrap() {
                (at, '"') => break at,
                (_, '\\') => value.push(match chars.next().unwrap().1 {
                    'n' => '\n',
                    other => other,
                }),
                (_, char) => value.push(char),
            }
        };
        let before = labels.insert(name.to_owned(), value);
        assert_eq!(before, None, "{name} is there twice in {text}");
        rest = behind[end + 1..].trim_start_matches(',');
    }
    labels
}

fn parts(series: &str) -> Vec<&str> {
    let labels = series.split_once('{').map_or("", |(_, rest)| rest);
    labels.trim_end_matches('}').split(',').collect()
}

fn bound(series: &str) -> f64 {
    let bound = parts(series)
        .into_iter()
        .find_map(|part| part.strip_prefix("le="));
    match bound.unwrap().trim_matches('"') {
        "+Inf" => f64::INFINITY,
        number => number.parse().unwrap(),
    }
}

fn without_bound(series: &str) -> String {
    let parts = parts(series).into_iter();
    let parts: Vec<&str> = parts.filter(|part| !part.starts_with("le=")).collect();
    parts.join(",")
}

#[test]
fn labels_with_what_must_be_escaped_are_read() {
    let labels = read_labels(r#"a="x\"y\\z\n",b="1,2""#);
    assert_eq!(labels["a"], "x\"y\\z\n");
    assert_eq!(labels["b"], "1,2");
}
