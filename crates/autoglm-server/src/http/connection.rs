//! One connection: its requests, how long it may be silent, and how it ends.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::header::{CONNECTION, HeaderValue};
use axum::http::{Request, Response, Version};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};
use tower::ServiceExt;

use super::connections::ConnectionLimits;
use super::held::Held;
use super::patient::Patient;

/// Streams of one HTTP/2 connection at once; more wait in the client.
const MOST_STREAMS: u32 = 128;
/// Bytes of all headers of a request at most.
const MOST_HEADER_BYTES: u32 = 64 << 10;
/// How long a connection may begin another request after the server was told to stop: one may be
/// on its way. Its answer tells the client to close.
const FAREWELL: Duration = Duration::from_millis(500);

/// The other end of a connection.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    pub(crate) address: IpAddr,
    /// Whether the connection is made with TLS.
    pub(crate) is_encrypted: bool,
    /// What its certificate says.
    pub(crate) identity: Option<Arc<str>>,
}

/// What a connection needs.
#[derive(Clone)]
pub(super) struct Answering {
    pub(super) router: Router,
    pub(super) limits: ConnectionLimits,
    pub(super) stopping: watch::Receiver<bool>,
}

impl Answering {
    /// Answers the requests of a connection until it ends.
    pub(super) async fn answer(
        self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        peer: Peer,
    ) {
        let limits = self.limits;
        let activity = Arc::new(Activity::default());
        let farewell = self.farewell();
        tokio::pin!(farewell);
        let mut said = false;
        let service = {
            let activity = Arc::clone(&activity);
            service_fn(move |request| self.clone().respond(request, peer.clone(), &activity))
        };
        let stream = TokioIo::new(Patient::new(stream, limits.unread));
        let builder = builder(limits);
        let connection = builder.serve_connection(stream, service);
        tokio::pin!(connection);
        loop {
            tokio::select! {
                biased;
                // A client that breaks the protocol or leaves is no concern of anyone else.
                _ = connection.as_mut() => return,
                () = &mut farewell, if !said => {
                    said = true;
                    connection.as_mut().graceful_shutdown();
                }
                () = sleep_until(activity.end(limits)) => {
                    if activity.end(limits) <= Instant::now() {
                        return;
                    }
                }
            }
        }
    }

    /// Is done when a connection without a request is to be closed because the server stops.
    pub(super) fn farewell(&self) -> impl Future<Output = ()> + use<> {
        let mut stopping = self.stopping.clone();
        async move {
            // A server that is gone stops, too.
            let _ = stopping.wait_for(|stops| *stops).await;
            sleep(FAREWELL).await;
        }
    }

    fn respond(
        self,
        mut request: Request<Incoming>,
        peer: Peer,
        activity: &Arc<Activity>,
    ) -> impl Future<Output = Result<Response<Body>, Infallible>> + use<> {
        let open = OpenRequest::of(activity);
        let has_one_stream = request.version() <= Version::HTTP_11;
        request.extensions_mut().insert(peer);
        async move {
            let mut response = self.router.oneshot(request).await?;
            if has_one_stream && *self.stopping.borrow() {
                let close = HeaderValue::from_static("close");
                response.headers_mut().insert(CONNECTION, close);
            }
            let held = |body| Body::new(Held::with(body, open, OpenRequest::goes_on));
            Ok(response.map(held))
        }
    }
}

/// What goes on in a connection.
struct Activity(Mutex<State>);

struct State {
    open: usize,
    /// When a request began, a piece of an answer went, or a request ended.
    last: Instant,
}

impl Default for Activity {
    fn default() -> Self {
        Self(Mutex::new(State {
            open: 0,
            last: Instant::now(),
        }))
    }
}

impl Activity {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, change: impl FnOnce(&mut usize)) {
        let mut state = self.lock();
        change(&mut state.open);
        state.last = Instant::now();
    }

    /// When the connection has been silent for too long, if nothing more happens.
    fn end(&self, limits: ConnectionLimits) -> Instant {
        let state = self.lock();
        let may_be_silent = if state.open == 0 {
            limits.headers
        } else {
            limits.stalled
        };
        state.last + may_be_silent
    }
}

/// A request whose answer has not gone yet.
struct OpenRequest(Arc<Activity>);

impl OpenRequest {
    fn of(activity: &Arc<Activity>) -> Self {
        activity.note(|open| *open += 1);
        Self(Arc::clone(activity))
    }

    fn goes_on(&self) {
        self.0.note(|_| ());
    }
}

impl Drop for OpenRequest {
    fn drop(&mut self) {
        self.0.note(|open| *open -= 1);
    }
}

fn builder(limits: ConnectionLimits) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.headers);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(MOST_STREAMS)
        .max_header_list_size(MOST_HEADER_BYTES)
        .keep_alive_interval(limits.headers)
        .keep_alive_timeout(limits.headers);
    builder
}
