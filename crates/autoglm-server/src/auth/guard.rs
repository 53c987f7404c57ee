//! What stands before all routes: it tells who asks, and whether the client may.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::rejection::RawPathParamsRejection;
use axum::extract::{MatchedPath, RawPathParams, Request, State};
use axum::http::header::{AUTHORIZATION, HOST, HeaderMap, HeaderName, HeaderValue, ORIGIN};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use serde_json::Value;

use super::account::{Account, Leave};
use super::keys::{Grant, Keys};
use super::scope::{Need, need};
use crate::client::Client;
use crate::http::{Held, Peer, discard};
use crate::tls::Tls;
use crate::{ServerError, SetupError};

const API_KEY: HeaderName = HeaderName::from_static("x-api-key");
/// The part of a path that names a collection of documents, wherever a route has it.
const COLLECTION: &str = "collection";
/// What a browser calls this machine by. A page of another site can get at a server here only
/// under a name of its own.
const THIS_MACHINE: [&str; 3] = ["localhost", "127.0.0.1", "[::1]"];

/// What stands before all routes.
#[derive(Debug, Clone)]
pub struct Guard {
    keys: Option<Keys>,
    /// Whether connections are made with certificates that are checked.
    certificates: bool,
}

/// The models that a client may use, where these are not all.
#[derive(Debug, Clone)]
pub(crate) struct Models {
    client: Arc<Account>,
    names: Arc<[String]>,
}

/// What the client of a request may do beside asking for the route.
#[derive(Clone)]
pub(crate) struct Reach(Arc<Grant>);

/// A request that may go on.
struct Admitted {
    account: Option<Arc<Account>>,
    leave: Option<Leave>,
}

impl Guard {
    /// The guard of a server that listens on this address.
    ///
    /// # Errors
    /// [`SetupError::Exposed`] where other machines reach the address, and there are neither keys
    /// nor certificates of clients.
    pub fn new(
        address: SocketAddr,
        keys: Option<Keys>,
        tls: Option<&Tls>,
    ) -> Result<Self, SetupError> {
        let certificates = tls.is_some_and(Tls::asks_for_certificates);
        if keys.is_none() && !certificates && !address.ip().to_canonical().is_loopback() {
            return Err(SetupError::Exposed { address });
        }
        Ok(Self { keys, certificates })
    }

    /// The routes behind the guard.
    pub fn before(self, routes: Router) -> Router {
        routes.layer(from_fn_with_state(self, pass))
    }

    /// Lets a request through, with who asks in its extensions and its key taken out.
    fn admit(
        &self,
        request: &mut Request,
        collection: Option<&str>,
    ) -> Result<Admitted, (ServerError, Option<Arc<Account>>)> {
        let route = request.extensions().get::<MatchedPath>();
        let need = need(request.method(), route.map(MatchedPath::as_str));
        if need == Need::Nothing {
            return Ok(Admitted {
                account: None,
                leave: None,
            });
        }
        let Some(grant) = self.grant(request).map_err(|error| (error, None))? else {
            return Ok(Admitted {
                account: None,
                leave: None,
            });
        };
        let account = Arc::clone(grant.account());
        let leave = enter(&grant, need, collection);
        let leave = leave.map_err(|error| (error, Some(Arc::clone(&account))))?;
        let client = Client::with_account(Arc::clone(&account));
        request.extensions_mut().insert(client);
        request.extensions_mut().insert(Reach(Arc::clone(&grant)));
        if let (Need::Scope(super::Scope::Models), Some(names)) = (need, grant.models()) {
            request.extensions_mut().insert(Models {
                client: Arc::clone(&account),
                names: names.into(),
            });
        }
        Ok(Admitted {
            account: Some(account),
            leave: Some(leave),
        })
    }

