//! Which fields a record has, where the words name them.

use std::ops::Range;
use std::sync::LazyLock;

use autoglm_spec::{Field, TaskKind};
use regex::Regex;

use super::list::list_in;
use super::nouns::{field_title, input_title};
use super::reading::{Reading, is_han, pattern};

/// The field of a record that the words do not describe.
pub(super) const DEFAULT_FIELD: &str = "text";

/// What introduces field names. The list follows the match; names in Chinese count only where the
/// row says `true`.
const LEAD_INS: &[(bool, &str)] = &[
    (
        true,
        r"\b(?:input |record )?(?:fields?|columns?|inputs)\b(?: names?)?(?:\s*(?:are|is|named|called|include|contain))?\s*[:：=]?",
    ),
    (
        true,
        r"(?:输入)?(?:字段|列名)(?:名称?)?(?:分别|包括|包含|叫做?|有|为|是)*\s*[：:]?",
    ),
    (true, r"输入(?:包括|包含|有|为|是)?\s*[：:]"),
    (
        false,
        r"\b(?:given|have|has|with|contains?|consists? of|take|from|read|using|use)\b(?: (?:the|its|their|records? with|two))*",
    ),
    (
        false,
        r"(?:给定|给出|输入|根据|包含|包括|依据|基于|有|对|把|将)",
    ),
];

/// Pairs of names that are fields wherever both are written.
const KNOWN_PAIRS: &[[&str; 2]] = &[
    ["premise", "hypothesis"],
    ["sentence1", "sentence2"],
    ["sentence_1", "sentence_2"],
    ["text1", "text2"],
    ["text_a", "text_b"],
    ["question1", "question2"],
];

/// What a passage is called, English and Chinese, with the field's name.
const PASSAGES: &[(&str, &str)] = &[
    (r"\bcontext\b|上下文", "context"),
    (r"\bdocuments?\b|文档|资料", "document"),
    (r"\barticles?\b", "article"),
    (
        r"\bpassages?\b|\bparagraph\b|文章|短文|段落|材料|课文|原文|阅读理解",
        "passage",
    ),
];

