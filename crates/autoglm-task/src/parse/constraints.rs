//! Rules that every answer must obey, and how long an answer may be.

use std::ops::Range;
use std::sync::LazyLock;

use autoglm_spec::TaskKind;
use regex::{Captures, Regex};

use super::reading::{Reading, pattern};

/// What a constraint limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Limit {
    Words,
    Characters,
    HanCharacters,
    Sentences,
    Items,
    Nothing,
    /// The answer is JSON.
    Json,
    /// How a closed set is answered; the labels are read from it, so it stays readable.
    OneLabel,
}

const NUMBER: &str = r"(\d{1,5}|one|two|three|four|five|six|seven|eight|nine|ten|a single|twelve|fifteen|twenty|thirty|forty|fifty|a hundred|one hundred)";
const HAN_NUMBER: &str = r"(\d{1,5}|[一二两三四五六七八九十百]{1,4})";

/// Constraints as they are written; `{n}` and `{汉}` stand for a number.
const CONSTRAINTS: &[(Limit, &str)] = &[
    (
        Limit::Words,
        r"\b(?:in |with |using |to )?(?:at most|up to|no more than|not more than|fewer than|less than|under|max(?:imum)?(?: of)?|within|about|around|approximately|exactly|limit(?:ed)? to|keep it (?:under|below|to))\s*{n}[- ]words?(?: or (?:less|fewer))?",
    ),
    (
        Limit::Words,
        r"\bin {n}(?: to \w+|[-–]\d+)? words?(?: or (?:less|fewer))?|\b{n} words (?:max(?:imum)?|at most|or (?:less|fewer))",
    ),
    (
        Limit::Characters,
        r"\b(?:in |with |using )?(?:at most|up to|no more than|fewer than|less than|under|max(?:imum)?(?: of)?|within|about|around)\s*{n} char(?:acter)?s",
    ),
    (
        Limit::Sentences,
        r"\b(?:in |with |using )?(?:at most |up to |no more than |exactly |just |only )?{n}[- ](?:short |concise |brief |simple )?sentences?\b",
    ),
    (
        Limit::Items,
        r"\b(?:in |with |using |as )?(?:at most |up to |no more than |exactly )?{n} (?:bullet points?|bullets|points|key points|lines|items)\b",
    ),
    (
        Limit::HanCharacters,
        r"(?:字数)?(?:控制|限制)?(?:在|于)?(?:不超过|不多于|不得超过|不能超过|不要超过|最多|至多|少于|小于|约|大约|大概|限)?\s*{汉}\s*(?:个)?(?:汉)?字(?:符)?(?:以内|之内|内|以下|左右)?",
    ),
    (
        Limit::Words,
        r"(?:不超过|不多于|最多|至多|少于)\s*{汉}\s*个?(?:英文)?(?:单词|词)(?:以内)?",
    ),
    (
        Limit::Sentences,
        r"(?:用|以|写成)?(?:不超过|最多|至多)?{汉}(?:句|个句子)(?:话)?(?:以内)?",
    ),
    (
        Limit::Items,
        r"(?:分成?|列出|用)?(?:不超过|最多|至多)?{汉}(?:条|点)(?:以内|要点)?",
    ),
    (
        Limit::Json,
        r"\b(?:in|as|using|return|output|give|produce|format(?:ted)? as|respond with|reply with|with)(?: only)?(?: a| an| valid| strict| one)* json(?: object| format| array| only)?\b|(?:以|用|按|按照|输出|返回|给出|写成|整理成|转成)?(?:为|成)?\s*json\s*(?:格式|对象|形式|数组)?(?:的)?(?:输出|返回|回答|给出|表示|形式)?",
    ),
    (
        Limit::OneLabel,
        r"\b(?:answer|reply|respond|output|return) with (?:only |just )?(?:the|one|a single|exactly one) (?:label|word|category|class)(?: only)?\b",
    ),
    (
        Limit::Nothing,
        r"\b(?:no|without|don't give|do not give|do not add|don't add|skip the|omit)(?: any| an| further| additional)? (?:explanations?|reasons?|reasoning|comments?|commentary|preamble|introduction|markdown|emojis?|punctuation|extra text|opinions?|jargon|hashtags?|quotes?|details)\b",
    ),
    (
        Limit::Nothing,
        r"\b(?:do not|don't|never) (?:explain|add|use|include|mention|change|invent|make up|repeat|translate|write|guess)\b[^.!?;\n，,]*",
    ),
    (
        Limit::Nothing,
        r"\b(?:use|in|with|keep|using)(?: a| an| the)? (?:(?:very |more )?(?:formal|informal|friendly|polite|neutral|casual|professional|simple|plain|academic|concise|humorous|objective|present|past|third[- ]person|warm)(?: and \w+)?) (?:tone|language|style|english|words|voice|tense|register|manner)\b",
    ),
    (
        Limit::Nothing,
        r"\b(?:keep|preserve|retain|leave) (?:the |all |any )?(?:original |same )?(?:names?|numbers?|meaning|formatting|tone|line breaks|html|markdown|proper nouns?|style|terms?|technical terms)\b[^.!?;\n，,]*",
    ),
    (
        Limit::Nothing,
        r"\bwithout (?:changing|losing|adding|altering|using|mentioning|translating)\b[^.!?;\n，,]*",
    ),
    (
        Limit::Nothing,
        r"\b(?:answer|reply|respond|write)(?: only)? in (?:english|chinese|french|german|spanish|japanese|simplified chinese|traditional chinese)\b",
    ),
    (
        Limit::Nothing,
        r"(?:无需|不要|不用|不需要|请勿|禁止|不得|别|勿)(?:任何|做|加|给出|输出|添加|进行|使用|改变|写|带|有|出现|额外)*(?:解释|说明|理由|标点|多余|其他内容|额外|表情|原意|评论|分析|markdown|换行|编造|臆造|废话|客套话|编号)[^，。；;！？\n]{0,8}",
    ),
    (
        Limit::Nothing,
        r"(?:语气|风格|文风|口吻|措辞)(?:要|应|须|需|保持|尽量|更|为)*(?:正式|礼貌|友好|客观|中立|轻松|活泼|简洁|专业|幽默|亲切|口语化|书面)[^，。；;！？\n]{0,6}|(?:使用|用|采用|以)(?:正式|礼貌|友好|客观|中立|轻松|活泼|简洁|专业|幽默|亲切|口语化?|书面)[^，。；;！？\n]{0,4}(?:语气|风格|语言|口吻|文风|措辞)",
    ),
    (
        Limit::Nothing,
        r"保(?:留|持)[^，。；;！？\n]{0,10}(?:不变|原意|格式|数字|人名|专有名词|术语|风格|换行|语气)|不(?:改变|丢失|增加)[^，。；;！？\n]{1,8}",
    ),
    (
        Limit::OneLabel,
        r"(?:只|仅)(?:需|能|要|可以?)?(?:回答|输出|返回|给出|回复)(?:一个|其中一个)?(?:标签|类别|答案|结果|分类结果|类别名称?|词)",
    ),
    (
        Limit::Nothing,
        r"(?:用|以|使用)(?:简体中文|繁体中文|中文|英文|英语|汉语|日语|日文)(?:回答|作答|输出|回复|书写|写)",
    ),
];

