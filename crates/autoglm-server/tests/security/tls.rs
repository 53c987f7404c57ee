//! TLS and the certificates of clients.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use autoglm_server::{ConnectionLimits, Keys, Reload, Tls};
use axum::body::Body;
use axum::http::Request;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;

use crate::certificates::{Authority, Files, Pair, Visitor};
use crate::client::{Answer, Client, get, read_to_end, words};
use crate::server::{Server, Setup, clock, until};

const API: &str = "spiffe://example.org/ns/prod/api";

/// A server for programs of production, and the authority of all.
struct House {
    authority: Authority,
    files: Files,
    tls: Tls,
    server: Server,
}

impl House {
    fn for_ids(ids: &[&str]) -> Self {
        let authority = Authority::new("house");
        let files = Files::new(&authority.server(), Some(&authority));
        let tls = files.tls(ids);
        let server = Server::start(Setup {
            tls: Some(tls.clone()),
            ..Setup::default()
        });
        Self {
            authority,
            files,
            tls,
            server,
        }
    }

    async fn ask(&self, own: Option<&Pair>) -> Result<Answer, String> {
        let visitor = Visitor::new(&self.authority, own);
        ask(&visitor, &self.server, get("/v1/models")).await
    }
}

async fn ask(visitor: &Visitor, server: &Server, request: Request<Body>) -> Result<Answer, String> {
    let stream = visitor.visit(server.address).await;
    let stream = stream.map_err(|error| error.to_string())?;
    let client = Client::over(stream).await;
    let mut client = client.map_err(|error| error.to_string())?;
    client.ask(request).await
}

