//! Code without what does not change its meaning: comments, blanks, blank lines, how far a block
//! is indented.

/// The code as tokens and indentation, so that equal texts are the same code.
pub(super) fn normalised(code: &str, language: Option<&str>) -> String {
    let mut scan = Scan {
        hash_comments: is_one_of(language, &HASH_LANGUAGES),
        slash_comments: is_one_of(language, &SLASH_LANGUAGES),
        chars: code.chars().collect(),
        place: 0,
        out: Vec::new(),
    };
    let mut widths = vec![0];
    while scan.place < scan.chars.len() {
        let width = scan.indentation();
        let tokens = scan.line();
        if tokens.is_empty() {
            continue;
        }
        while widths.last().is_some_and(|&last| width < last) {
            widths.pop();
        }
        if widths.last() != Some(&width) {
            widths.push(width);
        }
        let depth = widths.len() - 1;
        scan.out.push(format!("{depth} {}", tokens.join(" ")));
    }
    scan.out.join("\n")
}

/// Languages whose comments begin with `#`.
const HASH_LANGUAGES: [&str; 14] = [
    "python", "python3", "py", "bash", "sh", "shell", "ruby", "rb", "r", "perl", "yaml", "toml",
    "julia", "php",
];
/// Languages whose comments begin with `//` or `/*`.
const SLASH_LANGUAGES: [&str; 23] = [
    "c",
    "c++",
    "cpp",
    "objective-c",
    "java",
    "javascript",
    "js",
    "jsx",
    "typescript",
    "ts",
    "tsx",
    "go",
    "golang",
    "rust",
    "rs",
    "c#",
    "csharp",
    "cs",
    "swift",
    "kotlin",
    "scala",
    "dart",
    "php",
];

/// What is a comment is known for some languages only; in others all of a code counts.
fn is_one_of(language: Option<&str>, names: &[&str]) -> bool {
    language.is_some_and(|language| names.contains(&language.to_lowercase().as_str()))
}

struct Scan {
    hash_comments: bool,
    slash_comments: bool,
    chars: Vec<char>,
    place: usize,
    out: Vec<String>,
}

impl Scan {
    fn at(&self, offset: usize) -> Option<char> {
        self.chars.get(self.place + offset).copied()
    }

    /// Columns of blanks before the line's first token; a tab counts as four.
    fn indentation(&mut self) -> usize {
        let mut width = 0;
        while let Some(c) = self.at(0).filter(|c| matches!(c, ' ' | '\t')) {
            width += if c == '\t' { 4 } else { 1 };
            self.place += 1;
        }
        width
    }

    /// The tokens up to the end of the line.
    fn line(&mut self) -> Vec<String> {
        let mut tokens = Vec::new();
        while let Some(c) = self.at(0) {
            let slash = self.slash_comments && c == '/';
            if c == '\n' {
                self.place += 1;
                break;
            } else if (self.hash_comments && c == '#') || (slash && self.at(1) == Some('/')) {
                self.skip_until(|c| c == '\n');
            } else if slash && self.at(1) == Some('*') {
                self.skip_block();
            } else if c.is_whitespace() {
                self.place += 1;
            } else {
                tokens.push(self.token(c));
            }
        }
        tokens
    }

    fn skip_until(&mut self, is_end: impl Fn(char) -> bool) {
        while self.at(0).is_some_and(|c| !is_end(c)) {
            self.place += 1;
        }
    }

    fn skip_block(&mut self) {
        self.place += 2;
        while self.at(0).is_some() && !(self.at(0) == Some('*') && self.at(1) == Some('/')) {
            self.place += 1;
        }
        self.place = (self.place + 2).min(self.chars.len());
    }

    /// A name or number, a text in quotes, or one other character.
    fn token(&mut self, first: char) -> String {
        let start = self.place;
        self.place += 1;
        let is_word = |c: char| c.is_alphanumeric() || c == '_';
        if is_word(first) {
            self.skip_until(|c| !is_word(c));
        } else if matches!(first, '"' | '\'') {
            self.skip_quoted(first);
        }
        self.chars[start..self.place].iter().collect()
    }

    fn skip_quoted(&mut self, quote: char) {
        while let Some(c) = self.at(0).filter(|c| *c != '\n') {
            self.place += if c == '\\' { 2 } else { 1 };
            if c == quote {
                break;
            }
        }
        self.place = self.place.min(self.chars.len());
    }
}

#[cfg(test)]
mod tests {
    use super::normalised;

    #[test]
    fn layout_and_comments_do_not_matter_and_blocks_do() {
        let code = "def f(x):\n    return x+1  # one more\n";
        let python = |code| normalised(code, Some("python"));
        assert_eq!(python(code), python("def f( x ):\n\n  return x + 1\n"));
        assert_ne!(python(code), python("def f(x):\n    return x+2\n"));
        assert_ne!(python("if a:\n  b\n  c"), python("if a:\n  b\nc"));
        assert_ne!(python("x = 'a  b'"), python("x = 'a b'"));
        assert_ne!(python("x = '# a'"), python("x = '# b'"));
        let c = |code| normalised(code, Some("c"));
        assert_eq!(c("a /* x */ = b; // y"), c("a=b;"));
        assert_eq!(c("a = \"// b\";"), "0 a = \"// b\" ;");
        assert_eq!(c("#define A"), "0 # define A");
        assert_eq!(c("/* open"), "");
        for language in [None, Some("brainfuck")] {
            let unknown = |code| normalised(code, language);
            assert_ne!(unknown("a # b"), unknown("a"));
            assert_ne!(unknown("a // b"), unknown("a"));
            assert_ne!(unknown("a /* b */"), unknown("a"));
        }
        assert_eq!(
            normalised("$a; // b\n$c; # d", Some("PHP")),
            "0 $ a ;\n0 $ c ;"
        );
        assert_eq!(c("\"open\\"), "0 \"open\\");
    }
}
