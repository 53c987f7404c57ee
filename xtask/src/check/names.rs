//! What modules and crates may not be called.

use super::{File, Finding};

/// Names that say nothing about what a module is.
const EMPTY_NAMES: [&str; 7] = [
    "core", "common", "utils", "helpers", "misc", "base", "manager",
];

/// Words that are wrong as soon as the next version comes.
const PASSING_WORDS: [&str; 3] = ["new", "old", "v2"];

/// Checks the folders and files under `src`, and the crates' folders.
pub(super) fn check(files: &[File]) -> Vec<Finding> {
    let ours = files
        .iter()
        .filter(|file| file.path.starts_with("crates/") || file.path.starts_with("xtask/"));
    ours.filter(|file| file.has_extension("rs"))
        .filter_map(|file| {
            let name = names_of(&file.path).find(|name| is_forbidden(name))?;
            let message = format!("{name} is no name: say what the module is about");
            Some(Finding::new(&file.path, message))
        })
        .collect()
}

/// The names of a path's folders and of its file.
fn names_of(path: &str) -> impl Iterator<Item = &str> {
    path.split('/')
        .map(|part| part.strip_suffix(".rs").unwrap_or(part))
}

fn is_forbidden(name: &str) -> bool {
    let whole = name.strip_prefix("autoglm-").unwrap_or(name);
    EMPTY_NAMES.contains(&whole)
        || name
            .split(['_', '-'])
            .any(|word| PASSING_WORDS.contains(&word))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_found(path: &str) -> bool {
        !check(&[File::with_text(path, "")]).is_empty()
    }

    #[test]
    fn empty_names_are_found_as_file_folder_and_crate() {
        for path in [
            "crates/autoglm-spec/src/utils.rs",
            "crates/autoglm-spec/src/common/record.rs",
            "crates/autoglm-core/src/lib.rs",
            "crates/autoglm-model/src/block_v2.rs",
            "crates/autoglm-model/src/new_block.rs",
        ] {
            assert!(is_found(path), "{path}");
        }
    }

    #[test]
    fn names_that_contain_such_words_are_fine() {
        for path in [
            "crates/autoglm-model/src/renew.rs",
            "crates/autoglm-model/src/database.rs",
            "tools/base/x.rs",
        ] {
            assert!(!is_found(path), "{path}");
        }
    }
}
