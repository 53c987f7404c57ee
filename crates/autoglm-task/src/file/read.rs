//! TOML to a task.

use std::num::{NonZeroU32, NonZeroUsize};
use std::str::FromStr;

use autoglm_spec::{
    AdaptiveTemperature, Calibration, Example, Field, Label, Language, Output, Record, Sampling,
    TaskKind, TaskSpec,
};
use serde_json::{Value, json};
use toml::de::DeTable;

use super::entry::{Entry, Section};
use super::error::FileError;
use super::keys::closest;
use super::knowledge::knowledge;
use super::settings::{ServerPrompts, ServerScoring, ServerSettings, TaskFile, TaskSettings};
use crate::judge::agreement::{Compare, MOST_SAMPLES, StopRule};
use crate::parse::{KINDS, Known, NO_LABELS, field_title, kind_name, parse_known};
use crate::remark::{Remark, line_of};

/// The most tokens that an answer may be allowed.
const MOST_TOKENS: u64 = 1_000_000;

/// More than are ever right in a row would only be computed for nothing.
const MOST_LOOKUP_TOKENS: u64 = 64;

/// Above the logarithm of the largest vocabulary, 2²⁴: no entropy is higher.
const MOST_ENTROPY: f32 = 17.0;

/// Reads a task file. What it leaves out is read from the instruction's words.
///
/// # Errors
/// When the text is no TOML, the instruction is missing, or a key holds something else than it
/// must. The error names the line.
pub fn read_task_file(text: &str) -> Result<(TaskFile, Vec<Remark>), FileError> {
    let root = DeTable::parse(text).map_err(|error| FileError::Syntax {
        line: line_of(text, error.span().map_or(0, |span| span.start)),
        reason: error.message().trim().to_owned(),
    })?;
    let section = Section::root(text, root.get_ref());
    let mut reader = Reader {
        remarks: section.unknown_keys(""),
    };
    let spec = reader.spec(&section)?;
    let settings = reader.settings(&section)?;
    reader.remarks.sort_by_key(|remark| remark.span.start);
    Ok((TaskFile { spec, settings }, reader.remarks))
}

struct Reader {
    remarks: Vec<Remark>,
}

/// The form of an answer in a task file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Labels,
    Json,
    Text,
    Code,
}

const FORMS: [(&str, Form); 4] = [
    ("labels", Form::Labels),
    ("json", Form::Json),
    ("text", Form::Text),
    ("code", Form::Code),
];
const LANGUAGES: [(&str, Language); 2] = [("en", Language::English), ("zh", Language::Chinese)];
const SERVER_PROMPTS: [(&str, ServerPrompts); 2] = [
    ("chat", ServerPrompts::Chat),
    ("plain", ServerPrompts::Plain),
];
const SERVER_SCORINGS: [(&str, ServerScoring); 3] = [
    ("echo", ServerScoring::Echo),
    ("first", ServerScoring::First),
    ("votes", ServerScoring::Votes),
];
const CALIBRATIONS: [(&str, Calibration); 3] = [
    ("batch", Calibration::Batch),
    ("contextual", Calibration::Contextual),
    ("none", Calibration::None),
];
const STOP_RULES: [(&str, StopRule); 3] = [
    ("adaptive", StopRule::Adaptive),
    ("beta", StopRule::Beta),
    ("fixed", StopRule::Fixed),
];
const COMPARISONS: [(&str, Compare); 5] = [
    ("number", Compare::Number),
    ("json", Compare::Json),
    ("code", Compare::Code),
    ("words", Compare::Words),
    ("meaning", Compare::Meaning),
];

impl Reader {
    fn spec(&mut self, root: &Section<'_>) -> Result<TaskSpec, FileError> {
        let (instruction, span) = instruction(root)?;
        let labels = root
            .get("labels")
            .map(|entry| self.labels(&entry))
            .transpose()?;
        let kinds = KINDS.map(|kind| (kind_name(kind), kind));
        let kind = root
            .get("kind")
            .map(|entry| one_of(&entry, &kinds))
            .transpose()?;
        let implied = labels.as_ref().map(|_| TaskKind::Classification);
        let language = root
            .get("language")
            .map(|entry| one_of(&entry, &LANGUAGES))
            .transpose()?;
        let known = Known {
            kind: kind.or(implied),
            language,
        };
        let (mut spec, remarks) = parse_known(&instruction, known);
        spec.instruction = instruction;
        if known.kind.is_none() && root.get("output").is_none() {
            let moved = remarks.into_iter().map(|remark| Remark {
                span: span.clone(),
                ..remark
            });
            self.remarks.extend(moved);
        }
        if let Some(entry) = root.get("name") {
            entry.string("a text")?.clone_into(&mut spec.name);
        }
        if let Some(entry) = root.get("answer") {
            entry.string("a text")?.clone_into(&mut spec.answer_title);
        }
        if let Some(entry) = root.get("constraints") {
            spec.constraints = texts(&entry)?;
        }
        self.fields(root, &mut spec)?;
        spec.knowledge = knowledge(root, &spec, &mut self.remarks)?;
        self.output(root, labels, &mut spec)?;
        self.examples(root, &mut spec)?;
        Ok(spec)
    }

