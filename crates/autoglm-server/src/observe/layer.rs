//! What stands around every route: it begins an observation, counts bytes, and ends the
//! observation with the last byte of the answer, or when the client leaves.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderName, Method, Version, header};
use axum::middleware::Next;
use axum::response::Response;
use hyper::body::{Frame, SizeHint};

use super::Observer;
use super::current::{within, within_now};
use super::request::{Head, OTHER, Observation};
use crate::app::App;
use crate::http::{Peer, Refusal};
use crate::trace::Parent;

/// The header by which an answer tells its trace.
const TRACE_RESPONSE: HeaderName = HeaderName::from_static("traceresponse");
/// Characters of a program's name that are kept.
const MOST_AGENT_CHARS: usize = 200;

/// Observes a request.
pub(crate) async fn observe(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let observation = begin(&app.observer, &request);
    let ending = Ending {
        observation: Arc::clone(&observation),
        is_whole: false,
    };
    let received = Arc::clone(&observation);
    let request = request.map(|body| {
        Body::new(Received {
            body,
            observation: received,
        })
    });
    let mut response = within(Arc::clone(&observation), next.run(request)).await;
    let header = observation.context.response_header();
    response.headers_mut().insert(TRACE_RESPONSE, header);
    note_status(&observation, &response);
    response.map(|body| Body::new(Sent { body, ending }))
}

fn begin(observer: &Arc<Observer>, request: &Request) -> Arc<Observation> {
    let route = request.extensions().get::<MatchedPath>();
    let agent = request.headers().get(header::USER_AGENT);
    let agent = agent.and_then(|agent| agent.to_str().ok());
    let peer = request.extensions().get::<Peer>();
    let head = Head {
        scheme: scheme(peer),
        method: method_name(request.method()),
        route: route.map_or(OTHER, MatchedPath::as_str).to_owned(),
        path: request.uri().path().to_owned(),
        protocol: protocol(request.version()),
        peer: peer.map(|peer| peer.address),
        agent: agent.map(|agent| agent.chars().take(MOST_AGENT_CHARS).collect()),
    };
    observer.begin(head, Parent::of(request.headers()))
}

fn note_status(observation: &Observation, response: &Response) {
    let refusal = response.extensions().get::<Refusal>();
    let mut noted = observation.noted();
    noted.status = Some(response.status().as_u16());
    if let Some(Refusal(reason)) = refusal {
        noted.reason = Some(reason);
    }
}

/// A method by its name; clients may invent others.
fn method_name(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        Method::PATCH => "PATCH",
        _ => "_OTHER",
    }
}

fn scheme(peer: Option<&Peer>) -> &'static str {
    match peer {
        Some(peer) if peer.is_encrypted => "https",
        _ => "http",
    }
}

fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "1.0",
        Version::HTTP_2 => "2",
        _ => "1.1",
    }
}

/// Ends an observation when it is dropped.
struct Ending {
    observation: Arc<Observation>,
    /// Whether the answer has gone out as a whole.
    is_whole: bool,
}

impl Drop for Ending {
    fn drop(&mut self) {
        let observer = &self.observation.observer;
        observer.end(&self.observation, self.is_whole);
    }
}

/// The body of a request.
struct Received {
    body: Body,
    observation: Arc<Observation>,
}

impl HttpBody for Received {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        let now = self.observation.observer.clock.now();
        let mut noted = self.observation.noted();
        if let Poll::Ready(Some(Ok(frame))) = &polled {
            let bytes = frame.data_ref().map_or(0, Bytes::len);
            noted.received_bytes += bytes as u64;
        }
        if polled.is_ready() {
            noted.body_read = Some(now);
        }
        drop(noted);
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The body of an answer.
struct Sent {
    body: Body,
    ending: Ending,
}

impl HttpBody for Sent {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let observation = Arc::clone(&self.ending.observation);
        let body = Pin::new(&mut self.body);
        let polled = within_now(Arc::clone(&observation), || body.poll_frame(context));
        match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                let bytes = frame.data_ref().map_or(0, Bytes::len);
                observation.noted().sent_bytes += bytes as u64;
            }
            Poll::Ready(None) => self.ending.is_whole = true,
            Poll::Ready(Some(Err(_))) | Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Sent {
    fn drop(&mut self) {
        // A body of known length is not asked again after its last byte.
        self.ending.is_whole |= self.body.is_end_stream();
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn the_scheme_is_that_of_the_connection() {
        let peer = |is_encrypted| Peer {
            address: Ipv4Addr::LOCALHOST.into(),
            is_encrypted,
            identity: None,
        };
        assert_eq!(scheme(Some(&peer(true))), "https");
        assert_eq!(scheme(Some(&peer(false))), "http");
        assert_eq!(scheme(None), "http");
    }
}
