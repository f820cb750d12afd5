//! The ordinary ways out: plain, over TLS with a secret, a tunnel, an internal service, in-process.

use std::sync::{Arc, Mutex};

use http_body_util::BodyExt;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls_pki_types::PrivateKeyDer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UnixStream};
use tokio_rustls::TlsAcceptor;

use super::world::{CANARY, PUBLIC, World, head, heard, hello, open, rule, secret, usual_rules};
use crate::{GrantLimits, Refusal, Rule, Settings, Transport, Verdict, empty};

#[tokio::test]
async fn plain() {
    let world = open(usual_rules(), GrantLimits::default(), |_| {});
    let got = world.serve(b"HTTP/1.1 201 Created\r\ncontent-length: 3\r\nkeep-alive: x\r\n\r\nyes");
    let got = got.await;
    let answer = world
        .say(
            b"POST http://good.example.org/a?b=c HTTP/1.1\r\nHost: good.example.org\r\n\
              Connection: X-Drop\r\nX-Drop: 1\r\nX-Keep: 2\r\nX-Forwarded-For: 10.0.0.1\r\n\
              Proxy-Authorization: Basic eA==\r\nContent-Length: 4\r\n\r\nbody",
        )
        .await;
    assert!(answer.starts_with("HTTP/1.1 201") && answer.ends_with("yes"), "{answer}");
    assert!(!answer.contains("keep-alive"), "{answer}");
    let sent = String::from_utf8(got.lock().unwrap().clone()).unwrap().to_ascii_lowercase();
    assert!(
        sent.starts_with("post /a?b=c http/1.1\r\n") && sent.ends_with("\r\n\r\nbody"),
        "{sent}"
    );
    assert!(sent.contains("host: good.example.org\r\n") && sent.contains("x-keep: 2"), "{sent}");
    for gone in ["x-drop", "x-forwarded-for", "proxy-authorization"] {
        assert!(!sent.contains(gone), "{gone}: {sent}");
    }
    let Some(Verdict::Allowed { status, bytes_out, bytes_in, cut, address, .. }) =
        world.allowed().await
    else {
        panic!("no event");
    };
    assert_eq!((status, bytes_out, bytes_in, cut), (201, 4, 3, None));
    assert_eq!(address, Some(format!("{PUBLIC}:80").parse().unwrap()));
}

