//! Who may ask `autoglm serve`, and how connections are kept secure.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use autoglm_server::{Guard, Keys, SetupError, SpiffePattern, Tls, TlsSettings, WallClock, follow};
use clap::Args;

use crate::serve::tell;
use crate::streams::now;

/// How often files of keys and certificates are looked at.
const LOOK: Duration = Duration::from_secs(3);

/// Who may ask, and how connections are kept secure.
#[derive(Debug, Args)]
pub(super) struct AccessArgs {
    /// A file of keys, as `autoglm key new` makes it: clients must show one. It is read again when
    /// it changes.
    #[arg(long, value_name = "FILE")]
    api_keys: Option<PathBuf>,
    /// The server's certificate and those that lead to its authority, in PEM: connections are made
    /// with TLS. Read again when it changes.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// The certificate's private key, in PEM.
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// The authorities of clients' certificates, in PEM: clients must have one.
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_client_ca: Option<PathBuf>,
    /// A SPIFFE id that clients' certificates may have; /* at the end takes all below. All that the
    /// authorities vouch for when not given. May be given several times.
    #[arg(long, value_name = "ID", requires = "tls_client_ca")]
    spiffe_id: Vec<SpiffePattern>,
    /// Share the address with other processes of the same user, so that the next version of the
    /// server can begin before this one ends.
    #[arg(long)]
    pub(super) share_port: bool,
}

/// What the server is guarded by.
pub(super) struct Access {
    pub(super) guard: Guard,
    keys: Option<Keys>,
    pub(super) tls: Option<Tls>,
}

impl AccessArgs {
    pub(super) fn open(&self, listen: SocketAddr) -> Result<Access, SetupError> {
        let clock: WallClock = Arc::new(now);
        let keys = self.api_keys.as_deref();
        let keys = keys.map(|file| Keys::open(file, Arc::clone(&clock)));
        let keys = keys.transpose()?;
        let tls = self
            .tls_settings()
            .map(|settings| Tls::open(settings, clock));
        let tls = tls.transpose()?;
        Ok(Access {
            guard: Guard::new(listen, keys.clone(), tls.as_ref())?,
            keys,
            tls,
        })
    }

    fn tls_settings(&self) -> Option<TlsSettings> {
        Some(TlsSettings {
            certificates: self.tls_cert.clone()?,
            key: self.tls_key.clone()?,
            client_ca: self.tls_client_ca.clone(),
            spiffe_ids: self.spiffe_id.clone(),
        })
    }
}

impl Access {
    /// Reads files again that have changed, for as long as the server runs.
    pub(super) fn follow(&self) {
        if let Some(keys) = self.keys.clone() {
            let told = |result| tell_reload("keys", result);
            tokio::spawn(follow(LOOK, move || keys.reload(), told));
        }
        if let Some(tls) = self.tls.clone() {
            let told = |result| tell_reload("certificates", result);
            tokio::spawn(follow(LOOK, move || tls.reload(), told));
        }
    }
}

fn tell_reload(what: &str, result: Result<(), SetupError>) {
    match result {
        Ok(()) => tell(&format!("new {what} are in use")),
        Err(error) => tell(&format!("the {what} in use stay: {error}")),
    }
}
