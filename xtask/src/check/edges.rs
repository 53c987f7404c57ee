//! Which crate may use which: lower crates know nothing of higher ones.

use toml::{Table, Value};

use super::{File, Finding};

/// Every crate with those of ours that it may use. `ARCHITECTURE.md` explains the table.
const ALLOWED: &[(&str, &[&str])] = &[
    ("autoglm-spec", &[]),
    ("autoglm-kernel", &[]),
    ("autoglm-token", &["autoglm-spec"]),
    (
        "autoglm-model",
        &["autoglm-spec", "autoglm-kernel", "autoglm-token"],
    ),
    (
        "autoglm-engine",
        &["autoglm-spec", "autoglm-token", "autoglm-model"],
    ),
    ("autoglm-retrieve", &["autoglm-spec", "autoglm-kernel"]),
    ("autoglm-task", &["autoglm-spec"]),
    (
        "autoglm-server",
        &[
            "autoglm-spec",
            "autoglm-token",
            "autoglm-retrieve",
            "autoglm-task",
        ],
    ),
    (
        "autoglm",
        &[
            "autoglm-spec",
            "autoglm-kernel",
            "autoglm-token",
            "autoglm-model",
            "autoglm-engine",
            "autoglm-retrieve",
            "autoglm-task",
            "autoglm-server",
        ],
    ),
    ("xtask", &[]),
];

/// Tables of a manifest that name dependencies.
const DEPENDENCY_TABLES: [&str; 3] = ["dependencies", "dev-dependencies", "build-dependencies"];

/// Checks the manifests of the workspace's members.
pub(super) fn check(files: &[File]) -> Vec<Finding> {
    let members = files.iter().filter(|file| is_member(&file.path));
    members.flat_map(check_manifest).collect()
}

fn is_member(path: &str) -> bool {
    let parts: Vec<&str> = path.split('/').collect();
    matches!(
        parts[..],
        ["crates", _, "Cargo.toml"] | ["xtask", "Cargo.toml"]
    )
}

fn check_manifest(file: &File) -> Vec<Finding> {
    let text = file.text.as_deref().unwrap_or_default();
    let manifest: Table = match text.parse() {
        Ok(manifest) => manifest,
        Err(error) => return vec![Finding::new(&file.path, format!("not TOML: {error}"))],
    };
    let name = string_at(&manifest, "package", "name").unwrap_or_default();
    let folder = file.path.split('/').rev().nth(1).unwrap_or_default();
    let mut findings = Vec::new();
    if name != folder {
        let message = format!("the crate is called {name}, its folder {folder}");
        findings.push(Finding::new(&file.path, message));
    }
    if manifest
        .get("lints")
        .and_then(|lints| lints.get("workspace"))
        != Some(&Value::Boolean(true))
    {
        findings.push(Finding::new(
            &file.path,
            "does not take the workspace's lints",
        ));
    }
    match ALLOWED.iter().find(|(member, _)| *member == name) {
        Some((_, allowed)) => {
            findings.extend(forbidden_edges(&file.path, &manifest, name, allowed));
        }
        None => findings.push(Finding::new(
            &file.path,
            format!("{name} is not in the table of allowed edges in xtask/src/check/edges.rs"),
        )),
    }
    findings
}

fn forbidden_edges(path: &str, manifest: &Table, name: &str, allowed: &[&str]) -> Vec<Finding> {
    own_dependencies(manifest)
        .into_iter()
        .filter(|used| !allowed.contains(&used.as_str()))
        .map(|used| Finding::new(path, format!("{name} may not use {used}")))
        .collect()
}

/// Our own crates that a manifest names, whatever it calls them.
fn own_dependencies(manifest: &Table) -> Vec<String> {
    let targets = manifest.get("target").and_then(Value::as_table);
    let targets = targets
        .into_iter()
        .flat_map(Table::values)
        .filter_map(Value::as_table);
    std::iter::once(manifest)
        .chain(targets)
        .flat_map(|table| DEPENDENCY_TABLES.map(|key| table.get(key)))
        .flatten()
        .filter_map(Value::as_table)
        .flatten()
        .map(|(key, value)| {
            value
                .get("package")
                .and_then(Value::as_str)
                .unwrap_or(key)
                .to_owned()
        })
        .filter(|used| {
            ALLOWED.iter().any(|(member, _)| member == used) || used.starts_with("autoglm")
        })
        .collect()
}

fn string_at<'a>(manifest: &'a Table, table: &str, key: &str) -> Option<&'a str> {
    manifest.get(table)?.get(key)?.as_str()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINTS: &str = "[lints]\nworkspace = true\n";

    fn findings(path: &str, manifest: &str) -> Vec<String> {
        let file = File::with_text(path, manifest);
        check(&[file]).iter().map(ToString::to_string).collect()
    }

    fn manifest(name: &str, rest: &str) -> String {
        format!("[package]\nname = \"{name}\"\n{rest}\n{LINTS}")
    }

    #[test]
    fn a_higher_crate_may_use_a_lower_one() {
        let text = manifest(
            "autoglm-model",
            "[dependencies]\nautoglm-kernel.workspace = true\nhalf = \"2\"",
        );
        assert_eq!(findings("crates/autoglm-model/Cargo.toml", &text), [""; 0]);
    }

    #[test]
    fn a_lower_crate_may_not_use_a_higher_one_not_even_in_tests_or_by_another_name() {
        let uses = [
            "[dependencies]\nautoglm-engine = { workspace = true }",
            "[dev-dependencies]\nautoglm-engine = { workspace = true }",
            "[dependencies]\nrunner = { path = \"../x\", package = \"autoglm-engine\" }",
            "[target.'cfg(unix)'.dependencies]\nautoglm-engine = { workspace = true }",
        ];
        for uses in uses {
            let text = manifest("autoglm-task", uses);
            assert_eq!(
                findings("crates/autoglm-task/Cargo.toml", &text),
                ["crates/autoglm-task/Cargo.toml: autoglm-task may not use autoglm-engine"],
                "{uses}"
            );
        }
    }

    #[test]
    fn a_crate_that_is_not_in_the_table_is_found() {
        let text = manifest("autoglm-other", "");
        let found = findings("crates/autoglm-other/Cargo.toml", &text);
        assert!(found[0].contains("not in the table"), "{found:?}");
    }

    #[test]
    fn a_folder_is_called_as_its_crate_and_takes_the_lints() {
        let found = findings(
            "crates/spec/Cargo.toml",
            "[package]\nname = \"autoglm-spec\"\n",
        );
        assert_eq!(
            found,
            [
                "crates/spec/Cargo.toml: the crate is called autoglm-spec, its folder spec",
                "crates/spec/Cargo.toml: does not take the workspace's lints",
            ]
        );
    }

    #[test]
    fn manifests_outside_the_workspace_are_left_alone() {
        assert_eq!(
            findings("fuzz/Cargo.toml", "[package]\nname = \"autoglm-fuzz\"\n"),
            [""; 0]
        );
    }
}
