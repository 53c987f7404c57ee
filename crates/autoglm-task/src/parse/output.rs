//! What an open answer looks like: the keys of extracted JSON, the programming language, the
//! language of a translation.

use std::ops::Range;
use std::sync::LazyLock;

use regex::Regex;
use serde_json::{Map, Value, json};

use super::list::{clean, list_at};
use super::reading::{Reading, is_han, pattern};

/// What introduces the things to extract.
const EXTRACTED: &[&str] = &[
    r"(?:找出|列出|提取|抽取|识别出?|挑出)(?:文中|文本中|句中|其中|文章中|新闻中|里面)(?:所?出现|提到|提及|包含)?的",
    r"\b(?:keys|fields|attributes|columns|entities|properties|values|details|items)\b[^.:：\n]{0,40}[:：]",
    r"\b(?:keys|fields|attributes|columns|entities|properties)\b(?: (?:are|named|called|such as|like))?\s*[:：]?",
    r"\b(?:extract|extracting|pull out|pull|identify|find|list|get|collect|locate|recogni[sz]e|return|parse(?: out)?)\b(?: me)?(?: the following)?(?: (?:fields|information|details|entities|data|values|items))?\s*[:：]?",
    r"(?:抽取|提取|抽出|摘出|找出|列出|取出|挑出|识别出?|解析出?)(?:出|到)?(?:以下|下列|下面|如下)?(?:的)?(?:信息|字段|内容|实体|要素|几项)?(?:有|包括)?\s*[：:]?",
    r"(?:字段|键|包含|包括|信息|要素|实体)(?:有|为|是|包括|如下)?\s*[：:]",
    r"(?:中的?|里的?)",
];

/// Where what is extracted ends and where it is extracted from begins.
const SOURCE: &str = r"(?:^|\s+)(?:from|in|out of|of (?:the|each|every|this)|for (?:the|each|every)|mentioned|that|which|who|found|contained|appearing|occurring|given|into|to|using|, if|if)\b.*$|(?:，|,)?(?:并|然后|以|用|按|输出|返回).*$|(?:等|这)(?:信息|字段|内容|要素|[一二三四五六七八九十\d几]+(?:个|项|种)).*$";

/// Keys that hold numbers.
const NUMBERS: &str = r"(?:\b|_)(?:amount|price|age|total|subtotal|quantity|qty|count|cost|salary|score|percent(?:age)?|year|years|number_of_\w+|weight|height|length|width|distance|tax|vat|discount|temperature|rating|revenue|income|population|area|duration)(?:\b|_|$)|金额|价格|数量|年龄|总价|总额|总计|合计|单价|人数|年限|薪资|工资|薪水|分数|面积|重量|长度|高度|次数|百分比|税额|折扣|评分|距离|温度|体重|身高|工龄|年份|件数";

/// Words in front of keys, with whether they mean a list.
const ALL: &str = r"^(?:all|every|each|any)(?: of)?(?: the)? |^(?:所有的?|全部的?|每个|各个?)";

