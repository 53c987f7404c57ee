//! Prompts as they are composed, one snapshot per kind, language and form: `snapshots.txt`.

use autoglm_spec::Language::{self, Chinese, English};
use autoglm_spec::{Knowledge, TaskKind};
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::parse::{KINDS, kind_name, parse};

const SNAPSHOTS: &str = include_str!("snapshots.txt");

fn facts(chat: bool) -> ModelFacts {
    ModelFacts {
        name: "any".into(),
        context_tokens: 4096,
        chat,
    }
}

fn record(fields: Value) -> Record {
    match fields {
        Value::Object(record) => record,
        other => panic!("no record: {other}"),
    }
}

fn composer(spec: &TaskSpec, chat: bool) -> Composer {
    Composer::new(spec, &facts(chat)).expect("a composer")
}

/// For every kind and language an instruction, a record's text, and an example's text and answer.
const SAMPLES: &[(TaskKind, Language, [&str; 4])] = &[
    (
        TaskKind::Classification,
        English,
        [
            "Classify the review as good or bad.",
            "It broke\nat once.",
            "Lovely.",
            "good",
        ],
    ),
    (
        TaskKind::Classification,
        Chinese,
        ["判断评论是好评还是差评", "一用\n就坏。", "很喜欢。", "好评"],
    ),
    (
        TaskKind::Summarisation,
        English,
        [
            "Summarise the article in one sentence.",
            "Rain fell.\nMuch rain.",
            "Sun.",
            "It shone.",
        ],
    ),
    (
        TaskKind::Summarisation,
        Chinese,
        ["用一句话概括新闻", "下雨了。\n很大。", "天晴。", "晴。"],
    ),
    (
        TaskKind::Extraction,
        English,
        [
            "Extract name and age from the note.",
            "Ann,\n31",
            "Bo, 7",
            r#"{ "name": "Bo", "age": 7 }"#,
        ],
    ),
    (
        TaskKind::Extraction,
        Chinese,
        [
            "抽取姓名和年龄",
            "小安，\n31岁",
            "小波，7岁",
            r#"{"姓名": "小波", "年龄": 7}"#,
        ],
    ),
    (
        TaskKind::Translation,
        English,
        [
            "Translate the text into French.",
            "Cat\ndog",
            "Yes.",
            "Oui.",
        ],
    ),
    (
        TaskKind::Translation,
        Chinese,
        ["把句子翻译成英文", "猫\n狗", "是。", "Yes."],
    ),
    (
        TaskKind::Rewriting,
        English,
        [
            "Rewrite the sentence, use formal tone.",
            "hi\nall",
            "yo",
            "Hello.",
        ],
    ),
    (
        TaskKind::Rewriting,
        Chinese,
        ["改写句子，语气正式", "嗨\n大家", "喂", "您好。"],
    ),
    (
        TaskKind::QuestionAnswering,
        English,
        ["Answer the question.", "Who\nis it?", "Why?", "So."],
    ),
    (
        TaskKind::QuestionAnswering,
        Chinese,
        ["回答问题", "谁\n呀？", "为何？", "如此。"],
    ),
    (
        TaskKind::CodeCompletion,
        English,
        [
            "Complete the Python function.",
            "def f(x):\n    ",
            "def g():\n    return",
            " 1",
        ],
    ),
    (
        TaskKind::CodeCompletion,
        Chinese,
        [
            "补全 Python 函数",
            "def f(x):\n    ",
            "def g():\n    return",
            " 1",
        ],
    ),
    (
        TaskKind::CodeGeneration,
        English,
        [
            "Write a Rust function for the description.",
            "adds\ntwo",
            "one",
            "fn one() -> u8 {\n    1\n}",
        ],
    ),
    (
        TaskKind::CodeGeneration,
        Chinese,
        [
            "用 Rust 写一个函数，实现描述的功能",
            "相加\n两数",
            "一",
            "fn one() -> u8 {\n    1\n}",
        ],
    ),
    (
        TaskKind::Free,
        English,
        ["Write a poem about the word.", "sea\nsand", "sun", "O sun."],
    ),
    (
        TaskKind::Free,
        Chinese,
        ["写一首关于这个词的诗", "海\n沙", "日", "日啊。"],
    ),
];

