//! Connections: how many there may be, how long a silent one may stay, and how they end.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tower::ServiceExt;

use crate::metrics::{Metrics, OpenConnection};

/// Streams of one HTTP/2 connection at once; more wait in the client.
const MOST_STREAMS: u32 = 128;
/// Bytes of all headers of a request at most.
const MOST_HEADER_BYTES: u32 = 64 << 10;
/// How long to wait where the system has no descriptors left for another connection.
const PAUSE: Duration = Duration::from_millis(50);

/// What connections may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// Connections at once; more wait in the system's queue.
    pub connections: usize,
    /// How long the headers of a request may take, and how long a connection without a request
    /// stays open.
    pub headers: Duration,
    /// How long requests may go on when the server stops.
    pub grace: Duration,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self {
            connections: 1_024,
            headers: Duration::from_secs(30),
            grace: Duration::from_secs(30),
        }
    }
}

/// The other end of a connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer {
    pub(crate) address: IpAddr,
}

/// Answers connections until `stop` is done; then none are taken, and those that are open may end
/// their requests within the time of grace. Says how many did not. `metrics` are those of the
/// application behind the router, and count connections.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    metrics: Arc<Metrics>,
    limits: ConnectionLimits,
    stop: impl Future<Output = ()>,
) -> usize {
    let places = Arc::new(Semaphore::new(limits.connections));
    let open = GracefulShutdown::new();
    tokio::pin!(stop);
    loop {
        let accepted = tokio::select! {
            accepted = accept(&listener, &places, &metrics) => accepted,
            () = &mut stop => break,
        };
        match accepted {
            Ok((stream, address, place)) => {
                // Small pieces of an answer must not wait for more of it.
                let _ = stream.set_nodelay(true);
                answer(stream, address, place, &router, limits, &open);
            }
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
    drop(listener);
    let before = places.available_permits();
    let ended = tokio::time::timeout(limits.grace, open.shutdown()).await;
    let left = limits.connections - places.available_permits().max(before);
    if ended.is_ok() { 0 } else { left }
}

/// What a connection holds while it is open.
struct Place {
    _permit: OwnedSemaphorePermit,
    _open: OpenConnection,
}

async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
    metrics: &Arc<Metrics>,
) -> io::Result<(TcpStream, SocketAddr, Place)> {
    let place = Arc::clone(places).acquire_owned().await;
    let place = place.map_err(io::Error::other)?;
    let (stream, address) = listener.accept().await?;
    let place = Place {
        _permit: place,
        _open: OpenConnection::new(metrics),
    };
    Ok((stream, address, place))
}

/// Answers the requests of one connection in a task of its own.
fn answer(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    address: SocketAddr,
    place: Place,
    router: &Router,
    limits: ConnectionLimits,
    open: &GracefulShutdown,
) {
    let peer = Peer {
        address: address.ip(),
    };
    let router = router.clone();
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(peer);
        router.clone().oneshot(request)
    });
    let builder = builder(limits);
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    let connection = open.watch(connection.into_owned());
    tokio::spawn(async move {
        // A client that breaks the protocol or leaves is no concern of anyone else.
        let _ = connection.await;
        drop(place);
    });
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
