//! The well-known sizing example, the edges of rounding, and every argument out of bounds.

use super::{Demand, Graph, Plan, StoredFormat, Supply, plan};

/// 500 million documents of one chunk, 10,000 queries per second of 64 tokens, 1,024
/// dimensions, 20,000 tokens per second and replica, 30 % in hand.
fn example() -> (Demand, Supply) {
    let demand = Demand {
        documents: 500e6,
        chunks_per_document: 1.0,
        chunk_tokens: 64.0,
        queries_per_s: 10_000.0,
        query_tokens: 64.0,
        dimensions: 1024,
    };
    let supply = Supply {
        tokens_per_s: 20_000.0,
        headroom: 0.3,
        bulk_days: None,
        price_per_hour: None,
        copies: 1,
        graph: Graph::default(),
    };
    (demand, supply)
}

fn planned(change: fn(&mut Demand, &mut Supply)) -> Plan {
    let (mut demand, mut supply) = example();
    change(&mut demand, &mut supply);
    plan(&demand, &supply).unwrap()
}

#[test]
fn the_well_known_example() {
    let plan = planned(|_, _| {});
    assert_eq!(plan.load_tokens_per_s, 640_000.0);
    assert_eq!((plan.replicas_bare, plan.replicas), (32, 42));
    let raw: Vec<(StoredFormat, f64)> =
        plan.storage.iter().map(|storage| (storage.format, storage.vectors_bytes)).collect();
    let expected = [
        (StoredFormat::Float32, 2.048e12),
        (StoredFormat::Float16, 1.024e12),
        (StoredFormat::Int8, 0.512e12),
        (StoredFormat::Binary, 0.064e12),
    ];
    assert_eq!(raw, expected);
    assert_eq!(plan.cost_per_month, None);
    assert_eq!(plan.bulk.tokens, 32e9);
    // 32e9 tokens ÷ 20,000 tokens/s; 42 replicas leave 200,000 tokens/s beside the queries.
    assert_eq!(plan.bulk.replica_hours, 1.6e6 / 3600.0);
    assert_eq!(plan.bulk.spare_hours, Some(160_000.0 / 3600.0));
}

#[test]
fn replicas_are_rounded_up_once_for_the_load_and_once_for_the_headroom() {
    // (tokens per second of load, headroom, bare, with headroom), at 1,000 a replica
    let cases = [
        (0.0, 0.3, 0, 0),
        (1.0, 0.0, 1, 1),
        (1.0, 0.3, 1, 2),
        (1000.0, 0.0, 1, 1),
        (1000.5, 0.0, 2, 2),
        (10_000.0, 0.3, 10, 13),
        (10_000.0, 0.1, 10, 11),
        (100_000.0, 0.07, 100, 107),
        (3000.0, 1.0, 3, 6),
    ];
    for (load, headroom, bare, with_headroom) in cases {
        let (mut demand, mut supply) = example();
        (demand.queries_per_s, demand.query_tokens) = (load, 1.0);
        (supply.tokens_per_s, supply.headroom) = (1000.0, headroom);
        let plan = plan(&demand, &supply).unwrap();
        let found = (plan.replicas_bare, plan.replicas);
        assert_eq!(found, (bare, with_headroom), "load {load}, headroom {headroom}");
    }
}

#[test]
fn chunks_copies_and_the_graph_count_in_storage() {
    let plan = planned(|demand, supply| {
        (demand.documents, demand.chunks_per_document, demand.dimensions) = (1000.0, 2.5, 100);
        (supply.copies, supply.graph) = (3, Graph { neighbours: 16, link_bytes: 4, key_bytes: 8 });
    });
    assert_eq!(plan.bulk.vectors, 2500.0);
    // 100 bits are 13 bytes; (32 + 16 / ln 16) · 4 + 8 = 159.08 bytes of graph.
    let binary = &plan.storage[3];
    assert_eq!(binary.vectors_bytes, 32_500.0);
    let expected = 2500.0 * 3.0 * (13.0 + 159.083);
    assert!((binary.indexed_bytes - expected).abs() < 1.0, "{}", binary.indexed_bytes);
}

#[test]
fn a_deadline_and_a_price_are_answered() {
    let plan = planned(|_, supply| {
        (supply.bulk_days, supply.price_per_hour) = (Some(7.0), Some(1.5));
    });
    // 444.4 replica hours in 168 hours.
    assert_eq!(plan.bulk.deadline_replicas, Some(3));
    assert_eq!(plan.cost_per_month, Some(1.5 * 42.0 * 730.0));
    let cost = plan.bulk.cost.unwrap();
    assert!((cost - 1.5 * 1.6e6 / 3600.0).abs() < 1e-6, "{cost}");
}

#[test]
fn no_load_leaves_nothing_spare() {
    let plan = planned(|demand, _| demand.queries_per_s = 0.0);
    assert_eq!((plan.replicas, plan.bulk.spare_hours), (0, None));
}

#[test]
fn every_argument_out_of_bounds_is_named() {
    type Change = fn(&mut Demand, &mut Supply);
    let cases: [(&str, Change); 18] = [
        ("documents", |demand, _| demand.documents = -1.0),
        ("documents", |demand, _| demand.documents = f64::NAN),
        ("chunks_per_document", |demand, _| demand.chunks_per_document = 0.0),
        ("chunk_tokens", |demand, _| demand.chunk_tokens = 0.0),
        ("queries_per_s", |demand, _| demand.queries_per_s = f64::INFINITY),
        ("query_tokens", |demand, _| demand.query_tokens = -64.0),
        ("query_tokens", |demand, _| demand.query_tokens = f64::NAN),
        ("dimensions", |demand, _| demand.dimensions = 0),
        ("dimensions", |demand, _| demand.dimensions = 1_000_001),
        ("tokens_per_s", |_, supply| supply.tokens_per_s = 0.0),
        ("tokens_per_s", |_, supply| supply.tokens_per_s = 2e15),
        ("headroom", |_, supply| supply.headroom = -0.1),
        ("headroom", |_, supply| supply.headroom = 30.0),
        ("bulk_days", |_, supply| supply.bulk_days = Some(0.0)),
        ("price_per_hour", |_, supply| supply.price_per_hour = Some(-1.0)),
        ("copies", |_, supply| supply.copies = 0),
        ("neighbours", |_, supply| supply.graph.neighbours = 1),
        ("neighbours", |_, supply| supply.graph.neighbours = 1025),
    ];
    for (argument, change) in cases {
        let (mut demand, mut supply) = example();
        change(&mut demand, &mut supply);
        let problem = plan(&demand, &supply).unwrap_err();
        assert_eq!(problem.argument, argument);
        assert!(problem.to_string().contains(argument), "{problem}");
    }
}