    fn labels(&mut self, entry: &Entry<'_>) -> Result<Vec<Label>, FileError> {
        let wanted = "a list of at least two labels";
        let items = entry.list(wanted)?;
        let mut labels: Vec<Label> = Vec::new();
        for item in &items {
            let label = self.label(item)?;
            if labels.iter().any(|other| other.name == label.name) {
                return Err(item.got(format!("`{}` twice", label.name), "labels that differ"));
            }
            if labels.iter().any(|other| other.word == label.word) {
                return Err(item.got(
                    format!("the word `{}` twice", label.word),
                    "words that differ",
                ));
            }
            labels.push(label);
        }
        match labels.as_slice() {
            [] => Err(entry.not(wanted)),
            [only] => Err(entry.got(format!("the one label `{}`", only.name), wanted)),
            _ => Ok(labels),
        }
    }

    fn label(&mut self, item: &Entry<'_>) -> Result<Label, FileError> {
        let wanted = "a label: a text that is not empty, or { name = \"…\", word = \"…\" }";
        let (name, word) = self.pair(item, ["name", "word"], wanted)?;
        Ok(Label {
            word: word.unwrap_or_else(|| name.clone()),
            name,
        })
    }

    /// A text, or a table of a text and perhaps a second; neither is empty.
    fn pair(
        &mut self,
        item: &Entry<'_>,
        keys: [&'static str; 2],
        wanted: &str,
    ) -> Result<(String, Option<String>), FileError> {
        let filled = |entry: &Entry<'_>| {
            let text = entry.scalar(wanted)?;
            if text.trim().is_empty() {
                Err(entry.not(wanted))
            } else {
                Ok(text)
            }
        };
        if !item.is_table() {
            return Ok((filled(item)?, None));
        }
        let table = item.section(wanted)?;
        self.remarks.extend(table.keys_but(&keys));
        let first = table
            .get(keys[0])
            .ok_or_else(|| table.missing(keys[0], wanted))?;
        let second = table.get(keys[1]).map(|entry| filled(&entry)).transpose()?;
        Ok((filled(&first)?, second))
    }

    fn fields(&mut self, root: &Section<'_>, spec: &mut TaskSpec) -> Result<(), FileError> {
        let Some(input) = root.get("input") else {
            return Ok(());
        };
        let input = input.section("a table with `fields`")?;
        self.remarks.extend(input.unknown_keys("input"));
        let Some(entry) = input.get("fields") else {
            return Ok(());
        };
        let wanted = "a list of at least one field: a name, or { name = \"…\", title = \"…\" }";
        let items = entry.list(wanted)?;
        let mut fields: Vec<Field> = Vec::new();
        for item in &items {
            let (name, title) = self.pair(item, ["name", "title"], wanted)?;
            if fields.iter().any(|other| other.name == name) {
                return Err(item.got(format!("`{name}` twice"), "fields that differ"));
            }
            let title = title.unwrap_or_else(|| usual_title(spec, &name, items.len()));
            fields.push(Field { name, title });
        }
        if fields.is_empty() {
            return Err(entry.not(wanted));
        }
        spec.fields = fields;
        Ok(())
    }

