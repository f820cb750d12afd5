//! The node with the store stands still: edges admit a bounded amount by themselves, say so, and
//! everything is written down afterwards. And certificates are replaced in a running cluster.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use headwater_actors::tenancy::{LedgerRow, ledger_rows};
use headwater_storage::Environment;
use headwater_storage::retry::{Retry, RetryPolicy};
use headwater_storage_embedded::{EmbeddedSettings, EmbeddedStore, Fsync};
use headwater_tests::cluster::{
    Cluster, STORE, Shape, alive, await_left_of_minute, member, minute, until,
};
use headwater_tests::load::{Edges, Load, Tally, Work};
use serde_json::Value;

const LIMIT: u64 = 2_000;
/// Each edge's share of the limit in an outage: `outage_share_percent`, 10 by default.
const OUTAGE_BUDGET: u64 = LIMIT / 10;
/// An upper bound of its tokens is reserved: a token for each letter, and two. Three requests
/// fit into the budget, fewer than the ten of an edge that never met the tenant's limits.
const TEXT: &str = "a ledger of paper in the winter garden of the harbour";
const FROZEN: Duration = Duration::from_secs(7);
const CALM: Duration = Duration::from_secs(2);
const RUN_LONGEST: Duration = Duration::from_secs(25);
const LEDGER_ROWS: usize = 100_000;

fn unverified(cluster: &Cluster, node: &str) -> u64 {
    cluster.metric(node, "headwater_tenancy_admissions_total{outcome=\"unverified\"}").unwrap()
}

/// The alerts in a node's log, and the words that an outage is over.
fn alerts(cluster: &mut Cluster, node: &str, tenant: &str) -> (usize, usize) {
    let said = cluster.node(node).unwrap().said();
    let events = said.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let ours: Vec<Value> = events.filter(|event| event["tenant"] == tenant).collect();
    let began = ours.iter().filter(|event| event["alert"] == "quota_outage").count();
    let is_over = |event: &&Value| {
        event["message"].as_str().is_some_and(|message| message.ends_with("answers again"))
    };
    (began, ours.iter().filter(is_over).count())
}

/// Reads the tenant's ledger out of the file of a store that nobody has open.
fn ledger(file: &Path, tenant: &str) -> Vec<LedgerRow> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let _inside = runtime.enter();
    let origin = std::time::Instant::now();
    let environment = Environment::new(
        move || origin.elapsed().as_millis() as u64,
        |ms| Box::pin(tokio::time::sleep(Duration::from_millis(ms))),
        || 7,
    );
    let settings =
        EmbeddedSettings { path: file.to_owned(), fsync: Fsync::Delayed, cache_bytes: 1 << 20 };
    let store = EmbeddedStore::open(&settings, environment.clone()).unwrap();
    let retry = Retry::new(Arc::new(store), environment, RetryPolicy::default());
    runtime.block_on(ledger_rows(&retry, tenant, None, LEDGER_ROWS)).unwrap()
}

