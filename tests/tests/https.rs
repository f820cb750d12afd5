//! HTTPS and HTTP/3 on one port number, asked by clients of other makers and by the own commands.

use std::path::{Path, PathBuf};
use std::process::Command;

use headwater_tests::clients::python;
use headwater_tests::node::{HANG_TIMEOUT, NodeProcess, run};
use headwater_tests::repository_root;
use headwater_tests::settings::{backend, setting, target};
use headwater_tests::upstream::{Outcome, Simulator, UPSTREAM_KEY};
use serde_json::{Value, json};

fn client(arguments: &[&str]) -> Vec<Value> {
    let output = Command::new(python().unwrap())
        .arg(repository_root().join("tests/clients/https.py"))
        .args(arguments)
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "the client broke:\n{said}\n{errors}");
    said.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A node over an upstream, with a certificate in this folder.
fn start(folder: &Path, upstream: &Simulator, more: &[String]) -> NodeProcess {
    let path = |name: &str| folder.join(name);
    std::fs::write(path("upstream"), UPSTREAM_KEY).unwrap();
    let model = json!([{"name": "chat", "targets": [target("b", "m", 1, (1.0, 1.0))]}]);
    let files = json!({"certificate": path("chain.pem"), "key": path("key.pem")});
    let mut settings = vec![
        "embedding.models=[]".to_owned(),
        setting("server.tls", &files),
        "server.http3=true".to_owned(),
        setting("gateway.backends", &json!([backend("b", "openai", upstream, &path("upstream"))])),
        setting("gateway.models", &model),
    ];
    settings.extend_from_slice(more);
    let mut node = NodeProcess::listening(&path("data"), &settings).unwrap();
    node.wait_for("ready").unwrap();
    node
}

#[test]
fn one_port_number_speaks_all_versions_of_http() {
    let (upstream, folder) = (Simulator::start().unwrap(), tempfile::tempdir().unwrap());
    let path = |name: &str| folder.path().join(name).display().to_string();
    client(&["make", &folder.path().display().to_string()]);
    let node = start(folder.path(), &upstream, &[]);
    let port = node.address().unwrap().port().to_string();
    let rows = client(&["ask", &port, &path("authority.pem"), "chat"]);
    let of = |row: &str| rows.iter().filter(|one| one["row"] == row).collect::<Vec<_>>();
    let said = of("http3 whole")[0]["said"].clone();
    assert!(said.as_str().is_some_and(|said| !said.is_empty()), "{rows:?}");
    let versions: Vec<&Value> = of("tcp").iter().map(|row| &row["version"]).collect();
    assert_eq!(versions, ["HTTP/1.1", "HTTP/2"]);
    for row in of("tcp") {
        let offer = format!("h3=\":{port}\"; ma=86400");
        assert_eq!(
            (&row["status"], &row["said"], &row["offer"]),
            (&200.into(), &said, &offer.into())
        );
    }
    assert_eq!(of("stranger")[0]["trusted"], false, "{rows:?}");
    assert_eq!(of("http3 models")[0]["served"], true, "{rows:?}");
    for row in ["http3 models", "http3 whole", "http3 left"] {
        assert_eq!((&of(row)[0]["status"], &of(row)[0]["whole"]), (&"200".into(), &true.into()));
    }
    let stream = of("http3 stream")[0];
    assert_eq!(stream["kind"], "text/event-stream");
    assert_eq!((&stream["whole"], &stream["done"]), (&true.into(), &true.into()), "{stream}");
    // The upstream rests before each word: what came at once was held back.
    assert!(stream["parts"].as_u64() > Some(3), "{stream}");
    assert!(stream["spread_ms"].as_f64() > Some(50.0), "{stream}");
    // The client that stopped its stream over HTTP/3 stopped the upstream's work.
    let records = upstream.settled(HANG_TIMEOUT).expect("all requests end");
    let left = records.iter().filter(|record| record.outcome == Outcome::Cancelled).count();
    assert_eq!((records.len(), left), (5, 1), "{records:?}");
    assert_eq!(node.stop().unwrap().code, Some(0));
}

#[test]
fn commands_trust_the_authority_that_they_are_told() {
    let (upstream, folder) = (Simulator::start().unwrap(), tempfile::tempdir().unwrap());
    client(&["make", &folder.path().display().to_string()]);
    let node = start(folder.path(), &upstream, &[]);
    let at = format!("https://{}", node.address().unwrap());
    let authority = folder.path().join("authority.pem").display().to_string();
    let versions = |more: &[&str]| {
        let arguments = [&["gateway", "versions", "--at", &at], more].concat();
        let output = run(&arguments).unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    assert_eq!(versions(&["--ca", &authority]).0, Some(0));
    let (code, why) = versions(&[]);
    assert_ne!(code, Some(0), "{why}");
    assert!(why.to_lowercase().contains("certificate"), "{why}");
    let (code, why) = versions(&["--ca", "no-such-file"]);
    assert_eq!(code, Some(2), "{why}");
    assert!(why.contains("no-such-file"), "{why}");
    assert_eq!(node.stop().unwrap().code, Some(0));
}

#[test]
fn a_certificate_that_cannot_be_used_is_told() {
    let folder = tempfile::tempdir().unwrap();
    client(&["make", &folder.path().display().to_string()]);
    let path = |name: &str| folder.path().join(name);
    let files = |certificate: PathBuf, key: PathBuf| {
        setting("server.tls", &json!({"certificate": certificate, "key": key}))
    };
    let data = path("data").display().to_string();
    for (set, mention) in [
        (files(path("none.pem"), path("key.pem")), "none.pem"),
        (files(path("key.pem"), path("key.pem")), "holds no certificate"),
        (files(path("chain.pem"), path("chain.pem")), "holds no private key"),
        ("server.http3=true".to_owned(), "server.tls"),
    ] {
        let output = run(&["serve", "--data-dir", &data, "--set", &set]).unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{set}: {said}");
        assert!(said.contains(mention), "{set}: {said}");
        let key = std::fs::read_to_string(path("key.pem")).unwrap();
        assert!(key.lines().skip(1).all(|line| line.len() < 20 || !said.contains(line)));
    }
}

/// New files are served to new connections, without a restart.
#[test]
fn a_new_certificate_is_taken_up() {
    let (upstream, folder) = (Simulator::start().unwrap(), tempfile::tempdir().unwrap());
    let path = folder.path().display().to_string();
    client(&["make", &path]);
    let mut node = start(folder.path(), &upstream, &[]);
    let at = format!("https://{}", node.address().unwrap());
    client(&["make", &path]);
    node.wait_for("the certificate changed; new connections get it").unwrap();
    let authority = folder.path().join("authority.pem").display().to_string();
    let asked = run(&["gateway", "versions", "--at", &at, "--ca", &authority]).unwrap();
    assert!(asked.status.success(), "{}", String::from_utf8_lossy(&asked.stderr));
    assert_eq!(node.stop().unwrap().code, Some(0));
}
