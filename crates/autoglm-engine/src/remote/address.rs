//! Where a server is, without anything secret in it.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ureq::http::Uri;

use super::error::RemoteError;

/// The path of an address that names none.
const USUAL_PATH: &str = "/v1";

/// The base of an OpenAI-compatible API, such as `http://127.0.0.1:8000/v1`. It holds no name of a
/// user and no password, so that it may be shown, stored and logged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    base: String,
    host: String,
    is_encrypted: bool,
    is_loopback: bool,
}

impl Address {
    /// The host, with the port where the address names one.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Whether what is sent can be read by nobody on the way: TLS, or this very machine.
    pub fn is_private(&self) -> bool {
        self.is_encrypted || self.is_loopback
    }

    /// Whether the server is on this machine.
    pub fn is_loopback(&self) -> bool {
        self.is_loopback
    }

    /// The URL of an endpoint, given as a path behind the base.
    pub(crate) fn endpoint(&self, path: &str) -> String {
        format!("{}/{path}", self.base)
    }

    /// The address of the server itself, for what lies beside its API.
    pub(crate) fn beside(&self) -> Self {
        let root = self.base.strip_suffix(USUAL_PATH).unwrap_or(&self.base);
        Self {
            base: root.to_owned(),
            ..self.clone()
        }
    }
}

impl FromStr for Address {
    type Err = RemoteError;

    /// Reads an address; one without a path gets `/v1`. Errors do not repeat what was given, for it
    /// may hold a password.
    fn from_str(text: &str) -> Result<Self, RemoteError> {
        let bad = |reason| RemoteError::Address { reason };
        if text.contains('@') {
            return Err(bad("it holds a user or password"));
        }
        if text.contains(['?', '#']) {
            return Err(bad("it holds a query or fragment"));
        }
        let uri: Uri = text.trim().parse().map_err(|_| bad("it is no URL"))?;
        let is_encrypted = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(bad("it does not begin with http:// or https://")),
        };
        let authority = uri.authority().ok_or_else(|| bad("it names no host"))?;
        if authority.host().is_empty() {
            return Err(bad("it names no host"));
        }
        let scheme = if is_encrypted { "https" } else { "http" };
        let path = match uri.path().trim_end_matches('/') {
            "" => USUAL_PATH,
            path => path,
        };
        Ok(Self {
            base: format!("{scheme}://{authority}{path}"),
            host: authority.to_string(),
            is_encrypted,
            is_loopback: is_loopback(authority.host()),
        })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.base)
    }
}

fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let is_loopback_ip = bare.parse().is_ok_and(|ip: IpAddr| ip.is_loopback());
    host.eq_ignore_ascii_case("localhost") || is_loopback_ip
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_without_a_path_gets_the_usual_one() {
        let check = |text: &str, base: &str, host: &str| {
            let address: Address = text.parse().unwrap();
            assert_eq!((address.to_string().as_str(), address.host()), (base, host));
        };
        check("http://gpu:8000", "http://gpu:8000/v1", "gpu:8000");
        check("http://gpu:8000/", "http://gpu:8000/v1", "gpu:8000");
        check(
            "https://api.test/paas/v4/",
            "https://api.test/paas/v4",
            "api.test",
        );
    }

    #[test]
    fn what_lies_beside_the_api_has_no_version_in_its_path() {
        let check = |text: &str, endpoint: &str| {
            let address: Address = text.parse().unwrap();
            assert_eq!(address.beside().endpoint("admin/models"), endpoint);
        };
        check("http://gpu:8000", "http://gpu:8000/admin/models");
        check("http://gpu:8000/v1/", "http://gpu:8000/admin/models");
        check("http://gpu/team/v1", "http://gpu/team/admin/models");
    }

    #[test]
    fn an_address_with_a_secret_is_refused_without_repeating_it() {
        for text in ["http://user:hunter2@gpu/v1", "http://gpu/v1?key=hunter2"] {
            let error = text.parse::<Address>().unwrap_err();
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn what_is_no_http_address_is_refused() {
        for text in ["", "gpu:8000", "ftp://gpu/v1", "/v1", "http://"] {
            assert!(text.parse::<Address>().is_err(), "{text}");
        }
    }

    #[test]
    fn this_machine_and_encrypted_ways_are_private() {
        let private = |text: &str| text.parse::<Address>().unwrap().is_private();
        assert!(private("http://127.0.0.1:1/v1"));
        assert!(private("http://[::1]:1/v1"));
        assert!(private("http://localhost/v1"));
        assert!(private("https://far.test/v1"));
        assert!(!private("http://far.test/v1"));
        assert!(!private("http://127.0.0.1.far.test/v1"));
    }
}