static TABLE: LazyLock<Vec<(Limit, Regex)>> = LazyLock::new(|| {
    let compile = |(limit, source): &(Limit, &str)| {
        let source = source.replace("{n}", NUMBER).replace("{汉}", HAN_NUMBER);
        (*limit, pattern(&source))
    };
    CONSTRAINTS.iter().map(compile).collect()
});

/// What the text demands of every answer.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Demands {
    /// The rules in the user's words, in the order of the text.
    pub(super) constraints: Vec<String>,
    /// Whether the answer is to be JSON.
    pub(super) json: Option<Range<usize>>,
    /// Tokens that the limits allow, where there are some.
    pub(super) max_tokens: Option<usize>,
}

/// Reads the rules and uses up their places, so that no later rule takes them for labels.
pub(super) fn demands(reading: &mut Reading<'_>) -> Demands {
    let mut found: Vec<(Range<usize>, Limit, Option<usize>)> = Vec::new();
    for (limit, regex) in &*TABLE {
        for captures in regex.captures_iter(&reading.folded) {
            let Some(whole) = captures.get(0) else {
                continue;
            };
            let span = whole.range();
            let overlaps = found
                .iter()
                .any(|(other, _, _)| other.start < span.end && span.start < other.end);
            if !overlaps {
                found.push((span, *limit, number(&captures)));
            }
        }
    }
    found.sort_by_key(|(span, _, _)| span.start);
    let mut demands = Demands::default();
    for (span, limit, number) in found {
        if limit == Limit::Json {
            demands.json = Some(span.clone());
        } else {
            demands
                .constraints
                .push(reading.text(span.clone()).trim().to_owned());
        }
        demands.max_tokens = tokens_for(limit, number).or(demands.max_tokens);
        reading.use_up(span);
    }
    demands
}