struct Table {
    lead_ins: Vec<(bool, Regex)>,
    named: Regex,
    braces: Regex,
    output: Regex,
    identifier: Regex,
    asked: Regex,
    passages: Vec<(Regex, &'static str)>,
    after: Regex,
}

static TABLE: LazyLock<Table> = LazyLock::new(|| Table {
    lead_ins: LEAD_INS
        .iter()
        .map(|(han, source)| (*han, pattern(source)))
        .collect(),
    named: pattern(
        r"\b(?:fields?|columns?)\s+(?:named |called )?`?([a-z_][\w\-]*)`?|`([a-z_][\w\-]*)` (?:field|column)|(?:字段|列)\s*`?([a-z_][\w\-]*)`?|`?([a-z_][\w\-]*)`?\s*(?:字段|这一列|列)",
    ),
    braces: pattern(r"\{([a-z_][\w\-]*)\}"),
    output: pattern(
        r"(?:\b(?:extract|return|output|json|produce|answer|keys?|pull out|give|fill)\b|抽取|提取|输出|返回|json)[^.。;；\n]*$",
    ),
    identifier: pattern(r"^[a-z_][\w\-]*$"),
    asked: pattern(r"\bquestions?\b|问题|提问"),
    after: pattern(
        r"\.(?:\s|$)|[!?。！？；;\n\x01]|[,，]?\s*\b(?:as|into|to|is|are|decide|determine|classify|answer (?:the|each|this|it|in|with|yes|only|based|using|my)|write|translate|summari[sz]e|whether|if|then)\b|[，,]?(?:请|判断|分|归|回答|进行|翻译|总结|概括|改写|生成|写|来|，)",
    ),
    passages: PASSAGES
        .iter()
        .map(|(source, name)| (pattern(source), *name))
        .collect(),
});

/// The fields of a record, and the place in the text that names them; that place is used up.
pub(super) fn fields(
    reading: &mut Reading<'_>,
    kind: TaskKind,
) -> (Vec<Field>, Option<Range<usize>>) {
    let found = braces(reading)
        .or_else(|| listed(reading, kind))
        .or_else(|| known_pair(reading))
        .or_else(|| single(reading, kind))
        .or_else(|| passage_and_question(reading, kind));
    let Some((names, span)) = found else {
        let title = input_title(reading, kind);
        return (
            vec![Field {
                name: DEFAULT_FIELD.to_owned(),
                title,
            }],
            None,
        );
    };
    let chinese = reading.chinese();
    let only = names.len() == 1;
    let field = |name: String| {
        let title = if only {
            input_title(reading, kind)
        } else {
            field_title(&name, chinese)
        };
        Field { name, title }
    };
    let fields = names.into_iter().map(field).collect();
    if let Some(span) = &span {
        reading.use_up(span.clone());
    }
    (fields, span)
}

type Found = (Vec<String>, Option<Range<usize>>);

/// `{title}` and `{body}`, as in a format string.
fn braces(reading: &Reading<'_>) -> Option<Found> {
    let mut names: Vec<String> = Vec::new();
    for captures in TABLE.braces.captures_iter(&reading.folded) {
        let name = reading.text(captures.get(1)?.range()).to_owned();
        if !names.contains(&name) {
            names.push(name);
        }
    }
    (!names.is_empty()).then_some((names, None))
}

fn listed(reading: &Reading<'_>, kind: TaskKind) -> Option<Found> {
    TABLE.lead_ins.iter().find_map(|(han, lead_in)| {
        lead_in.find_iter(&reading.folded).find_map(|hit| {
            let before = &reading.folded[..hit.start()];
            if TABLE.output.is_match(before) && kind != TaskKind::Classification {
                return None;
            }
            let list = list_in(reading, hit.end()..names_end(&reading.folded, hit.end()))?;
            let names: Vec<String> = list
                .items
                .iter()
                .map(|item| reading.text(item.clone()).to_owned())
                .collect();
            let span = hit.start()..list.items.last()?.end;
            let announced = *han;
            let fit = names.iter().all(|name| is_name(name, announced));
            let plain = announced || marked(reading, &span, &names);
            (fit && plain).then_some((names, Some(span)))
        })
    })
}

/// Where a list of field names that begins at a place ends at the latest: with the sentence, or
/// where the task goes on.
fn names_end(text: &str, start: usize) -> usize {
    TABLE
        .after
        .find(&text[start..])
        .map_or(text.len(), |hit| start + hit.start())
}

/// Whether a name can be a field's: an identifier, or a Chinese word where that is allowed.
fn is_name(name: &str, han: bool) -> bool {
    let chinese = han && name.chars().all(is_han) && name.chars().count() <= 8;
    TABLE.identifier.is_match(&name.to_lowercase()) || chinese
}

/// Whether names that nothing announces as fields can be some: they are written as code, they
/// stand in a Chinese sentence, or a premise and its like are among them.
fn marked(reading: &Reading<'_>, span: &Range<usize>, names: &[String]) -> bool {
    let known = |name: &String| field_title(name, true).chars().all(is_han);
    let text = reading.text(span.clone());
    text.contains('`') || names.iter().any(|name| name.contains('_')) || names.iter().all(known)
}

fn known_pair(reading: &Reading<'_>) -> Option<Found> {
    let text = &reading.folded;
    let pair = KNOWN_PAIRS
        .iter()
        .find(|pair| pair.iter().all(|name| text.contains(name)))?;
    let mut names = pair.map(str::to_owned).to_vec();
    names.sort_by_key(|name| text.find(name.as_str()));
    Some((names, None))
}

/// One field that is called a field.
fn single(reading: &Reading<'_>, kind: TaskKind) -> Option<Found> {
    let captures = TABLE.named.captures(&reading.folded)?;
    let before = &reading.folded[..captures.get(0)?.start()];
    if TABLE.output.is_match(before) && kind != TaskKind::Classification {
        return None;
    }
    let name = captures.iter().skip(1).flatten().next()?;
    let common = [
        "are", "is", "and", "of", "in", "the", "with", "to", "names", "name", "from", "as", "for",
    ];
    let written = reading.text(name.range()).to_owned();
    (!common.contains(&name.as_str())).then(|| (vec![written], captures.get(0).map(|m| m.range())))
}

/// A question with the text that answers it.
fn passage_and_question(reading: &Reading<'_>, kind: TaskKind) -> Option<Found> {
    let table = &*TABLE;
    if kind != TaskKind::QuestionAnswering {
        return None;
    }
    let text = &reading.folded;
    let ascii = |name: &str| text.find(name).filter(|_| reading.chinese());
    let (passage, name) = table
        .passages
        .iter()
        .find_map(|(regex, name)| regex.find(text).map(|hit| (hit.start(), *name)))?;
    let question = table.asked.find(text)?.start();
    let mut names = vec![name.to_owned(), "question".to_owned()];
    if ascii("question").is_some() && question < passage {
        names.reverse();
    }
    Some((names, None))
}
