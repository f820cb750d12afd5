//! Guests that ask for what they must not have: each is refused, and nothing is dialled.

use super::world::{PUBLIC, head, heard, hello, open, usual_rules};
use crate::{GrantLimits, Refusal};
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;

const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi";

/// One request, the status that its asker sees, and the variant of the refusal in the event.
async fn check(name: &str, request: &str, status: &str, refusal: &str) {
    let world = open(usual_rules(), GrantLimits::default(), |_| {});
    let _got = world.serve(OK).await;
    for (host, address) in [
        ("a.wide.example.org", "169.254.169.254"),
        ("b.wide.example.org", "::ffff:10.0.0.1"),
        ("c.wide.example.org", "64:ff9b::a00:1"),
        ("d.wide.example.org", "fd00:ec2::254"),
    ] {
        // A public address beside it saves nothing.
        world.names.set(host, &[&[PUBLIC, address]]);
    }
    let answer = world.say(request.as_bytes()).await;
    assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{name}: {answer}");
    let refusals = world.refusals().await;
    let seen = format!("{:?}", refusals.first());
    assert!(seen.starts_with(&format!("Some({refusal}")), "{name}: {seen}");
    assert!(world.dialled().is_empty(), "{name}: {:?}", world.dialled());
}

#[tokio::test]
async fn requests_that_must_not_go_out() {
    let get = |url: &str, more: &str| format!("GET {url} HTTP/1.1\r\n{more}\r\n");
    let connect = |to: &str| format!("CONNECT {to} HTTP/1.1\r\nHost: {to}\r\n\r\n");
    let good = "http://good.example.org/";
    let rows: Vec<(&str, String, &str, &str)> = vec![
        ("another host", get("http://evil.example.org/", ""), "403", "Host"),
        ("user before the host", get("http://good.example.org@evil.org/", ""), "400", "Malformed"),
        ("good user", get("http://u:p@good.example.org/", ""), "400", "Malformed"),
        ("host differs", get(good, "Host: evil.example.org\r\n"), "400", "Malformed"),
        ("host's port differs", get(good, "Host: good.example.org:81\r\n"), "400", "Malformed"),
        (
            "two hosts",
            get(good, "Host: good.example.org\r\nHost: evil.org\r\n"),
            "400",
            "Malformed",
        ),
        ("no URL", get("/", "Host: good.example.org\r\n"), "400", "Malformed"),
        ("another scheme", get("ftp://good.example.org/", ""), "400", "Malformed"),
        ("decimal address", get("http://2130706433/", ""), "400", "Malformed"),
        ("octal address", get("http://0177.0.0.1/", ""), "400", "Malformed"),
        ("hexadecimal address", get("http://0x7f.0x1/", ""), "400", "Malformed"),
        ("short address", get("http://127.1/", ""), "400", "Malformed"),
        ("plain address", get("http://127.0.0.1/", ""), "403", "Host"),
        ("v6 address", get("http://[::1]/", ""), "403", "Host"),
        ("metadata address", get("http://169.254.169.254/latest/", ""), "403", "Host"),
        ("metadata name", get("http://metadata.google.internal/", ""), "403", "Host"),
        ("metadata behind a name", get("http://a.wide.example.org/", ""), "403", "NotPublic"),
        ("mapped address", get("http://b.wide.example.org/", ""), "403", "NotPublic"),
        ("NAT64 address", get("http://c.wide.example.org/", ""), "403", "NotPublic"),
        ("unique-local address", get("http://d.wide.example.org/", ""), "403", "NotPublic"),
        ("the star's own name", get("http://wide.example.org/", ""), "403", "Host"),
        ("the star's end", get("http://evilwide.example.org/", ""), "403", "Host"),
        ("two dots at the end", get("http://good.example.org../", ""), "400", "Malformed"),
        ("another port", get("http://good.example.org:22/", ""), "403", "Port"),
        ("port 0", get("http://good.example.org:0/", ""), "400", "Malformed"),
        ("port with zeros", get("http://good.example.org:0080/", ""), "400", "Malformed"),
        ("empty port", get("http://good.example.org:/", ""), "400", "Malformed"),
        ("https where plain is allowed", get("https://good.example.org/", ""), "403", "Transport"),
        ("tunnel to the plain port", connect("good.example.org:80"), "403", "Port"),
        ("tunnel without a port", connect("good.example.org"), "400", "Malformed"),
        ("tunnel elsewhere", connect("evil.example.org:443"), "403", "Host"),
        ("tunnel to an address", connect("93.184.215.14:443"), "403", "Host"),
        ("another path", get("http://paths.example.org/v10", ""), "403", "Path"),
        ("dots in the path", get("http://paths.example.org/v1/../x", ""), "400", "Malformed"),
        ("coded dots", get("http://paths.example.org/v1/%2E%2e/x", ""), "400", "Malformed"),
        ("dots behind a parameter", get("http://paths.example.org/v1/..;a/x", ""), "400", "Mal"),
        ("another method", "PUT http://paths.example.org/v1 HTTP/1.1\r\n\r\n".into(), "403", "Met"),
        ("trace", format!("TRACE {good} HTTP/1.1\r\n\r\n"), "403", "Method"),
        ("no such name", get("http://missing.example.org/", ""), "502", "Unresolved"),
        ("a slow name", get("http://slow.example.org/", ""), "504", "Deadline"),
        ("no HTTP", "\u{16}\u{3}\u{1}hello\r\n\r\n".to_owned(), "400", "Malformed"),
        ("no version", format!("GET {good}\r\n\r\n"), "400", "Malformed"),
    ];
    for (name, request, status, refusal) in rows {
        check(name, &request, status, refusal).await;
    }
}

