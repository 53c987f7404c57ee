//! Which labels the words name, or which are customary where they name none.

use std::ops::Range;
use std::sync::LazyLock;

use regex::Regex;

use super::list::{List, clean, item_at, list_at, list_in};
use super::reading::{Reading, is_han, pattern};

/// Labels with how they were found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Labels {
    /// The labels' names.
    pub(super) names: Vec<String>,
    /// Where in the text they come from.
    pub(super) span: Range<usize>,
    /// How they were found.
    pub(super) source: Source,
}

/// How labels were found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// The text announces them, as in `labels: …` or `分为…`; they stand for a classification even
    /// where no verb does.
    Announced,
    /// The text names them in passing.
    Named,
    /// The text asks a question that is answered by yes or no.
    Boolean,
    /// The text names the subject only; these are the usual labels.
    Customary(&'static str),
}

/// How the list follows a lead-in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Follow {
    /// The list begins behind the match and announces labels.
    Announced,
    /// The list begins behind the match.
    List,
    /// The list begins behind the match and its last item is joined by a word such as `or`.
    OrList,
    /// The first group is the list.
    Group,
    /// The groups are two labels.
    Pair,
    /// The groups are the first and last of a range of whole numbers.
    Numbers,
}

/// What introduces labels, the surest first.
const LEAD_INS: &[(Follow, &str)] = &[
    (
        Follow::Announced,
        r"\b(?:labels?|categor(?:y|ies)|class(?:es)?|tags?|options?|choices|topics|intents|sentiments|emotions|answers?|values|departments|types|genres|buckets|groups)\b[^.!?:\n]{0,24}[:：=]",
    ),
    (
        Follow::Announced,
        r"\b(?:labels|categories|classes|tags|options|choices|topics|intents|possible answers|values)\b (?:are|is|being|include|come from|such as|like|namely)\b",
    ),
    (
        Follow::Announced,
        r"\b(?:labels|categories|classes|tags|topics)\b",
    ),
    (
        Follow::Announced,
        r"(?:标签|类别|选项|类型|种类|意图|情绪|情感|主题|话题|答案|分类|取值|档次|等级|领域|语气)(?:集合|列表|名称|共)?(?:有|包括|包含|分别)?(?:为|是|如下|有|取自|仅限于|只能是)?(?:以下|如下)?(?:[一二两三四五六七八九十\d]+(?:种|类|个)?)?\s*[：:]",
    ),
    (
        Follow::Announced,
        r"(?:标签|类别|选项|意图|主题|话题|取值)(?:集合|共)?(?:有|包括|包含|分别)?(?:为|是|有|包括|包含|取自|从)",
    ),
    (
        Follow::Announced,
        r"(?:以下|下列|下面|如下)[^，。！？\n]{0,12}(?:之一|一个|一种|一类|类别|标签|类|选项|几类|几种)(?:中的?一[个种类])?\s*(?:[：:]|中)",
    ),
    (
        Follow::Announced,
        r"(?:分为|分成|归为|归类为|归到|归入|归类到|归类成|分类为|分类成|分类到|分到|划分为|划分成|标注为|标注成|标记为|标记成|标为|标成|打上|判定为|判断为|判断成|判为|评为|区分为|分别归为|识别为|视为)(?:以下|下列|下面)?(?:[一二两三四五六七八九十几\d]+(?:种|类|个)(?:类别|标签)?(?:之一)?)?\s*[：:]?",
    ),
    (
        Follow::Group,
        r"(?:从|在|于)([^。！？\n]{3,80}?)(?:这?[一二两三四五六七八九十几\d]*(?:个|种|类|者)?(?:类别|标签|选项|词|情绪|意图)?)?(?:之?中|里|当中|之间|内)(?:只能)?(?:选|挑|任选|选择|区分|判断|做)",
    ),
    (
        Follow::Numbers,
        r"\b(?:from|between|of|scale)?\s*(\d{1,2})\s*(?:to|-|–|—|and|through)\s*(\d{1,2})\b(?:[- ]stars?| scale|\b)",
    ),
    (
        Follow::Numbers,
        r"(\d{1,2})\s*(?:到|至|-|–|~|～|—)\s*(\d{1,2})\s*(?:分|星|级|颗星|之间|的)",
    ),
    (
        Follow::Pair,
        r"\b(?:return|answer|output|reply|respond|say|print|write|give|use|put)(?: with)? [`'\x22“‘]?([^\s`'\x22”’,]{1,20})[`'\x22”’]? (?:if|when|for|in case)\b[^.!?\n]*?(?:otherwise|else|if not),?(?: (?:return|answer|output|say|with|it is|it's|write))* [`'\x22“‘]?([^\s`'\x22”’.,]{1,20})",
    ),
    (
        Follow::Pair,
        r"\b(?:return|answer|output|reply|respond|say|print|write|give|use|put)(?: with)? [`'\x22“‘]?([^\s`'\x22”’,]{1,20})[`'\x22”’]? (?:if|when|for)\b[^.!?\n]*?\b(?:and|or|,) [`'\x22“‘]?([^\s`'\x22”’.,]{1,20})[`'\x22”’]? (?:if|otherwise|when|for)\b",
    ),
    (
        Follow::Pair,
        r"(?:则?(?:回答|输出|返回|标为|标记为|标注为|写|记为|打))\s*[“‘「『\x22]?([^，。；“”‘’「」『』\x22\s]{1,8})[”’」』\x22]?\s*[，；,;。]?\s*(?:否则|不然|反之)(?:就|则)?(?:回答|输出|返回|标为|标记为|标注为|写|记为|打)?\s*[“‘「『\x22]?([^，。；“”‘’「」『』\x22\s]{1,8})",
    ),
    (
        Follow::Announced,
        r"\b(?:one|any|exactly one|only one) of\b(?: (?:the|these|those|following|\w+))??\s*(?:[:：]|\b)",
    ),
    (Follow::Announced, r"\bone of\b[^.!?:\n]{0,40}[:：]"),
    (
        Follow::Announced,
        r"\b(?:choose|pick|select)(?: (?:one|exactly one|only one|the best|either))?(?: (?:from|among|between|of|out of))?(?: the following)?\s*[:：]?",
    ),
    (
        Follow::List,
        r"\b(?:choose|pick|select)\b[^.!?:\n]{0,60}\b(?:from|among|between|out of)\b|\b(?:either|between|distinguish)\b|区分|辨别",
    ),
    (
        Follow::Group,
        r"[(（\[【]([^()（）\[\]【】\n]{2,160})[)）\]】]",
    ),
    (
        Follow::List,
        r"\bas\b(?: (?:either|being|one of|exactly one of))?",
    ),
    (Follow::List, r"\binto\b(?: (?:either|one of))?"),
    (
        Follow::List,
        r"\bunder\b|\bwith (?:one of |either |a |an |the )?",
    ),
    (
        Follow::OrList,
        r"\b(?:is|are|was|were|be|sounds?|seems?|feels?|looks?|express(?:es)?|conveys?|has|have|shows?|contains?|it's|its|reads?)\b(?: (?:mostly|mainly|more|rather|about|a|an|the|either)\b)*",
    ),
    (
        Follow::OrList,
        r"\b(?:answer|answering|say|reply|respond|return|output|print|write|give|use)(?: only)?(?: with)?(?: only| just| the word| the words| a single)?\b\s*[:：]?",
    ),
    (
        Follow::Announced,
        r"(?:只?(?:需)?(?:能|要|用)?(?:回答|输出|返回|答|填))(?:为|出)?(?:一个词|标签)?\s*[：:]?",
    ),
    (
        Follow::OrList,
        r"属于|到底是|究竟是|是|算是?|偏向?|倾向于?|为|看看|看|认为|选择|选|想要?",
    ),
    (Follow::List, r"\b(?:to|in|by|for)\b"),
    (Follow::OrList, r"^\s*"),
];

