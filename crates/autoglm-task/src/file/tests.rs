//! Task files as people write them, and what they are told when something is wrong.

use std::num::{NonZeroU32, NonZeroUsize};

use autoglm_spec::{
    AdaptiveTemperature, Calibration, Decoding, Example, Field, Knowledge, Label, Language, Output,
    Record, Sampling, TaskKind, TaskSpec,
};
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};

use super::keys::KEYS;
use super::*;
use crate::judge::agreement::{Compare, SamplingPlan, StopRule};
use crate::parse::{KINDS, parse};

fn error(text: &str) -> String {
    read_task_file(text).expect_err("an error").to_string()
}

fn remarks(text: &str) -> Vec<(usize, String)> {
    let (_, remarks) = read_task_file(text).expect("a task file");
    let line = |remark: crate::Remark| {
        let suggestion = remark.suggestion.clone().unwrap_or_default();
        (
            remark.line(text),
            format!("{} | {suggestion}", remark.message),
        )
    };
    remarks.into_iter().map(line).collect()
}

#[test]
fn an_instruction_alone_is_a_task_file() {
    let (file, remarks) = read_task_file("instruction = \"判断以下句子的情感倾向\"").unwrap();
    assert_eq!(file.spec, parse("判断以下句子的情感倾向").0);
    assert_eq!(file.settings, TaskSettings::default());
    assert_eq!(remarks.len(), 1);
    assert!(remarks[0].message.contains("正面, 负面"));
    assert_eq!(remarks[0].span, 14..49);
}

#[test]
fn a_full_task_file_says_everything() {
    let text = r#"
name = "reviews"
kind = "classification"
instruction = "What do people think?"
language = "en"
labels = ["good", { name = "bad", word = "terrible" }, 3]
answer = "Verdict"
constraints = ["be brief"]
model = "gemma"

[input]
fields = ["title", { name = "body", title = "What they wrote" }]

[decoding]
temperature = 0.7
top_k = 40
top_p = 0.9
min_p = 0.05
repetition_penalty = 1.1
repetition_window = 32
seed = 7
stop = "\n"

[judge]
calibration = "contextual"

[[examples]]
input.title = "Hm"
input.body = "Not again."
output = "bad"

[[examples]]
input = { title = "So", body = "so" }
output = 3
"#;
    let (file, remarks) = read_task_file(text).unwrap();
    assert_eq!(remarks, []);
    let spec = file.spec;
    let labels = [("good", "good"), ("bad", "terrible"), ("3", "3")];
    let labels = labels.map(|(name, word)| Label {
        name: name.into(),
        word: word.into(),
    });
    assert_eq!(
        spec.output,
        Output::Labels {
            labels: labels.to_vec()
        }
    );
    let titles: Vec<&str> = spec
        .fields
        .iter()
        .map(|field| field.title.as_str())
        .collect();
    assert_eq!(titles, ["Title", "What they wrote"]);
    assert_eq!(spec.answer_title, "Verdict");
    assert_eq!(spec.examples[0].input["body"], "Not again.");
    assert_eq!(spec.examples[1].output, "3");
    assert_eq!(file.settings.stop, ["\n"]);
    assert_eq!(file.settings.calibration, Calibration::Contextual);
    assert_eq!(file.settings.sampling.temperature, 0.7);
    assert_eq!(file.settings.sampling.seed, 7);
    assert_eq!(file.settings.model.as_deref(), Some("gemma"));
}

#[test]
fn labels_make_a_classification_of_any_words() {
    let (file, _) = read_task_file("instruction = 'Bananas'\nlabels = ['ripe', 'green']").unwrap();
    assert_eq!(file.spec.kind, TaskKind::Classification);
    assert_eq!(file.spec.output.max_tokens(), 0);
}

#[test]
fn a_schema_is_a_table_or_json_text() {
    let table = "instruction = 'x'\n[output.schema]\ntype = 'object'\nproperties.a.type = 'string'";
    let text = r#"
        instruction = 'x'
        [output]
        schema = '{"type": "object", "properties": {"a": {"type": "string"}}}'
    "#;
    let want = json!({"type": "object", "properties": {"a": {"type": "string"}}});
    for file in [table, text] {
        let Output::Json { schema, .. } = read_task_file(file).unwrap().0.spec.output else {
            panic!("no JSON: {file}");
        };
        assert_eq!(schema, want);
    }
}

