//! `autoglm index` on Git repositories.

#![expect(clippy::unwrap_used, reason = "a test may panic, that is how it fails")]

mod support;

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use serde_json::Value;

use support::{Desk, rows};

/// Runs `git` in a folder, as somebody.
fn git(folder: &std::path::Path, arguments: &[&str]) {
    let who = [
        "-c",
        "user.name=a",
        "-c",
        "user.email=a@example.org",
        "-c",
        "init.defaultBranch=main",
    ];
    let mut command = std::process::Command::new("git");
    command.arg("-C").arg(folder).args(who).args(arguments);
    for name in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"] {
        command.env_remove(name);
    }
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "{arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// A repository with two commits, of which the first is called `first`, and changes that are in none.
fn repository(desk: &Desk) -> std::path::PathBuf {
    fs::create_dir_all(desk.path("repo/docs")).unwrap();
    let folder = desk.path("repo");
    git(&folder, &["init", "-q"]);
    desk.write("repo/docs/pump.md", "# Pump\n\nThe pump is red.\n");
    desk.write("repo/.hidden.md", "Nobody sees it.\n");
    desk.write(
        "repo/big.txt",
        "version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 1\n",
    );
    git(&folder, &["add", "-A"]);
    git(&folder, &["commit", "-qm", "one"]);
    git(&folder, &["tag", "first"]);
    desk.write("repo/docs/pump.md", "# Pump\n\nThe pump is green.\n");
    desk.write(
        "repo/docs/valve.md",
        "# Valve\n\nThe valve has a brass key.\n",
    );
    git(&folder, &["add", "-A"]);
    git(&folder, &["commit", "-qm", "two"]);
    desk.write("repo/docs/pump.md", "# Pump\n\nThe pump is blue.\n");
    folder
}

fn documents(desk: &Desk, collection: &str) -> Vec<String> {
    let listed = rows(&desk.ok(&["index", "--list", "--json", "-c", collection]));
    let path = |row: &Value| row["path"].as_str().unwrap().to_owned();
    listed.iter().map(path).collect()
}

#[test]
fn repositories_are_read_at_a_revision_and_not_from_the_working_tree() {
    let desk = Desk::new();
    let folder = repository(&desk).canonicalize().unwrap();
    let prefix = format!("git:{}@first:", folder.display());
    let index =
        |source: &str| desk.json(&["index", source, "--embedder", "none", "--json", "-c", "git"]);
    let first = index("repo@first");
    assert_eq!(first["added"], 1, "{first}");
    let broken = first["broken"][0]["reason"].as_str().unwrap();
    assert!(broken.contains("LFS"), "{broken}");
    assert_eq!(documents(&desk, "git"), [format!("{prefix}docs/pump.md")]);
    assert_eq!(index("repo@first")["unchanged"], 1);
    let search = |query: &str, filter: &str| {
        rows(&desk.ok(&["search", query, "-c", "git", "--json", "--where", filter]))
    };
    let found = search("colour of the pump", "revision=first");
    assert_eq!(found[0]["text"], "The pump is red.");
    let commit = format!("commit={}", found[0]["meta"]["commit"].as_str().unwrap());
    assert_eq!(search("pump", &commit).len(), 1);
    // What a revision names may move; what is gone from it is removed.
    git(&folder, &["tag", "-f", "first", "HEAD"]);
    let moved = index("repo@first");
    assert_eq!(
        (&moved["changed"], &moved["added"]),
        (&1.into(), &1.into()),
        "{moved}"
    );
    let found = search("colour of the pump", "revision=first");
    assert_eq!(found[0]["text"], "The pump is green.");
}

