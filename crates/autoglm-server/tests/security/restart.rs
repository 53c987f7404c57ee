//! How a server ends, and how the next one takes over.

use std::time::Duration;

use autoglm_server::{ConnectionLimits, listen};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use crate::client::{Answer, Client, get, word_stream, words};
use crate::server::{Server, Setup};

fn with_limits(limits: ConnectionLimits) -> Setup {
    Setup {
        limits,
        ..Setup::default()
    }
}

/// Begins a stream that the model holds up.
async fn begin_stream(server: &Server) -> JoinHandle<Result<Answer, String>> {
    let mut client = Client::plain(server.address).await;
    let stream = tokio::spawn(async move { client.ask(word_stream("hold", 3)).await });
    server.model.held(1).await;
    stream
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_begun_ends_and_nothing_else_begins() {
    let server = Server::start(Setup::default());
    let stream = begin_stream(&server).await;
    let (address, model) = (server.address, server.model.clone());
    let ended = server.stop();
    while TcpStream::connect(address).await.is_ok() {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    assert!(!stream.is_finished() && !ended.is_finished());
    model.go_on();
    let answer = stream.await.unwrap().unwrap();
    assert!(answer.text.ends_with("data: [DONE]\n\n"), "{}", answer.text);
    assert_eq!(ended.await.unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_end_in_time_is_cut_and_counted_and_its_model_stops() {
    let server = Server::start(with_limits(ConnectionLimits {
        grace: Duration::from_millis(700),
        ..ConnectionLimits::default()
    }));
    let stream = begin_stream(&server).await;
    let silent = Client::plain(server.address).await;
    let model = server.model.clone();
    assert_eq!(server.stop().await.unwrap(), 1);
    model.cancelled(1).await;
    assert!(stream.await.unwrap().is_err(), "its client notices");
    drop(silent);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stops_is_not_ready_while_it_still_answers() {
    let server = Server::start(with_limits(ConnectionLimits {
        notice: Duration::from_secs(30),
        grace: Duration::from_secs(1),
        ..ConnectionLimits::default()
    }));
    let address = server.address;
    let ask = async |path| {
        let mut client = Client::plain(address).await;
        client.ask(get(path)).await.unwrap()
    };
    assert_eq!(ask("/health/ready").await.status, 200);
    let ended = server.stop();
    let mut answer = ask("/health/ready").await;
    while answer.status == 200 {
        answer = ask("/health/ready").await;
    }
    assert_eq!(answer.status, 503);
    assert_eq!(answer.header("retry-after"), "1");
    assert_eq!(ask("/health/live").await.status, 200);
    assert_eq!(ask("/v1/models").await.status, 200);
    assert!(!ended.is_finished());
    ended.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_kept_is_told_to_close() {
    let server = Server::start(Setup::default());
    let mut client = Client::plain(server.address).await;
    let answer = client.ask(get("/v1/models")).await.unwrap();
    assert_eq!(answer.header("connection"), "");
    let ended = server.stop();
    let mut last = client.ask(get("/v1/models")).await;
    while let Ok(answer) = &last
        && answer.header("connection") != "close"
    {
        last = client.ask(get("/v1/models")).await;
    }
    assert_eq!(last.unwrap().status, 200);
    assert!(client.ask(get("/v1/models")).await.is_err());
    assert_eq!(ended.await.unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_that_is_handed_over_loses_no_request() {
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let next = || {
        Server::start(Setup {
            listener: Some(socket.try_clone().unwrap()),
            ..Setup::default()
        })
    };
    let mut server = next();
    let address = server.address;
    let asking = tokio::spawn(async move {
        let mut kept = Client::plain(address).await;
        for _ in 0..400 {
            let mut client = Client::plain(address).await;
            let answer = client.ask(words("a", 2)).await.unwrap();
            assert_eq!(answer.status, 200);
            let answer = kept.ask(words("a", 2)).await.unwrap();
            if answer.header("connection") == "close" {
                kept = Client::plain(address).await;
            }
        }
    });
    let mut handed_over = 0;
    while !asking.is_finished() {
        let after = next();
        let ended = std::mem::replace(&mut server, after).stop();
        assert_eq!(ended.await.unwrap(), 0);
        handed_over += 1;
    }
    asking.await.expect("no request failed");
    assert!(handed_over > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shared_address_takes_a_second_listener_and_another_does_not() {
    let first = listen("127.0.0.1:0".parse().unwrap(), true).unwrap();
    let address = first.local_addr().unwrap();
    assert!(listen(address, true).is_ok());
    let alone = listen("127.0.0.1:0".parse().unwrap(), false).unwrap();
    let address = alone.local_addr().unwrap();
    assert!(listen(address, false).is_err());
    assert!(listen(address, true).is_err());
}
