//! Versions of models that outlive `autoglm serve`, the commands that change them, and sockets that
//! are handed over.

#![expect(clippy::unwrap_used, reason = "a test may panic, that is how it fails")]
#![cfg(unix)]

#[path = "support/server.rs"]
mod server;
mod support;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use serde_json::Value;

use server::Server;
use support::{Desk, fixture, text};

/// A model that is served as `m`, and another of another content beside it.
fn models(desk: &Desk) -> (String, String) {
    let given = fixture("tiny-llama.gguf");
    let tuned = desk.path("tuned.gguf");
    let mut bytes = std::fs::read(&given).unwrap();
    // The last byte of the last tensor: another number, the same file otherwise.
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&tuned, bytes).unwrap();
    (format!("m={given}"), tuned.to_str().unwrap().to_owned())
}

/// The words of `autoglm model` for a server. Updates are forced: how long so small a model takes
/// says nothing on a busy machine.
fn model<'a>(server: &'a Server, args: &[&'a str]) -> Vec<&'a str> {
    [&["model"], args, &["--server", &server.url]].concat()
}

fn live(server: &Server) -> Value {
    server.get("/admin/models")["models"][0]["live"].clone()
}

#[test]
fn a_version_is_promoted_by_command_and_goes_on_after_a_restart() {
    let desk = Desk::new();
    let (given, tuned) = models(&desk);
    let server = Server::start(&desk, &["-m", &given]);
    // A path is as the command sees it.
    let told = desk.ok(&model(
        &server,
        &["update", "m", "tuned.gguf", "--canary", "20", "--force"],
    ));
    assert!(told.contains("canary 20 %"), "{told}");
    let told = desk.ok(&model(&server, &["promote", "m"]));
    let row = told.lines().find(|line| line.contains(&tuned)).unwrap();
    assert!(row.starts_with("m     2        live"), "{told}");
    let (code, said) = desk.fails(&model(&server, &["promote", "m"]));
    assert!(
        code == 2 && said.contains("no candidate on trial"),
        "{code} {said}"
    );
    let fingerprint = live(&server)["system_fingerprint"].clone();
    server.stop();

    let server = Server::start(&desk, &["-m", &given]);
    assert!(
        server.told.contains("m: version 2 goes on"),
        "{}",
        server.told
    );
    assert_eq!(live(&server)["system_fingerprint"], fingerprint);
    let versions = desk.json(&["model", "versions", "--json", "--server", &server.url]);
    assert_eq!(versions[0]["live"]["source"], tuned.as_str());
    assert_eq!(versions[0]["previous"]["version"], 1);
    server.stop();

    // One changed byte is another content.
    let mut bytes = std::fs::read(&tuned).unwrap();
    *bytes.last_mut().unwrap() ^= 2;
    std::fs::write(&tuned, bytes).unwrap();
    let server = Server::start(&desk, &["-m", &given]);
    assert!(
        server
            .told
            .contains("is refused: its files are not what they were"),
        "{}",
        server.told
    );
    assert_eq!(live(&server)["version"], 1);
    assert_ne!(live(&server)["system_fingerprint"], fingerprint);
}

#[test]
fn a_version_is_rolled_back_by_command() {
    let desk = Desk::new();
    let (given, tuned) = models(&desk);
    let server = Server::start(&desk, &["-m", &given]);
    desk.ok(&model(&server, &["update", "m", &tuned, "--force"]));
    assert_eq!(live(&server)["version"], 2);
    desk.ok(&model(&server, &["rollback", "m"]));
    assert_eq!(live(&server)["version"], 1);
    let (_, said) = desk.fails(&model(&server, &["rollback", "other"]));
    assert!(said.contains("no model \"other\""), "{said}");
    server.stop();
    let server = Server::start(&desk, &["-m", &given]);
    assert_eq!(live(&server)["version"], 1);
}

#[test]
fn only_an_administrator_changes_versions() {
    let desk = Desk::new();
    let (given, tuned) = models(&desk);
    let new = |id: &str, more: &[&str]| {
        let args = [&["key", "new", "--file", "keys.toml", "--id", id], more].concat();
        desk.write(id, desk.ok(&args));
    };
    new("user", &[]);
    new("admin", &["--scope", "admin"]);
    let server = Server::start(&desk, &["-m", &given, "--api-keys", "keys.toml"]);
    let update = |file: &str| {
        let args = [
            "model",
            "update",
            "m",
            &tuned,
            "--force",
            "--server",
            &server.url,
        ];
        desk.run(&[&args[..], &["--api-key-file", file]].concat())
    };
    let refused = update("user");
    assert!(!refused.status.success());
    assert!(
        text(&refused.stderr).contains("admin"),
        "{}",
        text(&refused.stderr)
    );
    assert!(update("admin").status.success());
}

/// A server that gets its socket as systemd hands it over: as the descriptor 3, with the process's
/// own number in `LISTEN_PID`.
fn handed(desk: &Desk, socket: &TcpListener, args: &[&str]) -> Server {
    let script = "exec 3<&0 </dev/null; LISTEN_PID=$$ LISTEN_FDS=1 exec \"$@\"";
    let served = desk.command(&[&["serve"], args].concat());
    let mut command = Command::new("sh");
    command.args(["-c", script, "sh"]).arg(served.get_program());
    command.args(served.get_args());
    for (name, value) in served.get_envs() {
        command.env(name, value.unwrap());
    }
    command.current_dir(served.get_current_dir().unwrap());
    command.stdin(Stdio::from(OwnedFd::from(socket.try_clone().unwrap())));
    Server::spawn(command)
}

/// One request over a connection of its own.
fn is_answered(address: &str) -> bool {
    let mut answer = String::new();
    let asked = TcpStream::connect(address).and_then(|mut stream| {
        stream.write_all(
            b"GET /health/live HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n",
        )?;
        stream.read_to_string(&mut answer)
    });
    asked.is_ok() && answer.starts_with("HTTP/1.1 200")
}

#[test]
fn a_socket_that_is_handed_over_outlives_the_server_and_loses_no_request() {
    let desk = Desk::new();
    let model = fixture("tiny-llama.gguf");
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap().to_string();
    let first = handed(&desk, &socket, &["-m", &model]);
    assert_eq!(first.url, format!("http://{address}"));
    let (is_over, answered, lost) = (
        AtomicBool::new(false),
        AtomicUsize::new(0),
        AtomicUsize::new(0),
    );
    // It lives until the last request has its answer.
    let mut second = None;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                let count = if is_answered(&address) {
                    &answered
                } else {
                    &lost
                };
                count.fetch_add(1, Ordering::Relaxed);
            }
        });
        // Requests that come while no server runs wait in the socket.
        first.stop();
        second = Some(handed(&desk, &socket, &["-m", &model]));
        let before = answered.load(Ordering::Relaxed);
        while answered.load(Ordering::Relaxed) < before + 20 {}
        is_over.store(true, Ordering::Relaxed);
    });
    drop(second);
    assert_eq!(lost.load(Ordering::Relaxed), 0);
}

