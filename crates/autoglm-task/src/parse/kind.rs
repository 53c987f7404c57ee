//! Which kind of task the words describe.

use std::ops::Range;
use std::sync::LazyLock;

use autoglm_spec::TaskKind;
use autoglm_spec::TaskKind::{
    Classification, CodeCompletion, CodeGeneration, Extraction, Free, QuestionAnswering, Rewriting,
    Summarisation, Translation,
};
use regex::Regex;

use super::reading::{Reading, pattern};

/// How strongly a phrase speaks for a kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Strength {
    /// A word of general use, such as `write`.
    Faint,
    /// A noun of the trade, such as `sentiment`.
    Hint,
    /// A word of general use where a request begins.
    Opening,
    /// A verb of the trade somewhere in the text.
    Verb,
    /// The same verb where a request begins.
    Request,
}

/// A kind of task with what speaks for it.
#[derive(Debug, Clone)]
pub(super) struct Evidence {
    pub(super) kind: TaskKind,
    pub(super) strength: Strength,
    pub(super) span: Range<usize>,
}

/// Phrases that ask for a kind of task. Where two begin at one place, the upper row wins.
const VERBS: &[(TaskKind, &str)] = &[
    // English
    (
        CodeCompletion,
        r"\b(?:complete|continue|finish|fill in|autocomplete)\b[^.!?\n]{0,40}\b(?:code|function|method|class|snippet|program|script|body|implementation)\b",
    ),
    (
        CodeCompletion,
        r"\b(?:code completion|code autocompletion)\b",
    ),
    (
        CodeGeneration,
        r"\b(?:write|generate|create|produce|give me|draft)\b[^.!?\n]{0,40}\b(?:code|functions?|programs?|scripts?|sql|quer(?:y|ies)|regex|regular expressions?|unit tests?|snippets?|algorithms?)\b",
    ),
    (
        CodeGeneration,
        r"\b(?:turn|convert|translate)\b[^.!?\n]{0,60}\b(?:into|to)\b[^.!?\n]{0,12}\b(?:sql|code|python|javascript|bash|regex)\b",
    ),
    (CodeGeneration, r"\b(?:implement|code generation)\b"),
    (
        Summarisation,
        r"\b(?:summari[sz]e|summari[sz]ing|sum up|tl;?dr|condense|shorten)\b",
    ),
    (
        Summarisation,
        r"\b(?:write|give|make|create|produce|provide|generate|draft)\b[^.!?\n]{0,40}\b(?:summary|summaries|abstract|tl;?dr|synopsis|gist|digest|overview)\b|\b(?:write|give|make|create|produce|generate|draft|suggest|find)\b[^.!?\n]{0,24}\b(?:a|an|its|their|one) (?:\w+ ){0,2}(?:headline|title)\b",
    ),
    (Translation, r"\b(?:translate|translating)\b"),
    (
        Translation,
        r"\b(?:render|put|turn|convert)\b[^.!?\n]{0,60}\b(?:into|to|in) (?:english|french|german|spanish|chinese|japanese|korean|italian|russian|portuguese)\b",
    ),
    (
        Extraction,
        r"\b(?:extract|extracting|pull out|named entity recognition|ner)\b",
    ),
    (
        Extraction,
        r"\b(?:list|find|identify|get|collect|detect|recogni[sz]e|locate|pull|return) (?:all|every|each|any|named|the names?|the dates?|the key)\b",
    ),
    (Extraction, r"\bparse (?:the|each|this|these|out|every)\b"),
    (
        Rewriting,
        r"\b(?:rewrite|re-write|rephrase|paraphrase|reword|polish|proofread|simplify|restate|edit)\b",
    ),
    (
        Rewriting,
        r"\b(?:correct|fix|improve|clean up)\b[^.!?\n]{0,24}\b(?:grammar|grammatical|spelling|typos?|style|punctuation|wording|text|sentences?|english|writing|errors|mistakes|tone|paragraphs?)\b",
    ),
    (
        Rewriting,
        r"\bmake\b[^.!?\n]{0,40}\b(?:more|less|sound|shorter|longer|simpler|clearer|polite|formal|friendlier|gender-neutral)\b",
    ),
    (
        Rewriting,
        r"\b(?:convert|change|turn)\b[^.!?\n]{0,40}\b(?:formal|informal|polite|passive|active|tone|voice|plain english)\b",
    ),
    (
        QuestionAnswering,
        r"\banswer(?:ing)?\b[^.!?\n]{0,60}\b(?:questions?|quer(?:y|ies))\b",
    ),
    (
        QuestionAnswering,
        r"\b(?:question[- ]answering|reading comprehension)\b",
    ),
    (
        QuestionAnswering,
        r"\banswer (?:it|them|based|using|from|me)\b",
    ),
    (
        QuestionAnswering,
        r"\b(?:respond|reply) to (?:the|each|this|these|every|my)(?: \w+)? (?:questions?|quer(?:y|ies))\b",
    ),
    (QuestionAnswering, r"\bsolve\b"),
    (
        Classification,
        r"\b(?:classify|classifying|classification|classifier|categori[sz]e|categori[sz]ation)\b",
    ),
    (
        Classification,
        r"\b(?:label|tag|mark|flag|annotate) (?:the|each|every|this|these|all|it|them|as|every|my|whether|if|incoming|customer|\w+s\b)",
    ),
    (
        Classification,
        r"\b(?:decide|determine|check|judge|tell me|tell|predict|detect|assess|see|find out|say|identify|figure out|verify|state|indicate|evaluate|guess|know) (?:if|whether)\b",
    ),
    (
        Classification,
        r"\b(?:sort|group|divide|split|bucket|triage|route|assign|put|file|separate|organi[sz]e)\b[^.!?\n]{0,60}\b(?:into|to|in|by|under|one of|between)\b",
    ),
    (Classification, r"\b(?:rate|score|grade|rank)\b"),
    (
        Classification,
        r"\b(?:detect|distinguish|moderate|filter)\b",
    ),
    (
        Classification,
        r"\b(?:predict|recogni[sz]e|identify|determine|decide|judge|assess|find|give|name|assign|evaluate|return|output|tell me|analy[sz]e|infer|guess)\b(?: me)?(?: \w+'s)?(?: (?:the|its|each|their|an?|overall|main|user|users'|customer))*(?: \w+){0,1} (?:sentiment|polarity|emotion|mood|tone|topic|category|intent|intention|stance|genre|class|label|language|priority|urgency|severity|attitude|type|subject)s?\b",
    ),
    (
        Classification,
        r"\b(?:sentiment|intent|topic|emotion|stance|toxicity|spam) (?:analysis|detection|recognition|prediction|identification)\b",
    ),
    (
        Classification,
        r"\b(?:choose|pick|select) (?:one|the|a|an|from|between|among|exactly|either|whichever)\b",
    ),
    (
        Classification,
        r"\bwhat(?: is|'s|’s| are) the (?:overall |main )?(?:sentiment|polarity|emotion|mood|tone|topic|category|intent|stance|genre|class|label|language|priority|attitude)\b",
    ),
    (
        Classification,
        r"\b(?:which|what) (?:of (?:the|these)|category|topic|class|label|sentiment|emotion|intent|language|kind|type|department|genre)\b",
    ),
    (
        Classification,
        r"\b(?:one|any) of (?:the|these)(?: \w+)? (?:categories|labels|classes|tags|options|topics)\b",
    ),
    (
        Classification,
        r"\b(?:categories|labels|classes|tags|options)\s*(?:are\b|[:：=])",
    ),
    (
        Classification,
        r"\b(?:return|answer|output|reply|respond|say|print|write|give)(?: with)? \S{1,20} (?:if|when|for)\b[^.!?\n]*\b(?:otherwise|else|if not)\b",
    ),
    (
        Classification,
        r"\b(?:answer|say|reply|respond)(?: only)?(?: with)?(?: only)? .?(?:yes|true)\b",
    ),
    (
        Classification,
        r"\b(?:positive|yes|true|spam|toxic|relevant) or (?:negative|no|false|not|ham|irrelevant)\b",
    ),
    (Classification, r"\btell\b[^.!?\n]{1,40}\bfrom\b"),
    // Chinese
    (
        Translation,
        r"(?:把|将)[^，。！？；\n]{1,24}(?:翻译|译成|译为|翻成)",
    ),
    (
        Rewriting,
        r"(?:把|将)[^，。！？；\n]{1,24}(?:改写|润色|改成|改为|改得|简化|转换?[成为](?:书面|口语|正式|文言|白话|被动|主动))",
    ),
    (
        Classification,
        r"(?:把|将)[^，。！？；\n]{1,24}(?:分类|分为|分成|归为|归类|标为|标记)",
    ),
    (
        Classification,
        r"(?:回答|输出|返回|标为?|写|记为)[^，。；\n]{1,10}[，,；;]\s*(?:否则|不然|反之)",
    ),
    (
        CodeCompletion,
        r"(?:补全|补完|续写|补齐|填充|完成).{0,14}(?:代码|函数|程序|方法|脚本)|代码.{0,4}(?:补全|续写)",
    ),
    (
        CodeGeneration,
        r"(?:写|编写|生成|实现|给出|转换?[成为]|翻译成).{0,20}(?:代码|函数|程序|脚本|sql|正则|算法|单元测试)|用\s*(?:python|java|rust|c\+\+|go|javascript|typescript|shell|sql)\s*(?:语言)?\s*(?:写|实现|编写|完成)|代码生成",
    ),
    (
        Summarisation,
        r"总结|概括|概述|归纳|简述|提炼|缩写|浓缩|精简",
    ),
    (
        Summarisation,
        r"(?:写|生成|给出|做|提供|撰写|输出|提取|起草|产生|起|拟|取)[^，。！？；\n]{0,16}(?:摘要|总结|概述|概要|梗概|标题|要点|大意|提要)",
    ),
    (
        Summarisation,
        r"(?:生成|自动|文本|新闻|文章|论文)摘要|摘要(?:生成|任务)|一句话说(?:明|清)",
    ),
    (Translation, r"翻译|译成|译为|翻成|翻为|英译|中译|汉译|译作"),
    (
        Extraction,
        r"抽取|提取|抽出|摘出|找出|列出|取出|挑出|解析出?|实体识别|识别(?:出)?[^，。！？；\n]{0,12}(?:实体|人名|地名|机构|姓名|日期|金额)",
    ),
    (
        Rewriting,
        r"改写|重写|润色|改成|改为|改得|修改|纠正|改错|纠错|校对|简化|扩写|复述|换(?:一)?种(?:说法|方式|表达)|口语化|书面化|优化.{0,8}(?:表达|措辞|语句|文字|文案)|仿写|精炼",
    ),
    (
        QuestionAnswering,
        r"回答[^，。！？；\n]{0,16}(?:问题|提问|疑问|question)|问答|阅读理解|答题|解答|(?:根据|依据|基于)[^。！？；\n]{0,20}(?:回答|作答)|求解|解题|作答|答疑",
    ),
    (
        Classification,
        r"判断|判别|判定|辨别|区分|鉴别|甄别|审核|检测|评分|打分|评级|预测|筛选",
    ),
    (
        Classification,
        r"分类|归类|分成|分为|分到|划分|归为|归到|归入|分别归|打标签?|标注|打上|贴上?标签|标记",
    ),
    (
        Classification,
        r"识别[^，。！？；：\n]{0,16}(?:情感|情绪|意图|语言|语种|类型|类别|主题|垃圾|诈骗|谣言|辱骂|仇恨|态度|立场|广告|攻击|违规)",
    ),
    (
        Classification,
        r"(?:情感|情绪|意图|舆情|倾向性?)(?:分析|识别|检测|判断)",
    ),
    (
        Classification,
        r"属于(?:哪|以下|下列|什么|何)|什么(?:情感|情绪|类别|主题|态度|类型|意图|领域)|哪(?:一)?(?:类|种|个(?:类别|主题|领域|标签))",
    ),
    (
        Classification,
        r"是[^，。！？；\n]{1,24}还是|是不是|是否|有没有|有无|能否|会不会|还是(?:不|非|没)|吗\s*[？?]|吗\s*$",
    ),
    (
        Classification,
        r"(?:选择|选出|挑选|选)(?:一个|一种|一项|最|正确|合适)|[二三四五六七八九十]选一|其中之一|(?:类别|标签|选项)之一|(?:标签|类别|选项)(?:有|为|是|包括|如下)?[：:]",
    ),
    (
        Classification,
        r"(?:情感|情绪|感情)(?:倾向|极性|色彩)?(?:如何|怎样|怎么样|是什么|[：:])",
    ),
];