/// Words that ask for a yes or a no.
const BOOLEAN: &[&str] = &[
    r"\b(?:decide|determine|check|judge|tell me|tell|predict|detect|assess|see|find out|say|identify|figure out|verify|state|indicate|evaluate|classify|know|label|guess|mark)(?: (?:each|the|every|this) \w+(?: \w+)? by)? (?:if|whether)\b",
    r"(?:^|[.!,:;\n]\s*)(?:is|are|was|were|does|do|did|has|have|should) (?:the|this|these|that|it|an?|both|two|there|my|our|someone|they)\b[^.!\n?]*\?",
    r"是否|是不是|有没有|有无|能否|会不会|可不可以|能不能|对不对|行不行|吗\s*[？?]?\s*$|吗[？?]",
];

/// Subjects with the labels that are usual for them: the subject, what names it, English labels,
/// Chinese labels. The label in the middle of three that begins with `?` is taken where the text
/// speaks of a third way.
const CUSTOMARY: &[(&str, &str, &[&str], &[&str])] = &[
    (
        "true or false",
        r"\btrue (?:or|/|and) false\b|\bfact[- ]check|真假|真伪|属实",
        &["true", "false"],
        &["真", "假"],
    ),
    (
        "right or wrong",
        r"\bcorrectness\b|对错|正误",
        &["correct", "incorrect"],
        &["对", "错"],
    ),
    (
        "praise or blame",
        r"好评.{0,3}差评|好差评",
        &["positive", "negative"],
        &["好评", "差评"],
    ),
    (
        "praise or blame",
        r"褒贬",
        &["positive", "negative"],
        &["褒义", "贬义"],
    ),
    ("good or bad", r"好坏|优劣", &["good", "bad"], &["好", "坏"]),
    (
        "entailment",
        r"\bentail(?:s|ment)?\b|\bnli\b|natural language inference|蕴含|自然语言推理|推理关系",
        &["entailment", "neutral", "contradiction"],
        &["蕴含", "中立", "矛盾"],
    ),
    (
        "stance",
        r"\bstance\b|立场",
        &["favor", "against", "neutral"],
        &["支持", "反对", "中立"],
    ),
    (
        "sarcasm",
        r"\bsarcas(?:m|tic)\b|\biron(?:y|ic)\b|讽刺|反讽",
        &["sarcastic", "not sarcastic"],
        &["讽刺", "非讽刺"],
    ),
    (
        "spam",
        r"\bspam\b|\bjunk (?:mail|e-?mail)|垃圾(?:邮件|短信|信息|评论)",
        &["spam", "not spam"],
        &["垃圾", "正常"],
    ),
    (
        "phishing",
        r"\bphishing\b|\bscams?\b|\bfraud(?:ulent)?\b|诈骗|钓鱼|欺诈",
        &["fraud", "not fraud"],
        &["诈骗", "正常"],
    ),
    (
        "toxicity",
        r"\btoxic(?:ity)?\b|\bhate(?:ful)?\b|\boffensive\b|\babus(?:e|ive)\b|\bharass(?:ment|ing)\b|辱骂|仇恨|有害|攻击性|不文明|脏话|违规|恶意",
        &["toxic", "not toxic"],
        &["有害", "无害"],
    ),
    (
        "fake news",
        r"\bfake news\b|\bmisinformation\b|\brumou?rs?\b|谣言|假新闻|虚假",
        &["fake", "real"],
        &["谣言", "属实"],
    ),
    (
        "clickbait",
        r"\bclick-?bait\b|标题党",
        &["clickbait", "not clickbait"],
        &["标题党", "正常"],
    ),
    (
        "subjectivity",
        r"\bsubjectiv(?:e|ity)\b|主观|客观",
        &["subjective", "objective"],
        &["主观", "客观"],
    ),
    (
        "grammaticality",
        r"\bgrammatical(?:ity)?\b|\bacceptab(?:le|ility)\b|语病|通顺",
        &["acceptable", "unacceptable"],
        &["通顺", "有语病"],
    ),
    (
        "relevance",
        r"\brelevan(?:ce|t)\b|相关性",
        &["relevant", "irrelevant"],
        &["相关", "不相关"],
    ),
    (
        "similarity",
        r"\bparaphrases?\b|\bsame meaning\b|\bduplicates?\b|同义|语义相同|语义相似|意思相同",
        &["yes", "no"],
        &["是", "否"],
    ),
    (
        "urgency",
        r"\burgen(?:cy|t)\b|紧急程度|紧急性|是?紧急",
        &["urgent", "not urgent"],
        &["紧急", "不紧急"],
    ),
    (
        "priority",
        r"\bpriorit(?:y|ies)\b|\bseverity\b|优先级|严重程度|严重性",
        &["high", "medium", "low"],
        &["高", "中", "低"],
    ),
    (
        "formality",
        r"\bformality\b|正式程度",
        &["formal", "informal"],
        &["正式", "非正式"],
    ),
    (
        "difficulty",
        r"\bdifficulty\b|难度|难易",
        &["easy", "medium", "hard"],
        &["简单", "中等", "困难"],
    ),
    (
        "sentiment",
        r"\bsentiments?\b|\bpolarity\b|\b(?:positive|negative)(?:ness|ity)\b|\battitude\b|\bopinion mining\b|\bhow (?:\w+ )*feels?\b|情感|正负面|正负|情绪倾向|情绪(?:是)?(?:正|负)|态度|口碑|评价倾向|舆情|倾向|感情色彩|感情",
        &["positive", "?neutral", "negative"],
        &["正面", "?中性", "负面"],
    ),
    (
        "emotion",
        r"\bemotions?\b|\bmoods?\b|\bfeelings?\b|情绪|心情",
        &["joy", "sadness", "anger", "fear", "love", "surprise"],
        &["喜悦", "悲伤", "愤怒", "恐惧", "喜爱", "惊讶"],
    ),
    (
        "sentiment",
        r"\b(?:classify|rate|label|categori[sz]e)\b[^.!?\n]*\b(?:reviews?|feedback)\b|\btone\b|\bpositive\b.*\bnegative\b|评论(?:进行)?分类|影评分类|语气",
        &["positive", "?neutral", "negative"],
        &["正面", "?中性", "负面"],
    ),
];