struct Table {
    extracted: Vec<Regex>,
    source: Regex,
    numbers: Regex,
    all: Regex,
    code: Vec<(Regex, &'static str)>,
    target: Regex,
}

/// Programming languages: what names them, and their name in a code fence.
const CODE_LANGUAGES: &[(&str, &str)] = &[
    (r"\bpython\d?\b", "python"),
    (r"\bjavascript\b|\bnode\.?js\b", "javascript"),
    (r"\btypescript\b", "typescript"),
    (r"\brust\b", "rust"),
    (r"\bjava\b", "java"),
    (r"\bkotlin\b", "kotlin"),
    (r"\bswift\b", "swift"),
    (r"\bc\+\+|\bcpp\b", "cpp"),
    (r"\bc#|\bcsharp\b", "csharp"),
    (
        r"\bgolang\b|\b(?:in|a) go\b|\bgo (?:code|function|program|method|snippet)|(?:用|段|个)\s*go\b",
        "go",
    ),
    (r"\bruby\b", "ruby"),
    (r"\bphp\b", "php"),
    (r"\b(?:postgre|my)?sql(?:ite)?\b", "sql"),
    (r"\bbash\b|\bshell\b", "bash"),
    (r"\bhtml\b", "html"),
    (r"\bcss\b", "css"),
    (r"\bhaskell\b", "haskell"),
    (r"\bscala\b", "scala"),
    (r"\blua\b", "lua"),
    (r"\bin r\b|\br (?:code|script|function)", "r"),
    (
        r"\bin c\b|\bc (?:code|function|program)|用\s*c\s*语言|\bc\s*语言",
        "c",
    ),
];

/// Languages of people: English name, Chinese name, other Chinese spellings.
const LANGUAGES: &[(&str, &str, &str)] = &[
    ("English", "英文", "英语|英文|英"),
    ("Chinese", "中文", "中文|汉语|简体中文|普通话|中"),
    ("French", "法文", "法语|法文|法"),
    ("German", "德文", "德语|德文|德"),
    ("Spanish", "西班牙文", "西班牙语|西班牙文|西语"),
    ("Japanese", "日文", "日语|日文|日"),
    ("Korean", "韩文", "韩语|韩文|朝鲜语|韩"),
    ("Italian", "意大利文", "意大利语|意大利文"),
    ("Russian", "俄文", "俄语|俄文|俄"),
    ("Portuguese", "葡萄牙文", "葡萄牙语|葡语"),
    ("Arabic", "阿拉伯文", "阿拉伯语|阿拉伯文"),
    ("Dutch", "荷兰文", "荷兰语"),
    ("Vietnamese", "越南文", "越南语|越南文"),
    ("Thai", "泰文", "泰语|泰文"),
    ("Hindi", "印地文", "印地语"),
    ("Latin", "拉丁文", "拉丁语|拉丁文"),
    ("Turkish", "土耳其文", "土耳其语"),
    ("Polish", "波兰文", "波兰语"),
    ("Swedish", "瑞典文", "瑞典语"),
    ("Greek", "希腊文", "希腊语"),
    ("Classical Chinese", "文言文", "文言文|古文"),
    ("Cantonese", "粤语", "粤语|广东话"),
    ("Traditional Chinese", "繁体中文", "繁体中文|繁体"),
];

static TABLE: LazyLock<Table> = LazyLock::new(|| Table {
    extracted: EXTRACTED.iter().map(|source| pattern(source)).collect(),
    source: pattern(SOURCE),
    numbers: pattern(NUMBERS),
    all: pattern(ALL),
    code: CODE_LANGUAGES
        .iter()
        .map(|(source, name)| (pattern(source), *name))
        .collect(),
    target: target_pattern(),
});

fn target_pattern() -> Regex {
    let english: Vec<String> = LANGUAGES.iter().map(|row| row.0.to_lowercase()).collect();
    let mut chinese: Vec<&str> = LANGUAGES.iter().flat_map(|row| row.2.split('|')).collect();
    chinese.sort_by_key(|word| std::cmp::Reverse(word.len()));
    let english = english.join("|");
    let chinese = chinese.join("|");
    pattern(&format!(
        r"\b(?:into|to|in)\s+(?:simple |plain |idiomatic |modern |simplified )?({english})\b|(?:译成|译为|翻成|翻为|译作|译到|转换?成|转为|译|成|为)\s*(?:一段|地道的?|流畅的?|现代|简体)*({chinese}|{english})"
    ))
}

/// The language into which the text asks to translate, by its title in the prompt's language.
pub(super) fn target_language(reading: &Reading<'_>) -> Option<String> {
    let hit = TABLE.target.captures(&reading.folded)?;
    let name = hit.get(1).or_else(|| hit.get(2))?.as_str();
    let row = LANGUAGES.iter().find(|(english, _, chinese)| {
        english.to_lowercase() == name || chinese.split('|').any(|word| word == name)
    })?;
    Some(if reading.chinese() { row.1 } else { row.0 }.to_owned())
}

/// The programming language that the text names.
pub(super) fn code_language(reading: &Reading<'_>) -> Option<String> {
    let folded = &reading.folded;
    let found = TABLE
        .code
        .iter()
        .filter_map(|(regex, name)| Some((regex.find(folded)?.start(), name)));
    found.min().map(|(_, name)| (*name).to_owned())
}

/// A JSON Schema whose keys are the things that the text asks to extract, or `None` where it names
/// none.
pub(super) fn schema(reading: &Reading<'_>) -> Option<Value> {
    let keys = TABLE.extracted.iter().find_map(|lead_in| {
        lead_in
            .find_iter(&reading.folded)
            .find_map(|hit| keys_at(reading, hit.end()))
    })?;
    let mut properties = Map::new();
    for (key, property) in keys {
        properties.entry(key).or_insert(property);
    }
    let required: Vec<&String> = properties.keys().collect();
    let required = json!(required);
    Some(json!({
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    }))
}

type Key = (String, Value);

fn keys_at(reading: &Reading<'_>, start: usize) -> Option<Vec<Key>> {
    let end = cut_source(reading, start);
    let head = Reading {
        original: &reading.original[..end],
        folded: reading.folded[..end].to_owned(),
        language: reading.language,
    };
    let all = TABLE.all.is_match(reading.folded[start..end].trim_start());
    let spans = match list_at(&head, start) {
        Some(list) => list.items,
        None => vec![clean(
            &head.folded,
            start..sentence_end(&head.folded, start),
        )],
    };
    let keys: Option<Vec<Key>> = spans
        .into_iter()
        .map(|span| key(reading, span, all))
        .collect();
    keys.filter(|keys| !keys.is_empty())
}

fn sentence_end(text: &str, start: usize) -> usize {
    let stops = [
        '.', '!', '?', '。', '！', '？', '\n', ';', '；', '，', ',', '\u{1}', ':', '：',
    ];
    text[start..]
        .find(stops)
        .map_or(text.len(), |at| start + at)
}

/// Where the things to extract end: before `from the text` and its like, in the same sentence.
fn cut_source(reading: &Reading<'_>, start: usize) -> usize {
    let text = &reading.folded;
    let stops = ['!', '?', '。', '！', '？', ';', '；', '\u{1}'];
    let end = text[start..]
        .find(stops)
        .map_or(text.len(), |at| start + at);
    let first_line = text[start..end].lines().next().unwrap_or_default().len();
    let line_end = if first_line == 0 {
        end
    } else {
        start + first_line
    };
    match TABLE.source.find(&text[start..line_end]) {
        Some(hit) => start + hit.start(),
        None => end,
    }
}

/// A key with its type: its words in lower case joined by underscores, Chinese as it is.
fn key(reading: &Reading<'_>, span: Range<usize>, all: bool) -> Option<Key> {
    let span = clean(&reading.folded, span);
    let written = reading.text(span.clone());
    let words: Vec<&str> = written.split_whitespace().collect();
    let long = words.len() > 4 || written.chars().filter(|&c| is_han(c)).count() > 10;
    let vague = [
        "information",
        "data",
        "information:",
        "信息",
        "内容",
        "字段",
        "it",
        "them",
        "json",
    ];
    if words.is_empty() || long || vague.contains(&written.to_lowercase().as_str()) {
        return None;
    }
    let stripped = TABLE.all.replace(&reading.folded[span], "").into_owned();
    let offset = written.len() - stripped.len();
    let written = written.get(offset..).unwrap_or(written);
    let key = if written.chars().any(is_han) {
        written.trim().to_owned()
    } else if written.contains(char::is_whitespace) || !written.chars().any(char::is_lowercase) {
        written
            .to_lowercase()
            .split_whitespace()
            .collect::<Vec<_>>()
            .join("_")
    } else {
        written.to_owned()
    };
    let fit = key
        .chars()
        .all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '/' | '\''));
    let number = TABLE.numbers.is_match(&key.to_lowercase());
    let kind = if number { "number" } else { "string" };
    let property = if all || offset > 0 {
        json!({"type": "array", "items": {"type": kind}})
    } else {
        json!({"type": [kind, "null"]})
    };
    (fit && !key.is_empty()).then_some((key, property))
}
