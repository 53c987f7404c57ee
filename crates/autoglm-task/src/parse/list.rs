//! Lists in running text: `urgent, normal or low`, `体育、财经、科技 三类`, `"yes" / "no"`, bullets.

use std::ops::Range;
use std::sync::LazyLock;

use regex::Regex;

use super::reading::{Reading, is_han, pattern};
use super::scan::{Mark, OPENING, Separator, marks_in, opening_quote, quoted_spans, segment_end};

/// A list found in a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct List {
    /// The items' places, cleaned of quotes, articles and numbering.
    pub(super) items: Vec<Range<usize>>,
    /// Whether the last item was joined by a word such as `or` or `还是`.
    pub(super) joined_by_or: bool,
}

struct Words {
    joint: Regex,
    or: Regex,
    bullet: Regex,
    tail: Regex,
    class_count: Regex,
    article: Regex,
}

static WORDS: LazyLock<Words> = LazyLock::new(|| Words {
    joint: pattern(
        r"\s*\b(?:or|and|vs\.?|versus)\b\s*|\s*(?:或者|还是|或|以及|及其|和|与|及|跟|&)\s*",
    ),
    or: pattern(r"\bor\b|或|还是|\bvs\b"),
    bullet: pattern(r"^\s*(?:[-*•·–]|\d{1,2}\s*[.)、．:：]|[(（]\d{1,2}[)）]|[a-z][.)]|[①-⑳])\s*"),
    tail: pattern(
        r"\s+(?:depending|based|according|using|by|if|when|for|without|respectively|please|then|so|because|from|which|where|in (?:the|a|each|this|every|json|any|it)|to the|about|with|on the|of the|output|answer|are|is|only|inclusive|as json|as a json)\b.*$|\s+-\s+.*$|(?:中的?任?[一1]?[个种类项]|之一|中选|里的?一?[个种类]|等(?:[一二两三四五六七八九十\d]+)?(?:个|种|类|类别)?|这[几两三四五六七八九十]).*$",
    ),
    class_count: pattern(
        r"\s*(?:这|共|一共|总共)?(?:[一二两三四五六七八九十几]|\d{1,2})\s*(?:个|种|大|档)?\s*(?:类别|类型|标签|等级|类|种|档|级|个|项|选项|情感|情绪|主题).*$",
    ),
    article: pattern(r"^(?:(?:either|being|just|an?|the|its|their|all|any|each|every)\s+)+"),
});

/// The list that begins at a place, or `None` where fewer than two plausible items follow.
pub(super) fn list_at(reading: &Reading<'_>, start: usize) -> Option<List> {
    bullets_at(reading, start).or_else(|| {
        let end = segment_end(&reading.folded, start);
        list_in(reading, start..end)
    })
}

/// The list that a stretch of text is.
pub(super) fn list_in(reading: &Reading<'_>, segment: Range<usize>) -> Option<List> {
    let text = reading.folded.as_str();
    let parts = split(text, segment.clone());
    let mut list = join_last(text, &parts);
    list.joined_by_or |= parts.len() > 1 && WORDS.or.is_match(&text[segment]);
    let count = list.items.len();
    let cleaned = list.items.iter().enumerate().map(|(index, item)| {
        if index + 1 == count {
            clean(text, item.clone())
        } else {
            clean_inner(text, item.clone())
        }
    });
    list.items = cleaned
        .take_while(|item| plausible(&text[item.clone()]))
        .collect();
    drop_shared_tail(text, &mut list.items);
    drop_repeated(text, &mut list.items);
    (list.items.len() >= 2).then_some(list)
}

/// The single plausible item that a stretch of text begins with.
pub(super) fn item_at(reading: &Reading<'_>, start: usize) -> Option<Range<usize>> {
    let text = reading.folded.as_str();
    let end = segment_end(text, start);
    let marks = marks_in(text, start..end);
    let end = marks.first().map_or(end, |(_, mark)| mark.start);
    let item = clean(text, start..end);
    plausible(&text[item.clone()]).then_some(item)
}

/// Lines that begin with a bullet or a number, from the next line break on.
fn bullets_at(reading: &Reading<'_>, start: usize) -> Option<List> {
    let text = reading.folded.as_str();
    let rest = &text[start..];
    let first = rest.trim_start_matches([' ', '\t', '\r', ':', '：']);
    if !first.starts_with('\n') {
        return None;
    }
    let mut offset = text.len() - first.len() + 1;
    let mut items = Vec::new();
    for line in first[1..].split('\n') {
        let Some(bullet) = WORDS.bullet.find(line) else {
            if line.trim().is_empty() && items.is_empty() {
                offset += line.len() + 1;
                continue;
            }
            break;
        };
        let span = offset + bullet.end()..offset + line.len();
        items.push(clean(text, cut_explanation(text, span)));
        offset += line.len() + 1;
    }
    items.retain(|item| plausible(&text[item.clone()]));
    (items.len() >= 2).then_some(List {
        items,
        joined_by_or: false,
    })
}

