//! The text under the rules: folded so that one pattern fits many spellings, with what a rule has
//! used up blanked out, and every byte still at its place in the original.

use std::ops::Range;

use autoglm_spec::Language;
use regex::Regex;

/// What stands in place of text that a rule has used up. It ends every list and every word.
const BLANK: &str = "\u{1}";

/// Traditional characters of the rules' vocabulary, each followed by its simplified form.
const TRADITIONAL: &str = "標标籤签類类別别斷断評评論论譯译寫写結结為为還还個个種种這这對对話话條条\
郵邮電电題题問问詞词語语簡简單单請请將将從从與与給给檢检測测識识傾倾緒绪極极負负積积聞闻財财經经體体\
娛娱樂乐選选擇择項项間间說说認认錄录讀读閱阅數数據据額额價价號号碼码補补網网點点長长態态輸输兩两無无\
應应該该準准確确實实導导學学術术書书關关鍵键產产買买賣卖圖图總总縮缩壓压轉转換换變变潤润飾饰擴扩續续\
編编歸归納纳屬属於于嗎吗會会議议紀纪廣广優优訊讯騙骗圾圾惡恶現现畫画場场時时過过內内後后來来裡里們们\
見见規规計计設设證证詳详誤误調调談谈講讲貼贴費费資资貨货質质贊赞賬账軟软較较輯辑運运達达適适遊游郁郁\
錯错鏈链閒闲險险隊队難难雙双離离順顺須须頁页風风飛飞驗验麼么齊齐層层歲岁級级純纯細细組组統统絕绝維维\
聯联職职蹤踪處处複复觀观訂订詢询審审誰谁諮咨謠谣貶贬褒褒參参員员嚴严僅仅傳传億亿幾几啟启顯显";

/// A text with its folded copy.
#[derive(Debug)]
pub(super) struct Reading<'a> {
    /// The text as it was given.
    pub(super) original: &'a str,
    /// The folded copy: ASCII in lower case, traditional characters simplified, used-up text
    /// blanked. Byte for byte as long as the original.
    pub(super) folded: String,
    /// The language of the instruction.
    pub(super) language: Language,
}

impl<'a> Reading<'a> {
    pub(super) fn new(original: &'a str) -> Self {
        let folded: String = original.chars().map(fold).collect();
        debug_assert_eq!(folded.len(), original.len());
        let language = language_of(&folded);
        Self {
            original,
            folded,
            language,
        }
    }

    /// The original text of a span.
    pub(super) fn text(&self, span: Range<usize>) -> &'a str {
        &self.original[span]
    }

    /// Blanks a span, so that no later rule reads it.
    pub(super) fn use_up(&mut self, span: Range<usize>) {
        let blank = BLANK.repeat(span.len());
        self.folded.replace_range(span, &blank);
    }

    pub(super) fn chinese(&self) -> bool {
        self.language == Language::Chinese
    }

    /// The whole text as a span.
    pub(super) fn whole(&self) -> Range<usize> {
        0..self.original.len()
    }
}

/// A pattern over folded text. `\b` is a boundary of ASCII words, so that it also stands between
/// a Chinese character and a Latin letter.
pub(super) fn pattern(source: &str) -> Regex {
    Regex::new(&source.replace(r"\b", r"(?-u:\b)")).expect("a test compiles every pattern")
}

/// Whether a character is a Chinese one.
pub(crate) fn is_han(c: char) -> bool {
    matches!(c, '\u{3400}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{323af}')
}

fn fold(c: char) -> char {
    if c.is_ascii() {
        return c.to_ascii_lowercase();
    }
    let mut pairs = TRADITIONAL.chars();
    while let (Some(traditional), Some(simplified)) = (pairs.next(), pairs.next()) {
        if traditional == c {
            return simplified;
        }
    }
    c
}

/// Words of an instruction's frame; labels and quotations seldom contain them.
const CHINESE_FRAME: &[&str] = &[
    "的", "把", "将", "请", "对", "给", "为", "是", "成", "判断", "以下", "下面", "这", "从", "用",
    "根据", "分", "类", "中", "写", "翻译", "标签", "提取", "抽取", "回答", "总结",
];
const ENGLISH_FRAME: &[&str] = &[
    "the",
    "of",
    "as",
    "or",
    "and",
    "into",
    "to",
    "is",
    "classify",
    "label",
    "translate",
    "an",
    "each",
    "this",
    "whether",
    "with",
    "following",
    "extract",
    "from",
    "in",
    "answer",
    "text",
];

/// The language of a folded instruction: that of its frame, and of most of its text where the
/// frames are even.
fn language_of(folded: &str) -> Language {
    let han = folded.chars().filter(|&c| is_han(c)).count();
    if han == 0 {
        return Language::English;
    }
    let chinese: usize = CHINESE_FRAME
        .iter()
        .map(|word| folded.matches(word).count())
        .sum();
    let latin: Vec<&str> = folded
        .split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|word| word.len() > 1)
        .collect();
    let english = latin
        .iter()
        .filter(|word| ENGLISH_FRAME.contains(word))
        .count();
    let mostly_chinese = chinese > english || chinese == english && han >= latin.len();
    if mostly_chinese {
        Language::Chinese
    } else {
        Language::English
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folding_keeps_every_byte_at_its_place() {
        let reading = Reading::new("Classify 這個標籤 İ ẞ ß ǅ");
        assert_eq!(reading.folded.len(), reading.original.len());
        assert!(reading.folded.starts_with("classify 这个标签"));
    }

    #[test]
    fn the_frame_decides_on_the_language() {
        let cases = [
            ("Classify the text", Language::English),
            ("判断情感", Language::Chinese),
            ("把下面的 email 分成 work / personal", Language::Chinese),
            (
                "Classify the review as 正面评价 or 负面评价 or 中性评价",
                Language::English,
            ),
            ("😀", Language::English),
            ("情感", Language::Chinese),
        ];
        for (text, want) in cases {
            assert_eq!(Reading::new(text).language, want, "{text}");
        }
    }
}
