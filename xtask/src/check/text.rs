//! What no file may contain: registry host names, paths of one machine, unfinished work.

use super::{File, Finding};

/// Text that is looked for. The parts are put together here, so that this file passes.
struct Forbidden {
    text: &'static str,
    message: &'static str,
    /// Whether the match must not go on from a letter, digit or slash before it.
    starts_word: bool,
}

const fn anywhere(text: &'static str, message: &'static str) -> Forbidden {
    Forbidden {
        text,
        message,
        starts_word: false,
    }
}

const fn word(text: &'static str, message: &'static str) -> Forbidden {
    Forbidden {
        text,
        message,
        starts_word: true,
    }
}

const REGISTRY: &str = "names a registry's host; use its ordinary client";
const MACHINE: &str = "names a path of one machine";
const UNFINISHED: &str = "marks unfinished work; finish it or open an issue";

const FORBIDDEN: [Forbidden; 17] = [
    anywhere(concat!("pypi", ".org"), REGISTRY),
    anywhere(concat!("pythonhosted", ".org"), REGISTRY),
    anywhere(concat!("crates", ".io"), REGISTRY),
    anywhere(concat!("hugging", "face.co"), REGISTRY),
    anywhere(concat!("hf", ".co/"), REGISTRY),
    anywhere(concat!("hf-mirror", ".com"), REGISTRY),
    anywhere(concat!("modelscope", ".cn"), REGISTRY),
    anywhere(concat!("npmjs", ".com"), REGISTRY),
    word(concat!("/wo", "rk/"), MACHINE),
    word(concat!("/ro", "ot/"), MACHINE),
    word(concat!("/ho", "me/"), MACHINE),
    word(concat!("/Use", "rs/"), MACHINE),
    word(concat!("TO", "DO"), UNFINISHED),
    word(concat!("FIX", "ME"), UNFINISHED),
    word(concat!("XX", "X"), UNFINISHED),
    word(concat!("to", "do!"), UNFINISHED),
    word(concat!("unimple", "mented!"), UNFINISHED),
];

/// Files that tools write or that are quoted as they are.
const EXEMPT: [&str; 3] = ["Cargo.lock", "fuzz/Cargo.lock", "LICENSE"];

/// Checks every text file but fixtures, which are data.
pub(super) fn check(files: &[File]) -> Vec<Finding> {
    let checked = files
        .iter()
        .filter(|file| !EXEMPT.contains(&file.path.as_str()) && !file.path.contains("/fixtures/"));
    checked.flat_map(check_file).collect()
}

fn check_file(file: &File) -> Vec<Finding> {
    let lines = file.text.as_deref().unwrap_or_default().lines().enumerate();
    lines
        .flat_map(|(index, line)| {
            FORBIDDEN
                .iter()
                .filter(|forbidden| forbidden.is_in(line))
                .map(move |forbidden| Finding::at(&file.path, index + 1, forbidden.message))
        })
        .collect()
}

impl Forbidden {
    fn is_in(&self, line: &str) -> bool {
        line.match_indices(self.text).any(|(at, _)| {
            let before = line[..at].chars().next_back();
            let goes_on = before.is_some_and(|c| c.is_alphanumeric() || "/_.-".contains(c));
            let after = line[at + self.text.len()..].chars().next();
            let runs_on = self.text.ends_with(char::is_alphabetic)
                && after.is_some_and(|c| c.is_alphanumeric() || c == '_');
            !self.starts_word || !(goes_on || runs_on)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(path: &str, text: &str) -> Vec<Option<usize>> {
        let found = check(&[File::with_text(path, text)]);
        found.into_iter().map(|finding| finding.line).collect()
    }

    #[test]
    fn every_forbidden_text_is_found_with_its_line() {
        for forbidden in &FORBIDDEN {
            let text = format!("fine\nsee \"{}\" there\n", forbidden.text);
            assert_eq!(lines("a.py", &text), [Some(2)], "{}", forbidden.text);
        }
    }

    #[test]
    fn words_that_only_contain_a_forbidden_one_are_fine() {
        let text = concat!(
            "TO",
            "DOS, auTO",
            "DO, ./ro",
            "ot/x, a/wo",
            "rk/b, XX",
            "XL\n"
        );
        assert_eq!(lines("a.md", text), []);
    }

    #[test]
    fn lock_files_and_fixtures_are_left_alone() {
        let text = concat!("crates", ".io TO", "DO\n");
        for path in ["Cargo.lock", "crates/a/fixtures/x.json"] {
            assert_eq!(lines(path, text), [], "{path}");
        }
    }
}