/// Cuts what explains a bullet: behind a colon, a dash or an opening bracket.
fn cut_explanation(text: &str, span: Range<usize>) -> Range<usize> {
    let line = &text[span.clone()];
    let cuts = [":", "：", " - ", " – ", "—", "(", "（"];
    let end = cuts
        .iter()
        .filter_map(|cut| line.find(cut))
        .filter(|&at| at > 0)
        .min();
    span.start..span.start + end.unwrap_or(line.len())
}

/// Splits a segment at its outermost separators; a comma behind the first item of a list that
/// something else parts ends the list.
fn split(text: &str, segment: Range<usize>) -> Vec<Range<usize>> {
    let marks = marks_in(text, segment.clone());
    let Some(primary) = primary(&marks) else {
        return spaced(text, segment);
    };
    let mut parts = Vec::new();
    let mut start = segment.start;
    for (separator, mark) in marks {
        if separator == primary {
            parts.push(start..mark.start);
            start = mark.end;
        } else if separator == Separator::Comma && !parts.is_empty() {
            parts.push(start..mark.start);
            return parts;
        }
    }
    parts.push(start..segment.end);
    parts
}

/// Items that only their quotes part, and Chinese items that only spaces part.
fn spaced(text: &str, segment: Range<usize>) -> Vec<Range<usize>> {
    let quoted = quoted_spans(&text[segment.clone()]);
    let outside: usize = quoted.iter().map(ExactSizeIterator::len).sum();
    if quoted.len() >= 2 && outside == text[segment.clone()].trim().len() {
        let place = |span: &Range<usize>| segment.start + span.start..segment.start + span.end;
        return quoted.iter().map(place).collect();
    }
    let words: Vec<Range<usize>> = text[segment.clone()]
        .split_whitespace()
        .map(|word| {
            let start = word.as_ptr() as usize - text.as_ptr() as usize;
            start..start + word.len()
        })
        .collect();
    let all_han = words
        .iter()
        .all(|word| text[word.clone()].chars().all(is_han));
    let joined = WORDS.joint.is_match(&text[segment.clone()]);
    if words.len() >= 2 && all_han && !joined {
        words
    } else {
        vec![segment]
    }
}

fn primary(marks: &[Mark]) -> Option<Separator> {
    let count = |wanted| {
        marks
            .iter()
            .filter(|(separator, _)| *separator == wanted)
            .count()
    };
    let (slashes, commas) = (count(Separator::Slash), count(Separator::Comma));
    let slash_first = matches!(marks.first(), Some((Separator::Slash, _)));
    if count(Separator::Pause) > 0 {
        Some(Separator::Pause)
    } else if count(Separator::Pipe) > 0 {
        Some(Separator::Pipe)
    } else if slashes > 0 && (commas == 0 || slash_first && commas <= slashes) {
        Some(Separator::Slash)
    } else if commas > 0 {
        Some(Separator::Comma)
    } else if count(Separator::Semicolon) > 0 {
        Some(Separator::Semicolon)
    } else {
        None
    }
}

/// Splits the last part at words such as `or` and `和`, and ends the list there.
fn join_last(text: &str, parts: &[Range<usize>]) -> List {
    let mut list = List {
        items: Vec::new(),
        joined_by_or: false,
    };
    for (index, part) in parts.iter().enumerate() {
        let last = index + 1 == parts.len();
        let content = &text[part.clone()];
        let lead = WORDS.joint.find(content.trim_start());
        if let Some(lead) = lead.filter(|lead| lead.start() == 0 && index > 0) {
            let indent = content.len() - content.trim_start().len();
            list.items.push(part.start + indent + lead.end()..part.end);
            list.joined_by_or = WORDS.or.is_match(lead.as_str());
            break;
        }
        let joints = joints_in(text, part.clone());
        let joined_later = !last && part_begins_with_joint(text, &parts[index + 1..]);
        if joints.is_empty() || joined_later {
            list.items.push(part.clone());
            continue;
        }
        let mut start = part.start;
        for joint in &joints {
            list.items.push(start..joint.start);
            start = joint.end;
            list.joined_by_or |= WORDS.or.is_match(&text[joint.clone()]);
        }
        list.items.push(start..part.end);
        break;
    }
    list
}

fn part_begins_with_joint(text: &str, parts: &[Range<usize>]) -> bool {
    parts.iter().any(|part| {
        let content = text[part.clone()].trim_start();
        WORDS
            .joint
            .find(content)
            .is_some_and(|joint| joint.start() == 0)
    })
}

