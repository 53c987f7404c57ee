//! Instructions that a model writes: from the task's text, and from what was answered wrongly.

use autoglm_spec::{
    AttentionPolicy, Decoding, GenerateRequest, Language, Output, Prompt, Role, Sampling, Segment,
    TaskSpec,
};

use super::calls::{Request, is_wide};
use super::split::identity;
use crate::eval::Labelled;

/// Instructions that are asked for from the task's text, and again from failures.
pub(super) const WRITTEN: usize = 4;
/// Examples or failures that a writer is shown.
const SHOWN_RECORDS: usize = 6;
/// Characters of a record that a writer is shown.
const SHOWN_CHARACTERS: usize = 400;
/// Tokens of a written instruction at most.
const MOST_TOKENS: usize = 300;
/// Letters of an instruction at least, a Chinese character for two: fewer are a slip.
const LEAST_LETTERS: usize = 8;
const OPEN: &str = "<instruction>";
const CLOSE: &str = "</instruction>";

/// A record that was answered wrongly.
#[derive(Debug, Clone)]
pub(super) struct Failure {
    pub(super) labelled: Labelled,
    pub(super) given: String,
}

/// Requests for instructions; each looks at other examples or failures where there are enough.
pub(super) fn requests(
    spec: &TaskSpec,
    examples: &[Labelled],
    failures: &[Failure],
    seed: u64,
) -> Vec<Request> {
    let shown = |round: usize| -> Vec<String> {
        let count = if failures.is_empty() {
            examples.len()
        } else {
            failures.len()
        };
        let places = (0..SHOWN_RECORDS.min(count)).map(|i| (round * SHOWN_RECORDS + i) % count);
        places
            .map(|place| match failures.get(place) {
                Some(failure) => failure_lines(spec, failure),
                None => example_lines(spec, &examples[place]),
            })
            .collect()
    };
    (0..WRITTEN)
        .map(|round| {
            let text = ask_text(spec, &shown(round), !failures.is_empty());
            request(text, seed.wrapping_add(round as u64))
        })
        .collect()
}

fn request(text: String, seed: u64) -> Request {
    Request::Generate(Box::new(GenerateRequest {
        prompt: Prompt::Chat(vec![Segment {
            role: Role::User,
            text,
        }]),
        max_tokens: MOST_TOKENS,
        sampling: Sampling {
            temperature: 0.9,
            top_p: 0.95,
            seed,
            ..Sampling::GREEDY
        },
        logit_bias: Vec::new(),
        stop: vec![CLOSE.to_owned()],
        constraint: None,
        decoding: Decoding::default(),
        attention: AttentionPolicy::Full,
        adapter: None,
    }))
}

fn ask_text(spec: &TaskSpec, shown: &[String], wrong: bool) -> String {
    let labels = match &spec.output {
        Output::Labels { labels } => labels.iter().map(|l| l.word.as_str()).collect(),
        Output::Json { .. } | Output::Text { .. } | Output::Code { .. } => Vec::new(),
    };
    let rules = spec.constraints.join("\n");
    let shown = shown.join("\n\n");
    let instruction = &spec.instruction;
    match spec.language {
        Language::English => {
            let about = if wrong {
                "With it, these were answered wrongly:"
            } else {
                "Examples of right answers:"
            };
            format!(
                "This instruction is given to a small language model:\n\n{instruction}\n\n\
                 The only answers are: {}\nRules that must hold: {rules}\n\n{about}\n\n{shown}\n\n\
                 Write a better instruction for the same task: clear, general, at most four \
                 sentences, without examples. Keep the names of the answers and the rules as they \
                 are. Write it between {OPEN} and {CLOSE}.",
                labels.join(", ")
            )
        }
        Language::Chinese => {
            let about = if wrong {
                "使用该指令时，以下内容答错了："
            } else {
                "正确答案的例子："
            };
            format!(
                "下面的指令会交给一个小型语言模型：\n\n{instruction}\n\n\
                 只允许的答案：{}\n必须遵守的规则：{rules}\n\n{about}\n\n{shown}\n\n\
                 请为同一任务写一条更好的指令：清楚、通用，最多四句话，不要举例。\
                 答案名称和规则保持原样。请写在 {OPEN} 和 {CLOSE} 之间。",
                labels.join("、")
            )
        }
    }
}

fn example_lines(spec: &TaskSpec, labelled: &Labelled) -> String {
    format!(
        "{}\n→ {}",
        shortened(&identity(spec, &labelled.record)),
        labelled.gold
    )
}

fn failure_lines(spec: &TaskSpec, failure: &Failure) -> String {
    format!(
        "{}\n→ {} (✗ {})",
        shortened(&identity(spec, &failure.labelled.record)),
        failure.labelled.gold,
        shortened(&failure.given)
    )
}

fn shortened(text: &str) -> String {
    if text.chars().count() <= SHOWN_CHARACTERS {
        return text.to_owned();
    }
    let kept: String = text.chars().take(SHOWN_CHARACTERS).collect();
    format!("{kept}…")
}

/// The instruction in a writer's answer, without empty lines; the whole answer where it is not
/// marked, none where that is no instruction.
pub(super) fn read(answer: &str) -> Option<String> {
    let text = match answer.rsplit_once(OPEN) {
        Some((_, marked)) => marked.split(CLOSE).next().unwrap_or_default(),
        None => answer,
    };
    let text = text.trim().trim_matches(['"', '“', '”', '`']).trim();
    let letters = text.chars().filter(|c| c.is_alphanumeric());
    let letters: usize = letters.map(|c| if is_wide(c) { 2 } else { 1 }).sum();
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    (letters >= LEAST_LETTERS).then(|| lines.collect::<Vec<_>>().join("\n"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::scripted::{record, review_task};

    #[test]
    fn an_instruction_is_read_from_between_its_marks() {
        assert_eq!(
            read("Sure!\n<instruction>\nSay how the reviewer feels.\n</instruction> Done."),
            Some("Say how the reviewer feels.".to_owned())
        );
        assert_eq!(
            read("\"Tell the sentiment.\""),
            Some("Tell the sentiment.".to_owned())
        );
        for nothing in [
            "<instruction> </instruction>",
            "\n\n",
            "\n----------\n",
            "……。。",
        ] {
            assert_eq!(read(nothing), None, "{nothing}");
        }
        assert_eq!(
            read("<instruction>判断情感。\n\n  \n只写答案。"),
            Some("判断情感。\n只写答案。".to_owned())
        );
    }

    #[test]
    fn writers_are_told_of_labels_rules_and_failures() {
        let spec = TaskSpec {
            constraints: vec!["Never answer in French.".to_owned()],
            ..review_task()
        };
        let failure = Failure {
            labelled: Labelled {
                record: record(&json!({"text": "not bad"})),
                gold: "positive".to_owned(),
            },
            given: "negative".to_owned(),
        };
        let found = requests(&spec, &[], &[failure], 1);
        assert_eq!(found.len(), WRITTEN);
        let Request::Generate(first) = &found[0] else {
            panic!("instructions are generated");
        };
        let text = first.prompt.display_text();
        for part in [
            "positive, negative",
            "Never answer in French.",
            "not bad\n→ positive (✗ negative)",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
}