/// Words that only hint at a kind.
const HINTS: &[(TaskKind, &str)] = &[
    (
        Classification,
        r"\b(?:sentiment|polarity|emotions?|spam|phishing|toxic|toxicity|hate speech|offensive|sarcas\w+|intent|topic|category|clickbait|sentiments)\b",
    ),
    (
        Classification,
        r"情感|情绪|垃圾(?:邮件|短信)|好评|差评|褒贬|谣言|意图|正负面|还是|类别|真假|对错",
    ),
    (
        Summarisation,
        r"\b(?:summary|summaries|gist|key points|main points)\b|摘要|要点|大意|梗概",
    ),
    (
        Translation,
        r"\btranslation\b|译文|(?:中|英|日|法|德|韩)译(?:中|英|日|法|德|韩)",
    ),
    (
        Extraction,
        r"\b(?:entities|key ?words|key ?phrases)\b|实体|关键词",
    ),
    (QuestionAnswering, r"\bquestions?\b|答案|问题"),
    (
        Free,
        r"\b(?:write|generate|compose|draft|create|suggest|come up with|brainstorm|invent|imagine|reply|continue|explain|describe|tell)\b",
    ),
    (
        Free,
        r"写|生成|创作|撰写|想一|起草|续写|设计|推荐|建议|编一|解释|介绍|回复",
    ),
];

