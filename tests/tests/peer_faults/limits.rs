//! Limits, money, memory and keys, under concurrency and over two nodes.

use std::thread;

use headwater_tests::cluster::{STORE, command, until};
use serde_json::{Value, json};

use super::world::{CHAT, MESSAGES, NODES, OTHER, World, body};

/// Memory that may come and go, in bytes.
const GROWTH_MAX: u64 = 48 << 20;

/// So many threads, each with its number.
fn at_once(threads: usize, work: impl Fn(usize) + Sync) {
    thread::scope(|scope| {
        for number in 0..threads {
            let work = &work;
            scope.spawn(move || work(number));
        }
    });
}

/// Tokens that the providers count for whoever says this word.
fn billed(world: &World, word: &str) -> u64 {
    let asked = world.asked();
    let own = asked.iter().filter(|one| one.texts.iter().any(|text| text.contains(word)));
    own.map(|one| one.input + one.output).sum()
}

pub(crate) fn spend(world: &mut World) {
    let token = world.token("spender");
    let (models, doors) = (["gpt", "claude"], world.doors());
    at_once(8, |number| {
        for turn in 0..25 {
            let says = format!("words:{} spending", 1 + (turn + number) % 9);
            let (node, model) = (NODES[turn % 2], models[number % 2]);
            let answer = doors.ask(node, CHAT, &token, &body(CHAT, model, &says, turn % 3 == 0));
            assert_eq!(answer.status, 200, "{}", answer.text());
        }
    });
    assert_eq!(world.ledger("spender"), (200, billed(world, "spending")));
}

pub(crate) fn replicas(world: &mut World) {
    world.limit("split", "requests", 8);
    let token = world.token("split");
    let asked = body(CHAT, "gpt", "words:1", false);
    let mut admitted = 0;
    for turn in 0..32 {
        let status = world.ask(NODES[turn % 2], CHAT, &token, &asked).status;
        assert!(matches!(status, 200 | 429), "{status}");
        admitted += u64::from(status == 200);
    }
    assert!((4..=8).contains(&admitted), "{admitted} of a limit of 8");
}

pub(crate) fn burst(world: &mut World) {
    world.limit("burst", "tokens", 600);
    let token = world.token("burst");
    let mut asked = body(CHAT, "gpt", "words:50 bursting", false);
    asked["max_tokens"] = json!(50);
    let doors = world.doors();
    at_once(40, |number| {
        let answer = doors.ask(NODES[number % 2], CHAT, &token, &asked);
        assert!(matches!(answer.status, 200 | 429), "{}", answer.text());
        if answer.status == 429 {
            assert!(answer.header("retry-after").is_some(), "{}", answer.text());
        }
    });
    let tokens = billed(world, "bursting");
    assert!((52..=600).contains(&tokens), "{tokens} tokens of a limit of 600");
    assert_eq!(world.ledger("burst").1, tokens);
}

pub(crate) fn reserved(world: &mut World) {
    world.limit("slow", "tokens", 150);
    let token = world.token("slow");
    // The first answer takes its time; others do not pass meanwhile as if it had cost nothing.
    let mut asked = body(CHAT, "gpt", "fault:slow-tokens words:80 slowly", true);
    asked["max_tokens"] = json!(100);
    let mut first = world.send(OTHER, CHAT, &token, &asked);
    first.receive_until("water").unwrap();
    for node in NODES {
        let second = world.ask(node, CHAT, &token, &asked);
        assert_eq!(second.status, 429, "{}", second.text());
    }
    assert!(first.receive_until("[DONE]").unwrap().contains("[DONE]"));
}

