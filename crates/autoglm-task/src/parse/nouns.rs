//! How the input and the answer are called in a prompt, from the words that the text uses.

use std::cmp::Reverse;
use std::ops::Range;
use std::sync::LazyLock;

use autoglm_spec::TaskKind;
use regex::Regex;

use super::reading::{Reading, pattern};

/// English nouns for inputs with the title that they give.
const ENGLISH_INPUTS: &[(&str, &str)] = &[
    (
        r"(?:film|movie|book|product|customer|hotel|restaurant|shop|user|app)?\s?reviews?",
        "Review",
    ),
    (r"tweets?", "Tweet"),
    (r"e-?mails?", "Email"),
    (r"(?:text |sms )?messages?|sms", "Message"),
    (r"(?:news )?headlines?", "Headline"),
    (r"titles?", "Title"),
    (r"questions?", "Question"),
    (r"quer(?:y|ies)", "Query"),
    (r"(?:user |customer )?utterances?", "Utterance"),
    (r"sentences?", "Sentence"),
    (r"comments?", "Comment"),
    (r"feedback", "Feedback"),
    (r"complaints?", "Complaint"),
    (r"(?:support )?tickets?", "Ticket"),
    (r"(?:blog |forum |social media )?posts?", "Post"),
    (r"(?:news )?articles?", "Article"),
    (r"news(?: stor(?:y|ies))?|news text", "News"),
    (r"paragraphs?", "Paragraph"),
    (r"passages?", "Passage"),
    (r"abstracts?", "Abstract"),
    (r"papers?", "Paper"),
    (r"documents?", "Document"),
    (r"stor(?:y|ies)", "Story"),
    (r"poems?", "Poem"),
    (r"threads?", "Thread"),
    (
        r"conversations?|dialogues?|dialogs?|chats?|transcripts?",
        "Conversation",
    ),
    (r"meeting (?:notes|minutes)|minutes", "Notes"),
    (r"(?:clinical |doctor's )?notes?", "Note"),
    (r"reports?", "Report"),
    (r"letters?", "Letter"),
    (r"invoices?", "Invoice"),
    (r"receipts?", "Receipt"),
    (r"contracts?", "Contract"),
    (r"resumes?|cvs?|résumés?", "Resume"),
    (r"recipes?", "Recipe"),
    (r"job (?:ads?|postings?|descriptions?)", "Job ad"),
    (r"(?:bug |crash )reports?|issues?", "Report"),
    (r"product descriptions?|descriptions?", "Description"),
    (r"claims?", "Claim"),
    (r"statements?", "Statement"),
    (r"phrases?", "Phrase"),
    (r"words?", "Word"),
    (r"problems?", "Problem"),
    (r"docstrings?", "Docstring"),
    (r"functions?|code|snippets?|programs?|scripts?", "Code"),
    (r"logs?|log lines?", "Log"),
    (r"requests?", "Request"),
    (r"products?", "Product"),
    (r"texts?", "Text"),
];

/// Chinese nouns for inputs, longer ones before their parts; the title is the noun as written.
const CHINESE_INPUTS: &str = "新闻标题|文章标题|标题|商品评论|商品评价|影评|书评|短评|评论|评价|弹幕|微博|推文|\
帖子|留言|短信|电子邮件|邮件|email|聊天记录|对话|会议记录|会议纪要|工单|用户反馈|反馈|投诉|建议书|\
简历|合同|发票|病历|公告|通知|新闻|论文|文献|文章|短文|段落|这段话|句子|语句|一句话|这句话|\
商品描述|商品标题|商品|产品|提问|问题|题目|描述|需求|说明|故事|小说|诗|歌词|笔记|报告|文档|材料|\
函数|代码|程序|查询|用户输入|话语|言论|消息|文字|内容|文本";

/// What the Chinese noun becomes where the word as written makes no title.
const CHINESE_TITLES: &[(&str, &str)] = &[
    ("这段话", "文本"),
    ("這段話", "文本"),
    ("这句话", "句子"),
    ("這句話", "句子"),
    ("一句话", "句子"),
    ("email", "邮件"),
    ("用户反馈", "反馈"),
    ("语句", "句子"),
    ("文字", "文本"),
    ("题目", "题目"),
    ("函数", "代码"),
    ("程序", "代码"),
];

/// What an answer is called: what names it, its English and its Chinese title.
pub(super) struct Answer {
    pub(super) english: &'static str,
    pub(super) chinese: &'static str,
    /// A short name for the task.
    pub(super) name: &'static str,
}