/// Wrong task files, with a part of what is said of each.
const WRONG: &[(&str, &str)] = &[
    ("a = ", "line 1: no TOML"),
    (
        "name = 'x'",
        "line 1: `instruction` is missing, want the task in words",
    ),
    (
        "instruction = ''",
        "line 1: `instruction`: got `''`, want the task in words",
    ),
    ("instruction = '  '", "want the task in words"),
    (
        "instruction = 3",
        "line 1: `instruction`: got `3`, want the task in words",
    ),
    (
        "\ninstruction = 'x'\nkind = 'classify'",
        "line 3: `kind`: got `'classify'`, want one of classification",
    ),
    (
        "instruction = 'x'\nkind = 'sumarisation'",
        "did you mean `summarisation`?",
    ),
    (
        "instruction = 'x'\nlanguage = 'fr'",
        "line 2: `language`: got `'fr'`, want one of en, zh",
    ),
    (
        "instruction = 'x'\nlabels = ['a']",
        "line 2: `labels`: got the one label `a`, want a list of at least two labels",
    ),
    (
        "instruction = 'x'\nlabels = []",
        "got an empty list, want a list of at least two labels",
    ),
    (
        "instruction = 'x'\nlabels = 'a, b'",
        "got `'a, b'`, want a list of at least two labels",
    ),
    (
        "instruction = 'x'\nlabels = ['a',\n'b',\n'a']",
        "line 4: `labels[3]`: got `a` twice, want labels that differ",
    ),
    (
        "instruction = 'x'\nlabels = ['a', {name = 'b', word = 'a'}]",
        "got the word `a` twice",
    ),
    (
        "instruction = 'x'\nlabels = ['a', '']",
        "`labels[2]`: got `''`, want a label",
    ),
    (
        "instruction = 'x'\nlabels = ['a', {word = 'b'}]",
        "`labels[2].name` is missing",
    ),
    (
        "instruction = 'x'\nanswer = ['a']",
        "line 2: `answer`: got a list, want a text",
    ),
    (
        "instruction = 'x'\nconstraints = [1]",
        "`constraints[1]`: got `1`, want a list of texts",
    ),
    (
        "instruction = 'x'\n[input]\nfields = []",
        "line 3: `input.fields`: got an empty list",
    ),
    (
        "instruction = 'x'\n[input]\nfields = ['a', 'a']",
        "`input.fields[2]`: got `a` twice",
    ),
    (
        "instruction = 'x'\ninput = 3",
        "line 2: `input`: got `3`, want a table",
    ),
    (
        "instruction = 'x'\n[output]\nmax_tokens = 0",
        "line 3: `output.max_tokens`: got `0`, want a whole number from 1",
    ),
    (
        "instruction = 'x'\n[output]\nmax_tokens = 1.5",
        "got `1.5`, want a whole number",
    ),
    (
        "instruction = 'x'\n[output]\nschema = 'no'",
        "`output.schema`: got `'no'`, want a JSON Schema",
    ),
    (
        "instruction = 'x'\n[output]\nform = 'labels'",
        "`labels` is missing",
    ),
    (
        "instruction = 'x'\n[output]\nform = 'text'\nschema = '{}'",
        "line 4: `output.schema`: got `schema` beside an answer of the form `text`",
    ),
    (
        "instruction = 'x'\nlabels = ['a', 'b']\n[output]\nform = 'json'",
        "line 2: `labels`: got `labels` beside",
    ),
    (
        "instruction = 'x'\nlabels = ['a', 'b']\n[output]\nschema = '{}'",
        "beside an answer of the form `labels`",
    ),
    (
        "instruction = 'x'\n[decoding]\ntemperature = 'hot'",
        "line 3: `decoding.temperature`: got `'hot'`, want a number from 0 to 10",
    ),
    (
        "instruction = 'x'\n[decoding]\nlow_entropy = 2\nhigh_entropy = 1",
        "line 4: `decoding.high_entropy`: got `1`, want high_entropy above low_entropy",
    ),
    (
        "instruction = 'x'\n[decoding]\ntop_p = 1.5",
        "got `1.5`, want a number from 0 to 1",
    ),
    ("instruction = 'x'\n[decoding]\ntop_p = nan", "got `nan`"),
    (
        "instruction = 'x'\n[decoding]\ntop_k = -1",
        "got `-1`, want a whole number from 0",
    ),
    (
        "instruction = 'x'\n[decoding]\nseed = true",
        "`decoding.seed`: got `true`",
    ),
    (
        "instruction = 'x'\n[decoding]\nstop = ['']",
        "`decoding.stop[1]`",
    ),
    (
        "instruction = 'x'\n[judge]\ncalibration = 'bach'",
        "did you mean `batch`?",
    ),
    ("instruction = 'x'\nmodel = ' '", "`model`: got `' '`"),
    (
        "instruction = 'x'\n[[examples]]\ninput = 'a'",
        "line 2: `examples[1].output` is missing",
    ),
    (
        "instruction = 'x'\n[[examples]]\noutput = 'a'",
        "`examples[1].input` is missing",
    ),
    (
        "instruction = 'x'\nexamples = 3",
        "`examples`: got `3`, want tables",
    ),
    (
        "instruction = 'x'\nlabels = ['a', 'b']\n[[examples]]\ninput = 't'\noutput = 'c'",
        "line 5: `examples[1].output`: got `'c'`, want one of the labels a, b",
    ),
    (
        "instruction = 'x'\n[[examples]]\ninput = { tex = 't' }\noutput = 'c'",
        "line 3: `examples[1].input`: got the field(s) tex, want the field `text` too",
    ),
    (
        "instruction = 'x'\n[input]\nfields = ['a', 'b']\n[[examples]]\ninput = 't'\noutput = 'c'",
        "`examples[1].input`: got `'t'`, want a table",
    ),
    (
        "instruction = 'x'\n[output]\nschema = '{}'\n[[examples]]\ninput = 't'\noutput = 'c'",
        "want JSON text",
    ),
];

