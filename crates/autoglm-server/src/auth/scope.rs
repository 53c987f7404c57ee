//! What a key is for, and which route needs what.

use std::fmt;

use axum::http::Method;
use serde::{Deserialize, Serialize};

/// What a key is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Generating, scoring and vectors: OpenAI's endpoints.
    Models,
    /// Running tasks, their feedback and reports.
    Tasks,
    /// Collections of documents.
    Knowledge,
    /// Reading the metrics.
    Metrics,
    /// All that changes the server: loading, promoting and rolling back versions.
    Admin,
}

impl fmt::Display for Scope {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Models => "models",
            Self::Tasks => "tasks",
            Self::Knowledge => "knowledge",
            Self::Metrics => "metrics",
            Self::Admin => "admin",
        })
    }
}

/// What a route needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    /// Nothing.
    Nothing,
    /// A client that is known.
    Known,
    /// A client whose key is for this.
    Scope(Scope),
}

/// Which routes need what: those that begin with these parts, and in the second table those of
/// them that only read.
const ROUTES: [(&str, Need); 11] = [
    ("/health", Need::Nothing),
    ("/openapi.json", Need::Known),
    ("/v1/chat", Need::Scope(Scope::Models)),
    ("/v1/completions", Need::Scope(Scope::Models)),
    ("/v1/responses", Need::Scope(Scope::Models)),
    ("/v1/embeddings", Need::Scope(Scope::Models)),
    ("/v1/rerank", Need::Scope(Scope::Models)),
    ("/tokenize", Need::Scope(Scope::Models)),
    ("/detokenize", Need::Scope(Scope::Models)),
    ("/v1/tasks", Need::Scope(Scope::Tasks)),
    ("/v1/knowledge", Need::Scope(Scope::Knowledge)),
];
const READING_ROUTES: [(&str, Need); 2] = [
    ("/v1/models", Need::Scope(Scope::Models)),
    ("/metrics", Need::Scope(Scope::Metrics)),
];

/// What a request needs. Routes that no table has are for administrators, so that one that is
/// forgotten here is closed, not open; a path without a route only tells that it is none.
pub(super) fn need(method: &Method, route: Option<&str>) -> Need {
    let Some(route) = route else {
        return Need::Known;
    };
    let reads = matches!(*method, Method::GET | Method::HEAD);
    let reading = READING_ROUTES.iter().filter(|_| reads);
    let found = ROUTES
        .iter()
        .chain(reading)
        .find(|(parts, _)| begins(route, parts));
    found.map_or(Need::Scope(Scope::Admin), |(_, need)| *need)
}

/// Whether a route begins with these whole parts.
fn begins(route: &str, parts: &str) -> bool {
    let rest = route.strip_prefix(parts);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_route_needs_what_it_is_for() {
        let cases = [
            ("GET", "/health/live", Need::Nothing),
            ("POST", "/v1/chat/completions", Need::Scope(Scope::Models)),
            ("GET", "/v1/models/{*name}", Need::Scope(Scope::Models)),
            ("DELETE", "/v1/models/{*name}", Need::Scope(Scope::Admin)),
            ("POST", "/v1/tasks/{task}/run", Need::Scope(Scope::Tasks)),
            ("GET", "/metrics", Need::Scope(Scope::Metrics)),
            ("GET", "/healthy", Need::Scope(Scope::Admin)),
            ("POST", "/something", Need::Scope(Scope::Admin)),
        ];
        for (method, route, wanted) in cases {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            assert_eq!(need(&method, Some(route)), wanted, "{method} {route}");
        }
        assert_eq!(need(&Method::GET, None), Need::Known);
    }
}
