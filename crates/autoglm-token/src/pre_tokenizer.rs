//! Cuts text into the words inside which byte-level vocabularies merge.
//!
//! A model file names its pre-tokeniser; each is a list of patterns, applied one after the other
//! to what the one before left.

use std::ops::Range;

use regex_automata::Input;
use regex_automata::meta::Regex;

use crate::TokenError;

/// Every number character alone.
const NUMBERS: &str = r"\p{N}";
/// Runs of number characters.
const NUMBER_RUNS: &str = r"\p{N}+";
/// Groups of three digits from the left.
const THREE_DIGITS: &str = "[0-9][0-9][0-9]";
/// Runs of punctuation.
const PUNCTUATION: &str = r"[\p{P}$+<=>^~|]+";
/// Words with the space before them.
const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+";
/// Words with the character before them, up to three digits together.
const LLAMA3: &str = r"'(?i-u:s|t|re|ve|m|ll|d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+";
/// Words with the character before them, every digit alone.
const QWEN2: &str =
    r"'(?i-u:s|t|re|ve|m|ll|d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+";

/// What one name stands for.
struct Rule {
    names: &'static [&'static str],
    /// Patterns; of those in `WITH_SPACES` a run of whitespace is a match too.
    patterns: &'static [&'static str],
    /// Whether a word that is a token is that token, whatever would merge.
    whole_words: bool,
}

/// Patterns behind which `\s+(?!\S)|\s+` stands in the original.
const WITH_SPACES: [&str; 3] = [GPT2, LLAMA3, QWEN2];

/// # Source
/// The patterns stand in the `tokenizer.json` of the models after which they are named; which name
/// means which is llama.cpp's convention for `tokenizer.ggml.pre`.
const RULES: &[Rule] = &[
    Rule {
        names: &["gpt-2"],
        patterns: &[GPT2],
        whole_words: false,
    },
    Rule {
        names: &["smollm"],
        patterns: &[NUMBERS, GPT2],
        whole_words: false,
    },
    Rule {
        names: &["default"],
        patterns: &[PUNCTUATION, GPT2, NUMBER_RUNS, THREE_DIGITS],
        whole_words: false,
    },
    Rule {
        names: &["llama-bpe", "llama3", "llama-v3"],
        patterns: &[LLAMA3],
        whole_words: true,
    },
    Rule {
        names: &["qwen2", "deepseek-r1-qwen"],
        patterns: &[QWEN2],
        whole_words: false,
    },
    Rule {
        names: &["chatglm-bpe"],
        patterns: &[LLAMA3],
        whole_words: false,
    },
    Rule {
        names: &["glm4", "glm5"],
        patterns: &[LLAMA3],
        whole_words: true,
    },
];

/// A named way of cutting text into words.
#[derive(Debug)]
pub(crate) struct PreTokenizer {
    steps: Vec<Step>,
    whole_words: bool,
}

impl PreTokenizer {
    /// The pre-tokeniser of this name.
    ///
    /// # Errors
    /// [`TokenError::UnknownPreTokenizer`] with the names that are known.
    pub(crate) fn named(name: &str) -> Result<Self, TokenError> {
        let rule = RULES.iter().find(|rule| rule.names.contains(&name));
        let rule = rule.ok_or_else(|| TokenError::UnknownPreTokenizer {
            given: name.to_owned(),
            known: RULES.iter().flat_map(|rule| rule.names).copied().collect(),
        })?;
        Ok(Self {
            steps: rule
                .patterns
                .iter()
                .map(|pattern| Step::new(pattern))
                .collect(),
            whole_words: rule.whole_words,
        })
    }

    /// Whether a word that is a token is that token, whatever would merge.
    pub(crate) fn looks_up_whole_words(&self) -> bool {
        self.whole_words
    }

    /// Cuts a text into words; every byte is in one of them.
    pub(crate) fn split(&self, text: &str) -> Vec<Range<usize>> {
        let whole = 0..text.len();
        self.steps.iter().fold(vec![whole], |pieces, step| {
            let mut words = Vec::with_capacity(pieces.len() + text.len() / 4);
            for piece in pieces {
                step.split(text, piece, &mut words);
            }
            words
        })
    }
}

/// One pattern: its matches are words, and so is what stands between two of them.
#[derive(Debug)]
struct Step {
    regex: Regex,
}

/// The second pattern of a step's regex is a run of whitespace.
const SPACES: usize = 1;

impl Step {
    fn new(pattern: &str) -> Self {
        let spaces = WITH_SPACES.contains(&pattern).then_some(r"\s+");
        let patterns: Vec<_> = std::iter::once(pattern).chain(spaces).collect();
        let regex = Regex::new_many(&patterns).expect("the patterns are constants of this file");
        Self { regex }
    }

    fn split(&self, text: &str, piece: Range<usize>, words: &mut Vec<Range<usize>>) {
        let mut at = piece.start;
        while at < piece.end {
            let Some(found) = self.regex.search(&Input::new(text).range(at..piece.end)) else {
                words.push(at..piece.end);
                return;
            };
            if at < found.start() {
                words.push(at..found.start());
            }
            at = found.end();
            if found.pattern().as_usize() == SPACES && at < piece.end {
                at = without_last_char(text, found.range());
            }
            words.push(found.start()..at);
        }
    }
}

/// The end of a run of whitespace with a word behind it, which takes the run's last character; a
/// run of one stays. So do `\s+(?!\S)|\s+` without looking ahead.
fn without_last_char(text: &str, run: Range<usize>) -> usize {
    let last = text[run.clone()].char_indices().next_back();
    match last {
        Some((offset, _)) if offset > 0 => run.start + offset,
        _ => run.end,
    }
}