#[test]
fn errors_name_line_key_value_and_what_is_wanted() {
    for (text, want) in WRONG {
        let got = error(text);
        assert!(got.contains(want), "{text}\n got: {got}\nwant: {want}");
    }
}

#[test]
fn unknown_keys_are_remarks_with_a_hint() {
    let text = "instruction = 'Translate into English'\nlabells = ['a']\ntemperature = 1\n\
                [output]\nmax_token = 3\n[weird]\na = 1\n";
    let said = remarks(text);
    let want = [
        (2, "unknown key `labells`", "did you mean `labels`?"),
        (
            3,
            "unknown key `temperature`",
            "did you mean `decoding.temperature`?",
        ),
        (5, "unknown key `max_token`", "did you mean `max_tokens`?"),
        (6, "unknown key `weird`", "known are"),
    ];
    assert_eq!(said.len(), want.len(), "{said:?}");
    for ((line, remark), (want_line, message, hint)) in said.iter().zip(want) {
        assert_eq!(*line, want_line);
        assert!(
            remark.contains(message) && remark.contains(hint),
            "{remark}"
        );
    }
}

#[test]
fn unknown_fields_of_an_example_are_remarks() {
    let text = "instruction = 'Translate into English'\n[[examples]]\n\
                input = { text = 'a', author = 'b' }\noutput = 'c'";
    let said = remarks(text);
    assert_eq!(said[0].0, 3);
    assert!(
        said[0].1.contains("no field `author`") && said[0].1.contains("text"),
        "{said:?}"
    );
}

#[test]
fn a_classification_without_labels_is_a_remark() {
    let said = remarks("instruction = 'Sort the songs'\nkind = 'classification'");
    assert_eq!(said[0].0, 2);
    assert!(said[0].1.contains("names no labels"), "{said:?}");
}

#[test]
fn what_is_written_is_readable() {
    let (mut spec, _) = parse("判断影评的情感，标签为“好评”或“差评”");
    let input = [("text".to_owned(), json!("好看"))].into_iter().collect();
    spec.examples.push(Example {
        input,
        output: "好评".to_owned(),
    });
    let written = write_task_file(&TaskFile {
        spec,
        settings: TaskSettings::default(),
    });
    let want = r#"# AutoGLM 任务文件。除 instruction 外，各项都可以省略。

# 用自己的话描述任务；唯一必填的项
instruction = "判断影评的情感，标签为“好评”或“差评”"

# 简短的名称，显示在运行列表中
name = "sentiment"
"#;
    assert!(written.starts_with(want), "{written}");
    assert!(
        written.contains("labels = [\"好评\", \"差评\"]\n"),
        "{written}"
    );
    assert!(
        written.ends_with("[[examples]]\ninput.text = \"好看\"\noutput = \"好评\"\n"),
        "{written}"
    );
}

#[test]
fn the_document_explains_every_key() {
    let document = include_str!("../../../../docs/tasks.md");
    for key in KEYS {
        assert!(
            document.contains(&format!("`{}`", key.path)),
            "docs/tasks.md lacks {}",
            key.path
        );
        assert!(
            document.contains(key.english),
            "docs/tasks.md says otherwise of {}",
            key.path
        );
    }
}