/// Chinese words that contain a joining character without being one.
const NOT_JOINTS: &[&str] = &[
    "和谐",
    "和平",
    "参与",
    "及时",
    "及格",
    "和解",
    "温和",
    "柔和",
    "涉及",
    "平和",
    "饱和",
    "与会",
    "普及",
    "以及时",
    "共和",
    "和睦",
    "中和",
    "总和",
    "或许",
    "或有",
];

/// The joining words of a part that stand outside quotes and have something on both sides.
fn joints_in(text: &str, part: Range<usize>) -> Vec<Range<usize>> {
    let content = &text[part.clone()];
    let quoted = quoted_spans(content);
    let hits = WORDS.joint.find_iter(content).filter(|hit| {
        let both_sides = hit.start() > 0 && hit.end() < content.len();
        let inside = quoted
            .iter()
            .any(|span| span.contains(&hit.start()) && hit.end() < span.end);
        let part_of_word = NOT_JOINTS.iter().any(|word| {
            content
                .match_indices(word)
                .any(|(at, _)| at <= hit.start() && hit.end() <= at + word.len())
        });
        both_sides && !inside && !part_of_word
    });
    hits.map(|hit| part.start + hit.start()..part.start + hit.end())
        .collect()
}

/// An item without numbering, articles, quotes, explanations in brackets and what trails it.
pub(super) fn clean(text: &str, span: Range<usize>) -> Range<usize> {
    let mut span = trim(text, span);
    if let Some(inner) = quoted_head(text, span.clone()) {
        return inner;
    }
    for cut in [&WORDS.class_count, &WORDS.tail] {
        let hit = cut.find(&text[span.clone()]);
        if let Some(hit) = hit.filter(|hit| hit.start() > 0) {
            span.end = span.start + hit.start();
        }
    }
    clean_inner(text, span)
}

/// As [`clean`], for items that others follow, so that nothing trails them.
fn clean_inner(text: &str, span: Range<usize>) -> Range<usize> {
    let mut span = trim(text, span);
    if let Some(inner) = quoted_head(text, span.clone()) {
        return inner;
    }
    let bracket = text[span.clone()].find(OPENING);
    if let Some(bracket) = bracket.filter(|&at| at > 0) {
        span.end = span.start + bracket;
    }
    for lead in [&WORDS.bullet, &WORDS.article] {
        let content = &text[span.clone()];
        if let Some(hit) = lead.find(content).filter(|hit| hit.end() < content.len()) {
            span.start += hit.end();
        }
    }
    let span = trim(text, span);
    quoted_head(text, span.clone()).unwrap_or(span)
}

/// What the quotes at the beginning of a span enclose.
fn quoted_head(text: &str, span: Range<usize>) -> Option<Range<usize>> {
    let content = &text[span.clone()];
    let open = content.chars().next()?;
    let rest = &content[open.len_utf8()..];
    let close = opening_quote(open, ' ', rest)?;
    let start = span.start + open.len_utf8();
    Some(trim(text, start..start + rest.find(close)?))
}

fn trim(text: &str, span: Range<usize>) -> Range<usize> {
    let content = &text[span.clone()];
    let kept = content.trim_matches(|c: char| {
        c.is_whitespace()
            || matches!(
                c,
                '*' | ',' | '，' | '.' | ':' | '：' | '、' | '"' | ';' | '；'
            )
    });
    let start = span.start + (kept.as_ptr() as usize - content.as_ptr() as usize);
    start..start + kept.len()
}

/// Words that no item contains: where one stands, the stretch of text is no list.
const NOT_IN_ITEMS: &[&str] = &[
    "as",
    "into",
    "whether",
    "if",
    "that",
    "which",
    "is",
    "are",
    "this",
    "these",
    "following",
    "each",
    "from",
    "classify",
    "given",
    "please",
    "following:",
    "be",
    "does",
    "it",
    "and/or",
    "etc",
];
const NOT_IN_CHINESE_ITEMS: &[&str] = &[
    "判断",
    "以下",
    "下面",
    "请",
    "是否",
    "还是",
    "分为",
    "分成",
    "的是",
    "不要",
    "只回答",
    "这条",
    "这封",
    "这个",
    "这段",
    "这句",
];

fn plausible(item: &str) -> bool {
    let words: Vec<&str> = item.split_whitespace().collect();
    let han = item.chars().filter(|&c| is_han(c)).count();
    let meaningful = item
        .chars()
        .any(|c| c.is_alphanumeric() || is_emoji(c) || matches!(c, '+' | '-'));
    meaningful
        && words.len() <= 5
        && han <= 12
        && item.len() <= 60
        && !item.contains(['\u{1}', '\n', '{', '}'])
        && !words.iter().any(|word| NOT_IN_ITEMS.contains(word))
        && !NOT_IN_CHINESE_ITEMS.iter().any(|word| item.contains(word))
}

