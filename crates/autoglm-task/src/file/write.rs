//! A task to TOML that a person reads: every key explained, in the task's language.

use std::fmt::Write as _;
use std::num::{NonZeroU32, NonZeroUsize};

use autoglm_spec::{
    AdaptiveTemperature, Calibration, Example, Field, Knowledge, Label, Language, Output, Record,
    Sampling,
};
use serde_json::Value;

use super::keys::meaning;
use super::settings::{ServerPrompts, ServerScoring, ServerSettings, TaskFile, TaskSettings};
use crate::judge::agreement::{Compare, StopRule};
use crate::parse::{is_han, kind_name};

/// Lists up to this many characters stand on one line.
const LINE: usize = 88;

/// Writes a task file; [`read_task_file`](super::read_task_file) gives the same task back.
pub fn write_task_file(file: &TaskFile) -> String {
    let spec = &file.spec;
    let mut out = Out {
        text: String::new(),
        language: spec.language,
        table_begins: false,
    };
    out.line(match spec.language {
        Language::English => "# A task of AutoGLM. Every key but `instruction` may be left out.",
        Language::Chinese => "# AutoGLM 任务文件。除 instruction 外，各项都可以省略。",
    });
    out.key("instruction", &text(&spec.instruction));
    out.key("name", &basic(&spec.name));
    out.key("kind", &basic(kind_name(spec.kind)));
    let language = match spec.language {
        Language::English => "en",
        Language::Chinese => "zh",
    };
    out.key("language", &basic(language));
    if let Output::Labels { labels } = &spec.output {
        out.key("labels", &list(labels.iter().map(label)));
    }
    out.key("answer", &basic(&spec.answer_title));
    out.key(
        "constraints",
        &list(spec.constraints.iter().map(|rule| basic(rule))),
    );
    if let Some(model) = &file.settings.model {
        out.key("model", &basic(model));
    }
    if let Some(server) = &file.settings.server {
        out.server(server);
    }
    out.table("input");
    out.key("input.fields", &list(spec.fields.iter().map(field)));
    if let Some(knowledge) = &spec.knowledge {
        out.knowledge(knowledge);
    }
    out.output(&spec.output);
    out.settings(&file.settings);
    for (index, example) in spec.examples.iter().enumerate() {
        out.example(example, index == 0);
    }
    out.text
}

struct Out {
    text: String,
    language: Language,
    /// Nothing stands below the table's name yet.
    table_begins: bool,
}

impl Out {
    fn line(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
    }

    fn table(&mut self, name: &str) {
        self.line(&format!("\n[{name}]"));
        self.table_begins = true;
    }

    /// A key of the table that was begun last, under its explanation.
    fn key(&mut self, path: &str, value: &str) {
        if !self.table_begins {
            self.line("");
        }
        self.table_begins = false;
        for line in wrapped(meaning(path, self.language)) {
            self.line(&format!("# {line}"));
        }
        let name = path.rsplit('.').next().unwrap_or(path);
        self.line(&format!("{name} = {value}"));
    }

    fn knowledge(&mut self, knowledge: &Knowledge) {
        self.table("knowledge");
        let names = knowledge.collections.iter();
        self.key(
            "knowledge.collections",
            &list(names.map(|name| basic(name))),
        );
        self.key("knowledge.passages", &knowledge.passages.to_string());
        self.key("knowledge.tokens", &knowledge.tokens.to_string());
    }

