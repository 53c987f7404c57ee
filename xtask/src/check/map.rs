//! Documents name only crates and paths that exist.

use super::{File, Finding};

/// Folders at the root. A word in back-ticks that begins with one of them is a path.
const ROOT_FOLDERS: [&str; 11] = [
    ".cargo",
    ".ci",
    "benches",
    "benchmarks",
    "crates",
    "docs",
    "examples",
    "fuzz",
    "ops",
    "tools",
    "xtask",
];

/// Documents that every checkout has.
const REQUIRED: [&str; 4] = [
    "ARCHITECTURE.md",
    "README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
];

/// Checks every Markdown document.
pub(super) fn check(files: &[File]) -> Vec<Finding> {
    let missing = REQUIRED
        .iter()
        .filter(|name| !files.iter().any(|file| file.path == **name))
        .map(|name| Finding::new(name, "does not exist"));
    let documents = files.iter().filter(|file| file.has_extension("md"));
    missing
        .chain(documents.flat_map(|document| check_document(document, files)))
        .collect()
}

fn check_document(document: &File, files: &[File]) -> Vec<Finding> {
    let text = document.text.as_deref().unwrap_or_default();
    let lines = text.lines().enumerate();
    lines
        .flat_map(|(index, line)| quoted(line).map(move |word| (index + 1, word)))
        .filter_map(|(line, word)| {
            let message = missing_crate(word, files).or_else(|| missing_path(word, files))?;
            Some(Finding::at(&document.path, line, message))
        })
        .chain(dead_links(document, files))
        .collect()
}

/// Links to files that do not exist, `[text](path)`, seen from the document's folder.
fn dead_links(document: &File, files: &[File]) -> Vec<Finding> {
    let folder = document
        .path
        .rsplit_once('/')
        .map_or("", |(folder, _)| folder);
    let text = document.text.as_deref().unwrap_or_default();
    let links = text.lines().enumerate().flat_map(|(index, line)| {
        let ends = line.split("](").skip(1);
        ends.filter_map(|rest| rest.split_once(')'))
            .map(move |(link, _)| (index + 1, link))
    });
    links
        .filter(|(_, link)| !link.contains("://") && !link.starts_with('#'))
        .filter(|(_, link)| !exists(&resolve(folder, link), files))
        .map(|(line, link)| {
            Finding::at(&document.path, line, format!("the link to {link} is dead"))
        })
        .collect()
}

/// A link's path from the root, without its fragment.
fn resolve(folder: &str, link: &str) -> String {
    let path = link.split('#').next().unwrap_or_default();
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in path.split('/') {
        match part {
            ".." => drop(parts.pop()),
            "." | "" => {}
            part => parts.push(part),
        }
    }
    parts.join("/")
}

fn exists(path: &str, files: &[File]) -> bool {
    files.iter().any(|file| {
        let rest = file.path.strip_prefix(path);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    })
}

/// What stands in back-ticks on a line.
fn quoted(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2)
}

fn missing_crate(word: &str, files: &[File]) -> Option<String> {
    let rest = word.strip_prefix("autoglm-")?;
    let is_name = !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_lowercase());
    let exists = files
        .iter()
        .any(|file| file.path == format!("crates/{word}/Cargo.toml"));
    (is_name && !exists).then(|| format!("there is no crate {word}"))
}

fn missing_path(word: &str, files: &[File]) -> Option<String> {
    let (folder, _) = word.split_once('/')?;
    let is_plain = word
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b"._-/".contains(&b));
    if !is_plain || !ROOT_FOLDERS.contains(&folder) {
        return None;
    }
    let wanted = word.trim_end_matches('/');
    (!exists(wanted, files)).then(|| format!("there is no {wanted}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(document: &str) -> Vec<String> {
        let mut files: Vec<File> = REQUIRED.map(|name| File::with_text(name, "")).to_vec();
        files.push(File::with_text("crates/autoglm-spec/Cargo.toml", ""));
        files.push(File::with_text("docs/guide.md", document));
        check(&files).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn crates_and_paths_that_exist_pass() {
        let text = "`autoglm-spec` in `crates/autoglm-spec/`, `crates/autoglm-spec/Cargo.toml`\n";
        assert_eq!(findings(text), [""; 0]);
    }

    #[test]
    fn crates_and_paths_that_do_not_exist_are_found_with_their_line() {
        let text = "fine\nsee `autoglm-gone` and `crates/autoglm-spec/src/gone.rs`\n";
        assert_eq!(
            findings(text),
            [
                "docs/guide.md:2: there is no crate autoglm-gone",
                "docs/guide.md:2: there is no crates/autoglm-spec/src/gone.rs",
            ]
        );
    }

    #[test]
    fn a_path_is_not_satisfied_by_a_longer_name() {
        assert_eq!(
            findings("`docs/guide`"),
            ["docs/guide.md:1: there is no docs/guide"]
        );
    }

    #[test]
    fn dead_links_are_found_and_others_are_followed_from_the_documents_folder() {
        let text =
            "[a](../README.md), [b](guide.md#part), [c](https://x.y), [d](#part), [e](gone.md)\n";
        assert_eq!(
            findings(text),
            ["docs/guide.md:1: the link to gone.md is dead"]
        );
    }

    #[test]
    fn patterns_commands_and_other_slashes_are_no_paths() {
        let text = "`crates/*/src`, `and/or`, `autoglm-<command>`, `cargo run -p xtask/x y`\n";
        assert_eq!(findings(text), [""; 0]);
    }

    #[test]
    fn the_documents_that_newcomers_look_for_must_exist() {
        let found = check(&[File::with_text("README.md", "")]);
        let paths: Vec<&str> = found.iter().map(|finding| finding.path.as_str()).collect();
        assert_eq!(
            paths,
            ["ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md"]
        );
    }
}
