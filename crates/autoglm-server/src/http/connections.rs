//! Connections: how many there may be, and how all of them end.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::connection::{Answering, Peer};
use crate::metrics::{Metrics, OpenConnection};
use crate::tls::Tls;

/// How long to wait where the system has no descriptors left for another connection.
const PAUSE: Duration = Duration::from_millis(50);
/// How long connections that the system has taken already are looked for when the server stops.
const LAST_LOOK: Duration = Duration::from_millis(10);

/// What connections may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// Connections at once; more wait in the system's queue.
    pub connections: usize,
    /// How long making a connection secure may take.
    pub handshake: Duration,
    /// How long the headers of a request may take, and how long a connection without a request
    /// stays open.
    pub headers: Duration,
    /// How long a client may leave what is sent unread.
    pub unread: Duration,
    /// How long a connection with requests stays open while no piece of an answer goes; more than
    /// a request may take, and than `headers`.
    pub stalled: Duration,
    /// How long connections are still taken when the server stops, so that whoever asks whether
    /// it is ready notices first.
    pub notice: Duration,
    /// How long requests may go on then.
    pub grace: Duration,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self {
            connections: 1_024,
            handshake: Duration::from_secs(10),
            headers: Duration::from_secs(30),
            unread: Duration::from_secs(30),
            stalled: Duration::from_mins(11),
            notice: Duration::ZERO,
            grace: Duration::from_secs(30),
        }
    }
}

/// Answers connections until `stop` is done; then none are taken, and those that are open may end
/// their requests within the time of grace. Those that do not are cut; says how many.
/// `metrics` are those of the application behind the router, and count connections.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    metrics: Arc<Metrics>,
    limits: ConnectionLimits,
    stop: impl Future<Output = ()>,
) -> usize {
    answer_all(listener, None, (router, metrics, limits), stop).await
}

/// The same for connections that TLS makes secure; all others are refused.
pub async fn serve_tls(
    listener: TcpListener,
    tls: Tls,
    router: Router,
    metrics: Arc<Metrics>,
    limits: ConnectionLimits,
    stop: impl Future<Output = ()>,
) -> usize {
    answer_all(listener, Some(tls), (router, metrics, limits), stop).await
}

async fn answer_all(
    listener: TcpListener,
    tls: Option<Tls>,
    (router, metrics, limits): (Router, Arc<Metrics>, ConnectionLimits),
    stop: impl Future<Output = ()>,
) -> usize {
    let (tell, stopping) = watch::channel(false);
    let answering = Answering {
        router,
        limits,
        stopping,
    };
    let places = Arc::new(Semaphore::new(limits.connections));
    let mut open = JoinSet::new();
    let stop = async {
        stop.await;
        sleep(limits.notice).await;
    };
    tokio::pin!(stop);
    loop {
        tokio::select! {
            accepted = accept(&listener, &places, &metrics) => match accepted {
                Ok(accepted) => drop(open.spawn(run(accepted, tls.clone(), answering.clone()))),
                Err(_) => sleep(PAUSE).await,
            },
            Some(_) = open.join_next() => {}
            () = &mut stop => break,
        }
    }
    tell.send_replace(true);
    // Connections that the system has taken already are not to be lost with the socket.
    let last = async {
        while let Ok(accepted) = accept(&listener, &places, &metrics).await {
            open.spawn(run(accepted, tls.clone(), answering.clone()));
        }
    };
    let _ = timeout(LAST_LOOK, last).await;
    drop(listener);
    end(open, limits.grace).await
}

/// Waits for connections to end, and cuts those that do not.
async fn end(mut open: JoinSet<()>, grace: Duration) -> usize {
    let all_ended = async { while open.join_next().await.is_some() {} };
    if timeout(grace, all_ended).await.is_ok() {
        return 0;
    }
    while open.try_join_next().is_some() {}
    let cut = open.len();
    open.shutdown().await;
    cut
}

struct Accepted {
    stream: TcpStream,
    address: SocketAddr,
    place: Place,
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
) -> io::Result<Accepted> {
    let place = Arc::clone(places).acquire_owned().await;
    let place = place.map_err(io::Error::other)?;
    let (stream, address) = listener.accept().await?;
    let place = Place {
        _permit: place,
        _open: OpenConnection::new(metrics),
    };
    Ok(Accepted {
        stream,
        address,
        place,
    })
}

/// One connection from its first byte to its last.
async fn run(accepted: Accepted, tls: Option<Tls>, answering: Answering) {
    let Accepted {
        stream,
        address,
        place: _place,
    } = accepted;
    // Small pieces of an answer must not wait for more of it.
    let _ = stream.set_nodelay(true);
    let peer = |identity| Peer {
        address: address.ip(),
        is_encrypted: tls.is_some(),
        identity,
    };
    let Some(tls) = &tls else {
        return answering.answer(stream, peer(None)).await;
    };
    let made = tokio::select! {
        made = tls.accept(stream, answering.limits.handshake) => made,
        () = answering.farewell() => None,
    };
    if let Some((stream, identity)) = made {
        answering.answer(stream, peer(identity)).await;
    }
}
