//! Strangers at the door: certificates of another authority, of another cluster or node, and
//! garbage. They are refused in few words, nothing changes, and no secret is written down.

use std::fs;
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::time::Duration;

use headwater_tests::cluster::{
    CLUSTER, Cluster, Home, STORE, Shape, alive, command, serve, until,
};
use headwater_tests::node::{MODEL, NodeProcess};
use serde_json::{Value, json};

const SETTINGS: i32 = 2;
const DATAGRAMS: usize = 4_000;

/// A node that has nothing of its own to lose, with this name, cluster and identity.
fn stranger(cluster: &Cluster, node: &str, id: &str, identity: &str) -> NodeProcess {
    let home = Home::loopback().unwrap();
    let seeds: Vec<String> =
        ["n1", "n2"].iter().map(|name| format!("\"{}\"", quic_address(cluster, name))).collect();
    let settings = [
        format!("cluster.node={node}"),
        format!("cluster.id={id}"),
        format!("cluster.listen={}", home.quic),
        format!("cluster.seeds=[{}]", seeds.join(", ")),
        format!("cluster.identity_dir={identity}"),
        "storage.engine=memory".to_owned(),
        "storage.serve=true".to_owned(),
        "embedding.models=[]".to_owned(),
    ];
    let data = cluster.path(&format!("stranger-{node}-{id}"));
    NodeProcess::begin(serve(&home, Path::new(&data), &settings).unwrap()).unwrap()
}

fn quic_address(cluster: &Cluster, node: &str) -> SocketAddr {
    let status = cluster.status(STORE).unwrap();
    let row = headwater_tests::cluster::member(&status, node);
    row["address"].as_str().unwrap().parse().unwrap()
}

/// Names and incarnations; these do not change for a stranger.
fn members(cluster: &Cluster, at: &str) -> Vec<(Value, Value)> {
    let status = cluster.status(at).unwrap();
    assert_eq!(alive(&status), 2, "{status:#}");
    let members = status["members"].as_array().unwrap();
    members.iter().map(|row| (row["node"].clone(), row["incarnation"].clone())).collect()
}

/// Both nodes serve, and know each other and nobody else.
fn assert_untouched(cluster: &Cluster, before: &[(Value, Value)]) {
    for node in cluster.names() {
        assert_eq!(members(cluster, &node), before, "at {node}");
        let body = json!({"model": MODEL, "input": "a lantern"});
        let answer = cluster.ask(&node, "POST", "/v1/embeddings", cluster.operator(), &body);
        let answer = answer.unwrap();
        assert_eq!(answer.status, 200, "at {node}: {}", answer.text());
    }
}

/// How often a node's log says this, by the reason that it gives.
fn refusals(cluster: &mut Cluster, node: &str) -> Vec<String> {
    let said = cluster.node(node).unwrap().said();
    let lines = said.iter().filter(|line| line.contains("cluster connection refused"));
    let reason = |line: &String| {
        let event: Value = serde_json::from_str(line).unwrap();
        format!("{} {}", event["source"].as_str().unwrap(), event["reason"].as_str().unwrap())
    };
    let mut reasons: Vec<String> = lines.map(reason).collect();
    reasons.sort();
    let all = reasons.len();
    reasons.dedup();
    assert_eq!(reasons.len(), all, "{node} said the same more than once: {said:#?}");
    reasons
}

/// Refuses to start by itself: what it says names the setting.
fn assert_refuses_itself(process: NodeProcess, mentions: &[&str]) {
    let ended = process.wait().unwrap();
    assert_eq!(ended.code, Some(SETTINGS), "{}", ended.log);
    for mention in mentions {
        assert!(ended.log.contains(mention), "no {mention:?} in: {}", ended.log);
    }
}

/// Bytes that look random and are the same in every run.
fn noise(seed: &mut u64, length: usize) -> Vec<u8> {
    let mut byte = || {
        *seed =
            seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (*seed >> 56) as u8
    };
    (0..length).map(|_| byte()).collect()
}