    fn output(
        &mut self,
        root: &Section<'_>,
        labels: Option<Vec<Label>>,
        spec: &mut TaskSpec,
    ) -> Result<(), FileError> {
        let entry = root.get("output");
        let table = entry
            .as_ref()
            .map(|entry| entry.section("a table"))
            .transpose()?;
        self.remarks
            .extend(table.iter().flat_map(|table| table.unknown_keys("output")));
        let get = |name: &str| table.as_ref().and_then(|table| table.get(name));
        let schema = get("schema")
            .map(|entry| self::schema(&entry))
            .transpose()?;
        let form = match get("form") {
            Some(entry) => Some((one_of(&entry, &FORMS)?, entry)),
            None => None,
        };
        let keys = [
            (labels.is_some(), Form::Labels),
            (schema.is_some(), Form::Json),
            (get("language").is_some(), Form::Code),
        ];
        let given = keys.iter().find(|(given, _)| *given).map(|(_, form)| *form);
        let implied = given.unwrap_or_else(|| form_of(&spec.output));
        let max_tokens = match get("max_tokens") {
            Some(entry) => entry.whole(1..=MOST_TOKENS)? as usize,
            None => spec.output.max_tokens().max(16),
        };
        let given = |key: &str| root.get(key).or_else(|| get(key));
        refuse_contradiction(form.as_ref().map(|(form, _)| *form), implied, &given)?;
        spec.output = match form.as_ref().map_or(implied, |(form, _)| *form) {
            Form::Labels => match (labels, &spec.output) {
                (Some(labels), _) => Output::Labels { labels },
                (None, Output::Labels { labels }) => Output::Labels {
                    labels: labels.clone(),
                },
                (None, _) => return Err(root.missing("labels", "the labels of the form `labels`")),
            },
            Form::Json => Output::Json {
                schema: schema
                    .or_else(|| inferred_schema(spec))
                    .unwrap_or(json!({"type": "object"})),
                max_tokens,
            },
            Form::Text => Output::Text { max_tokens },
            Form::Code => Output::Code {
                language: code_language(get("language"), spec)?,
                max_tokens,
            },
        };
        self.remark_on_missing_labels(root, form.is_some(), spec);
        Ok(())
    }

    fn remark_on_missing_labels(&mut self, root: &Section<'_>, explicit: bool, spec: &TaskSpec) {
        let open =
            spec.kind == TaskKind::Classification && matches!(spec.output, Output::Text { .. });
        let said = self
            .remarks
            .iter()
            .any(|remark| remark.message == NO_LABELS);
        if open && !explicit && !said {
            let span = root.get("kind").map_or(0..0, |entry| entry.span());
            self.remarks
                .push(Remark::warning(span, NO_LABELS).suggest("add `labels = [\"…\", \"…\"]`"));
        }
    }

    fn examples(&mut self, root: &Section<'_>, spec: &mut TaskSpec) -> Result<(), FileError> {
        spec.examples.clear();
        let Some(entry) = root.get("examples") else {
            return Ok(());
        };
        for item in entry.list("tables with `input` and `output`")? {
            let table = item.section("a table with `input` and `output`")?;
            self.remarks.extend(table.unknown_keys("examples"));
            let input = self.example_input(&table, spec)?;
            let output = table.get("output");
            let output =
                output.ok_or_else(|| table.missing("output", "the answer that is wanted"))?;
            let output = example_output(&output, spec)?;
            spec.examples.push(Example { input, output });
        }
        Ok(())
    }

    fn example_input(&mut self, table: &Section<'_>, spec: &TaskSpec) -> Result<Record, FileError> {
        if let Some(entry) = table.get("input_json") {
            let wanted = "a JSON object as text";
            let text = entry.string(wanted)?;
            let record: Record = serde_json::from_str(text).map_err(|_| entry.not(wanted))?;
            has_fields(&entry, &record, spec)?;
            return Ok(record);
        }
        let wanted = "a table of the record's fields";
        let entry = table
            .get("input")
            .ok_or_else(|| table.missing("input", wanted))?;
        if let ([field], true) = (spec.fields.as_slice(), entry.is_string()) {
            let text = entry.string(wanted)?.to_owned();
            return Ok([(field.name.clone(), Value::String(text))]
                .into_iter()
                .collect());
        }
        let input = entry.section(wanted)?;
        let record = input
            .json()
            .ok_or_else(|| entry.not("values that JSON can hold"))?;
        has_fields(&entry, &record, spec)?;
        for (name, span) in input.keys() {
            if !spec.fields.iter().any(|field| field.name == name) {
                let names = spec.fields.iter().map(|field| field.name.as_str());
                let names = names.collect::<Vec<_>>().join(", ");
                let message = format!("the task has no field `{name}`, it has no effect");
                let remark = Remark::warning(span, message);
                self.remarks
                    .push(remark.suggest(format!("the fields are {names}")));
            }
        }
        Ok(record)
    }

