//! Cuts text into the words inside which byte-level vocabularies merge.
//!
//! A model file names its pre-tokeniser or states its patterns; each is a list of patterns, applied
//! one after the other to what the one before left.

use std::ops::Range;

use regex_automata::Input;
use regex_automata::meta::{BuildError, Regex};

use crate::{TokenError, Words};

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

/// Runs of Chinese and Japanese characters.
const DEEPSEEK_HAN: &str = "[一-龥\u{3040}-\u{309f}\u{30a0}-\u{30ff}]+";
/// Groups of up to three number characters.
const NUMBER_GROUPS: &str = r"\p{N}{1,3}";
/// Words with the character before them, punctuation and symbols apart.
const DEEPSEEK3: &str = r#"[!"\#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+"#;

/// What one name stands for.
struct Rule {
    names: &'static [&'static str],
    /// Patterns; of those in [`WITH_SPACES`] a run of whitespace is a match too.
    patterns: &'static [&'static str],
    /// Whether a word that is a token is that token, whatever would merge.
    whole_words: bool,
}

/// Patterns behind which `\s+(?!\S)|\s+` stands in the original.
const WITH_SPACES: [&str; 4] = [GPT2, LLAMA3, QWEN2, DEEPSEEK3];

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
    Rule {
        names: &["deepseek-v3"],
        patterns: &[NUMBER_GROUPS, DEEPSEEK_HAN, DEEPSEEK3],
        whole_words: false,
    },
];

/// How files write the contractions before which [`LLAMA3`] and [`QWEN2`] put the apostrophe.
const CONTRACTIONS: [&str; 2] = ["(?i:'s|'t|'re|'ve|'m|'ll|'d)|", "'(?i:[sdmt]|ll|ve|re)|"];

/// The name in GGUF of a way of cutting that a file states by its patterns.
pub(crate) fn gguf_name(patterns: &[String], whole_words: bool) -> Option<&'static str> {
    let same = |(rule, file): (&&str, &String)| {
        let stripped = SPACE_ENDINGS
            .iter()
            .find_map(|ending| file.strip_suffix(ending));
        let pattern = stripped.unwrap_or(file);
        let spelt = CONTRACTIONS
            .iter()
            .find_map(|spelling| pattern.strip_prefix(spelling))
            .map_or_else(
                || pattern.to_owned(),
                |rest| format!("'(?i-u:s|t|re|ve|m|ll|d)|{rest}"),
            );
        // Files escape no number sign.
        spelt == rule.replace(r"\#", "#") && stripped.is_some() == WITH_SPACES.contains(rule)
    };
    let rule = RULES.iter().find(|rule| {
        rule.whole_words == whole_words
            && rule.patterns.len() == patterns.len()
            && rule.patterns.iter().zip(patterns).all(same)
    })?;
    rule.names.first().copied()
}

/// A named way of cutting text into words.
#[derive(Debug)]
pub(crate) struct PreTokenizer {
    steps: Vec<Step>,
    whole_words: bool,
}

impl PreTokenizer {
    /// The pre-tokeniser that cuts so.
    ///
    /// # Errors
    /// [`TokenError::UnknownPreTokenizer`] with the names that are known, or
    /// [`TokenError::WordPattern`] for a pattern that is not supported.
    pub(crate) fn new(words: &Words) -> Result<Self, TokenError> {
        match words {
            Words::Named(name) => Self::named(name),
            Words::Patterns {
                patterns,
                whole_words,
            } => Ok(Self {
                steps: patterns
                    .iter()
                    .map(|pattern| Step::read(pattern))
                    .collect::<Result<_, _>>()?,
                whole_words: *whole_words,
            }),
        }
    }

    fn named(name: &str) -> Result<Self, TokenError> {
        let rule = RULES.iter().find(|rule| rule.names.contains(&name));
        let rule = rule.ok_or_else(|| TokenError::UnknownPreTokenizer {
            given: name.to_owned(),
            known: RULES.iter().flat_map(|rule| rule.names).copied().collect(),
        })?;
        let step = |pattern: &&str| Step::new(pattern, WITH_SPACES.contains(pattern));
        Ok(Self {
            steps: rule.patterns.iter().map(step).collect(),
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

/// How patterns of files cut runs of whitespace, which our expressions cannot: they do not look
/// ahead. Both mean the same, because what no pattern matches is a word too.
const SPACE_ENDINGS: [&str; 2] = [r"|\s+(?!\S)|\s+", r"|\s+(?!\S)"];

impl Step {
    fn new(pattern: &str, cuts_spaces: bool) -> Self {
        Self::compile(pattern, cuts_spaces).expect("the patterns are constants of this file")
    }

    /// The step of a pattern as files write it.
    ///
    /// # Errors
    /// [`TokenError::WordPattern`] if it has what we cannot do: looking around, anchors,
    /// quantifiers that do not give back.
    fn read(pattern: &str) -> Result<Self, TokenError> {
        let refused = |reason: String| TokenError::WordPattern {
            given: pattern.to_owned(),
            reason,
        };
        let stripped = SPACE_ENDINGS
            .iter()
            .find_map(|ending| pattern.strip_suffix(ending));
        let rest = stripped.unwrap_or(pattern);
        if let Some(construct) = unsupported(rest) {
            return Err(refused(format!("{construct} is not supported")));
        }
        let step = Self::compile(rest, stripped.is_some());
        let step = step.map_err(|error| refused(error.to_string()))?;
        if step.regex.is_match("") {
            return Err(refused("it matches the empty text".to_owned()));
        }
        Ok(step)
    }

    fn compile(pattern: &str, cuts_spaces: bool) -> Result<Self, Box<BuildError>> {
        let spaces = cuts_spaces.then_some(r"\s+");
        let patterns: Vec<_> = std::iter::once(pattern).chain(spaces).collect();
        Ok(Self {
            regex: Regex::new_many(&patterns)?,
        })
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

/// The first construct of a pattern that means something else in our expressions than in those of
/// model files.
fn unsupported(pattern: &str) -> Option<&'static str> {
    let mut in_class = 0_usize;
    let mut last = ' ';
    let mut rest = pattern;
    while let Some(char) = rest.chars().next() {
        rest = &rest[char.len_utf8()..];
        match char {
            '\\' => {
                if in_class == 0 && rest.starts_with(['b', 'B', 'A', 'z', 'Z', 'G']) {
                    return Some("an anchor");
                }
                rest = behind_escape(rest);
                // Not a quantifier, whatever it was.
                last = ' ';
                continue;
            }
            '(' if in_class == 0
                && ["?=", "?!", "?<=", "?<!"]
                    .iter()
                    .any(|look| rest.starts_with(look)) =>
            {
                return Some("looking around");
            }
            '[' => in_class += 1,
            ']' => in_class = in_class.saturating_sub(1),
            '^' | '$' if in_class == 0 => return Some("an anchor"),
            '+' if in_class == 0 && matches!(last, '+' | '?' | '*' | '}') => {
                return Some("a quantifier that does not give back");
            }
            _ => {}
        }
        last = char;
    }
    None
}

/// What stands behind an escape, whose backslash is gone: a character, or a name in braces.
fn behind_escape(rest: &str) -> &str {
    let mut chars = rest.chars();
    let is_named = matches!(chars.next(), Some('p' | 'P' | 'x' | 'u'));
    match chars.as_str().split_once('}') {
        Some((name, behind)) if is_named && name.starts_with('{') => behind,
        _ => chars.as_str(),
    }
}