#[tokio::test]
async fn names_that_are_the_same_go_out() {
    for url in [
        "http://good.example.org/",
        "http://GOOD.example.ORG./",
        "http://good.example.org:80/",
        "http://xn--bcher-kva.example/",
        "http://a.wide.example.org/",
        "http://paths.example.org/v1/x?y=../z",
    ] {
        let world = open(usual_rules(), GrantLimits::default(), |_| {});
        let _got = world.serve(OK).await;
        let answer = world.say(format!("GET {url} HTTP/1.1\r\n\r\n").as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{url}: {answer}");
        assert_eq!(world.dialled(), [format!("{PUBLIC}:80").parse().unwrap()], "{url}");
    }
}

#[tokio::test]
async fn a_name_that_changes_its_address_is_dialled_as_it_was_checked() {
    let world = open(usual_rules(), GrantLimits::default(), |_| {});
    let _got = world.serve(OK).await;
    world.names.set("good.example.org", &[&[PUBLIC], &["127.0.0.1"]]);
    let request = b"GET http://good.example.org/ HTTP/1.1\r\n\r\n";
    assert!(world.say(request).await.starts_with("HTTP/1.1 200"));
    assert_eq!(world.names.asked.lock().unwrap().len(), 1);
    assert!(world.say(request).await.starts_with("HTTP/1.1 403"));
    assert_eq!(world.dialled(), [format!("{PUBLIC}:80").parse().unwrap()]);
}

#[tokio::test]
async fn a_request_inside_another_stays_inside() {
    let smuggled = "GET http://evil.example.org/ HTTP/1.1\r\nHost: evil.example.org\r\n\r\n";
    for framing in [
        format!("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{smuggled}"),
        format!("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n{smuggled}"),
        format!("Transfer-Encoding: xchunked\r\n\r\n{smuggled}"),
        format!("Content-Length: 0\r\nContent-Length: 70\r\n\r\n{smuggled}"),
    ] {
        let world = open(usual_rules(), GrantLimits::default(), |_| {});
        let got = world.serve(OK).await;
        let head = "POST http://good.example.org/ HTTP/1.1\r\n";
        world.say(format!("{head}{framing}").as_bytes()).await;
        let sent = String::from_utf8(got.lock().unwrap().clone()).unwrap();
        // What the outside sees is one request, with one length.
        assert!(!sent.contains("evil"), "{framing}: {sent}");
        assert!(sent.matches("HTTP/1.1").count() <= 1, "{framing}: {sent}");
        assert!(!(sent.contains("content-length") && sent.contains("chunked")), "{sent}");
    }
}

#[tokio::test]
async fn a_tunnel_asks_for_its_host_or_ends() {
    let encrypted: &[u8] = &[0xfe, 0x0d, 0, 1, 0];
    let twice = &hello(Some("evil.example.org"), &[])[52..];
    let rows: Vec<(&str, Vec<u8>, Option<Refusal>)> = vec![
        ("its host", hello(Some("good.example.org"), &[]), None),
        ("its host in capitals", hello(Some("GOOD.example.org"), &[]), None),
        (
            "another host",
            hello(Some("evil.example.org"), &[]),
            Some(Refusal::Hello("they ask for another host")),
        ),
        ("no host", hello(None, &[]), Some(Refusal::Hello("the hello names no host"))),
        (
            "a hidden host",
            hello(Some("good.example.org"), encrypted),
            Some(Refusal::Hello("an encrypted hello hides its host; turn it off")),
        ),
        (
            "two hosts",
            hello(Some("good.example.org"), twice),
            Some(Refusal::Hello("the hello is malformed")),
        ),
        (
            "no TLS",
            b"GET / HTTP/1.1\r\n\r\n".to_vec(),
            Some(Refusal::Hello("they are no TLS handshake")),
        ),
        ("silence", Vec::new(), Some(Refusal::Deadline("waiting for the hello of TLS"))),
    ];
    for (name, bytes, refusal) in rows {
        let world = open(usual_rules(), GrantLimits::default(), |_| {});
        let got = world.serve(OK).await;
        let mut stream = UnixStream::connect(world.way.proxy()).await.unwrap();
        stream.write_all(b"CONNECT good.example.org:443 HTTP/1.1\r\n\r\n").await.unwrap();
        let answer = head(&mut stream).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{name}: {answer}");
        let _ = stream.write_all(&bytes).await;
        heard(&mut stream).await;
        let passed = got.lock().unwrap().clone();
        assert_eq!(passed, if refusal.is_none() { bytes } else { Vec::new() }, "{name}");
        if let Some(refusal) = refusal {
            assert_eq!(world.refusals().await, [refusal], "{name}");
        }
    }
}