/// A server of TLS for `good.example.org`, trusted by the settings, that repeats what it is sent.
async fn secure_world(rule: Rule) -> (World, Arc<Mutex<Vec<u8>>>) {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(["good.example.org".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    let trust = |settings: &mut Settings| settings.roots = vec![cert.der().clone()];
    let world = open(vec![rule], GrantLimits::default(), trust);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    *world.lead.server.lock().unwrap() = Some(listener.local_addr().unwrap());
    let got = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&got);
    let acceptor = TlsAcceptor::from(Arc::new(config));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let mut piece = [0; 4_096];
            let count = stream.read(&mut piece).await.unwrap();
            kept.lock().unwrap().extend_from_slice(&piece[..count]);
            let body = format!("you sent {}", String::from_utf8_lossy(&piece[..count]));
            let head = format!("HTTP/1.1 200 OK\r\nx-echo: {CANARY}\r\n");
            let answer = format!("{head}content-length: {}\r\n\r\n{body}", body.len());
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    (world, got)
}

#[tokio::test]
async fn a_secret_goes_out_over_tls_and_never_comes_back() {
    let mut granted = rule("good.example.org", &[443], Transport::Originate);
    granted.secrets = vec![secret("authorization", "Bearer ")];
    for url in ["http://good.example.org/", "https://good.example.org/"] {
        let (world, got) = secure_world(granted.clone()).await;
        // The guest's own value goes, and `Connection` cannot take the secret away.
        let request = format!(
            "GET {url} HTTP/1.1\r\nAuthorization: mine\r\nConnection: authorization\r\n\r\n"
        );
        let answer = world.say(request.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        assert!(answer.contains("you sent GET / HTTP/1.1") && answer.contains("Bearer ***"));
        let sent = String::from_utf8(got.lock().unwrap().clone()).unwrap();
        assert!(sent.contains(&format!("authorization: Bearer {CANARY}")), "{sent}");
        assert!(!sent.contains("mine"), "{sent}");
        assert!(world.allowed().await.is_some());
        let told = format!("{:?}", world.events.lock().unwrap());
        assert!(!told.contains(CANARY) && !answer.contains(CANARY), "{told} {answer}");
    }
}

#[tokio::test]
async fn a_secret_that_is_missing_or_a_host_without_trust_sends_nothing() {
    let mut granted = rule("good.example.org", &[443], Transport::Originate);
    granted.secrets = vec![secret("authorization", "")];
    granted.secrets[0].secret = "other".to_owned();
    let (world, got) = secure_world(granted.clone()).await;
    let answer = world.say(b"GET http://good.example.org/ HTTP/1.1\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 502"), "{answer}");
    assert_eq!(world.refusals().await, [Refusal::Secret]);
    assert!(got.lock().unwrap().is_empty());

    granted.secrets[0].secret = "key".to_owned();
    granted.host = crate::HostPattern::new("other.example.org").unwrap();
    let (world, got) = secure_world(granted).await;
    world.names.set("other.example.org", &[&[PUBLIC]]);
    let answer = world.say(b"GET http://other.example.org/ HTTP/1.1\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 502"), "{answer}");
    assert!(matches!(world.refusals().await[..], [Refusal::Unreachable(_)]));
    assert!(got.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_tunnel_passes_bytes_both_ways() {
    let world = open(usual_rules(), GrantLimits::default(), |_| {});
    let _got = world.serve(b"from outside").await;
    let mut stream = UnixStream::connect(world.way.proxy()).await.unwrap();
    stream.write_all(b"CONNECT good.example.org:443 HTTP/1.1\r\n\r\n").await.unwrap();
    assert!(head(&mut stream).await.starts_with("HTTP/1.1 200"));
    stream.write_all(&hello(Some("good.example.org"), &[])).await.unwrap();
    stream.write_all(b"\r\n\r\n").await.unwrap();
    assert_eq!(heard(&mut stream).await, "from outside");
    drop(stream);
    let Some(Verdict::Allowed { bytes_in, .. }) = world.allowed().await else {
        panic!("no event");
    };
    assert_eq!(bytes_in, 12);
}

#[tokio::test]
async fn an_internal_service_has_its_own_grant() {
    let mut internal = rule("billing", &[8_080], Transport::Plain);
    internal.internal = Some(([10, 1, 2, 3], 9_000).into());
    internal.secrets = vec![secret("x-key", "")];
    let world = open(vec![internal], GrantLimits::default(), |_| {});
    let got = world.serve(b"HTTP/1.1 204 No Content\r\n\r\n").await;
    let answer = world.say(b"GET http://billing:8080/x HTTP/1.1\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 204"), "{answer}");
    assert_eq!(world.dialled(), [([10, 1, 2, 3], 9_000).into()]);
    assert!(world.names.asked.lock().unwrap().is_empty());
    assert!(String::from_utf8(got.lock().unwrap().clone()).unwrap().contains("host: billing:8080"));
    let answer = world.say(b"GET http://billing:9000/x HTTP/1.1\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
}

#[tokio::test]
async fn tools_in_process_are_held_to_the_same() {
    let world = open(usual_rules(), GrantLimits::default(), |_| {});
    let _got = world.serve(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi").await;
    let ask = |url: &str| http::Request::get(url).body(empty()).unwrap();
    let answer = world.way.fetch(ask("http://good.example.org/")).await.unwrap();
    assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "hi");
    let refused = world.way.fetch(ask("http://evil.example.org/")).await;
    assert_eq!(refused.err(), Some(Refusal::Host));
    assert_eq!(world.events.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn a_closed_way_is_gone() {
    let world = open(usual_rules(), GrantLimits::default(), |_| {});
    let (proxy, names) = (world.way.proxy(), world.way.names());
    let mut open = UnixStream::connect(&proxy).await.unwrap();
    drop(world);
    assert!(!proxy.exists() && !names.exists());
    // Closed or, where it was not yet taken, reset.
    assert!(matches!(open.read(&mut [0; 1]).await, Ok(0) | Err(_)));
}