    fn settings(&mut self, root: &Section<'_>) -> Result<TaskSettings, FileError> {
        let mut settings = TaskSettings {
            model: root.get("model").map(|e| model_name(&e)).transpose()?,
            server: self.server(root)?,
            ..TaskSettings::default()
        };
        if let Some(entry) = root.get("decoding") {
            let table = entry.section("a table")?;
            self.remarks.extend(table.unknown_keys("decoding"));
            settings.sampling = sampling(&table)?;
            if let Some(entry) = table.get("lookup_tokens") {
                settings.decoding.lookup_tokens = entry.whole(0..=MOST_LOOKUP_TOKENS)? as usize;
            }
            if let Some(stop) = table.get("stop") {
                settings.stop = texts(&stop)?;
            }
        }
        self.samples(root, &mut settings)?;
        if let Some(entry) = root.get("judge") {
            let table = entry.section("a table")?;
            self.remarks.extend(table.unknown_keys("judge"));
            let least = table.get("min_confidence");
            settings.min_confidence = least.map(|entry| entry.number(0.0..=1.0)).transpose()?;
            if let Some(entry) = table.get("calibration") {
                settings.calibration = one_of(&entry, &CALIBRATIONS)?;
            }
        }
        Ok(settings)
    }
}

impl Reader {
    /// How open answers are sampled and compared.
    fn samples(
        &mut self,
        root: &Section<'_>,
        settings: &mut TaskSettings,
    ) -> Result<(), FileError> {
        let Some(entry) = root.get("sampling") else {
            return Ok(());
        };
        let table = entry.section("a table")?;
        self.remarks.extend(table.unknown_keys("sampling"));
        let plan = &mut settings.plan;
        if let Some(entry) = table.get("samples") {
            plan.samples = entry.whole(1..=MOST_SAMPLES as u64)? as usize;
        }
        if let Some(entry) = table.get("stop") {
            plan.stop = one_of(&entry, &STOP_RULES)?;
        }
        if let Some(entry) = table.get("sure") {
            plan.sure = Some(entry.number(0.0..=1.0)?);
        }
        if let Some(entry) = table.get("repair") {
            plan.repair = entry.truth()?;
        }
        let embedder = table.get("embedder");
        settings.embedder = embedder.map(|entry| model_name(&entry)).transpose()?;
        let compare = table.get("compare");
        settings.compare = compare.map(|e| one_of(&e, &COMPARISONS)).transpose()?;
        Ok(())
    }

    /// The server that runs the task.
    fn server(&mut self, root: &Section<'_>) -> Result<Option<ServerSettings>, FileError> {
        let Some(entry) = root.get("engine") else {
            return Ok(None);
        };
        let table = entry.section("a table with `url`")?;
        refuse_key(&table)?;
        self.remarks.extend(table.unknown_keys("engine"));
        let wanted = "the server's address, such as \"http://127.0.0.1:8000/v1\"";
        let url = table
            .get("url")
            .ok_or_else(|| table.missing("url", wanted))?;
        let model = table.get("model");
        let model = model
            .map(|entry| entry.string("a model's name"))
            .transpose()?;
        let prompts = table
            .get("prompts")
            .map(|e| one_of(&e, &SERVER_PROMPTS))
            .transpose()?;
        let scoring = table
            .get("scoring")
            .map(|e| one_of(&e, &SERVER_SCORINGS))
            .transpose()?;
        let count = |name| -> Result<Option<NonZeroU32>, FileError> {
            let number = table
                .get(name)
                .map(|entry| entry.whole(1..=u64::from(u32::MAX)));
            Ok(number
                .transpose()?
                .and_then(|number| NonZeroU32::new(number as u32)))
        };
        let size = |name| Ok(count(name)?.and_then(|n| NonZeroUsize::try_from(n).ok()));
        Ok(Some(ServerSettings {
            url: server_url(&url, wanted)?,
            model: model.map(str::to_owned),
            prompts,
            scoring,
            votes: size("votes")?,
            context_tokens: size("context_tokens")?,
            concurrency: size("concurrency")?,
            requests_per_minute: count("requests_per_minute")?,
            tokens_per_minute: count("tokens_per_minute")?,
            timeout_seconds: count("timeout_seconds")?,
        }))
    }
}

fn model_name(entry: &Entry<'_>) -> Result<String, FileError> {
    let wanted = "a model's name or path";
    let name = entry.string(wanted)?;
    if name.trim().is_empty() {
        return Err(entry.not(wanted));
    }
    Ok(name.to_owned())
}

