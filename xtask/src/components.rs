//! The programs of others that the tests of observability are made against.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The collector of OpenTelemetry, as PyPI has it.
const ROTEL: &str = "rotel==0.0.1a15";
/// What Debian's package `prometheus` has.
const PROMETHEUS: [&str; 2] = ["prometheus", "promtool"];

/// What the tests of observability find.
pub(crate) struct Components {
    /// The collector's program.
    pub(crate) rotel: Option<PathBuf>,
    /// What is said of them.
    pub(crate) remarks: Vec<String>,
}

/// Fetches the collector where it is not there yet, and looks for Prometheus. Tests whose component
/// is missing are left out; the remarks say so.
pub(crate) fn prepare(root: &Path) -> Components {
    let folder = root.join("target/components").join(ROTEL);
    let program = folder.join("rotel/rotel-agent");
    let rotel = (program.is_file() || fetch(&folder)).then_some(program);
    let rotel = rotel.filter(|program| program.is_file());
    let collector = match &rotel {
        Some(program) => format!("the collector rotel is {}", program.display()),
        None => format!("the collector rotel is missing: pip has no {ROTEL} for this machine"),
    };
    let missing = PROMETHEUS.iter().filter(|program| !is_there(program));
    let missing = missing.map(|program| {
        format!("{program} is missing: its tests are left out (Debian: apt-get install prometheus)")
    });
    Components {
        remarks: std::iter::once(collector).chain(missing).collect(),
        rotel,
    }
}

/// Installs the package into a folder of its own; only its program is used, which needs no other.
fn fetch(folder: &Path) -> bool {
    // Wheels only: a source archive would be executed. What an interrupted run left is replaced.
    let install = ["-m", "pip", "install", "--quiet", "--no-deps", "--upgrade"];
    let status = Command::new("python3")
        .args(install)
        .args(["--only-binary", ":all:", "--target"])
        .arg(folder)
        .arg(ROTEL)
        .stdin(Stdio::null())
        .status();
    status.is_ok_and(|status| status.success())
}

fn is_there(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_collector_that_is_there_is_not_fetched_again() {
        let root = std::env::temp_dir().join(format!("components-{}", std::process::id()));
        let program = root.join("target/components").join(ROTEL);
        let program = program.join("rotel/rotel-agent");
        std::fs::create_dir_all(program.parent().unwrap()).unwrap();
        std::fs::write(&program, "").unwrap();
        let found = prepare(&root);
        assert_eq!(found.rotel.as_deref(), Some(program.as_path()));
        assert!(
            found.remarks[0].ends_with("rotel-agent"),
            "{:?}",
            found.remarks
        );
        std::fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn a_program_that_is_missing_is_noticed() {
        assert!(is_there("cargo"));
        assert!(!is_there("there is no such program"));
    }
}