    fn server(&mut self, server: &ServerSettings) {
        self.table("engine");
        self.key("engine.url", &basic(&server.url));
        let prompts = server.prompts.map(|prompts| match prompts {
            ServerPrompts::Chat => "chat",
            ServerPrompts::Plain => "plain",
        });
        let scoring = server.scoring.map(|scoring| match scoring {
            ServerScoring::Echo => "echo",
            ServerScoring::First => "first",
            ServerScoring::Votes => "votes",
        });
        let number = |value: Option<NonZeroU32>| value.map(|value| value.to_string());
        let size = |value: Option<NonZeroUsize>| value.map(|value| value.to_string());
        let rows = [
            ("engine.model", server.model.as_deref().map(basic)),
            ("engine.prompts", prompts.map(basic)),
            ("engine.scoring", scoring.map(basic)),
            ("engine.votes", size(server.votes)),
            ("engine.context_tokens", size(server.context_tokens)),
            ("engine.concurrency", size(server.concurrency)),
            (
                "engine.requests_per_minute",
                number(server.requests_per_minute),
            ),
            ("engine.tokens_per_minute", number(server.tokens_per_minute)),
            ("engine.timeout_seconds", number(server.timeout_seconds)),
        ];
        for (key, value) in rows {
            if let Some(value) = value {
                self.key(key, &value);
            }
        }
    }

    fn output(&mut self, output: &Output) {
        self.table("output");
        let (form, max_tokens) = match output {
            Output::Labels { .. } => ("labels", None),
            Output::Json { max_tokens, .. } => ("json", Some(max_tokens)),
            Output::Text { max_tokens } => ("text", Some(max_tokens)),
            Output::Code { max_tokens, .. } => ("code", Some(max_tokens)),
        };
        self.key("output.form", &basic(form));
        if let Some(max_tokens) = max_tokens {
            self.key("output.max_tokens", &max_tokens.to_string());
        }
        match output {
            Output::Json { schema, .. } => self.key("output.schema", &json_text(schema)),
            Output::Code { language, .. } => {
                self.key(
                    "output.language",
                    &basic(language.as_deref().unwrap_or_default()),
                );
            }
            Output::Labels { .. } | Output::Text { .. } => {}
        }
    }

    fn settings(&mut self, settings: &TaskSettings) {
        let usual = TaskSettings::default();
        let decoding = (&settings.sampling, &settings.decoding, &settings.stop);
        if decoding != (&usual.sampling, &usual.decoding, &usual.stop) {
            self.table("decoding");
            self.sampling(&settings.sampling);
            self.adaptive(settings.sampling.adaptive);
            if settings.decoding.lookup_tokens != usual.decoding.lookup_tokens {
                let lookup_tokens = settings.decoding.lookup_tokens.to_string();
                self.key("decoding.lookup_tokens", &lookup_tokens);
            }
            if !settings.stop.is_empty() {
                self.key(
                    "decoding.stop",
                    &list(settings.stop.iter().map(|stop| basic(stop))),
                );
            }
        }
        self.samples(settings);
        self.judge(settings);
    }

    fn samples(&mut self, settings: &TaskSettings) {
        let usual = TaskSettings::default();
        let same = (settings.plan, settings.compare) == (usual.plan, usual.compare);
        if same && settings.embedder.is_none() {
            return;
        }
        self.table("sampling");
        let (plan, usual) = (settings.plan, usual.plan);
        let stop = match plan.stop {
            StopRule::Adaptive => "adaptive",
            StopRule::Beta => "beta",
            StopRule::Fixed => "fixed",
        };
        let compare = settings.compare.map(|compare| match compare {
            Compare::Number => "number",
            Compare::Json => "json",
            Compare::Code => "code",
            Compare::Words => "words",
            Compare::Meaning => "meaning",
        });
        let unless = |usual: bool, value: String| (!usual).then_some(value);
        let rows = [
            (
                "samples",
                unless(plan.samples == usual.samples, plan.samples.to_string()),
            ),
            ("stop", unless(plan.stop == usual.stop, basic(stop))),
            ("sure", plan.sure.map(|sure| sure.to_string())),
            ("compare", compare.map(basic)),
            ("embedder", settings.embedder.as_deref().map(basic)),
            (
                "repair",
                unless(plan.repair == usual.repair, plan.repair.to_string()),
            ),
        ];
        for (name, value) in rows {
            if let Some(value) = value {
                self.key(&format!("sampling.{name}"), &value);
            }
        }
    }

