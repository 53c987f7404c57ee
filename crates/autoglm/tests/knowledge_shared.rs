//! Collections in a database that several processes share, by the real binary.

#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    clippy::allow_attributes,
    reason = "a test may panic"
)]

#[path = "../../autoglm-retrieve/tests/support/postgres.rs"]
mod postgres_server;
#[path = "support/server.rs"]
mod server;
mod support;

use std::process::Command;

use postgres_server::{PASSWORD, Server as Database};
use serde_json::json;
use server::Server;
use support::{Desk, fixture, text};

/// A folder of documents, indexed into a collection of the database.
fn indexed(address: &str, collection: &str) -> Desk {
    let desk = Desk::new();
    std::fs::create_dir(desk.path("docs")).unwrap();
    desk.write("docs/pump.md", "# Pump\n\nOil the pump every month.\n");
    desk.write("docs/阀门.txt", "阀门用铜钥匙打开。\n");
    let args = ["index", "docs", "--embedder", "none", "-c", collection];
    let outcome = desk.json(&[&args[..], &["--store", address, "--json"]].concat());
    assert_eq!(outcome["added"], 2);
    desk
}

#[test]
fn what_one_machine_indexes_another_finds() {
    let Some(database) = Database::shared() else {
        return;
    };
    let address = database.address();
    let desk = indexed(&address, "found");
    // Another machine: a folder of its own.
    let other = Desk::new();
    let search = ["search", "how often is it oiled", "-c", "found", "--json"];
    let row = other.json(&[&search[..], &["--store", &address, "--top", "1"]].concat());
    assert_eq!(row["text"], "Oil the pump every month.");
    let by_variable = other
        .command(&search)
        .env("AUTOGLM_STORE", &address)
        .output();
    assert!(text(&by_variable.unwrap().stdout).contains("every month"));
    let (_, said) = other.fails(&search);
    assert!(said.contains("there is no collection found"), "{said}");
    let local = [&search[..], &["--store", "local"]].concat();
    let mut local = other.command(&local);
    let said = text(
        &local
            .env("AUTOGLM_STORE", &address)
            .output()
            .unwrap()
            .stderr,
    );
    assert!(said.contains("there is no collection found"), "{said}");
    // What is changed here is read there.
    std::fs::remove_file(desk.path("docs/pump.md")).unwrap();
    let again = [
        "index",
        "docs",
        "--embedder",
        "none",
        "-c",
        "found",
        "--store",
        &address,
    ];
    assert_eq!(desk.json(&[&again[..], &["--json"]].concat())["removed"], 1);
    let listed = other.ok(&["index", "--list", "-c", "found", "--store", &address]);
    assert!(
        listed.contains("阀门.txt") && !listed.contains("pump.md"),
        "{listed}"
    );
}

#[test]
fn passwords_come_from_the_environment_or_a_file_and_are_never_shown() {
    let Some(database) = Database::shared() else {
        return;
    };
    indexed(&database.address(), "guarded");
    let desk = Desk::new();
    let guarded = database.guarded_address();
    let list = ["index", "--list", "-c", "guarded"];
    let named = [&list[..], &["--store", &guarded]].concat();
    let run = |mut command: Command| {
        let output = command.env_remove("PGPASSWORD").output().unwrap();
        (text(&output.stdout), text(&output.stderr))
    };
    let (_, said) = run(desk.command(&named));
    assert!(said.contains("password"), "{said}");
    let mut by_variable = desk.command(&named);
    let output = by_variable.env("PGPASSWORD", PASSWORD).output().unwrap();
    assert!(text(&output.stdout).contains("pump.md"));
    let file = desk
        .write("password", format!("{PASSWORD}\n"))
        .display()
        .to_string();
    let (shown, said) =
        run(desk.command(&[&named[..], &["--store-password-file", &file]].concat()));
    assert!(shown.contains("pump.md"), "{said}");
    let with = |password: &str| guarded.replace("postgres@", &format!("postgres:{password}@"));
    let mut by_address = desk.command(&list);
    by_address.env("AUTOGLM_STORE", with(&PASSWORD.replace(' ', "%20")));
    let (shown, said) = run(by_address);
    assert!(shown.contains("pump.md"), "{said}");
    let mut wrong = desk.command(&list);
    wrong.env("AUTOGLM_STORE", with("battery"));
    let (_, said) = run(wrong);
    assert!(
        said.contains("authentication failed") && !said.contains("battery"),
        "{said}"
    );
    let (_, said) = desk.fails(&[&list[..], &["--store", &with("battery")]].concat());
    assert!(
        said.contains("no place on a command line") && !said.contains("battery"),
        "{said}"
    );
}

#[test]
fn several_servers_share_a_collection_and_see_what_is_indexed_meanwhile() {
    let Some(database) = Database::shared() else {
        return;
    };
    let address = database.address();
    let desk = indexed(&address, "served");
    let model = fixture("tiny-llama.gguf");
    let args = [
        "--model",
        &model,
        "--knowledge",
        "served",
        "--store",
        &address,
    ];
    let (other, third) = (Desk::new(), Desk::new());
    let servers = [Server::start(&other, &args), Server::start(&third, &args)];
    let found = |server: &Server, query: &str| {
        let body = json!({"collection": "served", "query": query});
        server.post("/v1/knowledge/search", &body).1.to_string()
    };
    for server in &servers {
        assert!(found(server, "oil the pump").contains("every month"));
        assert!(found(server, "阀门").contains("铜钥匙"));
    }
    desk.write("docs/pump.md", "# Pump\n\nOil the pump every week.\n");
    let index = [
        "index",
        "docs",
        "--embedder",
        "none",
        "-c",
        "served",
        "--store",
        &address,
    ];
    desk.ok(&index);
    for server in &servers {
        assert!(found(server, "oil the pump").contains("every week"));
    }
}