fn is_emoji(c: char) -> bool {
    matches!(c, '\u{2600}'..='\u{27bf}' | '\u{1f300}'..='\u{1faff}')
}

/// Nouns that the last item shares with all: `positive, negative or neutral opinion`.
const SHARED: &[&str] = &[
    "opinion",
    "opinions",
    "sentiment",
    "tone",
    "review",
    "reviews",
    "emotion",
    "attitude",
    "feedback",
    "comment",
    "comments",
    "label",
    "labels",
    "category",
    "class",
    "email",
    "emails",
    "message",
    "messages",
    "news",
    "mood",
    "feeling",
    "stance",
    "polarity",
    "categories",
    "ones",
    "classes",
    "tweet",
    "tweets",
    "text",
    "priority",
    "sense",
];
const CHINESE_SHARED: &[&str] = &[
    "的评价",
    "的情感",
    "情绪",
    "情感",
    "评价",
    "类别",
    "类",
    "的",
    "态度",
    "倾向",
    "标签",
];

fn drop_shared_tail(text: &str, items: &mut [Range<usize>]) {
    let Some((last, others)) = items.split_last_mut() else {
        return;
    };
    let content = &text[last.clone()];
    if let Some((head, tail)) = content.rsplit_once(' ')
        && SHARED.contains(&tail)
        && others
            .iter()
            .all(|other| !text[other.clone()].ends_with(tail))
    {
        last.end = last.start + head.trim_end().len();
    }
    let content = &text[last.clone()];
    let shared = CHINESE_SHARED.iter().find(|tail| {
        content.len() > tail.len()
            && content.ends_with(**tail)
            && others
                .iter()
                .all(|other| !text[other.clone()].ends_with(**tail))
            && others
                .iter()
                .all(|other| text[other.clone()].len() + tail.len() <= content.len())
    });
    if let Some(tail) = shared.filter(|_| !others.is_empty()) {
        last.end -= tail.len();
    }
}

fn drop_repeated(text: &str, items: &mut Vec<Range<usize>>) {
    let mut seen: Vec<&str> = Vec::new();
    items.retain(|item| {
        let content = &text[item.clone()];
        let first = !seen.contains(&content);
        seen.push(content);
        first
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, want: &[&str]) {
        let reading = Reading::new(text);
        let items: Vec<&str> = list_at(&reading, 0)
            .map(|list| list.items.into_iter().map(|item| &text[item]).collect())
            .unwrap_or_default();
        assert_eq!(items, want, "{text}");
    }

    #[test]
    fn lists_in_english() {
        check("urgent, normal or low", &["urgent", "normal", "low"]);
        check("urgent, normal, or low.", &["urgent", "normal", "low"]);
        check("spam or ham", &["spam", "ham"]);
        check(
            "a bug, a feature request or a question",
            &["bug", "feature request", "question"],
        );
        check("\"yes\" or \"no\"", &["yes", "no"]);
        check(
            "sports, arts and culture, and politics",
            &["sports", "arts and culture", "politics"],
        );
        check("positive/negative", &["positive", "negative"]);
        check("World, Sports, Sci/Tech", &["World", "Sports", "Sci/Tech"]);
        check(
            "urgent (today), normal (this week) or low",
            &["urgent", "normal", "low"],
        );
        check("A | B | C", &["A", "B", "C"]);
        check("'in stock', 'sold out'", &["in stock", "sold out"]);
        check("as urgent, normal, without explanation", &[]);
        check("spam or ham depending on the content", &["spam", "ham"]);
        check(
            "positive, negative or neutral opinion",
            &["positive", "negative", "neutral"],
        );
        check(
            ":\n- red\n- green: the colour of grass\n- blue",
            &["red", "green", "blue"],
        );
        check("just one thing", &[]);
    }

    #[test]
    fn lists_in_chinese() {
        check("体育、财经、科技 三类", &["体育", "财经", "科技"]);
        check("正面，负面，中性", &["正面", "负面", "中性"]);
        check("体育、财经和科技，不要解释", &["体育", "财经", "科技"]);
        check("“好评”或“差评”", &["好评", "差评"]);
        check("体育 财经 科技", &["体育", "财经", "科技"]);
        check("和平、战争", &["和平", "战争"]);
        check("高、中、低三档", &["高", "中", "低"]);
        check("1. 体育；2. 财经；3. 科技", &["体育", "财经", "科技"]);
        check("正面还是负面？", &["正面", "负面"]);
    }
}
