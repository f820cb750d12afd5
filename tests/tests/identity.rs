//! Virtual keys in a cluster of processes: made on one node and good on the other, revoked on one
//! and refused on the other; and a node that hears nothing from the store lets nobody in for long.

use headwater_tests::cluster::{Cluster, STORE, Shape, command, until};
use headwater_tests::http::Answer;
use headwater_tests::node::MODEL;
use serde_json::{Value, json};

/// For how long keys outlive the store's silence here.
const STALE: &str = "auth.stale_ms=3000";

fn models(cluster: &Cluster, node: &str, token: &str) -> Answer {
    cluster.ask(node, "GET", "/v1/models", token, &Value::Null).unwrap()
}

/// `headwater keys` at a node, as an operator.
fn keys(cluster: &Cluster, node: &str, arguments: &[&str]) -> String {
    let address = cluster.address(node).unwrap().to_string();
    let flags = ["--at", address.as_str(), "--token", cluster.operator()];
    command(&[&["keys"][..], arguments, &flags[..]].concat()).unwrap()
}

fn id_of(key: &str) -> &str {
    key.split('_').nth(1).unwrap()
}

fn until_status(cluster: &Cluster, node: &str, token: &str, status: u16) {
    let what = format!("{status} at {node}");
    until(&what, || Ok(models(cluster, node, token).status == status)).unwrap();
}

#[test]
fn a_key_made_on_one_node_is_good_on_the_other_until_it_is_revoked() {
    let cluster = Cluster::start(Shape::loopback(2).unwrap()).unwrap();
    let create = ["create", "--team", "acme", "--project", "search", "--note", "a test"];
    let key = keys(&cluster, STORE, &create);
    assert!(key.starts_with("hwk_"), "{key}");
    assert_eq!(models(&cluster, STORE, &key).status, 200, "its own node knows it at once");
    until_status(&cluster, "n2", &key, 200);
    let body = json!({"model": MODEL, "input": "the river"});
    let embedded = cluster.ask("n2", "POST", "/v1/embeddings", &key, &body).unwrap();
    assert_eq!(embedded.status, 200, "{}", embedded.text());
    cluster.until_written().unwrap();
    let (requests, _) = cluster.usage(STORE, "acme").unwrap();
    assert_eq!(requests, 1, "it is charged to its team");

    let rotated = keys(&cluster, "n2", &["rotate", id_of(&key), "--grace-s", "0"]);
    assert_eq!(models(&cluster, "n2", &rotated).status, 200);
    assert_eq!(models(&cluster, "n2", &key).status, 401);
    until_status(&cluster, STORE, &key, 401);
    until_status(&cluster, STORE, &rotated, 200);

    keys(&cluster, "n2", &["revoke", id_of(&key)]);
    assert_eq!(models(&cluster, "n2", &rotated).status, 401);
    until_status(&cluster, STORE, &rotated, 401);
    let listed = keys(&cluster, STORE, &["list"]);
    assert!(listed.contains(id_of(&key)) && listed.contains("revoked"), "{listed}");
    let secret = key.rsplit('_').next().unwrap();
    assert!(!listed.contains(secret), "{listed}");

    // A signed token ends in the same way.
    let token = cluster.token("acme", "standard").unwrap();
    assert_eq!(models(&cluster, "n2", &token).status, 200);
    let asked = json!({ "token": token });
    let path = "/v1/tokens/revoke";
    let answer = cluster.ask(STORE, "POST", path, cluster.operator(), &asked).unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    until_status(&cluster, "n2", &token, 401);
    let refused = cluster.ask("n2", "GET", "/v1/keys", &token, &Value::Null).unwrap();
    assert_eq!(refused.status, 401);
}

#[test]
fn a_node_that_cannot_reach_the_store_lets_nobody_in_for_long_and_says_why() {
    let mut shape = Shape::loopback(2).unwrap();
    shape.settings.push(STALE.to_owned());
    let mut cluster = Cluster::start(shape).unwrap();
    let key = keys(&cluster, STORE, &["create", "--team", "acme"]);
    until_status(&cluster, "n2", &key, 200);
    cluster.node(STORE).unwrap().freeze().unwrap();
    until_status(&cluster, "n2", &key, 503);
    let refused = models(&cluster, "n2", &key);
    assert_eq!(refused.error_code(), "identity_unavailable", "{}", refused.text());
    assert!(refused.header("retry-after").is_some());
    assert_eq!(models(&cluster, "n2", "hwk_none").status, 503, "nor does it judge others");
    let health = cluster.ask("n2", "GET", "/health", "", &Value::Null).unwrap();
    assert_eq!(health.status, 200);
    cluster.node(STORE).unwrap().thaw().unwrap();
    until_status(&cluster, "n2", &key, 200);
    keys(&cluster, STORE, &["revoke", id_of(&key)]);
    until_status(&cluster, "n2", &key, 401);
}