#[test]
fn a_watched_repository_is_read_again_when_its_branch_has_moved() {
    let desk = Desk::new();
    let folder = repository(&desk);
    let arguments = "index repo@main --embedder none --json --watch";
    let arguments: Vec<&str> = arguments.split(' ').collect();
    let mut command = desk.command(&arguments);
    let mut watching = command.stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(watching.stdout.take().unwrap()).lines();
    let (send, told) = mpsc::channel();
    thread::spawn(move || {
        lines
            .map_while(Result::ok)
            .all(|line| send.send(line).is_ok())
    });
    let first = told.recv_timeout(Duration::from_mins(1));
    git(&folder, &["commit", "-qam", "three"]);
    let second = told.recv_timeout(Duration::from_mins(1));
    watching.kill().unwrap();
    watching.wait().unwrap();
    assert_eq!(rows(&first.unwrap())[0]["added"], 2);
    let second = rows(&second.unwrap()).remove(0);
    assert_eq!(
        (&second["changed"], &second["unchanged"]),
        (&1.into(), &1.into())
    );
}

#[test]
fn bare_repositories_and_addresses_are_read_without_a_checkout() {
    let desk = Desk::new();
    let folder = repository(&desk);
    git(
        &desk.path("."),
        &["clone", "-q", "--bare", "repo", "bare.git"],
    );
    let bare = desk.path("bare.git").canonicalize().unwrap();
    let index = |source: &str, more: &[&str], collection: &str| {
        let all = [
            "index",
            source,
            "--embedder",
            "none",
            "--json",
            "-c",
            collection,
        ];
        desk.json(&[&all[..], more].concat())
    };
    assert_eq!(index("bare.git", &[], "bare")["added"], 2);
    let wanted =
        ["docs/pump.md", "docs/valve.md"].map(|path| format!("git:{}@HEAD:{path}", bare.display()));
    assert_eq!(documents(&desk, "bare"), wanted);
    let address = format!("file://{}", bare.display());
    assert_eq!(index(&address, &["--revision", "main"], "far")["added"], 2);
    assert_eq!(
        documents(&desk, "far")[0],
        format!("{address}@main:docs/pump.md")
    );
    // No hook runs, however it came into the copy.
    let copies = fs::read_dir(desk.path("home/knowledge/far.git")).unwrap();
    let copies: Vec<_> = copies.map(|entry| entry.unwrap().path()).collect();
    let [copy] = &copies[..] else {
        panic!("want one copy: {copies:?}")
    };
    let hook = copy.join("hooks/reference-transaction");
    fs::create_dir_all(hook.parent().unwrap()).unwrap();
    fs::write(
        &hook,
        format!("#!/bin/sh\ntouch '{}'\n", desk.path("ran").display()),
    )
    .unwrap();
    #[cfg(unix)]
    fs::set_permissions(&hook, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    git(&folder, &["commit", "-qam", "three"]);
    git(&folder, &["push", "-q", &address, "HEAD:main"]);
    let again = index(&address, &["--revision", "main"], "far");
    assert_eq!(
        (&again["changed"], &again["unchanged"]),
        (&1.into(), &1.into()),
        "{again}"
    );
    assert!(!desk.path("ran").exists());
}

#[test]
fn what_could_be_an_option_or_is_no_repository_is_refused() {
    let desk = Desk::new();
    repository(&desk);
    for (arguments, wanted) in [
        (
            &["repo@--output=x"][..],
            "no name of a repository or revision",
        ),
        (
            &["repo", "--revision=--all"],
            "no name of a repository or revision",
        ),
        (&["repo@nothing"], "there is no revision nothing"),
        (&["repo/docs", "--revision", "first"], "no Git repository"),
        (&["ext::sh -c touch@x:y"], "cannot find"),
        (
            &["http://127.0.0.1:1/x.git"],
            "https, ssh and from files alone",
        ),
        (&["https://ann:hidden@127.0.0.1:1/x.git"], "must not hold"),
        (&["http://ann:hidden@127.0.0.1:1/x.git"], "must not hold"),
        (&["https://hidden@127.0.0.1:1/x.git"], "must not hold"),
        (&["file:///nowhere/x.git"], "cannot fetch HEAD"),
        (&["file:///nowhere/x.git", "--watch"], "--watch"),
    ] {
        let all = [&["index", "--embedder", "none"], arguments].concat();
        let output = desk.command(&all).output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(
            !output.status.success() && told.contains(wanted) && !told.contains("hidden"),
            "{arguments:?}: {told}"
        );
    }
}