/// Subjects of classification with the answer's titles and the task's name.
const SUBJECTS: &[(&str, Answer)] = &[
    (
        r"\bsentiments?\b|\bpolarity\b|\bpositive\b|\bpraise\b|\bgood\b.{1,12}\bbad\b|情感|好评|正面|褒贬|态度|积极|口碑|倾向",
        Answer {
            english: "Sentiment",
            chinese: "情感倾向",
            name: "sentiment",
        },
    ),
    (
        r"\bemotions?\b|\bmoods?\b|情绪|心情",
        Answer {
            english: "Emotion",
            chinese: "情绪",
            name: "emotion",
        },
    ),
    (
        r"\bintents?\b|\bintentions?\b|意图",
        Answer {
            english: "Intent",
            chinese: "意图",
            name: "intent",
        },
    ),
    (
        r"\btopics?\b|\bsubject\b|主题|话题",
        Answer {
            english: "Topic",
            chinese: "主题",
            name: "topic",
        },
    ),
    (
        r"\bpriority\b|\burgency\b|\burgent\b|优先级|紧急",
        Answer {
            english: "Priority",
            chinese: "优先级",
            name: "priority",
        },
    ),
    (
        r"\bentail\w*\b|\bnli\b|蕴含",
        Answer {
            english: "Relation",
            chinese: "关系",
            name: "entailment",
        },
    ),
    (
        r"\bstance\b|立场",
        Answer {
            english: "Stance",
            chinese: "立场",
            name: "stance",
        },
    ),
    (
        r"\brat(?:e|ing)\b|\bstars?\b|\bscore\b|评分|打分|星级",
        Answer {
            english: "Rating",
            chinese: "评分",
            name: "rating",
        },
    ),
    (
        r"\b(?:which|what|identify the|detect the|determine the) language\b|\bthe language of\b|语种|什么语言|哪种语言",
        Answer {
            english: "Language",
            chinese: "语言",
            name: "language",
        },
    ),
    (
        r"\bgenres?\b|体裁|类型",
        Answer {
            english: "Genre",
            chinese: "类型",
            name: "genre",
        },
    ),
    (
        r"\bcategor(?:y|ies|i[sz]e)\b|\bclass(?:es)?\b|\btickets?\b|类别|分类|归类|归为|三类|分成|分为|领域",
        Answer {
            english: "Category",
            chinese: "类别",
            name: "category",
        },
    ),
];

const YES_NO: Answer = Answer {
    english: "Answer",
    chinese: "答案",
    name: "check",
};
const LABEL: Answer = Answer {
    english: "Label",
    chinese: "标签",
    name: "classification",
};