#[test]
fn a_task_file_may_name_a_server() {
    let text = "instruction = \"x\"\n[engine]\nurl = \"https://gpu.test/v1\"\nmodel = \"m\"\n\
                scoring = \"votes\"\nvotes = 5\ntimeout_seconds = 30\n";
    let (file, remarks) = read_task_file(text).unwrap();
    let server = file.settings.server.unwrap();
    assert_eq!(server.url, "https://gpu.test/v1");
    assert_eq!(server.model.as_deref(), Some("m"));
    assert_eq!(server.scoring, Some(ServerScoring::Votes));
    assert_eq!(server.votes, NonZeroUsize::new(5));
    assert_eq!(server.timeout_seconds, NonZeroU32::new(30));
    assert_eq!(server.prompts, None);
    assert!(
        remarks
            .iter()
            .all(|remark| !remark.message.contains("unknown")),
        "{remarks:?}"
    );
}

#[test]
fn a_key_in_a_task_file_is_refused_and_not_repeated() {
    for line in [
        "api_key = \"sk-1\"",
        "key = \"sk-1\"",
        "token = \"sk-1\"",
        "url = \"http://me:sk-1@gpu/v1\"",
    ] {
        let error = error(&format!("instruction = \"x\"\n[engine]\n{line}\n"));
        assert!(!error.contains("sk-1"), "{error}");
        assert!(error.starts_with("line 3: `engine."), "{error}");
    }
}

#[test]
fn what_is_wrong_with_a_server_is_named_by_its_line() {
    let check = |lines: &str, wanted: &str| {
        let error = error(&format!("instruction = \"x\"\n[engine]\n{lines}\n"));
        assert!(error.contains(wanted), "{error}");
    };
    check("model = \"m\"", "`engine.url` is missing");
    check("url = \"gpu:8000\"", "line 3: `engine.url`");
    check("url = \"http://gpu\"\nvotes = 0", "line 4: `engine.votes`");
    check(
        "url = \"http://gpu\"\nscoring = \"vote\"",
        "did you mean `votes`?",
    );
}

/// The TOML blocks of the document.
fn blocks(document: &str) -> Vec<&str> {
    let parts = document.split("```toml\n").skip(1);
    parts
        .map(|part| part.split("```").next().unwrap_or_default())
        .collect()
}

#[test]
fn the_documents_task_files_can_be_read_without_a_remark() {
    let blocks = blocks(include_str!("../../../../docs/tasks.md"));
    assert!(blocks.len() >= 4);
    for block in blocks {
        let (_, remarks) = read_task_file(block).unwrap_or_else(|error| panic!("{error}\n{block}"));
        let warnings = remarks
            .iter()
            .filter(|r| r.severity > crate::Severity::Note);
        assert_eq!(warnings.count(), 0, "{block}");
    }
}

/// Texts with everything that needs escaping.
fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z\"'\\\\\n\r\t 好“#=\u{7f}\u{1}\u{2028}]{0,12}",
        any::<String>()
    ]
}

fn filled() -> impl Strategy<Value = String> {
    any_text().prop_map(|text| format!("x{}", text.trim()))
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        (-1e9..1e9f64).prop_map(Value::from),
        any_text().prop_map(Value::from),
    ];
    leaf.prop_recursive(2, 8, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::vec((any_text(), inner), 0..3)
                .prop_map(|pairs| Value::Object(pairs.into_iter().collect())),
        ]
    })
}

fn any_output() -> impl Strategy<Value = Output> {
    let tokens = 1..100_000usize;
    let labels = prop::collection::btree_map(filled(), filled(), 2..5).prop_map(|pairs| {
        let numbered = pairs.into_iter().enumerate();
        let label = |(index, (name, word)): (usize, (String, String))| Label {
            name,
            word: format!("{word}{index}"),
        };
        Output::Labels {
            labels: numbered.map(label).collect(),
        }
    });
    prop_oneof![
        labels,
        (any_value(), tokens.clone()).prop_map(|(value, max_tokens)| Output::Json {
            schema: json!({"x": value}),
            max_tokens
        }),
        tokens
            .clone()
            .prop_map(|max_tokens| Output::Text { max_tokens }),
        (prop::option::of(filled()), tokens).prop_map(|(language, max_tokens)| Output::Code {
            language,
            max_tokens
        }),
    ]
}