/// What speaks of a third label between two.
const THIRD_WAY: &str = r"\bneutral\b|\b(?:three|3)[- ]?(?:way|class|classes|categories|labels)\b|\bmixed\b|中性|中立|三(?:分)?类|三种|三个类别|三元";

struct Table {
    lead_ins: Vec<(Follow, Regex)>,
    boolean: Vec<Regex>,
    customary: Vec<Regex>,
    third_way: Regex,
    slashed: Regex,
    quoted: Regex,
    or_pair: Regex,
    han_or: Regex,
    colon: Regex,
    or_not: Regex,
    not_a_pair: Regex,
}

static TABLE: LazyLock<Table> = LazyLock::new(|| Table {
    lead_ins: LEAD_INS
        .iter()
        .map(|(follow, source)| (*follow, pattern(source)))
        .collect(),
    boolean: BOOLEAN.iter().map(|source| pattern(source)).collect(),
    customary: CUSTOMARY.iter().map(|row| pattern(row.1)).collect(),
    third_way: pattern(THIRD_WAY),
    slashed: pattern(
        r"(?:[\w\p{Han}+\-']+(?: [\w+\-']+)?)(?:\s*[/／|｜]\s*[\w\p{Han}+\-']+(?: [\w+\-']+){0,2})+",
    ),
    quoted: pattern(
        r"[“‘「『`'\x22]([^“”‘’「」『』`'\x22\n]{1,30})[”’」』`'\x22]\s*(?:,|，|、|/|\bor\b|\band\b|,\s*or\b|,\s*and\b|或者?|还是|和|与|\|)\s*[“‘「『`'\x22]",
    ),
    or_pair: pattern(r"\b([a-z][\w\-]*|not [a-z]\w*) or (not [a-z][\w\-]*|[a-z][\w\-]*)"),
    han_or: pattern(r"(\p{Han}{1,6})(?:还是|或者?)(\p{Han}{1,6})"),
    colon: pattern(r"[:：]"),
    or_not: pattern(r"\b(?:if|whether|is|are|does|do|has)\b[^.!?\n]*\bor not\s*(?:[?.!,]|$)"),
    not_a_pair: pattern(
        r"^(?:the|a|an|this|these|that|in|on|of|to|one|two|more|less|he|she|it|they|for|by|with|and|at)$",
    ),
});

