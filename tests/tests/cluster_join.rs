//! Three nodes that find each other from a seed list, share a model, lose one and get it back.

use std::time::Instant;

use headwater_tests::cluster::{Cluster, Home, STORE, Shape, alive, command, member, until};
use headwater_tests::http::Answer;
use headwater_tests::node::{DIMENSIONS, MODEL};
use serde_json::{Value, json};

const TEXT: &str = "the copper lantern of the winter harbour";
const SERVED_BY: &str = "x-headwater-served-by";

fn embed(cluster: &Cluster, node: &str, token: &str) -> Answer {
    let body = json!({"model": MODEL, "input": TEXT});
    let answer = cluster.ask(node, "POST", "/v1/embeddings", token, &body).unwrap();
    assert_eq!(answer.status, 200, "at {node}: {}", answer.text());
    answer
}

fn vector(answer: &Answer) -> Vec<f64> {
    let answer = answer.json();
    let numbers = answer["data"][0]["embedding"].as_array().unwrap();
    assert_eq!(numbers.len(), DIMENSIONS);
    numbers.iter().map(|number| number.as_f64().unwrap()).collect()
}

fn assert_same(found: &[f64], expected: &[f64]) {
    let off = found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    assert!(off <= 1e-5, "off by {off}");
}

/// `headwater cluster status`, asked over a node's edge.
fn printed_status(cluster: &Cluster, node: &str, more: &[&str]) -> String {
    let address = cluster.address(node).unwrap().to_string();
    let asked = ["cluster", "status", "--at", &address, "--token", cluster.operator()];
    command(&[&asked, more].concat()).unwrap()
}

fn assert_status_is_printed(cluster: &Cluster, tenant: &str) {
    let (owner, epoch) = cluster.owner(STORE, tenant).unwrap().unwrap();
    for node in cluster.names() {
        let json: Value =
            serde_json::from_str(&printed_status(cluster, &node, &["--json"])).unwrap();
        assert_eq!(alive(&json), 3, "{json:#}");
        for name in cluster.names() {
            let row = member(&json, &name);
            assert_eq!(row["here"], name == node, "{row}");
            assert!(row["incarnation"].as_u64() > Some(0), "{row}");
            assert!(row["load"].is_u64() && row["capacity"].as_u64() > Some(0), "{row}");
            assert_eq!(row["offers"].as_array().map(Vec::len), Some(usize::from(name != STORE)));
        }
        let leases = json["leases"].as_array().unwrap();
        let key = format!("tenant/{tenant}");
        let lease = leases.iter().find(|lease| lease["key"] == key.as_str()).unwrap();
        assert_eq!((&lease["owner"], &lease["epoch"]), (&json!(owner), &json!(epoch)));
    }
    let table = printed_status(cluster, STORE, &[]);
    println!("{table}");
    assert_eq!(table.matches(" alive ").count(), 3, "{table}");
    assert!(table.contains(&format!("{STORE} (asked)")), "{table}");
    let start = format!("tenant/{tenant} ");
    let line = table.lines().find(|line| line.starts_with(&start)).unwrap();
    assert!(line.contains(&owner) && line.ends_with(" ms"), "{line}");
}

#[test]
fn nodes_join_lose_one_and_take_it_back() {
    let mut cluster = Cluster::start(Shape::loopback(3).unwrap()).unwrap();
    let tenant = cluster.tenant_of("n2", "join", 1_000_000).unwrap();
    let token = cluster.token(&tenant, "standard").unwrap();

    let own = embed(&cluster, "n2", &token);
    assert_eq!(own.header(SERVED_BY), None);
    let expected = vector(&own);
    let through = embed(&cluster, STORE, &token);
    let server = through.header(SERVED_BY).unwrap().to_owned();
    assert!(["n2", "n3"].contains(&server.as_str()), "{server}");
    assert_same(&vector(&through), &expected);
    assert_eq!(through.json()["model_version"], own.json()["model_version"]);
    assert_status_is_printed(&cluster, &tenant);

    let before = cluster.status(STORE).unwrap();
    let first_life = member(&before, "n3")["incarnation"].as_u64().unwrap();
    cluster.kill_node("n3").unwrap();
    let killed = Instant::now();
    for node in [STORE, "n2"] {
        let unseen = |status: &Value| member(status, "n3")["state"] == "unreachable";
        cluster.until_status(node, "n3 unreachable", unseen).unwrap();
        println!("{node} saw {} ms later that n3 was killed", killed.elapsed().as_millis());
    }
    for _ in 0..20 {
        let answer = embed(&cluster, STORE, &token);
        assert_eq!(answer.header(SERVED_BY), Some("n2"));
        assert_same(&vector(&answer), &expected);
    }

    cluster.start_node("n3").unwrap();
    let all = |status: &Value| alive(status) == 3;
    for node in cluster.names() {
        cluster.until_status(&node, "three alive", all).unwrap();
        let status = cluster.status(&node).unwrap();
        let second_life = member(&status, "n3")["incarnation"].as_u64().unwrap();
        assert!(second_life > first_life, "{second_life} after {first_life} at {node}");
    }
    // Its replica is used again as soon as the others know its offer.
    cluster.stop_node("n2").unwrap();
    until("an answer of n3", || {
        let body = json!({"model": MODEL, "input": TEXT});
        let answer = cluster.ask(STORE, "POST", "/v1/embeddings", &token, &body)?;
        assert!([200, 503].contains(&answer.status), "{} {}", answer.status, answer.text());
        Ok(answer.header(SERVED_BY) == Some("n3"))
    })
    .unwrap();
    assert_same(&vector(&embed(&cluster, STORE, &token)), &expected);

    // It comes back at another address, and the others follow it.
    cluster.move_node("n2", Home::loopback().unwrap());
    cluster.start_node("n2").unwrap();
    for node in cluster.names() {
        cluster.until_status(&node, "three alive", all).unwrap();
    }
    assert_same(&vector(&embed(&cluster, "n2", &token)), &expected);
}
