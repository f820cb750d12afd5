//! A rolling restart under load: nobody hears anything worse than "try again", tenants change
//! hands at once, and the ledger says what was answered.

use std::time::{Duration, Instant};

use headwater_tests::cluster::{Cluster, STORE, Shape, until};
use headwater_tests::load::{Edges, Load, Tally, Work};
use serde_json::Value;

const CLIENTS: usize = 16;
const PAUSE: Duration = Duration::from_millis(50);
const LIMIT: u64 = 10_000_000;

fn events(log: &str, message: &str) -> Vec<Value> {
    let found = log.lines().filter(|line| line.contains(message));
    found.map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// SIGTERM, a new start, and what the log of the first life says of the tenant.
fn restart(cluster: &mut Cluster, edges: &Edges, node: &str, tenant: &str) {
    let (owner, epoch) = cluster.owner(STORE, tenant).unwrap().unwrap();
    assert_eq!(owner, node);
    let began = Instant::now();
    cluster.node(node).unwrap().terminate().unwrap();
    let moved = until("another owner", || {
        Ok(cluster.owner(STORE, tenant)?.is_some_and(|(owner, _)| owner != node))
    })
    .unwrap();
    let (heir, next) = cluster.owner(STORE, tenant).unwrap().unwrap();
    edges.set(node, None);
    let ended = cluster.wait_node(node).unwrap();
    let down = began.elapsed();
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    assert!(ended.log.contains("\"drained\""), "{}", ended.log);
    assert!(next > epoch, "epoch {next} of {heir} after {epoch} of {node}");
    let handed = events(&ended.log, "handed a tenant over");
    let handed = handed.iter().find(|event| event["tenant"] == tenant);
    assert_eq!(handed.unwrap()["to"], heir.as_str(), "{}", ended.log);
    assert!(!ended.log.contains("ledger entries are left"), "{}", ended.log);
    cluster.start_node(node).unwrap();
    edges.set(node, Some(cluster.address(node).unwrap()));
    println!(
        "{node}: {heir} owned {tenant} {} ms after SIGTERM, it ended after {} ms and was back \
         after {} ms",
        moved.as_millis(),
        down.as_millis(),
        began.elapsed().as_millis()
    );
}

#[test]
fn a_rolling_restart_is_hardly_noticed() {
    let mut cluster = Cluster::start(Shape::loopback(3).unwrap()).unwrap();
    // The lease of a tenant that is handed over is as long as any; nobody waits for its end.
    let tenants = ["n2", "n3"].map(|node| cluster.tenant_of(node, "rolling", LIMIT).unwrap());
    let edges = Edges::new(cluster.addresses().unwrap());
    let work = |tenant: &String| Work {
        clients: CLIENTS / tenants.len(),
        token: cluster.token(tenant, "standard").unwrap(),
        text: "a garden of stone".to_owned(),
        pause: PAUSE,
    };
    let loads: Vec<Load> =
        tenants.iter().map(|tenant| Load::start(&work(tenant), &edges)).collect();
    std::thread::sleep(Duration::from_secs(1));
    for (node, tenant) in ["n2", "n3"].iter().zip(&tenants) {
        restart(&mut cluster, &edges, node, tenant);
        std::thread::sleep(Duration::from_secs(1));
    }
    for (tenant, load) in tenants.iter().zip(loads) {
        let samples = load.stop().unwrap();
        cluster.until_written().unwrap();
        let (requests, tokens) = cluster.usage(STORE, tenant).unwrap();
        println!("{tenant}\n  edge   {}", Tally::HEAD);
        for (edge, tally) in Tally::by_edge(&samples) {
            println!("  {edge:<6} {tally}");
            assert!(tally.odd.is_empty(), "at {edge}: {:?}", tally.odd);
            if edge == STORE {
                assert_eq!((tally.cut, tally.unreached), (0, 0), "at {edge}: {tally}");
                assert!(tally.admitted > 0, "at {edge}: {tally}");
            }
        }
        let all = Tally::of(&samples);
        println!("  all    {all}\n  ledger: {requests} requests, {tokens} tokens");
        // A drained node charges nothing that it does not answer.
        assert_eq!((requests, tokens), (all.admitted, all.tokens));
    }
}