/// An address without a password in it; the error does not repeat it.
fn server_url(entry: &Entry<'_>, wanted: &str) -> Result<String, FileError> {
    let url = entry.string(wanted)?;
    if url.contains('@') {
        return Err(entry.got("an address with a user or password", wanted));
    }
    if !url.starts_with("http://") && !url.starts_with("https://") {
        return Err(entry.not(wanted));
    }
    Ok(url.to_owned())
}

/// A key in a file that is shared would be everybody's; the error does not repeat it.
fn refuse_key(table: &Section<'_>) -> Result<(), FileError> {
    for name in ["key", "api_key", "token", "api_token", "authorization"] {
        if let Some(entry) = table.get(name) {
            let wanted = "no key in a task file: --api-key-file names a file with it, or \
                          AUTOGLM_API_KEY holds it";
            return Err(entry.got("a key", wanted));
        }
    }
    Ok(())
}

fn instruction(root: &Section<'_>) -> Result<(String, std::ops::Range<usize>), FileError> {
    let wanted = "the task in words";
    let entry = root
        .get("instruction")
        .ok_or_else(|| root.missing("instruction", wanted))?;
    let instruction = entry.string(wanted)?.trim();
    if instruction.is_empty() {
        return Err(entry.not(wanted));
    }
    Ok((instruction.to_owned(), entry.span()))
}

/// One of a few words.
fn one_of<T: Copy>(entry: &Entry<'_>, choices: &[(&str, T)]) -> Result<T, FileError> {
    let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
    let wanted = format!("one of {}", names.join(", "));
    let text = entry.string(&wanted)?;
    let hit = choices
        .iter()
        .find(|(name, _)| *name == text)
        .map(|(_, value)| *value);
    hit.ok_or_else(
        || match closest(&text.to_lowercase(), names.iter().copied()) {
            Some(close) => entry.not(format!("{wanted} (did you mean `{close}`?)")),
            None => entry.not(wanted),
        },
    )
}

/// A list of texts that are not empty, or one such text.
pub(super) fn texts(entry: &Entry<'_>) -> Result<Vec<String>, FileError> {
    let wanted = "a list of texts that are not empty";
    let filled = |entry: &Entry<'_>| match entry.string(wanted)? {
        "" => Err(entry.not(wanted)),
        text => Ok(text.to_owned()),
    };
    if entry.is_string() {
        return Ok(vec![filled(entry)?]);
    }
    entry.list(wanted)?.iter().map(filled).collect()
}

/// The title of a field that the file does not give: what the words call it.
fn usual_title(spec: &TaskSpec, name: &str, count: usize) -> String {
    let chinese = spec.language == Language::Chinese;
    let named = spec.fields.iter().find(|field| field.name == name);
    match (named, spec.fields.as_slice()) {
        (Some(field), _) => field.title.clone(),
        (None, [only]) if count == 1 => only.title.clone(),
        (None, _) => field_title(name, chinese),
    }
}

fn form_of(output: &Output) -> Form {
    match output {
        Output::Labels { .. } => Form::Labels,
        Output::Json { .. } => Form::Json,
        Output::Text { .. } => Form::Text,
        Output::Code { .. } => Form::Code,
    }
}

/// Keys that fit one form only and stand beside another.
fn refuse_contradiction<'a>(
    form: Option<Form>,
    implied: Form,
    get: &impl Fn(&str) -> Option<Entry<'a>>,
) -> Result<(), FileError> {
    let form = form.unwrap_or(implied);
    for (key, own) in [("labels", Form::Labels), ("schema", Form::Json)] {
        if let Some(entry) = get(key).filter(|_| form != own) {
            let name = FORMS
                .iter()
                .find(|(_, other)| *other == form)
                .map_or("", |(name, _)| name);
            let found = format!("`{key}` beside an answer of the form `{name}`");
            return Err(entry.got(found, "one of the two"));
        }
    }
    Ok(())
}

fn schema(entry: &Entry<'_>) -> Result<Value, FileError> {
    let wanted = "a JSON Schema: a table, or a JSON object as text";
    let value = if entry.is_string() {
        serde_json::from_str(entry.string(wanted)?).ok()
    } else {
        entry.json()
    };
    value
        .filter(|value| value.is_object() || value.is_boolean())
        .ok_or_else(|| entry.not(wanted))
}

