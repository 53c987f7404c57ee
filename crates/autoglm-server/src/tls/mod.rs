//! TLS, with certificates of clients where these are asked for, and files that may change while
//! the server runs: each connection takes what holds when it begins.

mod clients;
mod config;
mod spiffe;

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::server::TlsStream;

use crate::SetupError;
use crate::hex::hex;
use crate::reload::{Clock, Reload, Seen};

pub use spiffe::SpiffePattern;

/// The first byte of every TLS connection: a handshake.
///
/// # Source
/// RFC 8446, section 5.1.
const HANDSHAKE: u8 = 22;
/// What a client is told that does not speak TLS.
const PLAIN_HTTP: &[u8] = b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\n\
    content-length: 32\r\nconnection: close\r\n\r\nthis port takes https, not http\n";

/// What TLS is made of.
#[derive(Debug, Clone)]
pub struct TlsSettings {
    /// The server's certificate and those that lead to its authority, in PEM.
    pub certificates: PathBuf,
    /// Its private key, in PEM.
    pub key: PathBuf,
    /// The authorities of clients' certificates, in PEM; none where clients need no certificate.
    pub client_ca: Option<PathBuf>,
    /// The SPIFFE ids of clients that are let in; empty is all that the authorities vouch for.
    pub spiffe_ids: Vec<SpiffePattern>,
}

/// What makes connections secure. Clones are the same.
#[derive(Clone)]
pub struct Tls(Arc<Inner>);

struct Inner {
    settings: TlsSettings,
    now: Clock,
    seen: Seen,
    config: RwLock<Arc<ServerConfig>>,
}

impl Tls {
    /// TLS with what the files hold.
    ///
    /// # Errors
    /// Files that cannot be read or hold no PEM; a key that is not the certificate's.
    pub fn open(settings: TlsSettings, now: Clock) -> Result<Self, SetupError> {
        let contents = config::contents(&settings);
        let config = config::config(&settings, &contents, &now)?;
        Ok(Self(Arc::new(Inner {
            seen: Seen::of(&contents),
            config: RwLock::new(Arc::new(config)),
            settings,
            now,
        })))
    }

    /// Reads the files again. Connections that are open go on; the next ones take what they hold
    /// now.
    ///
    /// # Errors
    /// As [`Tls::open`], once for the same contents; what held before holds on.
    pub fn reload(&self) -> Result<Reload, SetupError> {
        let Inner { settings, now, .. } = &*self.0;
        let contents = config::contents(settings);
        self.0.seen.when_new(&contents, || {
            let config = Arc::new(config::config(settings, &contents, now)?);
            *self
                .0
                .config
                .write()
                .unwrap_or_else(PoisonError::into_inner) = config;
            Ok(())
        })
    }

    /// Whether clients need certificates.
    pub(crate) fn asks_for_certificates(&self) -> bool {
        self.0.settings.client_ca.is_some()
    }

    /// Makes a connection secure, and tells the client's name where it has one. None where that
    /// does not come about in time; the client is told why as far as the protocol can.
    pub(crate) async fn accept(
        &self,
        stream: TcpStream,
        limit: Duration,
    ) -> Option<(TlsStream<TcpStream>, Option<Arc<str>>)> {
        let made = tokio::time::timeout(limit, self.shake_hands(stream)).await;
        let stream = made.ok()?.ok()?;
        let certificates = stream.get_ref().1.peer_certificates();
        let identity = certificates.and_then(<[_]>::first).map(name_of);
        Some((stream, identity))
    }

    async fn shake_hands(&self, mut stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let mut first = [0];
        let read = stream.peek(&mut first).await?;
        if read == 1 && first[0] != HANDSHAKE {
            // What is left unread when the connection closes would take the answer with it.
            let _ = stream.read(&mut [0; 8 << 10]).await?;
            stream.write_all(PLAIN_HTTP).await?;
            stream.shutdown().await?;
            return Err(io::ErrorKind::InvalidData.into());
        }
        let config = self.0.config.read();
        let config = Arc::clone(&config.unwrap_or_else(PoisonError::into_inner));
        TlsAcceptor::from(config).accept(stream).await
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Tls({})", self.0.settings.certificates.display())
    }
}

/// What a client with this certificate is called: its SPIFFE id, or some digits of its hash.
fn name_of(certificate: &CertificateDer<'_>) -> Arc<str> {
    if let Some(id) = spiffe::id_of(certificate) {
        return id.into();
    }
    let hash = Sha256::digest(certificate);
    format!("certificate-{}", hex(&hash[..8])).into()
}
