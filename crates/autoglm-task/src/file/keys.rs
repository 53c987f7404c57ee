//! Every key of a task file with what it means, in one place: the reader knows keys from here,
//! the writer takes its comments from here, and a test compares `docs/tasks.md` with it.

use autoglm_spec::Language;

/// A key of a task file.
pub(super) struct Key {
    /// Its tables and its name, parted by dots.
    pub(super) path: &'static str,
    /// What it means, in English.
    pub(super) english: &'static str,
    /// What it means, in Chinese.
    pub(super) chinese: &'static str,
}

impl Key {
    /// The table that the key belongs to; empty for the top of the file.
    pub(super) fn table(&self) -> &'static str {
        self.path.rsplit_once('.').map_or("", |(table, _)| table)
    }

    /// The key's name in its table.
    pub(super) fn name(&self) -> &'static str {
        self.path
            .rsplit_once('.')
            .map_or(self.path, |(_, name)| name)
    }
}

/// The keys in the order in which they are written.
pub(super) const KEYS: &[Key] = &[
    Key {
        path: "name",
        english: "a short name, shown in lists of runs",
        chinese: "简短的名称，显示在运行列表中",
    },
    Key {
        path: "instruction",
        english: "the task in your words; the only key that must be there",
        chinese: "用自己的话描述任务；唯一必填的项",
    },
    Key {
        path: "kind",
        english: "classification, summarisation, extraction, translation, rewriting, \
                  question-answering, code-completion, code-generation or free",
        chinese: "任务类型：classification 分类、summarisation 摘要、extraction 抽取、translation 翻译、\
                  rewriting 改写、question-answering 问答、code-completion 代码补全、\
                  code-generation 代码生成、free 其他",
    },
    Key {
        path: "language",
        english: "the language of the prompt: en or zh",
        chinese: "提示词的语言：en 或 zh",
    },
    Key {
        path: "labels",
        english: "the answers to choose from; { name = \"…\", word = \"…\" } where the model shall \
                  score another word than the label's name",
        chinese: "可选的标签；若要让模型用另一个词打分，写 { name = \"…\", word = \"…\" }",
    },
    Key {
        path: "answer",
        english: "what the answer is called in the prompt",
        chinese: "答案在提示词中的名称",
    },
    Key {
        path: "constraints",
        english: "rules that every answer must obey",
        chinese: "每个答案都必须遵守的要求",
    },
    Key {
        path: "model",
        english: "the model's name or path; without it, the default for the kind of answer",
        chinese: "模型的名称或路径；不写则用默认模型",
    },
    Key {
        path: "engine.url",
        english: "the address of a server that runs the task, in place of a model on this machine; \
                  its key stands in a file or in the environment, never here",
        chinese: "运行任务的服务器地址，代替本机模型；密钥放在文件或环境变量中，绝不写在这里",
    },
    Key {
        path: "engine.model",
        english: "the model by the server's name; without it, the server's first",
        chinese: "服务器上的模型名称；不写则用服务器的第一个模型",
    },
    Key {
        path: "engine.prompts",
        english: "chat or plain; without it, turns where the server takes them",
        chinese: "提示词的形式：chat 对话、plain 纯文本；不写则服务器支持对话时用对话",
    },
    Key {
        path: "engine.scoring",
        english: "how labels are scored: echo, first or votes; without it, the best that the server offers",
        chinese: "标签如何打分：echo 回显、first 首个 token、votes 投票；不写则用服务器支持的最好方式",
    },
    Key {
        path: "engine.votes",
        english: "answers that are asked for where labels are scored by votes",
        chinese: "投票打分时生成多少个答案",
    },
    Key {
        path: "engine.context_tokens",
        english: "tokens that the model's context holds, where the server does not tell",
        chinese: "模型上下文的 token 数，用于服务器未告知时",
    },
    Key {
        path: "engine.concurrency",
        english: "requests at once",
        chinese: "同时发送的请求数",
    },
    Key {
        path: "engine.requests_per_minute",
        english: "requests in any 60 seconds at most",
        chinese: "任意 60 秒内最多多少个请求",
    },
    Key {
        path: "engine.tokens_per_minute",
        english: "tokens of prompts and answers in any 60 seconds at most",
        chinese: "任意 60 秒内提示词和答案最多多少个 token",
    },
    Key {
        path: "engine.timeout_seconds",
        english: "seconds for which the server may be silent",
        chinese: "服务器最多可以沉默多少秒",
    },
    Key {
        path: "input.fields",
        english: "the fields of a record that go into the prompt; { name = \"…\", title = \"…\" } \
                  where the prompt shall call one otherwise",
        chinese: "记录中写入提示词的字段；若提示词中要用别的名称，写 { name = \"…\", title = \"…\" }",
    },
    Key {
        path: "knowledge.collections",
        english: "collections of documents, as `autoglm index --collection` names them, of which \
                  passages are put before each record",
        chinese: "文档集合的名称（autoglm index --collection 所起的名字），从中为每条记录检索段落，放在记录之前",
    },
    Key {
        path: "knowledge.passages",
        english: "passages of a record at most",
        chinese: "每条记录最多多少个段落",
    },
    Key {
        path: "knowledge.tokens",
        english: "tokens of a record's passages together at most",
        chinese: "每条记录的段落合计最多多少个 token",
    },
    Key {
        path: "output.form",
        english: "labels, json, text or code; without it, what the other keys imply",
        chinese: "答案的形式：labels 标签、json、text 文本、code 代码；不写则由其他项推断",
    },
    Key {
        path: "output.max_tokens",
        english: "tokens that an answer may have at most",
        chinese: "答案最多多少个 token",
    },
    Key {
        path: "output.schema",
        english: "the JSON Schema of the answer, as a table or as JSON text",
        chinese: "答案的 JSON Schema，可写成表或 JSON 文本",
    },
    Key {
        path: "output.language",
        english: "the programming language of the answer",
        chinese: "答案的编程语言",
    },
    Key {
        path: "decoding.temperature",
        english: "0 always takes the most likely token; higher is more varied",
        chinese: "0 表示总取最可能的 token；越高越多样",
    },
    Key {
        path: "decoding.temperature_floor",
        english: "lets the temperature fall to this where the model is sure",
        chinese: "模型有把握时温度降到此值",
    },
    Key {
        path: "decoding.low_entropy",
        english: "entropy in nats up to which the model counts as sure",
        chinese: "熵（奈特）不高于此值时视为有把握",
    },
    Key {
        path: "decoding.high_entropy",
        english: "entropy in nats from which the temperature is the full one",
        chinese: "熵（奈特）不低于此值时使用完整温度",
    },
    Key {
        path: "decoding.entropy_window",
        english: "over how many of the last tokens the entropy is averaged",
        chinese: "对最近多少个 token 的熵取平均",
    },
    Key {
        path: "decoding.lookup_tokens",
        english: "tokens looked up in the prompt and verified at once; 0 switches it off, the text stays the same",
        chinese: "一次从提示中查找并验证的 token 数；0 表示关闭，答案不变",
    },
    Key {
        path: "decoding.top_k",
        english: "keeps the k most likely tokens; 0 keeps all",
        chinese: "只保留最可能的 k 个 token；0 表示不限",
    },
    Key {
        path: "decoding.top_p",
        english: "keeps the most likely tokens that together reach this probability; 1 keeps all",
        chinese: "只保留累计概率达到此值的 token；1 表示不限",
    },
    Key {
        path: "decoding.min_p",
        english: "keeps tokens at least this fraction as likely as the most likely; 0 keeps all",
        chinese: "只保留概率不低于最大概率此比例的 token；0 表示不限",
    },
    Key {
        path: "decoding.repetition_penalty",
        english: "above 1 makes tokens that occurred less likely; 1 does nothing",
        chinese: "大于 1 会降低已出现 token 的概率；1 表示不变",
    },
    Key {
        path: "decoding.repetition_window",
        english: "how many of the last tokens the penalty looks at",
        chinese: "重复惩罚查看最近多少个 token",
    },
    Key {
        path: "decoding.seed",
        english: "the same seed gives the same answers",
        chinese: "随机种子；相同的种子给出相同的答案",
    },
    Key {
        path: "decoding.stop",
        english: "texts that end an answer",
        chinese: "遇到这些文字就结束",
    },
    Key {
        path: "sampling.samples",
        english: "samples of an open answer at most, which vote; 1 takes the most likely answer alone",
        chinese: "开放式答案最多采样多少次并投票；1 表示只取最可能的答案",
    },
    Key {
        path: "sampling.stop",
        english: "when fewer do: adaptive, beta (two leading answers compared), or fixed, never",
        chinese: "何时提前停止：adaptive 自适应、beta 比较前两名、fixed 从不",
    },
    Key {
        path: "sampling.sure",
        english: "from which probability of its whole text on the first answer stands alone; \
                  without it, from where on it would win the vote",
        chinese: "第一个答案的整体概率达到此值时不再采样；不写则按能否赢得投票计算",
    },
    Key {
        path: "sampling.compare",
        english: "by what answers are the same: number, json, code, words or meaning; without it, \
                  what suits the task",
        chinese: "如何判断答案相同：number 数值、json、code 代码、words 词语、meaning 含义；不写则按任务选择",
    },
    Key {
        path: "sampling.embedder",
        english: "the model whose vectors tell which texts mean the same; without it, their words do",
        chinese: "用哪个模型的向量判断含义相同；不写则比较词语",
    },
    Key {
        path: "sampling.repair",
        english: "true asks a chat model once more, with what is wrong, where samples disagree or \
                  none can be used",
        chinese: "true 表示答案不一致或无法使用时，说明问题并再问一次（仅限对话模型）",
    },
    Key {
        path: "judge.calibration",
        english: "how label bias is removed: batch, contextual or none",
        chinese: "如何消除标签偏差：batch 批量、contextual 空内容、none 不校准",
    },
    Key {
        path: "judge.min_confidence",
        english: "answers that are less sure than this are withheld",
        chinese: "置信度低于此值的答案不给出",
    },
    Key {
        path: "examples.input",
        english: "the record: a table of its fields, or a text where there is one field",
        chinese: "示例的记录：字段表；只有一个字段时可直接写文字",
    },
    Key {
        path: "examples.input_json",
        english: "the record as JSON text, for values that TOML cannot hold, such as null",
        chinese: "用 JSON 文本写的记录，用于 TOML 无法表示的值（如 null）",
    },
    Key {
        path: "examples.output",
        english: "the answer that is wanted for it",
        chinese: "期望的答案",
    },
];

