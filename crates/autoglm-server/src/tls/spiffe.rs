//! SPIFFE ids: names of programs, as `spiffe://DOMAIN/PATH` in their certificates.
//!
//! # Source
//! The SPIFFE Identity and Verifiable Identity Document, sections 2.1 to 2.4, and X.509-SVID,
//! section 2: a certificate has one such id and no other URI.

use std::fmt;
use std::str::FromStr;

use tokio_rustls::rustls::pki_types::CertificateDer;
use webpki::EndEntityCert;

use crate::SetupError;

const SCHEME: &str = "spiffe://";
/// What stands for all paths below.
const ALL_BELOW: &str = "/*";
const MOST_BYTES: usize = 2_048;

/// One SPIFFE id, or all that are below one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpiffePattern {
    id: String,
    below: bool,
}

impl SpiffePattern {
    /// Whether it stands for this id.
    pub(crate) fn fits(&self, id: &str) -> bool {
        if !self.below {
            return self.id == id;
        }
        let rest = id.strip_prefix(&self.id);
        rest.is_some_and(|path| path.starts_with('/'))
    }
}

impl FromStr for SpiffePattern {
    type Err = SetupError;

    fn from_str(text: &str) -> Result<Self, SetupError> {
        let (id, below) = match text.strip_suffix(ALL_BELOW) {
            Some(id) => (id, true),
            None => (text, false),
        };
        if !is_id(id) {
            return Err(SetupError::SpiffeId {
                given: text.to_owned(),
            });
        }
        Ok(Self {
            id: id.to_owned(),
            below,
        })
    }
}

impl fmt::Display for SpiffePattern {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let below = if self.below { ALL_BELOW } else { "" };
        write!(formatter, "{}{below}", self.id)
    }
}

/// The SPIFFE id of a certificate; none where it has none, or other URIs beside it.
pub(super) fn id_of(certificate: &CertificateDer<'_>) -> Option<String> {
    let certificate = EndEntityCert::try_from(certificate).ok()?;
    let mut uris = certificate.valid_uri_names();
    let id = uris.next().filter(|uri| is_id(uri))?;
    uris.next().is_none().then(|| id.to_owned())
}

fn is_id(text: &str) -> bool {
    let Some(rest) = text.strip_prefix(SCHEME) else {
        return false;
    };
    let mut parts = rest.split('/');
    let domain = parts.next().unwrap_or_default();
    let in_domain = |byte: u8| byte.is_ascii_lowercase() || in_any(byte);
    let in_path = |byte: u8| byte.is_ascii_alphabetic() || in_any(byte);
    text.len() <= MOST_BYTES
        && !domain.is_empty()
        && domain.bytes().all(in_domain)
        && parts.all(|part| !matches!(part, "" | "." | "..") && part.bytes().all(in_path))
}

fn in_any(byte: u8) -> bool {
    byte.is_ascii_digit() || b".-_".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> SpiffePattern {
        text.parse().unwrap()
    }

    #[test]
    fn an_id_stands_for_itself_and_a_star_for_all_below() {
        let one = pattern("spiffe://example.org/ns/prod/api");
        assert!(one.fits("spiffe://example.org/ns/prod/api"));
        assert!(!one.fits("spiffe://example.org/ns/prod/api/x"));
        assert!(!one.fits("spiffe://example.org/ns/prod/ap"));
        let all = pattern("spiffe://example.org/ns/prod/*");
        assert!(all.fits("spiffe://example.org/ns/prod/api"));
        assert!(all.fits("spiffe://example.org/ns/prod/api/x"));
        assert!(!all.fits("spiffe://example.org/ns/prod"));
        assert!(!all.fits("spiffe://example.org/ns/production"));
        assert!(pattern("spiffe://example.org/*").fits("spiffe://example.org/x"));
        assert!(!pattern("spiffe://example.org/*").fits("spiffe://example.org.evil/x"));
        assert_eq!(all.to_string(), "spiffe://example.org/ns/prod/*");
    }

    #[test]
    fn what_is_no_id_is_no_pattern() {
        let wrong = [
            "",
            "*",
            "spiffe://",
            "spiffe:///x",
            "https://example.org/x",
            "spiffe://Example.org/x",
            "spiffe://example.org/",
            "spiffe://example.org//x",
            "spiffe://example.org/../x",
            "spiffe://example.org/a*",
            "spiffe://example.org/*/x",
            "spiffe://example.org:80/x",
            "spiffe://example.org/x?y",
        ];
        for text in wrong {
            assert!(text.parse::<SpiffePattern>().is_err(), "{text}");
        }
    }
}