fn inferred_schema(spec: &TaskSpec) -> Option<Value> {
    match &spec.output {
        Output::Json { schema, .. } => Some(schema.clone()),
        Output::Labels { .. } | Output::Text { .. } | Output::Code { .. } => None,
    }
}

fn code_language(entry: Option<Entry<'_>>, spec: &TaskSpec) -> Result<Option<String>, FileError> {
    let wanted = "a programming language, or \"\" for none";
    match (entry, &spec.output) {
        (Some(entry), _) => {
            let name = entry.string(wanted)?;
            Ok((!name.is_empty()).then(|| name.to_owned()))
        }
        (None, Output::Code { language, .. }) => Ok(language.clone()),
        (None, _) => Ok(None),
    }
}

fn has_fields(entry: &Entry<'_>, record: &Record, spec: &TaskSpec) -> Result<(), FileError> {
    match spec
        .fields
        .iter()
        .find(|field| !record.contains_key(&field.name))
    {
        Some(field) => {
            let present: Vec<&str> = record.keys().map(String::as_str).collect();
            let found = match present.as_slice() {
                [] => "no field".to_owned(),
                names => format!("the field(s) {}", names.join(", ")),
            };
            Err(entry.got(found, format!("the field `{}` too", field.name)))
        }
        None => Ok(()),
    }
}

/// An example's answer: a text; numbers, tables and lists are taken as their JSON text.
fn example_output(entry: &Entry<'_>, spec: &TaskSpec) -> Result<String, FileError> {
    let wanted = "the answer that is wanted";
    let value = entry.json().ok_or_else(|| entry.not(wanted))?;
    let text = match value {
        Value::String(text) => text,
        other => other.to_string(),
    };
    match &spec.output {
        Output::Labels { labels } if !labels.iter().any(|label| label.name == text) => {
            let names: Vec<&str> = labels.iter().map(|label| label.name.as_str()).collect();
            Err(entry.not(format!("one of the labels {}", names.join(", "))))
        }
        Output::Json { .. } if serde_json::Value::from_str(&text).is_err() => {
            Err(entry.not("JSON text, or a table"))
        }
        _ => Ok(text),
    }
}

fn sampling(table: &Section<'_>) -> Result<Sampling, FileError> {
    let mut sampling = Sampling::GREEDY;
    let number = |name, range, value: &mut f32| {
        let given = table.get(name).map(|entry| entry.number(range)).transpose();
        given.map(|given| *value = given.unwrap_or(*value))
    };
    number("temperature", 0.0..=10.0, &mut sampling.temperature)?;
    number("top_p", 0.0..=1.0, &mut sampling.top_p)?;
    number("min_p", 0.0..=1.0, &mut sampling.min_p)?;
    number(
        "repetition_penalty",
        0.1..=10.0,
        &mut sampling.repetition_penalty,
    )?;
    sampling.adaptive = adaptive(table)?;
    if let Some(entry) = table.get("top_k") {
        sampling.top_k = entry.whole(0..=MOST_TOKENS)? as usize;
    }
    if let Some(entry) = table.get("repetition_window") {
        sampling.repetition_window = entry.whole(0..=MOST_TOKENS)? as usize;
    }
    if let Some(entry) = table.get("seed") {
        sampling.seed = entry.whole(0..=u64::MAX)?;
    }
    Ok(sampling)
}

/// The adaptive temperature, where any of its keys is there.
fn adaptive(table: &Section<'_>) -> Result<Option<AdaptiveTemperature>, FileError> {
    let mut adaptive = AdaptiveTemperature::default();
    let mut given = false;
    let numbers = [
        ("temperature_floor", 10.0, &mut adaptive.floor),
        ("low_entropy", MOST_ENTROPY, &mut adaptive.low_entropy),
        ("high_entropy", MOST_ENTROPY, &mut adaptive.high_entropy),
    ];
    for (name, most, value) in numbers {
        if let Some(entry) = table.get(name) {
            *value = entry.number(0.0..=most)?;
            given = true;
        }
    }
    if let Some(entry) = table.get("entropy_window") {
        adaptive.window = entry.whole(1..=MOST_TOKENS)? as usize;
        given = true;
    }
    if adaptive.high_entropy <= adaptive.low_entropy {
        let names = ["high_entropy", "low_entropy"];
        if let Some(entry) = names.into_iter().find_map(|name| table.get(name)) {
            return Err(entry.not("high_entropy above low_entropy"));
        }
    }
    Ok(given.then_some(adaptive))
}