/// What a key means.
pub(super) fn meaning(path: &str, language: Language) -> &'static str {
    let key = KEYS.iter().find(|key| key.path == path);
    key.map_or("", |key| match language {
        Language::English => key.english,
        Language::Chinese => key.chinese,
    })
}

/// What was probably meant by a key that a table does not have.
pub(super) fn likely_key(table: &str, name: &str) -> Option<String> {
    let own = KEYS
        .iter()
        .filter(|key| key.table() == table)
        .map(Key::name);
    let tables = KEYS
        .iter()
        .map(Key::table)
        .filter(|other| !other.is_empty() && table.is_empty());
    if let Some(close) = closest(name, own.chain(tables)) {
        return Some(close.to_owned());
    }
    let elsewhere = KEYS.iter().find(|key| key.name() == name);
    let path = elsewhere.map(|key| key.path).or_else(|| {
        let row = OTHER_NAMES
            .iter()
            .find(|(other, _)| *other == name.to_lowercase());
        row.map(|(_, path)| *path)
    });
    path.map(str::to_owned)
}

/// What other programs call these keys.
const OTHER_NAMES: &[(&str, &str)] = &[
    ("prompt", "instruction"),
    ("task", "instruction"),
    ("description", "instruction"),
    ("classes", "labels"),
    ("categories", "labels"),
    ("options", "labels"),
    ("choices", "labels"),
    ("type", "kind"),
    ("lang", "language"),
    ("columns", "input.fields"),
    ("inputs", "input.fields"),
    ("collection", "knowledge.collections"),
    ("documents", "knowledge.collections"),
    ("top_passages", "knowledge.passages"),
    ("json_schema", "output.schema"),
    ("max_new_tokens", "output.max_tokens"),
    ("shots", "examples"),
    ("few_shot", "examples"),
    ("text", "examples.input"),
    ("label", "examples.output"),
    ("random_seed", "decoding.seed"),
    ("repeat_penalty", "decoding.repetition_penalty"),
];

/// The candidate that is at most two edits away, and fewer than a third of the word.
pub(super) fn closest<'a>(
    word: &str,
    candidates: impl Iterator<Item = &'a str>,
) -> Option<&'a str> {
    let distances = candidates.map(|candidate| (edits(word, candidate), candidate));
    let near = distances.filter(|(distance, candidate)| {
        *distance <= 2 && *distance * 3 <= candidate.chars().count().max(3)
    });
    near.min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// The Levenshtein distance.
fn edits(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistyped_key_is_recognised() {
        let cases = [
            ("", "instuction", Some("instruction")),
            ("", "lables", Some("labels")),
            ("", "example", Some("examples")),
            ("", "prompt", Some("instruction")),
            ("", "temperature", Some("decoding.temperature")),
            ("decoding", "top_n", Some("top_k")),
            ("", "zebra", None),
        ];
        for (table, name, want) in cases {
            assert_eq!(likely_key(table, name).as_deref(), want, "{table} {name}");
        }
    }
}
