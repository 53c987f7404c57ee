//! How large files may be, and that every fixture says where it comes from.

use super::{File, Finding};

/// A clone stays quick, and weights are fetched, never kept here.
const LIMIT_BYTES: u64 = 2 << 20;

/// Checks sizes and manifests of fixtures.
pub(super) fn check(files: &[File]) -> Vec<Finding> {
    let mut findings: Vec<Finding> = files.iter().filter_map(check_size).collect();
    findings.extend(files.iter().filter_map(|file| check_origin(file, files)));
    findings
}

fn check_size(file: &File) -> Option<Finding> {
    let size = file.size_bytes;
    (size > LIMIT_BYTES).then(|| {
        Finding::new(
            &file.path,
            format!("has {size} bytes, the limit is {LIMIT_BYTES}"),
        )
    })
}

/// A fixture must stand in back-ticks in the MANIFEST.md of its folder `fixtures`, with its path
/// from there or as part of a folder that does.
fn check_origin(file: &File, files: &[File]) -> Option<Finding> {
    let (above, below) = file.path.split_once("/fixtures/")?;
    if below == "MANIFEST.md" {
        return None;
    }
    let manifest = format!("{above}/fixtures/MANIFEST.md");
    let listed = files
        .iter()
        .find(|candidate| candidate.path == manifest)
        .and_then(|manifest| manifest.text.as_deref())
        .is_some_and(|text| is_listed(text, below));
    (!listed).then(|| {
        Finding::new(
            &file.path,
            format!("{manifest} does not say where it comes from"),
        )
    })
}

fn is_listed(manifest: &str, below: &str) -> bool {
    let folders = below.match_indices('/').map(|(at, _)| &below[..=at]);
    folders
        .chain([below])
        .any(|name| manifest.contains(&format!("`{name}`")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(files: &[File]) -> Vec<String> {
        check(files)
            .into_iter()
            .map(|finding| finding.path)
            .collect()
    }

    #[test]
    fn a_file_over_the_limit_is_found_and_one_at_the_limit_is_not() {
        let sized = |path: &str, size_bytes| File {
            path: path.to_owned(),
            size_bytes,
            text: None,
        };
        let files = [sized("a.bin", LIMIT_BYTES), sized("b.bin", LIMIT_BYTES + 1)];
        assert_eq!(paths(&files), ["b.bin"]);
    }

    #[test]
    fn a_fixture_needs_an_entry_in_the_manifest_beside_it() {
        let files = [
            File::with_text("crates/a/fixtures/MANIFEST.md", "| `one.bin` | `more/` |"),
            File::with_text("crates/a/fixtures/one.bin", ""),
            File::with_text("crates/a/fixtures/two.bin", ""),
            File::with_text("crates/a/fixtures/more/three.bin", ""),
            File::with_text("crates/b/fixtures/one.bin", ""),
        ];
        assert_eq!(
            paths(&files),
            ["crates/a/fixtures/two.bin", "crates/b/fixtures/one.bin"]
        );
    }
}