#[tokio::test(flavor = "multi_thread")]
async fn all_but_the_right_certificate_are_refused_and_the_right_one_is_let_in() {
    let house = House::for_ids(&["spiffe://example.org/ns/prod/*"]);
    let other = Authority::new("other");
    let own = &house.authority;
    let wrong = [
        ("none", None),
        ("another authority's", Some(other.client(&[API]))),
        (
            "expired by the server's clock",
            Some(own.client_until(&[API], 2029)),
        ),
        (
            "another id",
            Some(own.client(&["spiffe://example.org/ns/test/api"])),
        ),
        (
            "the id itself is not below",
            Some(own.client(&["spiffe://example.org/ns/prod"])),
        ),
        ("no id", Some(own.client(&[]))),
        (
            "two ids",
            Some(own.client(&[API, "spiffe://example.org/ns/prod/b"])),
        ),
        (
            "no SPIFFE id",
            Some(own.client(&["https://example.org/ns/prod/api"])),
        ),
    ];
    for (what, pair) in &wrong {
        let answer = house.ask(pair.as_ref()).await;
        assert!(answer.is_err(), "{what}: {answer:?}");
        let right = house.ask(Some(&own.client(&[API]))).await.unwrap();
        assert_eq!(right.status, 200, "after {what}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_http_is_refused_at_once_with_a_word_why() {
    let house = House::for_ids(&[]);
    let mut stream = TcpStream::connect(house.server.address).await.unwrap();
    let request = b"GET /v1/models HTTP/1.1\r\nhost: localhost\r\n\r\n";
    stream.write_all(request).await.unwrap();
    let answer = read_to_end(&mut stream).await;
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(
        head.contains(&format!("content-length: {}\r\n", body.len())),
        "{answer}"
    );
    assert!(body.contains("https"), "{answer}");
    let right = house.authority.client(&[API]);
    assert_eq!(house.ask(Some(&right)).await.unwrap().status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_shake_hands_in_time_is_cut() {
    let authority = Authority::new("house");
    let files = Files::new(&authority.server(), None);
    let server = Server::start(Setup {
        tls: Some(files.tls(&[])),
        limits: ConnectionLimits {
            connections: 2,
            handshake: Duration::from_millis(300),
            ..ConnectionLimits::default()
        },
        ..Setup::default()
    });
    let mut silent = Vec::new();
    for beginning in [&b""[..], b"\x16", b"\x16\x03\x01\x02\0\x01"] {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(beginning).await.unwrap();
        silent.push(stream);
    }
    for mut stream in silent {
        read_to_end(&mut stream).await;
    }
    let visitor = Visitor::new(&authority, None);
    let answer = ask(&visitor, &server, get("/health/live")).await.unwrap();
    assert_eq!(answer.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_names_every_certificate_of_the_authority_is_let_in() {
    let house = House::for_ids(&[]);
    for uris in [&[API][..], &[]] {
        let pair = house.authority.client(uris);
        assert_eq!(house.ask(Some(&pair)).await.unwrap().status, 200);
    }
    assert!(house.ask(None).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_has_the_rights_of_its_entry_among_the_keys() {
    let authority = Authority::new("house");
    let files = Files::new(&authority.server(), Some(&authority));
    let keys = files.path("keys.toml");
    let text = format!("[[key]]\nid = \"api\"\nspiffe = \"{API}\"\nscopes = [\"metrics\"]\n");
    std::fs::write(&keys, text).unwrap();
    let server = Server::start(Setup {
        keys: Some(Keys::open(&keys, clock()).unwrap()),
        tls: Some(files.tls(&[])),
        ..Setup::default()
    });
    let known = Visitor::new(&authority, Some(&authority.client(&[API])));
    let answer = ask(&known, &server, get("/v1/models")).await.unwrap();
    assert_eq!(answer.status, 403);
    assert!(answer.text.contains("the key of api"), "{}", answer.text);
    let unknown = authority.client(&["spiffe://example.org/x"]);
    let unknown = Visitor::new(&authority, Some(&unknown));
    let answer = ask(&unknown, &server, get("/v1/models")).await.unwrap();
    assert_eq!(answer.status, 401, "{}", answer.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn both_versions_of_http_are_spoken_inside() {
    let authority = Authority::new("house");
    let files = Files::new(&authority.server(), None);
    let server = Server::start(Setup {
        tls: Some(files.tls(&[])),
        ..Setup::default()
    });
    let first = Visitor::new(&authority, None).speaking(b"http/1.1");
    let answer = ask(&first, &server, get("/health/live")).await.unwrap();
    assert_eq!(answer.status, 200);
    let second = Visitor::new(&authority, None).speaking(b"h2");
    let stream = second.visit(server.address).await.unwrap();
    let negotiated = stream.get_ref().1.alpn_protocol();
    assert_eq!(negotiated, Some(&b"h2"[..]));
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
        .await
        .unwrap();
    tokio::spawn(connection);
    let request = Request::get("https://localhost/health/live");
    let answer = sender.send_request(request.body(Body::empty()).unwrap());
    assert_eq!(answer.await.unwrap().status().as_u16(), 200);
}

/// Asks again and again, over one connection and over one for each request.
async fn go_on_asking(house: Arc<House>, own: Pair, end: Arc<AtomicBool>, asked: Arc<AtomicUsize>) {
    let visitor = Visitor::new(&house.authority, Some(&own));
    let kept = visitor.visit(house.server.address).await.unwrap();
    let mut kept = Client::over(kept).await.unwrap();
    while !end.load(Ordering::SeqCst) {
        let answer = kept.ask(words("a b c", 3)).await.unwrap();
        assert_eq!(answer.status, 200);
        let answer = ask(&visitor, &house.server, words("a b c", 3)).await;
        assert_eq!(answer.unwrap().status, 200);
        asked.fetch_add(2, Ordering::SeqCst);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_change_while_requests_go_on_and_none_fails() {
    let house = Arc::new(House::for_ids(&["spiffe://example.org/*"]));
    let (end, asked) = (Arc::default(), Arc::default());
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let own = house.authority.client(&[API]);
            let asking = go_on_asking(
                Arc::clone(&house),
                own,
                Arc::clone(&end),
                Arc::clone(&asked),
            );
            tokio::spawn(asking)
        })
        .collect();
    let visitor = Visitor::new(&house.authority, Some(&house.authority.client(&[API])));
    for _ in 0..20 {
        let pair = house.authority.server();
        house.files.replace(&pair);
        assert_eq!(house.tls.reload().unwrap(), Reload::Changed);
        assert_eq!(house.tls.reload().unwrap(), Reload::Unchanged);
        let stream = visitor.visit(house.server.address).await.unwrap();
        let shown = stream.get_ref().1.peer_certificates().unwrap()[0].clone();
        assert!(is_in(&pair, &shown), "the new certificate is shown");
        let before = asked.load(Ordering::SeqCst);
        until(|| asked.load(Ordering::SeqCst) >= before + 8).await;
    }
    end.store(true, Ordering::SeqCst);
    for client in clients {
        client.await.expect("no request failed");
    }
}

fn is_in(pair: &Pair, shown: &[u8]) -> bool {
    let own = CertificateDer::from_pem_slice(pair.certificate.as_bytes()).unwrap();
    own.as_ref() == shown
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_pair_is_told_once_and_the_old_one_goes_on() {
    let house = House::for_ids(&[]);
    let right = house.authority.client(&[API]);
    let first = house.authority.server();
    let broken = [
        Pair {
            certificate: first.certificate.clone(),
            key: house.authority.server().key,
        },
        Pair {
            certificate: "no certificate".to_owned(),
            key: first.key.clone(),
        },
        Pair {
            certificate: first.certificate.clone(),
            key: "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n".to_owned(),
        },
    ];
    for pair in &broken {
        house.files.replace(pair);
        let error = house.tls.reload().unwrap_err().to_string();
        assert!(error.contains("server."), "{error} names the file");
        assert!(!error.contains("c2VjcmV0"), "{error}");
        assert_eq!(house.tls.reload().unwrap(), Reload::Unchanged);
        assert_eq!(house.ask(Some(&right)).await.unwrap().status, 200);
    }
    std::fs::remove_file(house.files.path("server.key")).unwrap();
    assert!(house.tls.reload().is_err());
    house.files.replace(&first);
    assert_eq!(house.tls.reload().unwrap(), Reload::Changed);
    assert_eq!(house.ask(Some(&right)).await.unwrap().status, 200);
}
