//! Tests of names, and of what is read from elsewhere.

use super::*;
use std::time::UNIX_EPOCH;

use autoglm_spec::{Cancel, Embed, Embedding, EmbeddingSpace, EngineError, Similarity};

use crate::admission::AdmissionLimits;
use crate::backend::Skill;
use crate::models::Loaded;

/// A model that is never asked.
struct Silent(EmbeddingSpace);

impl Embed for Silent {
    fn space(&self) -> &EmbeddingSpace {
        &self.0
    }

    fn embed(&self, _texts: &[&str], _cancel: &Cancel) -> Vec<Result<Embedding, EngineError>> {
        Vec::new()
    }
}

fn version(name: &str) -> Version {
    let space = EmbeddingSpace {
        name: name.to_owned(),
        dimensions: 1,
        max_tokens: 1,
        similarity: Similarity::Cosine,
    };
    let loaded = Loaded {
        identity: name.to_owned(),
        content: name.to_owned(),
        skill: Skill::Embed(Arc::new(Silent(space))),
    };
    Version::first(name, name, loaded, UNIX_EPOCH)
}

fn metrics(models: &[&str]) -> Metrics {
    let models = models.iter().map(|&name| version(name)).collect();
    let admission = Admission::new(AdmissionLimits {
        running: 3,
        waiting: 5,
    });
    Metrics::new(Arc::new(Models::new(models)), admission)
}

/// The table of the documentation, as the code has it.
fn table() -> String {
    let metrics = metrics(&[]);
    let row = |described: &catalogue::Described| {
        let labels: Vec<String> = described.labels.iter().map(|l| format!("`{l}`")).collect();
        format!(
            "| `{}` | {} | {} | {} |\n",
            described.name,
            described.kind,
            labels.join(", "),
            described.help,
        )
    };
    let rows: String = metrics.described.iter().map(row).collect();
    format!("| name | kind | labels | what it measures |\n|---|---|---|---|\n{rows}")
}

/// `AUTOGLM_BLESS=1 cargo test -p autoglm-server table` writes the table anew.
#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "a test is told by it to write the page"
)]
fn the_documentation_s_table_is_that_of_the_code() {
    const BEGIN: &str = "<!-- metrics:begin -->\n";
    const END: &str = "<!-- metrics:end -->";
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../docs/serving/observability.md"
    );
    let page = std::fs::read_to_string(path).unwrap();
    let (before, rest) = page.split_once(BEGIN).unwrap();
    let (told, after) = rest.split_once(END).unwrap();
    if std::env::var("AUTOGLM_BLESS").is_ok() {
        std::fs::write(path, format!("{before}{BEGIN}{}{END}{after}", table())).unwrap();
        return;
    }
    assert_eq!(
        told,
        table(),
        "the page is out of date: AUTOGLM_BLESS=1 writes it anew"
    );
}

/// A name that is misspelt in a rule or a panel is never missed by whoever reads it.
#[test]
fn rules_and_the_dashboard_name_only_what_there_is() {
    let metrics = metrics(&[]);
    let is_there = |name: &str| {
        let ends = ["_bucket", "_sum", "_count"].into_iter();
        let stems = ends.filter_map(|end| name.strip_suffix(end)).chain([name]);
        let mut names =
            stems.flat_map(|stem| metrics.described.iter().filter(move |it| it.name == stem));
        names.next().is_some()
    };
    for file in [
        "prometheus/alerts.yml",
        "prometheus/alerts_test.yml",
        "grafana/autoglm.json",
    ] {
        let path = format!("{}/../../ops/{file}", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(path).unwrap();
        let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':'));
        let names = words.filter(|word| word.starts_with("vllm:") || word.starts_with("autoglm_"));
        let names: Vec<&str> = names.collect();
        assert!(names.len() >= 10, "{file}");
        for name in names {
            assert!(is_there(name), "{file} names {name}");
        }
    }
}

#[test]
fn counters_end_with_total_and_times_with_seconds() {
    for described in &metrics(&[]).described {
        let name = described.name;
        let is_counter = described.kind == "counter";
        assert_eq!(name.ends_with("_total"), is_counter, "{name}");
        let (namespace, _) = name.split_once([':', '_']).unwrap();
        assert!(["vllm", "autoglm"].contains(&namespace), "{name}");
    }
}

#[test]
fn what_a_model_counts_is_there_before_its_first_request() {
    let text = metrics(&["tiny"]).text();
    for line in [
        r#"vllm:request_success_total{engine="0",finished_reason="abort",model_name="tiny"} 0"#,
        r#"vllm:generation_tokens_total{engine="0",model_name="tiny"} 0"#,
        r#"vllm:time_to_first_token_seconds_count{engine="0",model_name="tiny"} 0"#,
        r#"autoglm_admission_limit{state="running"} 3"#,
        r#"autoglm_admission_limit{state="waiting"} 5"#,
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
}

#[test]
fn caches_count_hits_misses_and_what_hits_saved() {
    let metrics = metrics(&[]);
    metrics.cache_hit(AnswerCache::Exact, Duration::from_millis(1_500));
    metrics.cache_hit(AnswerCache::Exact, Duration::from_millis(250));
    metrics.cache_miss(AnswerCache::Semantic);
    let text = metrics.text();
    for line in [
        r#"autoglm_response_cache_hits_total{cache="exact"} 2"#,
        r#"autoglm_response_cache_saved_seconds_total{cache="exact"} 1.75"#,
        r#"autoglm_response_cache_misses_total{cache="semantic"} 1"#,
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
}
