//! The console: a page for people, whose files are part of the program.
//!
//! Knows nothing of models: the page asks the server's other endpoints, as any client does.

use std::sync::LazyLock;

use axum::Router;
use axum::body::Body;
use axum::extract::Path;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::Response;
use axum::routing::get;
use sha2::{Digest, Sha256};

use crate::ServerError;
use crate::hex::hex;

#[cfg(test)]
mod tests;

/// Nothing but this server's own files runs or is loaded, and no text can become markup: scripts in
/// a model's answer would have no way in even if the page put it in as HTML.
const POLICY: &str = "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'none'; \
    frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";

/// A file of the page.
struct File {
    name: &'static str,
    text: &'static str,
    /// Of its content, so that browsers ask again only whether it is still the same.
    tag: String,
}

/// Files with their names.
macro_rules! files {
    ($($name:literal),* $(,)?) => {
        [$(File::new($name, include_str!($name))),*].into()
    };
}

static FILES: LazyLock<Vec<File>> = LazyLock::new(|| {
    files![
        "index.html",
        "icon.svg",
        "theme.css",
        "layout.css",
        "parts.css",
        "views.css",
        "early.js",
        "app.js",
        "api.js",
        "charts.js",
        "chat.js",
        "chat_settings.js",
        "dom.js",
        "explained.js",
        "feedback.js",
        "icons.js",
        "markdown.js",
        "message.js",
        "metrics.js",
        "models.js",
        "overlay.js",
        "prometheus.js",
        "run_list.js",
        "runs.js",
        "strings.js",
        "task.js",
        "words.js",
    ]
});

/// The routes of the page. They need no key: the page asks for one where the server wants it.
pub(crate) fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new()
        .route("/", get(page))
        .route("/console/{file}", get(file))
}

async fn page(headers: HeaderMap) -> Result<Response, ServerError> {
    answer("index.html", "/", &headers)
}

async fn file(Path(name): Path<String>, headers: HeaderMap) -> Result<Response, ServerError> {
    answer(&name, &format!("/console/{name}"), &headers)
}

fn answer(name: &str, path: &str, headers: &HeaderMap) -> Result<Response, ServerError> {
    let found = FILES.iter().find(|file| file.name == name);
    let file = found.ok_or_else(|| ServerError::NoSuchPath {
        path: path.to_owned(),
    })?;
    Ok(file.response(headers))
}

impl File {
    fn new(name: &'static str, text: &'static str) -> Self {
        let hash = hex(&Sha256::digest(text)[..8]);
        Self {
            name,
            text,
            tag: format!("\"{hash}\""),
        }
    }

    /// The file, or that the browser's copy of it is still right.
    fn response(&self, headers: &HeaderMap) -> Response {
        let known = headers.get(header::IF_NONE_MATCH);
        let known = known.and_then(|tags| tags.to_str().ok());
        let is_known = known.is_some_and(|tags| self.is_among(tags));
        let mut response = Response::new(if is_known {
            Body::empty()
        } else {
            Body::from(self.text)
        });
        if is_known {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
        }
        for (name, value) in self.headers() {
            response.headers_mut().insert(name, value);
        }
        response
    }

    /// Whether the file's tag is one of those in a list.
    fn is_among(&self, tags: &str) -> bool {
        let mut tags = tags.split(',').map(str::trim);
        tags.any(|tag| tag == "*" || tag.trim_start_matches("W/") == self.tag)
    }

    fn headers(&self) -> Vec<(HeaderName, HeaderValue)> {
        let mut headers = vec![
            (header::CONTENT_TYPE, self.media_type()),
            (header::CACHE_CONTROL, "no-cache"),
            (header::CONTENT_SECURITY_POLICY, POLICY),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (header::REFERRER_POLICY, "no-referrer"),
        ];
        headers.push((header::ETAG, self.tag.as_str()));
        let value = |text: &str| HeaderValue::from_str(text).ok();
        let headers = headers.into_iter();
        headers
            .filter_map(|(name, text)| Some((name, value(text)?)))
            .collect()
    }

    fn media_type(&self) -> &'static str {
        match self.name.rsplit_once('.') {
            Some((_, "html")) => "text/html; charset=utf-8",
            Some((_, "css")) => "text/css; charset=utf-8",
            Some((_, "js")) => "text/javascript; charset=utf-8",
            Some((_, "svg")) => "image/svg+xml",
            _ => "text/plain; charset=utf-8",
        }
    }
}