    fn judge(&mut self, settings: &TaskSettings) {
        let usual = TaskSettings::default();
        let changed = settings.calibration != usual.calibration;
        if !changed && settings.min_confidence.is_none() {
            return;
        }
        self.table("judge");
        if changed {
            let name = match settings.calibration {
                // What labelled records teach is in the store, not in the file.
                Calibration::Batch | Calibration::Fitted => "batch",
                Calibration::Contextual => "contextual",
                Calibration::None => "none",
            };
            self.key("judge.calibration", &basic(name));
        }
        if let Some(least) = settings.min_confidence {
            self.key("judge.min_confidence", &least.to_string());
        }
    }

    fn sampling(&mut self, sampling: &Sampling) {
        let usual = Sampling::GREEDY;
        let seed = match i64::try_from(sampling.seed) {
            Ok(seed) => seed.to_string(),
            Err(_) => basic(&sampling.seed.to_string()),
        };
        let rows = [
            (
                "temperature",
                sampling.temperature.to_string(),
                usual.temperature.to_string(),
            ),
            ("top_k", sampling.top_k.to_string(), usual.top_k.to_string()),
            ("top_p", sampling.top_p.to_string(), usual.top_p.to_string()),
            ("min_p", sampling.min_p.to_string(), usual.min_p.to_string()),
            (
                "repetition_penalty",
                sampling.repetition_penalty.to_string(),
                usual.repetition_penalty.to_string(),
            ),
            (
                "repetition_window",
                sampling.repetition_window.to_string(),
                usual.repetition_window.to_string(),
            ),
            ("seed", seed, usual.seed.to_string()),
        ];
        for (name, value, usual) in rows {
            if value != usual {
                self.key(&format!("decoding.{name}"), &value);
            }
        }
    }

    fn adaptive(&mut self, adaptive: Option<AdaptiveTemperature>) {
        let Some(adaptive) = adaptive else {
            return;
        };
        let rows = [
            ("temperature_floor", adaptive.floor.to_string()),
            ("low_entropy", adaptive.low_entropy.to_string()),
            ("high_entropy", adaptive.high_entropy.to_string()),
            ("entropy_window", adaptive.window.to_string()),
        ];
        for (name, value) in rows {
            self.key(&format!("decoding.{name}"), &value);
        }
    }

    fn example(&mut self, example: &Example, explained: bool) {
        self.line("");
        if explained {
            self.line(match self.language {
                Language::English => {
                    "# Records with the answers that are wanted, as many as you like."
                }
                Language::Chinese => "# 示例：记录和期望的答案，数量不限。",
            });
        }
        self.line("[[examples]]");
        match inline_fields(&example.input) {
            Some(fields) if !fields.is_empty() => {
                for (name, value) in fields {
                    self.line(&format!("input.{} = {value}", key_name(&name)));
                }
            }
            _ => {
                let json = Value::Object(example.input.clone());
                self.line(&format!("input_json = {}", basic(&json.to_string())));
            }
        }
        self.line(&format!("output = {}", text(&example.output)));
    }
}

fn label(label: &Label) -> String {
    if label.word == label.name {
        return basic(&label.name);
    }
    format!(
        "{{ name = {}, word = {} }}",
        basic(&label.name),
        basic(&label.word)
    )
}

fn field(field: &Field) -> String {
    format!(
        "{{ name = {}, title = {} }}",
        basic(&field.name),
        basic(&field.title)
    )
}

fn list(items: impl Iterator<Item = String>) -> String {
    let items: Vec<String> = items.collect();
    let line = format!("[{}]", items.join(", "));
    if line.chars().count() <= LINE {
        return line;
    }
    format!("[\n  {},\n]", items.join(",\n  "))
}

