//! Clients that are slow, silent, greedy or talk nonsense: the others do not notice.

use std::time::Duration;

use autoglm_server::ConnectionLimits;
use axum::body::{Body, Bytes};
use axum::http::Request;
use futures_util::stream;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::client::{Client, PATIENCE, get, read_to_end, words};
use crate::server::{Server, Setup};

/// A server that waits for nobody for long, and has room for some connections only.
fn impatient() -> Server {
    Server::start(Setup {
        limits: ConnectionLimits {
            connections: 4,
            headers: Duration::from_millis(300),
            unread: Duration::from_millis(300),
            ..ConnectionLimits::default()
        },
        ..Setup::default()
    })
}

async fn is_served(server: &Server) {
    let mut client = Client::plain(server.address).await;
    let answer = client.ask(words("a", 2)).await.unwrap();
    assert_eq!(answer.status, 200);
}

async fn connect(server: &Server, bytes: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    stream
}

#[tokio::test(flavor = "multi_thread")]
async fn who_sends_headers_slowly_is_cut() {
    let server = impatient();
    let stream = connect(&server, b"POST /v1/completions HTTP/1.1\r\n").await;
    let (mut reading, mut writing) = stream.into_split();
    let drip = tokio::spawn(async move {
        while writing.write_all(b"x-more: of it\r\n").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    read_to_end(&mut reading).await;
    is_served(&server).await;
    tokio::time::timeout(PATIENCE, drip).await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_says_nothing_or_half_a_greeting_or_nothing_more_is_cut() {
    let server = impatient();
    let beginnings: [&[u8]; 4] = [
        b"",
        b"P",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0",
        b"GET /health/live HTTP/1.1\r\nhost: localhost\r\n\r\n",
    ];
    for _ in 0..3 {
        // More than there is room for: the later ones wait for the earlier to be cut.
        let mut streams = Vec::new();
        for beginning in beginnings {
            streams.push(connect(&server, beginning).await);
            streams.push(connect(&server, beginning).await);
        }
        for mut stream in streams {
            read_to_end(&mut stream).await;
        }
        is_served(&server).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_never_reads_is_cut_and_frees_the_place() {
    let server = impatient();
    let body = r#"{"prompt":"flood","max_tokens":2000,"stream":true}"#;
    let request = format!(
        "POST /v1/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut deaf = Vec::new();
    for _ in 0..4 {
        deaf.push(connect(&server, request.as_bytes()).await);
    }
    // All places are taken until they are cut.
    is_served(&server).await;
    server.model.cancelled(4).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_goes_nowhere_is_cut_and_its_model_stops() {
    let server = Server::start(Setup {
        limits: ConnectionLimits {
            headers: Duration::from_millis(100),
            stalled: Duration::from_millis(300),
            ..ConnectionLimits::default()
        },
        ..Setup::default()
    });
    let mut client = Client::plain(server.address).await;
    assert!(client.ask(words("hold", 3)).await.is_err());
    server.model.cancelled(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nonsense_and_half_closed_connections_harm_nobody() {
    let server = impatient();
    let nonsense: [&[u8]; 6] = [
        b"\0\0\0\0\0\0\0\0",
        b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST /v1/completions HTTP/1.1\r\ncontent-length: -1\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff\xff\xff\xff\xff\xff\xff",
    ];
    for bytes in nonsense {
        let mut stream = connect(&server, bytes).await;
        is_served(&server).await;
        read_to_end(&mut stream).await;
    }
    for bytes in [
        &b"POST /v1/completions HTTP/1.1\r\ncontent-length: 9\r\n\r\n{"[..],
        b"GET /health/live HTTP/1.1\r\nhost: localhost\r\n\r\n",
        b"",
    ] {
        let mut stream = connect(&server, bytes).await;
        stream.shutdown().await.unwrap();
        is_served(&server).await;
        read_to_end(&mut stream).await;
    }
}

/// 100 MB in pieces, with or without saying so before.
fn huge(says_so: bool) -> Request<Body> {
    let piece = Bytes::from(vec![b' '; 1 << 20]);
    let pieces = (0..100).map(move |_| Ok::<_, std::io::Error>(piece.clone()));
    let body = Body::from_stream(stream::iter(pieces));
    let mut request = Request::post("/v1/completions").header("host", "localhost");
    if says_so {
        request = request.header("content-length", 100 << 20);
    }
    request.body(body).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_megabytes_are_refused_while_others_are_served() {
    let server = Server::start(Setup::default());
    for says_so in [true, false] {
        let mut client = Client::plain(server.address).await;
        let sending = tokio::spawn(async move { client.ask(huge(says_so)).await });
        for _ in 0..20 {
            is_served(&server).await;
        }
        let answer = sending.await.unwrap().unwrap();
        assert_eq!(answer.status, 413, "{}", answer.text);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_reads_slowly_gets_all() {
    let server = impatient();
    let body = r#"{"prompt":"flood","max_tokens":40}"#;
    let request = format!(
        "POST /v1/completions HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut stream = connect(&server, request.as_bytes()).await;
    let (mut piece, mut all) = (vec![0; 128 << 10], Vec::new());
    loop {
        let read = stream.read(&mut piece).await.unwrap();
        if read == 0 {
            break;
        }
        all.extend_from_slice(&piece[..read]);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(all.len() > 40 * (64 << 10), "{}", all.len());
    let mut client = Client::plain(server.address).await;
    assert_eq!(client.ask(get("/health/live")).await.unwrap().status, 200);
}