/// The labels that the text names or asks for, or `None`.
pub(super) fn named(reading: &Reading<'_>) -> Option<Labels> {
    let table = &*TABLE;
    let by_lead_in = table
        .lead_ins
        .iter()
        .find_map(|(follow, lead_in)| lead_in_list(reading, *follow, lead_in));
    by_lead_in
        .or_else(|| quoted(reading))
        .or_else(|| slashed(reading))
        .or_else(|| behind_colon(reading))
        .or_else(|| or_pair(reading))
        .or_else(|| boolean(reading))
}

/// The labels that are usual for the subject of the text, or `None`.
pub(super) fn customary(reading: &Reading<'_>) -> Option<Labels> {
    let table = &*TABLE;
    let rows = CUSTOMARY.iter().zip(&table.customary);
    let (row, hit) = rows.into_iter().find_map(|(row, regex)| {
        let hit = regex.find(&reading.folded)?;
        Some((row, hit))
    })?;
    let (subject, _, english, chinese) = row;
    let labels = if reading.chinese() { chinese } else { english };
    let third = table.third_way.is_match(&reading.folded);
    let names = labels
        .iter()
        .filter(|label| third || !label.starts_with('?'))
        .map(|label| label.trim_start_matches('?').to_owned())
        .collect();
    Some(Labels {
        names,
        span: hit.range(),
        source: Source::Customary(subject),
    })
}