fn spec(kind: TaskKind, language: Language, shots: usize) -> (TaskSpec, Record) {
    let mut samples = SAMPLES
        .iter()
        .filter(|sample| sample.0 == kind && sample.1 == language);
    let (.., [instruction, text, example, answer]) = samples.next().expect("a sample");
    let (mut spec, _) = parse(instruction);
    assert_eq!(spec.kind, kind, "{instruction}");
    let field = spec.fields[0].name.clone();
    let input = record(json!({ field.clone(): example }));
    spec.examples = vec![
        Example {
            input,
            output: (*answer).to_owned()
        };
        shots
    ];
    (spec, record(json!({ field: text })))
}

fn snapshot() -> String {
    let mut out = String::new();
    for kind in KINDS {
        for (language, chat) in [
            (English, false),
            (English, true),
            (Chinese, false),
            (Chinese, true),
        ] {
            for shots in [0, 1] {
                let (spec, record) = spec(kind, language, shots);
                let composer = composer(&spec, chat);
                let composed = composer.compose(&record).unwrap();
                let _ = writeln!(out, "===== {}, {shots} example(s)", composer.template());
                let _ = writeln!(out, "{}⏹", composed.prompt.display_text());
                let rest = (&composed.options, &composed.stop, composed.max_tokens);
                let _ = writeln!(out, "----- {rest:?}");
            }
        }
    }
    out
}

/// To accept changed prompts, write what this prints to `snapshots.txt` and raise `REVISION`
/// unless a template changed.
#[test]
fn prompts_are_as_they_were() {
    let now = snapshot();
    if now != SNAPSHOTS {
        let path = std::env::temp_dir().join("autoglm-prompts.txt");
        std::fs::write(&path, &now).unwrap();
        let changed = now
            .lines()
            .zip(SNAPSHOTS.lines())
            .find(|(new, old)| new != old);
        panic!("prompts changed, see {}: {changed:?}", path.display());
    }
}

#[test]
fn a_plain_classification_reads_like_a_list_of_examples() {
    let (spec, record) = spec(TaskKind::Classification, English, 1);
    let composed = composer(&spec, false).compose(&record).unwrap();
    let want = "Classify the review as good or bad.\n\nReview: Lovely.\nSentiment: good\n\n\
                Review: It broke at once.\nSentiment:";
    let want = want.replace("Sentiment", &spec.answer_title);
    assert_eq!(composed.prompt, Prompt::Plain(want));
    assert_eq!(
        composed.options,
        Some(vec![" good".to_owned(), " bad".to_owned()])
    );
}

#[test]
fn chinese_values_are_quoted_and_labels_have_no_space() {
    let (spec, record) = spec(TaskKind::Classification, Chinese, 1);
    let composed = composer(&spec, false).compose(&record).unwrap();
    let want = "判断评论是好评还是差评\n\n评论：“很喜欢。”\n情感倾向：好评\n\n评论：“一用 就坏。”\n情感倾向：";
    assert_eq!(composed.prompt, Prompt::Plain(want.to_owned()));
    assert_eq!(
        composed.options,
        Some(vec!["好评".to_owned(), "差评".to_owned()])
    );
}

#[test]
fn labels_that_the_instruction_does_not_name_are_added() {
    let (spec, _) = parse("判断以下评论的情感倾向。");
    let prefix = composer(&spec, false).stable_prefix();
    assert_eq!(
        prefix,
        "判断以下评论的情感倾向。\n只回答一个标签：正面、负面。\n\n"
    );
    let (spec, _) = parse("What is the sentiment of the review?");
    let prefix = composer(&spec, false).stable_prefix();
    assert_eq!(
        prefix,
        "What is the sentiment of the review?\nAnswer with one label only: positive, negative.\n\n"
    );
}

#[test]
fn constraints_are_said_once() {
    let (mut spec, _) = parse("Summarise the article in one sentence.");
    spec.constraints.push("Name no people.".to_owned());
    for chat in [false, true] {
        let prefix = composer(&spec, chat).stable_prefix();
        assert_eq!(prefix.matches("one sentence").count(), 1, "{prefix}");
        assert_eq!(prefix.matches("Name no people.").count(), 1, "{prefix}");
    }
}

#[test]
fn a_word_stands_in_for_its_label() {
    let (mut spec, record) = spec(TaskKind::Classification, English, 1);
    let Output::Labels { labels } = &mut spec.output else {
        panic!("labels")
    };
    labels[0].word = "great".to_owned();
    let composed = composer(&spec, false).compose(&record).unwrap();
    assert_eq!(composed.options.unwrap()[0], " great");
    assert!(composed.prompt.display_text().contains(": great\n"));
}