#[test]
fn a_store_that_stands_still_is_an_outage_with_a_bound() {
    let mut shape = Shape::loopback(3).unwrap();
    shape.engine = "embedded";
    let mut cluster = Cluster::start(shape).unwrap();
    await_left_of_minute(RUN_LONGEST);
    let tenant = cluster.tenant_of("n2", "outage", LIMIT).unwrap();
    let mut edges = cluster.addresses().unwrap();
    // Whoever asked the frozen node would wait for it; the others' edges are looked at.
    edges.remove(STORE);
    let work = Work {
        clients: 16,
        token: cluster.token(&tenant, "standard").unwrap(),
        text: TEXT.to_owned(),
        pause: Duration::from_millis(400),
    };
    let first = minute();
    let edges = Edges::new(edges);
    let load = Load::start(&work, &edges);
    std::thread::sleep(CALM);
    cluster.node(STORE).unwrap().freeze().unwrap();
    std::thread::sleep(FROZEN);
    let while_frozen = ["n2", "n3"].map(|node| (unverified(&cluster, node), node));
    cluster.node(STORE).unwrap().thaw().unwrap();
    cluster.until_status(STORE, "three alive", |status| alive(status) == 3).unwrap();
    std::thread::sleep(CALM);
    let samples = load.stop().unwrap();
    // One, unless this machine is very busy.
    let minutes = minute() - first + 1;
    let written = cluster.until_written().unwrap();

    let (requests, tokens) = cluster.usage("n3", &tenant).unwrap();
    println!("the store froze for {FROZEN:?}; {tenant} of n2, {LIMIT} tokens a minute");
    println!("  edge   {}   unverified (while frozen)", Tally::HEAD);
    let mut unverified_all = 0;
    for ((edge, tally), (frozen, _)) in Tally::by_edge(&samples).iter().zip(while_frozen) {
        let total = unverified(&cluster, edge);
        unverified_all += total;
        println!("  {edge:<6} {tally}   {total} ({frozen})");
        let each = tally.tokens / tally.admitted;
        assert!(total > 0, "{edge} admitted nothing by itself: {tally}");
        assert!(
            total * each <= OUTAGE_BUDGET * minutes,
            "{edge} admitted {total} requests of {each}"
        );
        let (began, ended) = alerts(&mut cluster, edge, &tenant);
        assert!(began > 0 && ended == began, "{began} alerts at {edge}, {ended} over");
        assert_eq!(cluster.metric(edge, "headwater_tenancy_outages").unwrap(), 0, "at {edge}");
    }
    let all = Tally::of(&samples);
    println!("  all    {all}\n  ledger: {requests} requests, {tokens} tokens");
    println!("  written {} ms after the last answer", written.as_millis());
    assert!(all.odd.is_empty(), "{:?}", all.odd);
    assert_eq!((all.cut, all.unreached), (0, 0), "{all}");
    assert_eq!((requests, tokens), (all.admitted, all.tokens));
    assert!(tokens <= (LIMIT + 2 * OUTAGE_BUDGET) * minutes, "{tokens} tokens");

    for node in ["n3", "n2", STORE] {
        let ended = cluster.stop_node(node).unwrap();
        assert_eq!(ended.code, Some(0), "{node}: {}", ended.log);
    }
    let rows = ledger(Path::new(&cluster.path("n1/store.redb")), &tenant);
    let marked = rows.iter().filter(|row| row.entry.unverified).count() as u64;
    let sum: u64 = rows.iter().map(|row| row.entry.used.tokens).sum();
    println!("  in the file: {} rows, {sum} tokens, {marked} rows unverified", rows.len());
    assert_eq!((rows.len() as u64, sum), (all.admitted, all.tokens));
    assert_eq!(marked, unverified_all);
}

#[test]
fn an_idle_tenant_has_no_more_in_an_outage() {
    let mut cluster = Cluster::start(Shape::loopback(3).unwrap()).unwrap();
    await_left_of_minute(RUN_LONGEST);
    let tenant = cluster.tenant_of("n2", "idle", LIMIT).unwrap();
    let mut edges = cluster.addresses().unwrap();
    edges.remove(STORE);
    let edges = Edges::new(edges);
    let work = Work {
        clients: 8,
        token: cluster.token(&tenant, "standard").unwrap(),
        text: TEXT.to_owned(),
        pause: Duration::from_millis(200),
    };
    let first = minute();
    let load = Load::start(&work, &edges);
    std::thread::sleep(Duration::from_millis(500));
    let before = Tally::of(&load.stop().unwrap());
    assert!(before.admitted >= 2, "{before}");
    // Longer than an allowance: the edges hold nothing of the tenant's any more.
    std::thread::sleep(Duration::from_secs(4));
    cluster.node(STORE).unwrap().freeze().unwrap();
    let load = Load::start(&work, &edges);
    std::thread::sleep(FROZEN);
    let samples = load.stop().unwrap();
    cluster.node(STORE).unwrap().thaw().unwrap();
    let minutes = minute() - first + 1;
    println!("an idle tenant while the store froze\n  edge   {}", Tally::HEAD);
    for (edge, tally) in Tally::by_edge(&samples) {
        println!("  {edge:<6} {tally}");
        let reserved = tally.admitted * (TEXT.len() as u64 + 2);
        assert!(tally.admitted > 0, "{edge} admitted nothing by itself: {tally}");
        assert!(reserved <= OUTAGE_BUDGET * minutes, "{edge} admitted more by itself: {tally}");
    }
    let all = Tally::of(&samples);
    assert!(all.odd.is_empty(), "{:?}", all.odd);
    cluster.until_written().unwrap();
    let charged = cluster.usage(STORE, &tenant).unwrap();
    assert_eq!(charged, (before.admitted + all.admitted, before.tokens + all.tokens));
}