/// What may stand before a request.
const BEFORE_REQUEST: &str = r"(?:^|[.!?;:,\n。，！？；：、()（）\[\]【】“”'\-\*]|\b(?:please|kindly|then|you|help me|i want to|i need to|i would like to|i'd like to|task is to|job is to|goal is to|must|should|请你?|请帮我)|请你?|帮我?|帮忙|麻烦你?|需要|然后|并且?|再|任务是|可以|想要|要求你?|进行|您?能否)\s*(?:(?:把|将|对|对于|给|从|为|根据|针对|按照?|依据|基于|用|就|在)[^，。！？；：\n,!?;:]{0,60})?$";

struct Table {
    verbs: Vec<(TaskKind, Regex)>,
    question: Regex,
    hints: Vec<(TaskKind, Regex)>,
    before_request: Regex,
}

static TABLE: LazyLock<Table> = LazyLock::new(|| {
    let compile = |rows: &[(TaskKind, &str)]| {
        rows.iter()
            .map(|(kind, source)| (*kind, pattern(source)))
            .collect()
    };
    Table {
        verbs: compile(VERBS),
        question: pattern(
            r"\b(?:is|are|was|were|does|do|did|has|have|should) (?:the|this|these|that|it|an?|both|two|there|my|our|someone|they)\b[^.!\n?]*\?",
        ),
        hints: compile(HINTS),
        before_request: pattern(BEFORE_REQUEST),
    }
});

