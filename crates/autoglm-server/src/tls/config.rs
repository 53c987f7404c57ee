//! From the contents of files to what a handshake goes by.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::server::danger::ClientCertVerifier;
use tokio_rustls::rustls::time_provider::TimeProvider;
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

use super::TlsSettings;
use super::clients::Named;
use crate::SetupError;
use crate::reload::{Clock, held, read};

/// What is spoken inside, by what the server likes best.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// What the files of these settings hold, in the order in which [`config`] takes it.
pub(super) fn contents(settings: &TlsSettings) -> Vec<io::Result<Vec<u8>>> {
    let always = [&settings.certificates, &settings.key];
    let files = always.into_iter().chain(&settings.client_ca);
    files.map(|path| read(path)).collect()
}

/// What handshakes go by.
pub(super) fn config(
    settings: &TlsSettings,
    contents: &[io::Result<Vec<u8>>],
    now: &Clock,
) -> Result<ServerConfig, SetupError> {
    let wrong = |source| tls_error(&settings.certificates, source);
    let chain = certificates(&settings.certificates, &contents[0])?;
    let key = private_key(&settings.key, &contents[1])?;
    let provider = Arc::new(ring::default_provider());
    let time = Arc::new(Time(Arc::clone(now)));
    let builder = ServerConfig::builder_with_details(Arc::clone(&provider), time)
        .with_protocol_versions(&[&TLS13, &TLS12])
        .map_err(|error| wrong(error.into()))?;
    let builder = match &settings.client_ca {
        Some(path) => {
            let authorities = certificates(path, &contents[2])?;
            let clients = clients(settings, path, authorities, provider)?;
            builder.with_client_cert_verifier(clients)
        }
        None => builder.with_no_client_auth(),
    };
    let config = builder.with_single_cert(chain, key);
    let mut config = config.map_err(|error| wrong(error.into()))?;
    config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
    Ok(config)
}

fn clients(
    settings: &TlsSettings,
    path: &Path,
    authorities: Vec<CertificateDer<'static>>,
    provider: Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, SetupError> {
    let mut roots = RootCertStore::empty();
    for authority in authorities {
        let added = roots.add(authority);
        added.map_err(|error| tls_error(path, error.into()))?;
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    let by_authority = builder.build();
    let by_authority = by_authority.map_err(|error| tls_error(path, error.into()))?;
    if settings.spiffe_ids.is_empty() {
        return Ok(by_authority);
    }
    Ok(Arc::new(Named {
        by_authority,
        ids: settings.spiffe_ids.clone(),
    }))
}

fn certificates(
    path: &PathBuf,
    content: &io::Result<Vec<u8>>,
) -> Result<Vec<CertificateDer<'static>>, SetupError> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(held(path, content)?).collect();
    let found = found.ok().filter(|found| !found.is_empty());
    found.ok_or_else(|| SetupError::Pem {
        path: path.clone(),
        wanted: "certificates",
    })
}

/// The errors of the parser quote lines of the file, and are kept from every log here.
fn private_key(
    path: &Path,
    content: &io::Result<Vec<u8>>,
) -> Result<PrivateKeyDer<'static>, SetupError> {
    let found = PrivateKeyDer::from_pem_slice(held(path, content)?);
    found.map_err(|_| SetupError::Pem {
        path: path.to_owned(),
        wanted: "private key",
    })
}

fn tls_error(path: &Path, source: Box<dyn std::error::Error + Send + Sync>) -> SetupError {
    SetupError::Tls {
        path: path.to_owned(),
        source,
    }
}

/// The time by which certificates begin and end.
struct Time(Clock);

impl TimeProvider for Time {
    fn current_time(&self) -> Option<UnixTime> {
        let since: Option<Duration> = (self.0)().duration_since(UNIX_EPOCH).ok();
        since.map(UnixTime::since_unix_epoch)
    }
}

impl fmt::Debug for Time {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Time")
    }
}