#[test]
fn a_store_that_is_killed_forgets_nothing() {
    let mut shape = Shape::loopback(3).unwrap();
    shape.engine = "embedded";
    let mut cluster = Cluster::start(shape).unwrap();
    let tenant = cluster.tenant_of("n2", "killed", 1_000_000).unwrap();
    let mut edges = cluster.addresses().unwrap();
    edges.remove(STORE);
    let work = Work {
        clients: 16,
        token: cluster.token(&tenant, "standard").unwrap(),
        text: "a ledger of paper".to_owned(),
        pause: Duration::from_millis(20),
    };
    let load = Load::start(&work, &Edges::new(edges));
    for _ in 0..2 {
        std::thread::sleep(CALM);
        cluster.kill_node(STORE).unwrap();
        cluster.start_node(STORE).unwrap();
        cluster.until_status(STORE, "three alive", |status| alive(status) == 3).unwrap();
    }
    std::thread::sleep(CALM);
    let samples = load.stop().unwrap();
    cluster.until_written().unwrap();
    let all = Tally::of(&samples);
    let (requests, tokens) = cluster.usage("n3", &tenant).unwrap();
    println!("the store was killed twice under load\n         {}\n         {all}", Tally::HEAD);
    println!("  ledger: {requests} requests, {tokens} tokens");
    assert!(all.odd.is_empty(), "{:?}", all.odd);
    assert_eq!((all.cut, all.unreached), (0, 0), "{all}");
    assert_eq!((requests, tokens), (all.admitted, all.tokens));
}

/// Issues new files for the node and moves them over the ones in use.
fn renew(cluster: &Cluster, node: &str) {
    let fresh = cluster.path(&format!("{node}/renewed"));
    cluster.issue(node, &fresh).unwrap();
    for file in ["node.key", "node.pem"] {
        let old = cluster.path(&format!("{node}/cluster/{file}"));
        let before = fs::read_to_string(&old).unwrap();
        fs::rename(format!("{fresh}/{file}"), &old).unwrap();
        assert_ne!(fs::read_to_string(&old).unwrap(), before);
    }
}

fn lost_links(cluster: &mut Cluster, node: &str, to: &str) -> usize {
    let said = cluster.node(node).unwrap().said();
    let lost = said.iter().filter(|line| line.contains("the link was lost"));
    lost.filter(|line| line.contains(&format!("\"node\":\"{to}\""))).count()
}

#[test]
fn certificates_are_replaced_in_a_running_cluster() {
    let mut cluster = Cluster::start(Shape::loopback(3).unwrap()).unwrap();
    for node in cluster.names() {
        renew(&cluster, &node);
        let process = cluster.node(&node).unwrap();
        process.hang_up().unwrap();
        process.wait_for("SIGHUP: certificates read anew").unwrap();
    }
    // Links that stand were made with the old certificates, and stay.
    for (node, other) in [(STORE, "n2"), (STORE, "n3"), ("n2", "n3"), ("n3", "n2")] {
        assert_eq!(lost_links(&mut cluster, node, other), 0, "{node} lost {other}");
        assert_eq!(alive(&cluster.status(node).unwrap()), 3);
    }
    let ended = cluster.stop_node("n3").unwrap();
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    cluster.start_node("n3").unwrap();
    for node in cluster.names() {
        cluster.until_status(&node, "three alive", |status| alive(status) == 3).unwrap();
    }
    assert_eq!(lost_links(&mut cluster, STORE, "n2"), 0, "the old link did not stay");

    // Files that are none change nothing, and are told.
    fs::write(cluster.path("n2/cluster/node.pem"), "no certificate").unwrap();
    let process = cluster.node("n2").unwrap();
    process.hang_up().unwrap();
    process.wait_for("SIGHUP: the old certificates stay").unwrap();
    cluster.kill_node("n3").unwrap();
    let gone = |status: &Value| member(status, "n3")["state"] != "alive";
    cluster.until_status("n2", "n3 unreachable", gone).unwrap();
    cluster.start_node("n3").unwrap();
    until("n2 and n3 linked", || Ok(alive(&cluster.status("n2")?) == 3)).unwrap();
}
