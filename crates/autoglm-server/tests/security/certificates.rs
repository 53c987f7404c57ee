//! Authorities and certificates, right and wrong ones.

use std::path::PathBuf;
use std::sync::Arc;

use autoglm_server::{Tls, TlsSettings};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    SanType, date_time_ymd,
};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::server::clock;

/// An authority.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub(crate) pem: String,
}

/// A certificate with its key, in PEM.
pub(crate) struct Pair {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2050, 1, 1);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self {
            issuer: Issuer::new(params, key),
            pem,
        }
    }

    /// A certificate of a server on this machine.
    pub(crate) fn server(&self) -> Pair {
        self.sign(
            vec![SanType::DnsName("localhost".try_into().unwrap())],
            2050,
        )
    }

    /// A certificate of a client with these URIs.
    pub(crate) fn client(&self, uris: &[&str]) -> Pair {
        self.client_until(uris, 2050)
    }

    /// One that ends with a year's beginning.
    pub(crate) fn client_until(&self, uris: &[&str], year: i32) -> Pair {
        let names = uris
            .iter()
            .map(|&uri| SanType::URI(uri.try_into().unwrap()));
        self.sign(names.collect(), year)
    }

    fn sign(&self, names: Vec<SanType>, until: i32) -> Pair {
        let mut params = CertificateParams::default();
        params.subject_alt_names = names;
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(until, 1, 1);
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        let key = KeyPair::generate().unwrap();
        Pair {
            certificate: params.signed_by(&key, &self.issuer).unwrap().pem(),
            key: key.serialize_pem(),
        }
    }
}

/// The files of a server.
pub(crate) struct Files {
    folder: TempDir,
}

impl Files {
    /// Files of a server whose clients need certificates of an authority, where one is given.
    pub(crate) fn new(server: &Pair, clients: Option<&Authority>) -> Self {
        let files = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        files.replace(server);
        if let Some(authority) = clients {
            std::fs::write(files.path("ca.pem"), &authority.pem).unwrap();
        }
        files
    }

    /// Another certificate and key in their place.
    pub(crate) fn replace(&self, server: &Pair) {
        std::fs::write(self.path("server.pem"), &server.certificate).unwrap();
        std::fs::write(self.path("server.key"), &server.key).unwrap();
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// What a server makes of them.
    pub(crate) fn tls(&self, ids: &[&str]) -> Tls {
        let ca = self.path("ca.pem");
        let settings = TlsSettings {
            certificates: self.path("server.pem"),
            key: self.path("server.key"),
            client_ca: ca.exists().then_some(ca),
            spiffe_ids: ids.iter().map(|id| id.parse().unwrap()).collect(),
        };
        Tls::open(settings, clock()).unwrap()
    }
}

/// A client's end of TLS: the authority that it trusts, and its certificate where it has one.
pub(crate) struct Visitor {
    config: ClientConfig,
}

impl Visitor {
    pub(crate) fn new(trusts: &Authority, own: Option<&Pair>) -> Self {
        let mut roots = RootCertStore::empty();
        let authority = CertificateDer::from_pem_slice(trusts.pem.as_bytes()).unwrap();
        roots.add(authority).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let config = match own {
            Some(pair) => {
                let chain = CertificateDer::from_pem_slice(pair.certificate.as_bytes()).unwrap();
                let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).unwrap();
                builder.with_client_auth_cert(vec![chain], key).unwrap()
            }
            None => builder.with_no_client_auth(),
        };
        Self { config }
    }

    /// The same, which speaks this protocol inside.
    pub(crate) fn speaking(mut self, protocol: &[u8]) -> Self {
        self.config.alpn_protocols = vec![protocol.to_vec()];
        self
    }

    /// Connects.
    pub(crate) async fn visit(
        &self,
        address: std::net::SocketAddr,
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let connector = TlsConnector::from(Arc::new(self.config.clone()));
        let stream = TcpStream::connect(address).await?;
        let name = ServerName::try_from("localhost").unwrap();
        connector.connect(name, stream).await
    }
}