/// Tokens that suffice for a limit: one and a half for an English word, two for a Chinese
/// character (small vocabularies spell rare ones in bytes), forty for a sentence, and some to
/// end with.
fn tokens_for(limit: Limit, number: Option<usize>) -> Option<usize> {
    let number = number?;
    let tokens = match limit {
        Limit::Words => number.checked_mul(3)? / 2,
        Limit::Characters => number / 2,
        Limit::HanCharacters => number.checked_mul(2)?,
        Limit::Sentences => number.checked_mul(48)?,
        Limit::Items => number.checked_mul(40)?,
        Limit::Nothing | Limit::Json | Limit::OneLabel => return None,
    };
    Some((tokens + 16).min(8192))
}

fn number(captures: &Captures<'_>) -> Option<usize> {
    let text = captures.iter().skip(1).flatten().next()?.as_str();
    text.parse()
        .ok()
        .or_else(|| number_word(text))
        .or_else(|| han_number(text))
}

fn number_word(text: &str) -> Option<usize> {
    const WORDS: &[(&str, usize)] = &[
        ("one", 1),
        ("a single", 1),
        ("two", 2),
        ("three", 3),
        ("four", 4),
        ("five", 5),
        ("six", 6),
        ("seven", 7),
        ("eight", 8),
        ("nine", 9),
        ("ten", 10),
        ("twelve", 12),
        ("fifteen", 15),
        ("twenty", 20),
        ("thirty", 30),
        ("forty", 40),
        ("fifty", 50),
        ("a hundred", 100),
        ("one hundred", 100),
    ];
    WORDS
        .iter()
        .find(|(word, _)| *word == text)
        .map(|(_, number)| *number)
}

/// A Chinese number below a thousand.
fn han_number(text: &str) -> Option<usize> {
    let mut total = 0;
    let mut digit = None;
    for c in text.chars() {
        if let Some(value) = "一二三四五六七八九".chars().position(|d| d == c) {
            digit = Some(value + 1);
        } else {
            match c {
                '两' => digit = Some(2),
                '十' => total += digit.take().unwrap_or(1) * 10,
                '百' => total += digit.take().unwrap_or(1) * 100,
                _ => return None,
            }
        }
    }
    Some(total + digit.unwrap_or(0)).filter(|&n| n > 0)
}

/// Tokens that an answer of a kind may have where the text sets no limit.
pub(super) fn usual_tokens(kind: TaskKind) -> usize {
    match kind {
        TaskKind::Classification => 16,
        TaskKind::QuestionAnswering => 64,
        TaskKind::Summarisation => 128,
        TaskKind::Extraction
        | TaskKind::Translation
        | TaskKind::Rewriting
        | TaskKind::CodeCompletion
        | TaskKind::Free => 256,
        TaskKind::CodeGeneration => 512,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, constraints: &[&str], max_tokens: Option<usize>) {
        let demands = demands(&mut Reading::new(text));
        assert_eq!(demands.constraints, constraints, "{text}");
        assert_eq!(demands.max_tokens, max_tokens, "{text}");
    }

    #[test]
    fn constraints_are_kept_in_the_users_words() {
        check(
            "Summarise in at most 50 words.",
            &["in at most 50 words"],
            Some(91),
        );
        check(
            "Summarise it in one sentence",
            &["in one sentence"],
            Some(64),
        );
        check(
            "Rewrite, use formal tone, no explanation",
            &["use formal tone", "no explanation"],
            None,
        );
        check(
            "用不超过50字概括，不要解释",
            &["不超过50字", "不要解释"],
            Some(116),
        );
        check("写一句话摘要", &["一句话"], Some(64));
        check("一百二十字以内", &["一百二十字以内"], Some(256));
        check("判断情感", &[], None);
    }

    #[test]
    fn json_is_asked_for_in_both_languages() {
        for text in [
            "Extract the name as JSON",
            "Return JSON with a name",
            "以 JSON 格式输出姓名",
            "返回JSON",
        ] {
            assert!(demands(&mut Reading::new(text)).json.is_some(), "{text}");
        }
    }
}
