//! What the program takes from the environment. Nothing else reads it.

use std::net::TcpListener;
use std::path::PathBuf;

use anyhow::Context;
use etcetera::BaseStrategy;

use crate::models::HubSettings;

/// The folder for models, runs and everything else that is kept: `AUTOGLM_HOME`, or `autoglm` in
/// the user's data folder (`XDG_DATA_HOME` where that is set).
///
/// # Errors
/// When there is no user whose data folder could be taken.
pub fn home() -> anyhow::Result<PathBuf> {
    if let Some(home) = variable("AUTOGLM_HOME") {
        return std::path::absolute(&home)
            .with_context(|| format!("AUTOGLM_HOME is {home:?}, want the path of a folder"));
    }
    let folders = etcetera::choose_base_strategy()
        .context("cannot find your data folder\nhint: set AUTOGLM_HOME to a folder")?;
    Ok(folders.data_dir().join("autoglm"))
}

/// How model hubs are reached: `HF_ENDPOINT` and `HF_TOKEN`, or the token that the hub's own
/// client has stored.
pub fn hub() -> HubSettings {
    let stored_token = || {
        etcetera::home_dir().ok()?;
        hf_hub::Cache::from_env().token()
    };
    HubSettings {
        endpoint: variable("HF_ENDPOINT"),
        token: variable("HF_TOKEN").or_else(stored_token),
    }
}

/// The key of the server that the command line names: `AUTOGLM_API_KEY`.
pub fn api_key() -> Option<String> {
    variable("AUTOGLM_API_KEY")
}

/// The database in which collections of documents are kept: `AUTOGLM_STORE`.
pub fn store() -> Option<String> {
    variable("AUTOGLM_STORE")
}

/// The password of that database: `PGPASSWORD`, as every client of PostgreSQL takes it.
pub fn store_password() -> Option<String> {
    variable("PGPASSWORD")
}

/// The socket that a service manager has opened for this process, by systemd's protocol:
/// `LISTEN_FDS`, and `LISTEN_PID` where it is set. To be asked before there are threads, for the
/// variables are taken out of the environment.
///
/// # Errors
/// More sockets than one, or one that is not for TCP.
pub fn handed_socket() -> anyhow::Result<Option<TcpListener>> {
    let mut handed = listenfd::ListenFd::from_env();
    anyhow::ensure!(
        handed.len() <= 1,
        "{} sockets were handed over, one is wanted\nhint: one ListenStream= in the socket unit",
        handed.len()
    );
    let socket = handed.take_tcp_listener(0);
    socket.context("the socket that was handed over is not for TCP")
}

/// An environment variable that is set to something.
#[expect(
    clippy::disallowed_methods,
    reason = "this module is where the environment is read"
)]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Whether the user says how Git shall use ssh.
pub fn says_how_git_uses_ssh() -> bool {
    variable("GIT_SSH_COMMAND").is_some()
}