pub(crate) fn routes(world: &mut World) {
    world.limit("once", "requests", 1);
    let token = world.token("once");
    let answer = world.ask(OTHER, CHAT, &token, &body(CHAT, "gpt", "words:1", false));
    assert_eq!(answer.status, 200, "{}", answer.text());
    let text = json!({"model": "gpt", "input": "words:1"});
    let prompt = json!({"model": "gpt", "prompt": "words:1"});
    let embed = json!({"model": headwater_tests::node::MODEL, "input": "the river"});
    let asked: [(&str, Value); 5] = [
        (CHAT, body(CHAT, "claude", "words:1", true)),
        (MESSAGES, body(MESSAGES, "gpt", "words:1", false)),
        ("/v1/responses", text),
        ("/v1/completions", prompt),
        ("/v1/embeddings", embed),
    ];
    for (path, asked) in asked {
        for node in NODES {
            let refused = world.ask(node, path, &token, &asked);
            assert_eq!(refused.status, 429, "{path} at {node}: {}", refused.text());
        }
    }
}

pub(crate) fn memory(world: &mut World) {
    let token = world.token("reader");
    let authorization = format!("Bearer {token}");
    let says = format!("words:20 {}", "more ".repeat(2_000));
    let doors = world.doors();
    let run = |requests: usize| {
        at_once(4, |number| {
            let headers = [("authorization", authorization.as_str())];
            let mut connection = doors.connect(OTHER);
            for turn in 0..requests / 4 {
                let asked = body(CHAT, "gpt", &format!("{number} {turn} {says}"), turn % 2 == 0);
                let asked = asked.to_string();
                let answer = connection.post(CHAT, &headers, asked.as_bytes()).unwrap();
                assert_eq!(answer.status, 200, "{}", answer.text());
            }
        });
        world.cluster.metric(OTHER, "process_resident_memory_bytes").unwrap()
    };
    let warm = run(1_500);
    let after = run(3_000);
    println!("  {} KiB more after 3,000 requests of 10 KB", after.saturating_sub(warm) >> 10);
    assert!(after < warm + GROWTH_MAX, "{warm} bytes, then {after}");
}

pub(crate) fn revoked(world: &mut World) {
    let key = |world: &World, words: &[&str]| {
        let address = world.cluster.address(STORE).unwrap().to_string();
        let flags = ["--at", address.as_str(), "--token", world.cluster.operator()];
        command(&[&["keys"][..], words, &flags[..]].concat()).unwrap()
    };
    let secret = key(world, &["create", "--team", "acme"]);
    let asked = body(CHAT, "gpt", "words:1", false);
    let status = |world: &World, node: &str| world.ask(node, CHAT, &secret, &asked).status;
    until("the key is known", || Ok(status(world, OTHER) == 200)).unwrap();
    key(world, &["revoke", secret.split('_').nth(1).unwrap()]);
    assert_eq!(status(world, STORE), 401);
    until("the revocation is known", || Ok(status(world, OTHER) == 401)).unwrap();
    // A new process has no old memory either.
    world.cluster.kill_node(OTHER).unwrap();
    world.cluster.start_node(OTHER).unwrap();
    assert_eq!(status(world, OTHER), 401);
}

pub(crate) fn dead_store(world: &mut World) {
    let token = world.token("steady");
    let asked = body(CHAT, "gpt", "words:1", false);
    assert_eq!(world.ask(OTHER, CHAT, &token, &asked).status, 200);
    world.cluster.node(STORE).unwrap().freeze().unwrap();
    // An answer comes to each, and within the outage's allowance it is a good one.
    let (mut good, doors) = (0, world.doors());
    at_once(8, |_| {
        let answer = doors.ask(OTHER, CHAT, &token, &asked);
        assert!(matches!(answer.status, 200 | 429 | 503), "{}", answer.text());
    });
    for _ in 0..8 {
        good += u64::from(world.ask(OTHER, CHAT, &token, &asked).status == 200);
    }
    println!("  {good} of 8 while nobody answers for the quota");
    world.cluster.node(STORE).unwrap().thaw().unwrap();
    let again = || Ok(world.ask(OTHER, CHAT, &token, &asked).status == 200);
    until("all is well again", again).unwrap();
}
