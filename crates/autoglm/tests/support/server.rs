//! The binary as a server on loopback.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::allow_attributes,
    clippy::unwrap_used,
    reason = "each test binary uses a part of this, and may panic"
)]

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::support::Desk;

/// A server that is stopped when it is dropped.
pub struct Server {
    process: Child,
    pub url: String,
    /// What it said before it listened.
    pub told: String,
}

impl Server {
    pub fn start(desk: &Desk, args: &[&str]) -> Self {
        let args = [&["serve", "--listen", "127.0.0.1:0"], args].concat();
        Self::spawn(desk.command(&args))
    }

    /// A server that a command starts.
    pub fn spawn(mut command: Command) -> Self {
        let mut process = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut said = BufReader::new(process.stderr.take().unwrap());
        let (mut line, mut told) = (String::new(), String::new());
        let url = loop {
            line.clear();
            assert_ne!(said.read_line(&mut line).unwrap(), 0, "it ended early");
            if let Some(url) = line.strip_prefix("listening at ") {
                break url.trim().to_owned();
            }
            told.push_str(&line);
        };
        // What is said later must not fill the pipe.
        std::thread::spawn(move || std::io::copy(&mut said, &mut std::io::sink()));
        Self { process, url, told }
    }

    pub fn get(&self, path: &str) -> Value {
        let mut answer = ureq::get(format!("{}{path}", self.url)).call().unwrap();
        serde_json::from_str(&answer.body_mut().read_to_string().unwrap()).unwrap()
    }

    /// Status, JSON and whether the answer was remembered.
    pub fn post(&self, path: &str, body: &Value) -> (u16, Value, bool) {
        let config = ureq::Agent::config_builder().http_status_as_error(false);
        let agent: ureq::Agent = config.build().into();
        let request = agent.post(format!("{}{path}", self.url));
        let request = request.header("content-type", "application/json");
        let mut answer = request.send(body.to_string()).unwrap();
        let is_hit = answer
            .headers()
            .get("x-autoglm-cache")
            .is_some_and(|h| h == "hit");
        let text = answer.body_mut().read_to_string().unwrap();
        let json = serde_json::from_str(&text).unwrap();
        (answer.status().as_u16(), json, is_hit)
    }

    /// Stops it as a service manager does; it must end well.
    #[cfg(unix)]
    pub fn stop(mut self) {
        let id = self.process.id().to_string();
        assert!(Command::new("kill").arg(&id).status().unwrap().success());
        assert!(self.process.wait().unwrap().success());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // One that has ended cannot be stopped.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