fn lead_in_list(reading: &Reading<'_>, follow: Follow, lead_in: &Regex) -> Option<Labels> {
    lead_in.captures_iter(&reading.folded).find_map(|captures| {
        let whole = captures.get(0)?;
        let group = |index| captures.get(index).map(|group| group.range());
        match follow {
            Follow::Announced => {
                list_at(reading, whole.end()).map(|l| of(reading, l, Source::Announced))
            }
            Follow::List => list_at(reading, whole.end()).map(|l| of(reading, l, Source::Named)),
            Follow::OrList => {
                let before = &reading.folded[..whole.start()];
                let list = list_at(reading, whole.end()).filter(|list| list.joined_by_or)?;
                let last = list.items.last()?.clone();
                if &reading.folded[last] == "not" {
                    return None;
                }
                (!before.ends_with(['还', '不', '但'])).then(|| of(reading, list, Source::Named))
            }
            Follow::Group => list_in(reading, group(1)?).map(|l| of(reading, l, Source::Named)),
            Follow::Pair => pair(reading, group(1)?, group(2)?),
            Follow::Numbers => numbers(reading, group(1)?, group(2)?),
        }
    })
}

fn of(reading: &Reading<'_>, list: List, source: Source) -> Labels {
    let span = list.items.first().map_or(0, |item| item.start)
        ..list.items.last().map_or(0, |item| item.end);
    let mut names: Vec<String> = list
        .items
        .into_iter()
        .map(|item| reading.text(item).to_owned())
        .collect();
    if let Some(last) = names
        .last()
        .filter(|last| *last == "not" || *last == "不是")
    {
        let joint = if last == "not" { "not " } else { "非" };
        let negated = format!("{joint}{}", names[0]);
        names.pop();
        names.push(negated);
    }
    if let [first, second] = names.as_mut_slice()
        && let Some(positive) = negated(first, second)
    {
        positive.clone_into(first);
    }
    Labels {
        names,
        span,
        source,
    }
}

/// The end of a first item that a second item negates: `重要` of `邮件重要` and `不重要`.
fn negated<'a>(first: &str, second: &'a str) -> Option<&'a str> {
    let positives = ["不是", "不", "非", "没有", "没", "无"]
        .iter()
        .filter_map(|not| second.strip_prefix(not));
    let mut fitting = positives.filter(|positive| !positive.is_empty());
    fitting.find(|positive| first.ends_with(positive))
}

fn pair(reading: &Reading<'_>, first: Range<usize>, second: Range<usize>) -> Option<Labels> {
    let span = first.start..second.end;
    let names = [first, second].map(|place| {
        let place = clean(&reading.folded, place);
        reading.text(place).to_owned()
    });
    let [a, b] = &names;
    let distinct = a != b && !a.is_empty() && !b.is_empty();
    distinct.then(|| Labels {
        names: names.to_vec(),
        span,
        source: Source::Named,
    })
}

fn numbers(reading: &Reading<'_>, first: Range<usize>, last: Range<usize>) -> Option<Labels> {
    let span = first.start..last.end;
    let low: u32 = reading.text(first).parse().ok()?;
    let high: u32 = reading.text(last).parse().ok()?;
    let sensible = low < 2 && high > low && high <= 10;
    let rating = pattern_rating(reading);
    (sensible && rating).then(|| Labels {
        names: (low..=high).map(|n| n.to_string()).collect(),
        span,
        source: Source::Named,
    })
}

