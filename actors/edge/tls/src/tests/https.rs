//! HTTPS over TCP.

use std::time::Duration;

use axum::Router;
use axum::routing::get;
use http::Version;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{Files, connect_tls, get_https, serve_https, within};
use crate::{TlsSettings, alt_svc};

fn router() -> Router {
    Router::new().route("/", get(|version: Version| async move { format!("{version:?}") }))
}

#[tokio::test]
async fn both_versions_are_served() {
    let files = Files::new();
    let address = serve_https(router(), &files.open(), TlsSettings::default()).await;
    for (version, name) in [(Version::HTTP_11, "HTTP/1.1"), (Version::HTTP_2, "HTTP/2.0")] {
        let answer = get_https(address, &files.root, version).await.unwrap();
        assert_eq!(answer, (200, name.to_owned()));
    }
}

#[tokio::test]
async fn silent_and_plain_clients_hold_up_nobody() {
    let files = Files::new();
    let address = serve_https(router(), &files.open(), TlsSettings::default()).await;
    let mut silent = Vec::new();
    for _ in 0..20 {
        silent.push(TcpStream::connect(address).await.unwrap());
    }
    let mut plain = TcpStream::connect(address).await.unwrap();
    plain.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    let answer = get_https(address, &files.root, Version::HTTP_2).await.unwrap();
    assert_eq!(answer.0, 200);
    let mut told = Vec::new();
    // An alert and the end, or a reset.
    let _ = within(plain.read_to_end(&mut told)).await;
    assert!(!told.starts_with(b"HTTP"), "{told:?}");
    // A protocol that the server does not speak is refused, not served as another.
    assert!(connect_tls(address, &files.root, b"gopher").await.is_err());
}

#[tokio::test]
async fn a_silent_client_is_dropped_at_the_deadline() {
    let files = Files::new();
    let handshake_timeout = Duration::from_millis(100);
    let settings = TlsSettings { handshake_timeout, ..TlsSettings::default() };
    let address = serve_https(router(), &files.open(), settings).await;
    let mut silent = TcpStream::connect(address).await.unwrap();
    assert_eq!(within(silent.read(&mut [0])).await.unwrap(), 0);
}

#[tokio::test]
async fn handshakes_are_bounded() {
    let files = Files::new();
    // No deadline frees the only place.
    let handshake_timeout = Duration::from_secs(3600);
    let settings = TlsSettings { handshakes_max: 1, handshake_timeout };
    let address = serve_https(router(), &files.open(), settings).await;
    let silent = TcpStream::connect(address).await.unwrap();
    // Accepted second, whatever else happens.
    let mut second = TcpStream::connect(address).await.unwrap();
    assert_eq!(within(second.read(&mut [0])).await.unwrap(), 0);
    drop(silent);
    // The place is free again once the server notices.
    within(async {
        while get_https(address, &files.root, Version::HTTP_11).await.is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}

#[test]
fn http3_is_offered_by_its_port() {
    assert_eq!(alt_svc(8443), "h3=\":8443\"; ma=86400");
}
