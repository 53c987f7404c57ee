//! The browser that the console's tests drive.

use std::path::Path;
use std::process::{Command, Stdio};

/// Debian's packages of it, with letters for Chinese.
const PACKAGES: [&str; 3] = ["chromium", "chromium-driver", "fonts-noto-cjk"];

/// Installs the browser where it is missing, the machine is Debian and the user may: as root, as on
/// a fresh machine of a continuous integration. Elsewhere the tests say that they are skipped.
/// Gives what was done.
pub(crate) fn prepare() -> &'static str {
    if runs("chromedriver", &["--version"]) {
        return "there already";
    }
    if !Path::new("/etc/debian_version").exists() || !is_root() {
        return "missing: install chromium and chromedriver to have the console tested";
    }
    let install = ["install", "--yes", "--no-install-recommends"];
    let install: Vec<&str> = install.into_iter().chain(PACKAGES).collect();
    if runs("apt-get", &["update"]) && runs("apt-get", &install) {
        return "installed";
    }
    "missing, and apt-get could not install it; the console is not tested"
}

fn is_root() -> bool {
    let told = Command::new("id").arg("-u").output();
    told.is_ok_and(|told| told.stdout.trim_ascii() == b"0")
}

/// Whether a program is there and does what it is told.
fn runs(program: &str, words: &[&str]) -> bool {
    let status = Command::new(program)
        .args(words)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status();
    status.is_ok_and(|status| status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_is_missing_or_fails_does_not_run() {
        assert!(runs("true", &[]));
        assert!(!runs("false", &[]));
        assert!(!runs("there is no such program", &[]));
    }
}