    /// What the client may do; none where there are no keys and it may do all.
    fn grant(&self, request: &mut Request) -> Result<Option<Arc<Grant>>, ServerError> {
        let key = take_key(request.headers_mut());
        let identity = request.extensions().get::<Peer>();
        let identity = identity.and_then(|peer| peer.identity.clone());
        let Some(keys) = &self.keys else {
            self.check_host(request)?;
            if let Some(identity) = identity {
                let client = Client::named(identity.to_string());
                request.extensions_mut().insert(client);
            }
            return Ok(None);
        };
        if let Some(key) = key {
            return keys.by_key(&key).map(Some);
        }
        let grant = match identity {
            Some(identity) => keys.by_identity(&identity)?,
            None => None,
        };
        grant.map(Some).ok_or(ServerError::KeyMissing)
    }

    /// Where anyone on this machine may ask, a page of another site in a browser here may not: its
    /// requests come under that site's name, or say where they are from.
    fn check_host(&self, request: &Request) -> Result<(), ServerError> {
        if self.certificates {
            return Ok(());
        }
        let headers = request.headers();
        let host = request.uri().authority().map(ToString::to_string);
        let host = host.or_else(|| text(headers, &HOST));
        let origin = text(headers, &ORIGIN);
        let origin = origin.as_deref().map(host_of_origin);
        // Browsers leave out neither where it matters.
        let mut told = [host.as_deref(), origin].into_iter().flatten();
        if told.all(is_this_machine) {
            return Ok(());
        }
        Err(ServerError::OtherSite)
    }
}

fn enter(grant: &Grant, need: Need, collection: Option<&str>) -> Result<Leave, ServerError> {
    grant.check(need)?;
    if let Some(collection) = collection {
        grant.check_collection(collection)?;
    }
    grant.account().enter()
}

async fn pass(
    State(guard): State<Guard>,
    params: Result<RawPathParams, RawPathParamsRejection>,
    mut request: Request,
    next: Next,
) -> Response {
    let params = params.ok();
    let collection = params.as_ref().and_then(|params| {
        let mut all = params.iter();
        all.find_map(|(name, value)| (name == COLLECTION).then_some(value))
    });
    match guard.admit(&mut request, collection) {
        Ok(Admitted { account, leave }) => {
            let mut response = next.run(request).await;
            tell_remaining(&mut response, account.as_ref());
            // The request ends with the last byte of its answer.
            response.map(|body| Body::new(Held::until_the_end_of(body, leave)))
        }
        Err((error, account)) => {
            discard(request.into_body());
            let mut response = error.into_response();
            tell_remaining(&mut response, account.as_ref());
            response
        }
    }
}

/// The key that a request carries. It is taken out, so that nothing behind can write it down.
fn take_key(headers: &mut HeaderMap) -> Option<String> {
    let bearer = headers.remove(AUTHORIZATION);
    let plain = headers.remove(API_KEY);
    let bearer = bearer.as_ref().and_then(|value| value.to_str().ok());
    let bearer = bearer.and_then(|value| {
        let (scheme, key) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| key.trim())
    });
    let plain = plain.as_ref().and_then(|value| value.to_str().ok());
    bearer.or(plain).map(str::to_owned)
}

fn text(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    let value = headers.get(name)?;
    Some(String::from_utf8_lossy(value.as_bytes()).into_owned())
}

/// The host in `http://HOST`; what has none, as `null`, is itself no host of this machine.
fn host_of_origin(origin: &str) -> &str {
    origin.split_once("://").map_or(origin, |(_, host)| host)
}

fn is_this_machine(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    THIS_MACHINE
        .iter()
        .any(|known| name.eq_ignore_ascii_case(known))
}

/// Tells what is left of the client's limits, by OpenAI's names.
fn tell_remaining(response: &mut Response, account: Option<&Arc<Account>>) {
    let Some(account) = account else { return };
    for remaining in account.remaining() {
        let mut tell = |part: &str, value: String| {
            let name = format!("x-ratelimit-{part}-{}", remaining.what);
            let name = HeaderName::try_from(name);
            if let (Ok(name), Ok(value)) = (name, HeaderValue::try_from(value)) {
                response.headers_mut().insert(name, value);
            }
        };
        tell("limit", remaining.limit.to_string());
        tell("remaining", remaining.left.to_string());
        tell("reset", told(remaining.full_in));
    }
}