fn any_fields() -> impl Strategy<Value = Vec<Field>> {
    prop::collection::btree_map(filled(), filled(), 1..4).prop_map(|pairs| {
        pairs
            .into_iter()
            .map(|(name, title)| Field { name, title })
            .collect()
    })
}

/// An example that fits the fields and the output.
fn example(fields: &[Field], output: &Output, value: &Value, text: &str) -> Example {
    let input: Record = fields
        .iter()
        .map(|field| (field.name.clone(), value.clone()))
        .collect();
    let output = match output {
        Output::Labels { labels } => labels[text.len() % labels.len()].name.clone(),
        Output::Json { .. } => value.to_string(),
        Output::Text { .. } | Output::Code { .. } => text.to_owned(),
    };
    Example { input, output }
}

/// Documents for the records of some tasks.
fn any_knowledge() -> impl Strategy<Value = Option<Knowledge>> {
    let names = prop::collection::vec(filled(), 1..3);
    let made =
        (names, 1..50usize, 1..9_999usize).prop_map(|(collections, passages, tokens)| Knowledge {
            collections,
            passages,
            tokens,
        });
    prop::option::of(made)
}

fn any_spec() -> impl Strategy<Value = TaskSpec> {
    let head = (any_text(), select(KINDS.to_vec()), filled(), any_text());
    let language = select(vec![Language::English, Language::Chinese]);
    let lists = (
        prop::collection::vec(filled(), 0..3),
        any_fields(),
        any_output(),
    );
    let examples = prop::collection::vec((any_value(), any_text()), 0..3);
    let others = (examples, any_knowledge());
    (head, language, lists, others).prop_map(|(head, language, lists, others)| {
        let (examples, knowledge) = others;
        let (name, kind, instruction, answer_title) = head;
        let (constraints, fields, output) = lists;
        let instruction = instruction.trim().to_owned();
        let is_taken = |field: &Field| field.name == Knowledge::FIELD;
        let fields_are_free = !fields.iter().any(is_taken);
        let examples = examples
            .iter()
            .map(|(value, text)| example(&fields, &output, value, text))
            .collect();
        TaskSpec {
            name,
            kind,
            instruction,
            language,
            fields,
            answer_title,
            output,
            constraints,
            examples,
            knowledge: knowledge.filter(|_| fields_are_free),
        }
    })
}

/// A server whose settings follow a number.
fn server(number: usize, model: Option<String>) -> ServerSettings {
    let size = NonZeroUsize::new(number);
    let count = NonZeroU32::new(number as u32);
    ServerSettings {
        url: "http://127.0.0.1:8000/v1".to_owned(),
        model,
        prompts: [None, Some(ServerPrompts::Chat), Some(ServerPrompts::Plain)][number % 3],
        scoring: [
            None,
            Some(ServerScoring::Echo),
            Some(ServerScoring::First),
            Some(ServerScoring::Votes),
        ][number % 4],
        votes: size,
        context_tokens: size,
        concurrency: size.filter(|_| number.is_multiple_of(2)),
        requests_per_minute: count,
        tokens_per_minute: count.filter(|_| number.is_multiple_of(2)),
        timeout_seconds: count,
    }
}

fn any_settings() -> impl Strategy<Value = TaskSettings> {
    let sampling = (
        0.1..10f32,
        0..999usize,
        0..=10f32 as usize,
        0..999usize,
        0..=1f32 as usize,
        any::<u64>(),
    );
    let fraction = (0..=1000u32).prop_map(|n| n as f32 / 1000.0);
    let calibration = select(vec![
        Calibration::Batch,
        Calibration::Contextual,
        Calibration::None,
    ]);
    let texts = (
        prop::option::of(filled()),
        prop::collection::vec(filled(), 0..3),
    );
    (sampling, fraction.clone(), fraction, texts, calibration).prop_map(
        |(numbers, top_p, min_p, (model, stop), calibration)| TaskSettings {
            server: (numbers.1 % 3 == 0).then(|| server(numbers.3, model.clone())),
            model,
            sampling: Sampling {
                repetition_penalty: numbers.0,
                repetition_window: numbers.1,
                presence_penalty: 0.0,
                frequency_penalty: 0.0,
                temperature: numbers.2 as f32 / 3.0,
                top_k: numbers.3,
                top_p,
                min_p,
                seed: numbers.5,
                adaptive: (numbers.3 % 2 == 0).then_some(AdaptiveTemperature {
                    floor: top_p,
                    low_entropy: min_p,
                    high_entropy: min_p + 1.0,
                    window: numbers.1 + 1,
                }),
            },
            decoding: Decoding {
                lookup_tokens: numbers.1 % 65,
                ..Decoding::default()
            },
            stop,
            calibration,
            plan: SamplingPlan {
                samples: 1 + numbers.1 % 20,
                stop: [StopRule::Adaptive, StopRule::Beta, StopRule::Fixed][numbers.3 % 3],
                sure: (numbers.1 % 2 == 0).then_some(top_p),
                repair: numbers.3 % 2 == 0,
            },
            compare: [
                None,
                Some(Compare::Number),
                Some(Compare::Json),
                Some(Compare::Code),
                Some(Compare::Words),
                Some(Compare::Meaning),
            ][numbers.1 % 6],
            embedder: (numbers.1 % 4 == 0).then(|| "all-minilm-l6-v2".to_owned()),
            min_confidence: (numbers.1 % 2 == 0).then_some(min_p),
        },
    )
}