struct Table {
    english: Vec<(Regex, &'static str)>,
    chinese: Regex,
    pointed: Regex,
    subjects: Vec<Regex>,
    handled: Regex,
    source: Regex,
}

static TABLE: LazyLock<Table> = LazyLock::new(|| Table {
    english: ENGLISH_INPUTS
        .iter()
        .map(|(noun, title)| (pattern(&format!(r"\b(?:{noun})\b")), *title))
        .collect(),
    chinese: pattern(CHINESE_INPUTS),
    pointed: pattern(
        r"(?:\b(?:following|this|these|each|given|every|the|a|an|all|my|our|whether a|incoming|user|customer|support|input|movie|film)(?: \w+)?\s|(?:以下|下面|下列|给定|每[条篇个句封段则]|这[条篇个句封段则份些]|此|该|用户|一[条篇个句封段则])(?:的)?\s*\p{Han}{0,2}|(?:把|对|将|从|给|根据|为)\s*\p{Han}{0,4})$",
    ),
    subjects: SUBJECTS.iter().map(|(source, _)| pattern(source)).collect(),
    source: pattern(r"\b(?:from|in|of (?:the|each|every|this|these)|for each)\b"),
    handled: pattern(
        r"\b(?:following|this|these|each|given|every)(?: \w+)?\s$|(?:以下|下面|下列|给定|这[条篇个句封段则份些])(?:的)?\s*\p{Han}{0,2}$",
    ),
});

/// How the input is called: the noun that the text points at (`the following review`, `这条评论`),
/// else the first that it names, else simply text.
pub(super) fn input_title(reading: &Reading<'_>, kind: TaskKind) -> String {
    let table = &*TABLE;
    let text = reading.folded.as_str();
    // What an extraction names before the source are keys.
    let source = table
        .source
        .find(text)
        .filter(|_| kind == TaskKind::Extraction);
    let from = match (kind, source) {
        (TaskKind::Extraction, None) if !reading.chinese() => text.len(),
        (_, source) => source.map_or(0, |hit| hit.start()),
    };
    let mut found: Vec<(u8, usize, Reverse<usize>, String)> = Vec::new();
    let rank = |start: usize| {
        let before = &text[..start];
        match (
            table.handled.is_match(before),
            table.pointed.is_match(before),
        ) {
            (true, _) => 0,
            (false, true) => 1,
            (false, false) => 2,
        }
    };
    let mut note = |place: Range<usize>, title: String| {
        // What is to be written is not what is given.
        if kind == TaskKind::CodeGeneration && matches!(title.as_str(), "Code" | "代码") {
            return;
        }
        found.push((rank(place.start), place.start, Reverse(place.len()), title));
    };
    if reading.chinese() {
        for hit in table.chinese.find_iter(text) {
            let written = reading.text(hit.range());
            note(hit.range(), chinese_title(hit.as_str(), written));
        }
    } else {
        for (noun, title) in &table.english {
            for hit in noun.find_iter(text).filter(|hit| hit.start() >= from) {
                note(hit.range(), (*title).to_owned());
            }
        }
    }
    let best = found.into_iter().min();
    best.map_or_else(|| default_input(reading, kind), |(.., title)| title)
}

fn default_input(reading: &Reading<'_>, kind: TaskKind) -> String {
    let title = match (kind, reading.chinese()) {
        (TaskKind::CodeGeneration, false) => "Description",
        (TaskKind::CodeGeneration, true) => "描述",
        (_, false) => "Text",
        (_, true) => "文本",
    };
    title.to_owned()
}

fn chinese_title(folded: &str, written: &str) -> String {
    let row = CHINESE_TITLES.iter().find(|(noun, _)| *noun == folded);
    row.map_or(written, |(_, title)| title).to_owned()
}

/// How the answer of a classification is called.
pub(super) fn label_answer(reading: &Reading<'_>, yes_or_no: bool) -> &'static Answer {
    if yes_or_no {
        return &YES_NO;
    }
    let rows = SUBJECTS.iter().zip(&TABLE.subjects);
    let hit = rows
        .into_iter()
        .find(|(_, regex)| regex.is_match(&reading.folded));
    hit.map_or(&LABEL, |((_, answer), _)| answer)
}

/// How the answer of any other kind of task is called.
pub(super) fn open_answer(kind: TaskKind) -> &'static Answer {
    match kind {
        TaskKind::Classification => &LABEL,
        TaskKind::Summarisation => &Answer {
            english: "Summary",
            chinese: "摘要",
            name: "summary",
        },
        TaskKind::Extraction => &Answer {
            english: "JSON",
            chinese: "JSON",
            name: "extraction",
        },
        TaskKind::Translation => &Answer {
            english: "Translation",
            chinese: "译文",
            name: "translation",
        },
        TaskKind::Rewriting => &Answer {
            english: "Rewritten",
            chinese: "改写",
            name: "rewriting",
        },
        TaskKind::QuestionAnswering => &Answer {
            english: "Answer",
            chinese: "答案",
            name: "question-answering",
        },
        TaskKind::CodeCompletion => &Answer {
            english: "Code",
            chinese: "代码",
            name: "code-completion",
        },
        TaskKind::CodeGeneration => &Answer {
            english: "Code",
            chinese: "代码",
            name: "code",
        },
        TaskKind::Free => &Answer {
            english: "Answer",
            chinese: "回答",
            name: "task",
        },
    }
}

/// Titles of fields by their name in a record.
const FIELD_TITLES: &[(&str, &str, &str)] = &[
    ("text", "Text", "文本"),
    ("title", "Title", "标题"),
    ("headline", "Headline", "标题"),
    ("body", "Body", "正文"),
    ("content", "Content", "内容"),
    ("question", "Question", "问题"),
    ("query", "Query", "查询"),
    ("passage", "Passage", "文章"),
    ("context", "Context", "上下文"),
    ("document", "Document", "文档"),
    ("article", "Article", "文章"),
    ("premise", "Premise", "前提"),
    ("hypothesis", "Hypothesis", "假设"),
    ("sentence", "Sentence", "句子"),
    ("sentence1", "Sentence 1", "句子一"),
    ("sentence2", "Sentence 2", "句子二"),
    ("review", "Review", "评论"),
    ("comment", "Comment", "评论"),
    ("email", "Email", "邮件"),
    ("subject", "Subject", "主题"),
    ("abstract", "Abstract", "摘要"),
    ("summary", "Summary", "摘要"),
    ("answer", "Answer", "答案"),
    ("code", "Code", "代码"),
    ("language", "Language", "语言"),
    ("message", "Message", "消息"),
    ("description", "Description", "描述"),
    ("product", "Product", "商品"),
    ("name", "Name", "名称"),
    ("date", "Date", "日期"),
    ("category", "Category", "类别"),
    ("keywords", "Keywords", "关键词"),
];

/// How a field of that name is called in a prompt.
pub(crate) fn field_title(name: &str, chinese: bool) -> String {
    let folded = name.to_lowercase();
    let row = FIELD_TITLES.iter().find(|(known, _, _)| *known == folded);
    match row {
        Some((_, _, title)) if chinese => (*title).to_owned(),
        Some((_, title, _)) => (*title).to_owned(),
        None => {
            let spaced = name.replace(['_', '-'], " ");
            let mut chars = spaced.chars();
            let first = chars
                .next()
                .map(|c| c.to_uppercase().to_string())
                .unwrap_or_default();
            first + chars.as_str()
        }
    }
}