/// A time as OpenAI's headers have it, such as `120ms` or `6.5s`.
fn told(time: Duration) -> String {
    if time < Duration::from_secs(1) {
        return format!("{}ms", time.as_millis());
    }
    format!("{}s", (time.as_secs_f64() * 10.0).ceil() / 10.0)
}

impl Reach {
    /// Refuses a collection of documents that is not for the client, on whatever route.
    pub(crate) fn check_collection(&self, name: &str) -> Result<(), ServerError> {
        self.0.check(Need::Scope(super::Scope::Knowledge))?;
        self.0.check_collection(name)
    }

    /// Whether a collection is for the client.
    pub(crate) fn has_collection(&self, name: &str) -> bool {
        self.0.check_collection(name).is_ok()
    }

    /// The model that the client asks for: one of those that it may use, or the only one.
    pub(crate) fn settle_model(
        &self,
        named: Option<String>,
    ) -> Result<Option<String>, ServerError> {
        let Some(names) = self.0.models() else {
            return Ok(named);
        };
        let models = Models {
            client: Arc::clone(self.0.account()),
            names: names.into(),
        };
        let mut body = serde_json::json!({"model": named});
        models.settle(&mut body)?;
        Ok(body["model"].as_str().map(str::to_owned))
    }
}

impl Models {
    /// Whether a model is among them.
    pub(crate) fn contain(&self, name: &str) -> bool {
        self.names.iter().any(|allowed| allowed == name)
    }

    /// Refuses a request for another model; one that names none is for the only one there is.
    pub(crate) fn settle(&self, body: &mut Value) -> Result<(), ServerError> {
        let Some(fields) = body.as_object_mut() else {
            return Ok(());
        };
        match (fields.get("model"), &*self.names) {
            (Some(Value::String(name)), _) => self.check(name),
            (None | Some(Value::Null), [only]) => {
                fields.insert("model".to_owned(), Value::String(only.clone()));
                Ok(())
            }
            (None | Some(Value::Null), _) => Err(ServerError::Missing {
                field: "model".to_owned(),
            }),
            // The route tells what is wrong with it.
            (Some(_), _) => Ok(()),
        }
    }

    /// Refuses another model.
    pub(crate) fn check(&self, name: &str) -> Result<(), ServerError> {
        if self.contain(name) {
            return Ok(());
        }
        Err(ServerError::NotForClient {
            client: self.client.id().to_owned(),
            what: "model",
            name: name.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_others_reach_needs_something_that_tells_who_asks() {
        for open in ["127.0.0.1:80", "[::1]:80", "[::ffff:127.0.0.1]:80"] {
            assert!(
                Guard::new(open.parse().unwrap(), None, None).is_ok(),
                "{open}"
            );
        }
        for exposed in ["0.0.0.0:80", "[::]:80", "192.168.1.2:80"] {
            let error = Guard::new(exposed.parse().unwrap(), None, None).unwrap_err();
            assert!(error.to_string().contains("--api-keys"), "{error}");
        }
    }

    #[test]
    fn only_this_machines_names_are_its() {
        for own in [
            "localhost",
            "LOCALHOST:8080",
            "127.0.0.1:1",
            "[::1]",
            "[::1]:80",
        ] {
            assert!(is_this_machine(own), "{own}");
        }
        for other in [
            "",
            "null",
            "evil.example",
            "localhost.evil.example:80",
            "127.0.0.1.nip.io",
        ] {
            assert!(!is_this_machine(other), "{other}");
        }
        assert_eq!(host_of_origin("http://localhost:1"), "localhost:1");
    }

    #[test]
    fn times_are_told_as_openai_tells_them() {
        assert_eq!(told(Duration::from_millis(120)), "120ms");
        assert_eq!(told(Duration::from_millis(6_420)), "6.5s");
        assert_eq!(told(Duration::from_mins(1)), "60s");
    }
}