#[test]
fn samples_are_bounded_and_rules_named() {
    let settings = |table: &str| {
        read_task_file(&format!("instruction = 'How many?'\n[sampling]\n{table}\n"))
            .map(|(file, _)| file.settings)
            .map_err(|error| error.to_string())
    };
    let read = settings("samples = 5\nstop = 'fixed'\nrepair = true").unwrap();
    assert_eq!((read.plan.samples, read.plan.stop), (5, StopRule::Fixed));
    assert!(read.plan.repair);
    assert_eq!(
        settings("samples = 0").unwrap_err(),
        "line 3: `sampling.samples`: got `0`, want a whole number from 1 to 100"
    );
    assert!(
        settings("stop = 'adaptiv'")
            .unwrap_err()
            .contains("did you mean `adaptive`?")
    );
    assert!(
        settings("repair = 1")
            .unwrap_err()
            .ends_with("want true or false")
    );
}

proptest! {
    #[test]
    fn what_is_written_reads_back(spec in any_spec(), settings in any_settings()) {
        let file = TaskFile { spec, settings };
        let written = write_task_file(&file);
        let (back, remarks) = read_task_file(&written).map_err(|e| TestCaseError::fail(format!("{e}\n{written}")))?;
        prop_assert_eq!(&back, &file, "{}", written);
        prop_assert!(remarks.is_empty(), "{:?}\n{}", remarks, written);
    }

    #[test]
    fn reading_never_panics(text in "[a-z\\[\\]{}=.,'\" \n#0-9]{0,80}") {
        let _ = read_task_file(&text);
        let _ = read_task_file(&format!("instruction = 'x'\n{text}"));
    }

    #[test]
    fn a_task_from_words_survives_being_written(text in "[^\u{0}]{0,60}") {
        let (spec, _) = parse(&text);
        if !spec.instruction.is_empty() {
            let file = TaskFile { spec, settings: TaskSettings::default() };
            prop_assert_eq!(read_task_file(&write_task_file(&file)).unwrap().0, file);
        }
    }
}

/// What `autoglm init` writes and says for the document's first example.
#[test]
fn the_document_shows_what_init_writes() {
    let words = "判断以下句子的情感倾向";
    let (spec, remarks) = parse(words);
    let written = write_task_file(&TaskFile {
        spec,
        settings: TaskSettings::default(),
    });
    let document = include_str!("../../../../docs/tasks.md");
    assert!(
        document.contains(&format!("```toml\n{written}```")),
        "{written}"
    );
    for remark in remarks {
        assert!(
            document.contains(&remark.tell(words)),
            "{}",
            remark.tell(words)
        );
    }
}

/// The prompt for a record of the document's example.
#[test]
fn the_document_shows_a_prompt() {
    let document = include_str!("../../../../docs/tasks.md");
    let block = blocks(document)
        .into_iter()
        .find(|block| block.contains("用了三个月"));
    let (file, _) = read_task_file(block.expect("the example")).unwrap();
    let facts = autoglm_spec::ModelFacts {
        name: "any".into(),
        context_tokens: 512,
        chat: false,
    };
    let composer = crate::compose::Composer::new(&file.spec, &facts).unwrap();
    let record = [("text".to_owned(), json!("颜色和图片一样，\n很喜欢。"))]
        .into_iter()
        .collect();
    let prompt = composer.compose(&record).unwrap().prompt.display_text();
    assert!(
        document.contains(&format!("```text\n{prompt}\n```")),
        "{prompt}"
    );
}