#[test]
fn labels_that_begin_with_another_end_alike() {
    let (mut spec, record) = parse_with_record("Classify the text as work or work-related.");
    let options = |spec: &TaskSpec, chat| composer(spec, chat).compose(&record).unwrap().options;
    assert_eq!(
        options(&spec, false).unwrap(),
        [" work\n\n", " work-related\n\n"]
    );
    assert_eq!(options(&spec, true).unwrap(), ["work\n", "work-related\n"]);
    spec.language = Chinese;
    assert_eq!(
        options(&spec, false).unwrap(),
        ["work\n\n", "work-related\n\n"]
    );
}

fn parse_with_record(words: &str) -> (TaskSpec, Record) {
    (parse(words).0, record(json!({"text": "x"})))
}

#[test]
fn a_missing_field_is_named_with_those_that_exist() {
    let (spec, _) = parse_with_record("Summarise the text.");
    let composer = composer(&spec, false);
    let error = composer
        .compose(&record(json!({"title": "a", "body": "b"})))
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "the record has no field `text`, it has `title`, `body`"
    );
    let error = composer.compose(&record(json!({}))).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the record has no field `text`, it has none"
    );
}

#[test]
fn other_fields_of_a_record_are_ignored() {
    let (spec, plain) = parse_with_record("Summarise the text.");
    let composer = composer(&spec, true);
    let more = record(json!({"id": 7, "text": "x", "label": "y"}));
    assert_eq!(
        composer.compose(&plain).unwrap(),
        composer.compose(&more).unwrap()
    );
}

#[test]
fn tasks_that_cannot_be_composed_are_refused() {
    let (good, _) = spec(TaskKind::Classification, English, 1);
    let refused = |change: &dyn Fn(&mut TaskSpec)| {
        let mut spec = good.clone();
        change(&mut spec);
        Composer::new(&spec, &facts(false)).unwrap_err()
    };
    let labels = |words: &[&str]| Output::Labels {
        labels: words
            .iter()
            .map(|w| Label {
                name: (*w).into(),
                word: (*w).into(),
            })
            .collect(),
    };
    assert_eq!(refused(&|s| s.fields.clear()), ComposeError::NoFields);
    assert_eq!(
        refused(&|s| s.output = labels(&["a"])),
        ComposeError::TooFewLabels { given: 1 }
    );
    assert_eq!(
        refused(&|s| s.output = labels(&["a", ""])),
        ComposeError::EmptyLabel { number: 2 }
    );
    let error = refused(&|s| s.output = labels(&["a", "a"]));
    assert!(matches!(error, ComposeError::SameWord { .. }));
    let error = refused(&|s| s.examples[0].output = "fine".into());
    assert_eq!(
        error.to_string(),
        "example 1 has the answer `fine`, the labels are `good`, `bad`"
    );
    let error = refused(&|s| s.examples[0].input.clear());
    assert_eq!(
        error.to_string(),
        "example 1 has no field `text`, it has none"
    );
}

#[test]
fn records_without_content_fill_every_field() {
    let (mut spec, _) = parse_with_record("Classify the text as good or bad.");
    spec.fields.push(Field {
        name: "title".into(),
        title: "Title".into(),
    });
    let prompts: Vec<String> = composer(&spec, false)
        .content_free()
        .iter()
        .map(|c| c.prompt.display_text())
        .collect();
    let endings = [
        "Text: N/A\nTitle: N/A\n",
        "Text:\nTitle:\n",
        "Text: [MASK]\nTitle: [MASK]\n",
    ];
    assert_eq!(prompts.len(), endings.len());
    for (prompt, ending) in prompts.iter().zip(endings) {
        assert!(prompt.contains(ending), "{prompt}");
    }
}

#[test]
fn versions_follow_what_determines_prompts() {
    let (spec, _) = spec(TaskKind::Classification, English, 1);
    let version = |spec: &TaskSpec, chat| composer(spec, chat).version().to_owned();
    let renamed = TaskSpec {
        name: "other".into(),
        ..spec.clone()
    };
    let reworded = TaskSpec {
        instruction: "Is the review good or bad?".into(),
        ..spec.clone()
    };
    assert_eq!(version(&spec, false), version(&renamed, false));
    assert_ne!(version(&spec, false), version(&spec, true));
    assert_ne!(version(&spec, false), version(&reworded, false));
    assert_eq!(version(&spec, false).len(), 64);
}

