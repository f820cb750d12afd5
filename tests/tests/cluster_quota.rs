//! A tenant's quota over three edges, with and without disturbance: the bound holds, every
//! request is answered, and the ledger says what was answered.

use std::time::{Duration, Instant};

use headwater_tests::cluster::{
    Cluster, STORE, Shape, await_left_of_minute, member, minute, until,
};
use headwater_tests::load::{Edges, Load, Sample, Tally, Work};

const LIMIT: u64 = 1_000;
/// What each edge may admit in a minute without the owner's word: `outage_share_percent` of the
/// limit, and 10 by default.
const OUTAGE_BUDGET: u64 = LIMIT / 10;
const CLIENTS: usize = 64;
/// With it the clients together need more than the limit within a run, and not at once.
const PAUSE: Duration = Duration::from_millis(1_500);
const CALM: Duration = Duration::from_secs(2);
const RUN: Duration = Duration::from_secs(12);
/// A run counts within one minute.
const RUN_LONGEST: Duration = Duration::from_secs(26);
const FROZEN: Duration = Duration::from_secs(4);

/// What a disturbance says: a word on the new owner, and the edge that it took away.
struct Disturbed {
    said: String,
    gone: Option<String>,
}

fn unverified(cluster: &Cluster, node: &str) -> u64 {
    cluster.metric(node, "headwater_tenancy_admissions_total{outcome=\"unverified\"}").unwrap()
}

/// One run of all clients, with the disturbance in its midst, and the books afterwards.
fn trial(
    cluster: &mut Cluster,
    name: &str,
    owner: &str,
    disturb: impl FnOnce(&mut Cluster, &Edges, &str) -> Disturbed,
) {
    await_left_of_minute(RUN_LONGEST);
    let tenant = cluster.tenant_of(owner, name, LIMIT).unwrap();
    let nodes = cluster.running();
    let before: Vec<u64> = nodes.iter().map(|node| unverified(cluster, node)).collect();
    let edges = Edges::new(cluster.addresses().unwrap());
    let work = Work {
        clients: CLIENTS,
        token: cluster.token(&tenant, "standard").unwrap(),
        text: "the river".to_owned(),
        pause: PAUSE,
    };
    let (began, first) = (Instant::now(), minute());
    let load = Load::start(&work, &edges);
    std::thread::sleep(CALM);
    let Disturbed { said, gone } = disturb(cluster, &edges, &tenant);
    std::thread::sleep(RUN.saturating_sub(began.elapsed()));
    let samples = load.stop().unwrap();
    // One, unless this machine is very busy.
    let (took, minutes) = (began.elapsed(), minute() - first + 1);
    let written = cluster.until_written().unwrap();
    let usage = cluster.usage(STORE, &tenant).unwrap();
    let mut outage_edges = 0;
    println!("{name}: {tenant} of {owner}, {LIMIT} tokens a minute, {CLIENTS} clients, {took:.1?}");
    println!("  edge   {}   unverified", Tally::HEAD);
    for (edge, tally) in Tally::by_edge(&samples) {
        let place = nodes.iter().position(|node| *node == edge).unwrap();
        // A killed edge can no longer tell.
        let admitted = match gone.as_ref() {
            Some(gone) if *gone == edge => None,
            _ => Some(unverified(cluster, &edge) - before[place]),
        };
        outage_edges += u64::from(admitted != Some(0));
        let admitted = admitted.map_or("?".to_owned(), |admitted| admitted.to_string());
        println!("  {edge:<6} {tally}   {admitted}");
    }
    let all = Tally::of(&samples);
    println!("  all    {all}\n  ledger: {} requests, {} tokens; {said}", usage.0, usage.1);
    println!("  written {} ms after the last answer", written.as_millis());
    check(&samples, usage, (LIMIT + OUTAGE_BUDGET * outage_edges) * minutes);
}

fn check(samples: &[Sample], (requests, tokens): (u64, u64), bound: u64) {
    let all = Tally::of(samples);
    assert!(all.odd.is_empty(), "{:?}", all.odd);
    assert!(all.refused > 0, "nobody met the limit: {all}");
    assert!(all.tokens * 2 > LIMIT, "the limit was hardly used: {all}");
    assert!(all.tokens <= bound, "{} tokens were answered, {bound} are the bound", all.tokens);
    assert!(tokens <= bound, "{tokens} tokens were charged, {bound} are the bound");
    // A request whose edge was killed may have been charged before its answer was sent.
    let each = all.tokens / all.admitted;
    assert!(
        requests >= all.admitted && requests <= all.admitted + all.cut,
        "{requests} requests in the ledger, {} answered, {} cut",
        all.admitted,
        all.cut
    );
    assert_eq!(tokens, requests * each, "tokens in the ledger, {each} a request");
}

#[test]
fn a_quota_holds_over_three_edges_calm_frozen_and_killed() {
    let mut cluster = Cluster::start(Shape::loopback(3).unwrap()).unwrap();
    trial(&mut cluster, "calm", "n2", |_, _, _| Disturbed {
        said: "the owner stayed".to_owned(),
        gone: None,
    });
    trial(&mut cluster, "frozen", "n2", freeze_owner);
    cluster
        .until_status(STORE, "n2 alive again", |status| member(status, "n2")["state"] == "alive")
        .unwrap();
    trial(&mut cluster, "killed", "n3", kill_owner);
}

fn freeze_owner(cluster: &mut Cluster, _: &Edges, tenant: &str) -> Disturbed {
    cluster.node("n2").unwrap().freeze().unwrap();
    let began = Instant::now();
    let mut moved = None;
    while began.elapsed() < FROZEN {
        let owner = cluster.owner(STORE, tenant).unwrap();
        if moved.is_none() && owner.as_ref().is_some_and(|(node, _)| node != "n2") {
            moved = owner.map(|(node, epoch)| (node, epoch, began.elapsed()));
        }
        std::thread::sleep(Duration::from_millis(25));
    }
    cluster.node("n2").unwrap().thaw().unwrap();
    let said = match moved {
        Some((node, epoch, took)) => format!(
            "{node} owned it {} ms after n2 froze (epoch {epoch}); n2 thawed after {} ms",
            took.as_millis(),
            FROZEN.as_millis()
        ),
        None => "nobody else owned it while n2 was frozen".to_owned(),
    };
    Disturbed { said, gone: None }
}

fn kill_owner(cluster: &mut Cluster, edges: &Edges, tenant: &str) -> Disturbed {
    cluster.node("n3").unwrap().kill().unwrap();
    edges.set("n3", None);
    let took = until("a new owner", || {
        let owner = cluster.owner(STORE, tenant)?;
        Ok(owner.is_some_and(|(node, _)| node != "n3"))
    });
    let took = took.unwrap();
    let (node, epoch) = cluster.owner(STORE, tenant).unwrap().unwrap();
    cluster.kill_node("n3").unwrap();
    let took_ms = took.as_millis();
    let said = format!("{node} owned it {took_ms} ms after n3 was killed (epoch {epoch})");
    Disturbed { said, gone: Some("n3".to_owned()) }
}