/// A comment in lines of at most [`LINE`] columns, broken behind spaces and Chinese punctuation.
fn wrapped(comment: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    for piece in comment.split_inclusive([' ', '、', '，', '；']) {
        let line = lines.last_mut().expect("there is a first line");
        if !line.is_empty() && columns(line) + columns(piece.trim_end()) > LINE {
            lines.push(piece.to_owned());
        } else {
            line.push_str(piece);
        }
    }
    lines
        .iter()
        .map(|line| line.trim_end().to_owned())
        .collect()
}

/// The columns that a text takes on a terminal.
fn columns(text: &str) -> usize {
    text.chars()
        .map(|c| {
            if is_han(c) || "，、；：。（）".contains(c) {
                2
            } else {
                1
            }
        })
        .sum()
}

/// A text in quotes; one of several lines between triple quotes.
fn text(text: &str) -> String {
    if !text.contains('\n') {
        return basic(text);
    }
    let lines: Vec<String> = text.split('\n').map(escaped).collect();
    format!("\"\"\"\n{}\"\"\"", lines.join("\n"))
}

fn basic(text: &str) -> String {
    format!("\"{}\"", escaped(text))
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            c if c.is_control() => {
                let _ = write!(out, "\\u{:04X}", c as u32);
            }
            c => out.push(c),
        }
    }
    out
}

/// JSON between triple quotes that need no escapes, where it can stand there.
fn json_text(value: &Value) -> String {
    let pretty = pretty(value, 0);
    let plain = |c: char| !c.is_control() || c == '\n';
    if pretty.contains("'''") || !pretty.chars().all(plain) {
        return basic(&value.to_string());
    }
    format!("'''\n{pretty}\n'''")
}

/// JSON with short values on one line.
fn pretty(value: &Value, depth: usize) -> String {
    let line = value.to_string();
    let indent = "  ".repeat(depth + 1);
    let end = "  ".repeat(depth);
    if line.chars().count() <= LINE / 2 {
        return line;
    }
    match value {
        Value::Array(items) if !items.is_empty() => {
            let items = items
                .iter()
                .map(|item| format!("{indent}{}", pretty(item, depth + 1)));
            format!("[\n{}\n{end}]", items.collect::<Vec<_>>().join(",\n"))
        }
        Value::Object(fields) if !fields.is_empty() => {
            let pair = |(name, value): (&String, &Value)| {
                let name = Value::from(name.as_str());
                format!("{indent}{name}: {}", pretty(value, depth + 1))
            };
            let pairs: Vec<String> = fields.iter().map(pair).collect();
            format!("{{\n{}\n{end}}}", pairs.join(",\n"))
        }
        _ => line,
    }
}

fn key_name(name: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    if !name.is_empty() && name.chars().all(bare) {
        name.to_owned()
    } else {
        basic(name)
    }
}

/// A record's fields as TOML values, or `None` where TOML cannot hold one of them.
fn inline_fields(record: &Record) -> Option<Vec<(String, String)>> {
    record
        .iter()
        .map(|(name, value)| Some((name.clone(), inline(value)?)))
        .collect()
}

fn inline(value: &Value) -> Option<String> {
    Some(match value {
        Value::Null => return None,
        Value::Bool(truth) => truth.to_string(),
        Value::Number(number) => match number.as_i64() {
            Some(integer) => integer.to_string(),
            None if number.is_f64() => format!("{:?}", number.as_f64()?),
            None => return None,
        },
        Value::String(string) => basic(string),
        Value::Array(items) => {
            let items: Option<Vec<String>> = items.iter().map(inline).collect();
            format!("[{}]", items?.join(", "))
        }
        Value::Object(fields) => {
            let pair = |(name, value): (&String, &Value)| {
                Some(format!("{} = {}", key_name(name), inline(value)?))
            };
            let pairs: Option<Vec<String>> = fields.iter().map(pair).collect();
            format!("{{ {} }}", pairs?.join(", "))
        }
    })
}