/// Whether a range of numbers in the text can be a rating.
fn pattern_rating(reading: &Reading<'_>) -> bool {
    static RATING: LazyLock<Regex> = LazyLock::new(|| {
        pattern(
            r"\b(?:rate|rating|score|grade|scale|stars?|rank|points?)\b|评分|打分|评级|打|星|分",
        )
    });
    RATING.is_match(&reading.folded)
}

/// Labels in quotes that a separator parts: the list from the first quote on.
fn quoted(reading: &Reading<'_>) -> Option<Labels> {
    let hit = TABLE.quoted.find(&reading.folded)?;
    list_at(reading, hit.start()).map(|list| of(reading, list, Source::Announced))
}

fn slashed(reading: &Reading<'_>) -> Option<Labels> {
    TABLE.slashed.find_iter(&reading.folded).find_map(|hit| {
        let around = &reading.folded[..hit.start()];
        let is_path = around.ends_with([':', '/', '.', '\\']) || hit.as_str().starts_with("and/or");
        let list = list_in(reading, trim_lead(reading, hit.range()))?;
        let letters = list
            .items
            .iter()
            .all(|item| reading.text(item.clone()).chars().any(char::is_alphabetic));
        (!is_path && letters).then(|| of(reading, list, Source::Announced))
    })
}

/// Cuts what stands before the first label of a slashed list: in English the words before the
/// last, unless all parts have as many.
fn trim_lead(reading: &Reading<'_>, span: Range<usize>) -> Range<usize> {
    let content = &reading.folded[span.clone()];
    let mut parts = content.split(['/', '／', '|', '｜']).map(str::trim);
    let first = parts.next().unwrap_or_default();
    let widest = parts.map(|part| part.split(' ').count()).max().unwrap_or(1);
    match first.rfind(' ') {
        Some(space) if widest < 2 => span.start + space + 1..span.end,
        _ => span,
    }
}

/// The last list behind a colon.
fn behind_colon(reading: &Reading<'_>) -> Option<Labels> {
    let colons: Vec<usize> = TABLE
        .colon
        .find_iter(&reading.folded)
        .map(|hit| hit.end())
        .collect();
    colons.into_iter().rev().find_map(|at| {
        let list = list_at(reading, at)?;
        let short = |item: &Range<usize>| reading.text(item.clone()).split(' ').count() <= 3;
        list.items
            .iter()
            .all(short)
            .then(|| of(reading, list, Source::Announced))
    })
}

/// `X or Y` inside a question, `X还是Y`: the words next to the joint.
fn or_pair(reading: &Reading<'_>) -> Option<Labels> {
    let table = &*TABLE;
    if table.or_not.is_match(&reading.folded) {
        return None;
    }
    let english = table
        .or_pair
        .captures_iter(&reading.folded)
        .find_map(|captures| {
            let (first, second) = (captures.get(1)?, captures.get(2)?);
            let word = |text: &str| !table.not_a_pair.is_match(text);
            (word(first.as_str()) && word(second.as_str()) && first.as_str() != "whether")
                .then(|| pair(reading, first.range(), second.range()))?
        });
    english.or_else(|| han_pair(reading))
}

/// `紧急还是普通`: the second item ends with the clause, the first is as long, and where the second
/// is the first negated, it is what is negated.
fn han_pair(reading: &Reading<'_>) -> Option<Labels> {
    let captures = TABLE.han_or.captures(&reading.folded)?;
    let (before, after) = (captures.get(1)?, captures.get(2)?);
    let second = item_at(reading, after.start())?;
    let second_text = &reading.folded[second.clone()];
    let negated = negated(before.as_str(), second_text);
    let wanted = negated
        .unwrap_or(second_text)
        .chars()
        .filter(|&c| is_han(c))
        .count();
    let chars: Vec<usize> = before.as_str().char_indices().map(|(at, _)| at).collect();
    let from = before.start() + chars[chars.len().checked_sub(wanted)?];
    pair(reading, from..before.end(), second)
}

fn boolean(reading: &Reading<'_>) -> Option<Labels> {
    let hit = TABLE
        .boolean
        .iter()
        .find_map(|regex| regex.find(&reading.folded))?;
    let words = if reading.chinese() {
        ["是", "否"]
    } else {
        ["yes", "no"]
    };
    Some(Labels {
        names: words.map(str::to_owned).to_vec(),
        span: hit.range(),
        source: Source::Boolean,
    })
}