/// The evidence for each kind that has any, the strongest first; of equal strength, what comes
/// first in the text. Empty where nothing speaks for any kind.
pub(super) fn evidence(reading: &Reading<'_>) -> Vec<Evidence> {
    let table = &*TABLE;
    let text = &reading.folded;
    let mut found: Vec<Evidence> = Vec::new();
    for (kind, verb) in &table.verbs {
        for hit in verb.find_iter(text) {
            let strength = if table.before_request.is_match(&text[..hit.start()]) {
                Strength::Request
            } else {
                Strength::Verb
            };
            found.push(Evidence {
                kind: *kind,
                strength,
                span: hit.range(),
            });
        }
    }
    if let Some(hit) = table.question.find(text)
        && table.before_request.is_match(&text[..hit.start()])
    {
        let span = hit.range();
        found.push(Evidence {
            kind: Classification,
            strength: Strength::Request,
            span,
        });
    }
    for (kind, hint) in &table.hints {
        for hit in hint.find_iter(text) {
            let strength = match *kind {
                Free if table.before_request.is_match(&text[..hit.start()]) => Strength::Opening,
                Free => Strength::Faint,
                _ => Strength::Hint,
            };
            found.push(Evidence {
                kind: *kind,
                strength,
                span: hit.range(),
            });
        }
    }
    found.sort_by_key(|e| (std::cmp::Reverse(e.strength), e.span.start));
    let mut seen: Vec<TaskKind> = Vec::new();
    found.retain(|e| {
        let first = !seen.contains(&e.kind);
        seen.push(e.kind);
        first
    });
    found
}
