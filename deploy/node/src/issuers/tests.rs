//! Keys from a small server that is good, broken, slow to change, and asked for more.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use headwater_edge::KeySet;
use tokio::net::TcpListener;

use super::read;
use crate::config::{ConfigSource, Settings, load};

/// Longer than any wait here takes: reaching it means that something hangs.
const PATIENCE: Duration = Duration::from_secs(30);

/// What the server answers next.
type Answer = Arc<Mutex<(StatusCode, String)>>;

fn document(ids: &[&str]) -> String {
    let x = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
    let key = |id: &&str| format!(r#"{{"kty":"OKP","crv":"Ed25519","kid":"{id}","x":"{x}"}}"#);
    format!(r#"{{"keys":[{}]}}"#, ids.iter().map(key).collect::<Vec<_>>().join(","))
}

async fn serve(answer: &Answer) -> String {
    let answer = Arc::clone(answer);
    let tell = move || {
        let told = answer.lock().expect("not poisoned").clone();
        async move { told }
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    let router = Router::new().route("/jwks", get(tell));
    tokio::spawn(async move { axum::serve(listener, router).await });
    format!("http://{address}/jwks")
}

fn settings(place: &str, refresh_ms: u64) -> Settings {
    let issuer = format!(
        "auth.issuers=[{{issuer=\"i\", audience=[\"a\"], {place}, teams=[\"*\"], \
         algorithms=[\"EdDSA\"], refresh_ms={refresh_ms}, unknown_key_pause_ms=1}}]"
    );
    load(&ConfigSource { flags: vec![issuer], ..ConfigSource::default() }).expect("good settings")
}

async fn until(keys: &KeySet, ids: &[&str]) {
    let there = async {
        while keys.ids() != ids {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let waited = tokio::time::timeout(PATIENCE, there).await;
    assert!(waited.is_ok(), "{ids:?} never came, there are {:?}", keys.ids());
}

#[tokio::test]
async fn keys_change_with_what_their_place_serves_and_outlive_its_failures() {
    let answer: Answer = Arc::new(Mutex::new((StatusCode::OK, document(&["one"]))));
    let url = serve(&answer).await;
    let settings = settings(&format!("jwks_url=\"{url}\""), 10);
    let source = read(&settings).expect("good").remove(0);
    let keys = source.keys.clone();
    tokio::spawn(source.follow());
    until(&keys, &["one"]).await;
    *answer.lock().expect("fine") = (StatusCode::OK, document(&["one", "two"]));
    until(&keys, &["one", "two"]).await;
    let broken = [
        (StatusCode::INTERNAL_SERVER_ERROR, document(&[])),
        (StatusCode::OK, "<html>".to_owned()),
        (StatusCode::FOUND, document(&[])),
        (StatusCode::OK, format!("{{\"keys\":[]}}{}", " ".repeat(2 << 20))),
    ];
    for failure in broken {
        *answer.lock().expect("fine") = failure.clone();
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(keys.ids(), ["one", "two"], "{}", failure.0);
    }
    *answer.lock().expect("fine") = (StatusCode::OK, document(&["two"]));
    until(&keys, &["two"]).await;
}

#[tokio::test]
async fn a_file_of_keys_is_read_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("keys.json");
    let settings = settings(&format!("jwks_file=\"{}\"", file.display()), 10);
    let source = read(&settings).expect("good").remove(0);
    let keys = source.keys.clone();
    tokio::spawn(source.follow());
    tokio::time::sleep(Duration::from_millis(30)).await;
    assert!(keys.ids().is_empty(), "a file that is not there yet is waited for");
    std::fs::write(&file, document(&["one"])).expect("written");
    until(&keys, &["one"]).await;
    std::fs::remove_file(&file).expect("removed");
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(keys.ids(), ["one"]);
}