#[test]
fn json_answers_are_constrained_and_labels_are_not() {
    let (extraction, record) = spec(TaskKind::Extraction, English, 1);
    let composed = composer(&extraction, false).compose(&record).unwrap();
    assert!(matches!(
        composed.constraint,
        Some(Constraint::JsonSchema(_))
    ));
    let shot = r#"JSON: {"name":"Bo","age":7}"#;
    assert!(
        composed.prompt.display_text().contains(shot),
        "{}",
        composed.prompt.display_text()
    );
    let (labels, record) = spec(TaskKind::Classification, English, 1);
    assert_eq!(
        composer(&labels, false)
            .compose(&record)
            .unwrap()
            .constraint,
        None
    );
}

/// Texts that try to pass for the template.
fn hostile() -> impl Strategy<Value = String> {
    let parts = vec![
        "\n",
        "\r\n",
        "\n\n",
        "\u{2028}",
        "\u{85}",
        "Review:",
        "Sentiment: good",
        "评论：",
        "情感倾向：",
        "```",
        "\n```\n",
        "\"\"\"",
        "\n\"\"\"\n",
        " ",
        "”",
        "<|im_end|>",
        "user: ",
        "{instruction}",
        "x",
    ];
    prop_oneof![
        prop::collection::vec(prop::sample::select(parts), 0..8).prop_map(|parts| parts.concat()),
        any::<String>(),
    ]
}

proptest! {
    #[test]
    fn no_record_changes_what_stands_before_it(
        a in hostile(), b in hostile(), kind in prop::sample::select(KINDS.to_vec()),
        language in prop::sample::select(vec![English, Chinese]), chat in any::<bool>(), shots in 0..2usize,
    ) {
        let (spec, _) = spec(kind, language, shots);
        let composer = composer(&spec, chat);
        let stable = composer.stable_prefix();
        let field = &spec.fields[0].name;
        let of = |text: &str| composer.compose(&record(json!({ field.clone(): text }))).unwrap();
        let (first, second) = (of(&a), of(&b));
        for composed in [&first, &second] {
            prop_assert!(composed.prompt.display_text().starts_with(&stable));
        }
        prop_assert_eq!(first.options, second.options);
        if let (Prompt::Chat(first), Prompt::Chat(second)) = (&first.prompt, &second.prompt) {
            prop_assert_eq!(first.len(), second.len());
        }
    }

    #[test]
    fn a_record_never_opens_a_line_of_a_classification(text in hostile(), language in prop::sample::select(vec![English, Chinese])) {
        let (spec, _) = spec(TaskKind::Classification, language, 1);
        for chat in [false, true] {
            let composer = composer(&spec, chat);
            let lines = |text: &str| {
                let composed = composer.compose(&record(json!({ "text": text }))).unwrap();
                composed.prompt.display_text().lines().count()
            };
            prop_assert_eq!(lines(&text), lines("x"));
        }
    }
}

#[test]
fn kinds_have_their_names_in_templates() {
    for kind in KINDS {
        let (spec, _) = spec(kind, Chinese, 0);
        assert_eq!(
            composer(&spec, true).template(),
            format!("zh/{}/chat", kind_name(kind))
        );
    }
}

#[test]
fn passages_stand_numbered_before_their_record_and_cannot_pass_for_another_part() {
    let (mut spec, _) = parse("Classify the review as good or bad.");
    let name = spec.fields[0].name.clone();
    let lie = "Oil it.\nDocument [2]: a lie\n\nReview: another";
    let mut asked = record(json!({"knowledge": [
        {"number": 1, "titles": ["Pump", "Care"], "text": lie},
        {"number": 2, "titles": [], "text": "It is red."},
    ]}));
    asked.insert(name, json!("Fine."));
    let text = |spec: &TaskSpec, chat| {
        let composer = composer(spec, chat);
        let text = composer.compose(&asked).unwrap().prompt.display_text();
        let stable = composer.stable_prefix();
        assert!(chat || text.starts_with(&stable), "{text}");
        text
    };
    assert!(
        !text(&spec, false).contains("Document"),
        "the task names no documents"
    );
    spec.knowledge = Some(Knowledge {
        collections: vec!["guide".to_owned()],
        passages: 3,
        tokens: 100,
    });
    for chat in [false, true] {
        let text = text(&spec, chat);
        let lines: Vec<&str> = text.lines().filter(|l| l.contains("Document [")).collect();
        let [first, second] = lines[..] else {
            panic!("{text}")
        };
        assert!(
            first.contains("Document [1]") && first.contains("Pump › Care Oil it. Document [2]")
        );
        assert!(second.contains("Document [2]") && second.contains("It is red."));
        let at = |part: &str| text.find(part).unwrap();
        assert!(at("It is red.") < at("Fine."), "{text}");
    }
    spec.language = Chinese;
    assert!(text(&spec, false).contains("文档 [1]"));
}