#[test]
fn a_socket_that_others_can_reach_needs_keys_as_an_address_does() {
    let desk = Desk::new();
    let socket = TcpListener::bind("0.0.0.0:0").unwrap();
    let model = fixture("tiny-llama.gguf");
    let mut command = desk.command(&["serve", "-m", &model]);
    command
        .env("LISTEN_FDS", "1")
        .env("LISTEN_FDS_FIRST_FD", "0");
    let output = command
        .stdin(Stdio::from(OwnedFd::from(socket)))
        .output()
        .unwrap();
    assert!(!output.status.success());
    assert!(
        text(&output.stderr).contains("--api-keys"),
        "{}",
        text(&output.stderr)
    );
}

#[test]
fn a_socket_for_another_process_is_left_alone() {
    let desk = Desk::new();
    let model = fixture("tiny-llama.gguf");
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = socket.local_addr().unwrap().port();
    let mut command = desk.command(&["serve", "--listen", "127.0.0.1:0", "-m", &model]);
    command
        .env("LISTEN_FDS", "1")
        .env("LISTEN_FDS_FIRST_FD", "0")
        .env("LISTEN_PID", "1");
    command.stdin(Stdio::from(OwnedFd::from(socket)));
    let server = Server::spawn(command);
    assert!(!server.url.ends_with(&format!(":{port}")), "{}", server.url);
}