/// Random datagrams, and some that begin like a QUIC version 1 Initial (RFC 9000, section
/// 17.2.2) and break off.
fn send_garbage(to: SocketAddr) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut seed = 7;
    for number in 0..DATAGRAMS {
        let length = [0, 1, 7, 21, 64, 300, 1_199, 1_200, 1_350, 1_472][number % 10];
        let mut datagram = noise(&mut seed, length);
        let initial = [0xc3, 0, 0, 0, 1, 8, 1, 2, 3, 4, 5, 6, 7, 8, 8, 8, 7, 6, 5, 4, 3, 2, 1, 0];
        match number / 10 % 3 {
            0 => {}
            1 => initial.iter().zip(&mut datagram).for_each(|(from, to)| *to = *from),
            _ => datagram.splice(..0, initial).for_each(drop),
        }
        // A full buffer drops it, as a network may.
        let _ = socket.send_to(&datagram, to);
        if number % 100 == 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

#[test]
fn strangers_change_nothing() {
    let mut cluster = Cluster::start(Shape::loopback(2).unwrap()).unwrap();
    let before = members(&cluster, STORE);

    // Another authority with the same id, and a name that is not taken. It trusts both
    // authorities, so that it is the cluster's nodes who refuse.
    let other = cluster.path("other");
    command(&["cluster", "init", "--authority", &other, "--id", CLUSTER]).unwrap();
    let theirs = cluster.path("theirs");
    let issue = ["cluster", "issue", "--authority", &other, "--node", "n7", "--out", &theirs];
    command(&issue).unwrap();
    let own = fs::read_to_string(format!("{theirs}/ca.pem")).unwrap();
    let both = own.clone() + &fs::read_to_string(cluster.path("authority/ca.pem")).unwrap();
    for trusted in [both, own] {
        fs::write(format!("{theirs}/ca.pem"), trusted).unwrap();
        let mut process = stranger(&cluster, "n7", CLUSTER, &theirs);
        process.wait_for("ready").unwrap();
        // Said once a minute, and perhaps before the node was ready.
        let event = process.heard("cluster node not linked").unwrap();
        println!("the stranger heard: {}", event["reason"]);
        assert_untouched(&cluster, &before);
        let ended = process.stop().unwrap();
        assert_eq!(ended.code, Some(0), "{}", ended.log);
        assert!(!ended.log.contains("\"linked\""), "{}", ended.log);
    }
    for node in ["n1", "n2"] {
        let said = refusals(&mut cluster, node);
        println!("{node} refused {said:?}");
        assert!(!said.is_empty(), "{node} refused nobody");
    }

    // The right authority: another cluster's id, and another node's certificate.
    let ours = cluster.path("ours");
    cluster.issue("n8", &ours).unwrap();
    let process = stranger(&cluster, "n8", "elsewhere", &ours);
    assert_refuses_itself(process, &["cluster", "elsewhere"]);
    let process = stranger(&cluster, "n9", CLUSTER, &ours);
    assert_refuses_itself(process, &["not the certificate of n9"]);
    assert_untouched(&cluster, &before);

    // The right certificate without the control links' secret: nobody hears of it.
    fs::write(format!("{ours}/control.secret"), "no such secret\n").unwrap();
    let mut process = stranger(&cluster, "n8", CLUSTER, &ours);
    process.wait_for("linked").unwrap();
    cluster.node(STORE).unwrap().wait_for("linked").unwrap();
    // Long enough for members to tell their views.
    std::thread::sleep(Duration::from_secs(2));
    assert_untouched(&cluster, &before);
    let ended = process.stop().unwrap();
    assert_eq!(ended.code, Some(0), "{}", ended.log);

    for name in ["n1", "n2"] {
        send_garbage(quic_address(&cluster, name));
    }
    assert_untouched(&cluster, &before);
    for node in ["n1", "n2"] {
        println!("{node} after {DATAGRAMS} garbage datagrams: {:?}", refusals(&mut cluster, node));
        let log = cluster.node(node).unwrap().said().join("\n");
        let mut lost = log.lines().filter(|line| line.contains("the link was lost"));
        assert!(lost.all(|line| line.contains("\"node\":\"n8\"")), "{log}");
        assert!(!log.contains("panicked"), "{log}");
    }
}

/// Every line of a key or secret that is long enough to be one.
fn secrets_of(path: &str) -> Vec<(String, String)> {
    let text = fs::read_to_string(path).unwrap();
    let lines = text.lines().filter(|line| line.len() >= 24 && !line.starts_with("-----"));
    lines.map(|line| (path.to_owned(), line.to_owned())).collect()
}

#[test]
fn no_log_holds_a_secret() {
    let mut shape = Shape::loopback(2).unwrap();
    // Directives, unlike a level alone, hold for the libraries too.
    shape.settings.push("log.level=trace,quinn=trace".to_owned());
    let mut cluster = Cluster::start(shape).unwrap();
    let tenant = cluster.tenant_of("n2", "secret", 1_000).unwrap();
    let token = cluster.token(&tenant, "standard").unwrap();
    let text = "CANARY-input-text-77aa";
    for node in ["n1", "n2"] {
        let body = json!({"model": MODEL, "input": text});
        let answer = cluster.ask(node, "POST", "/v1/embeddings", &token, &body).unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    // A link that ends and is made anew says as much as it ever will.
    let first_life = cluster.kill_node("n2").unwrap();
    until("n2 unreachable", || Ok(alive(&cluster.status(STORE)?) == 1)).unwrap();
    cluster.start_node("n2").unwrap();
    cluster.node("n2").unwrap().hang_up().unwrap();
    cluster.node("n2").unwrap().wait_for("SIGHUP").unwrap();

    let mut secrets = vec![("the text".to_owned(), text.to_owned())];
    for name in ["key", "n1/cluster/control.secret", "n1/cluster/node.key", "n2/cluster/node.key"] {
        let found = secrets_of(&cluster.path(name));
        assert!(!found.is_empty(), "no secret in {name}");
        secrets.extend(found);
    }
    for (name, token) in [("a token", token.as_str()), ("an operator's", cluster.operator())] {
        secrets.push((name.to_owned(), token.rsplit('.').next().unwrap().to_owned()));
    }
    let ends = ["n2", "n1"].map(|node| (node, cluster.stop_node(node).unwrap()));
    for (node, ended) in ends.iter().chain(&[("n2", first_life)]) {
        assert!(ended.log.contains("\"TRACE\""), "nothing was logged at the level trace");
        println!(
            "{node}: {} lines, {} KiB of log",
            ended.log.lines().count(),
            ended.log.len() >> 10
        );
        for (name, secret) in &secrets {
            assert!(!ended.log.contains(secret), "{name} stands in the log of {node}");
        }
    }
}
