//! The dependency graph of this workspace keeps the layout's rules.

use headwater_tests::graph::Graph;
use headwater_tests::layering::{RULES, check};
use headwater_tests::{report, repository_root};

#[test]
fn every_edge_between_our_crates_is_allowed() {
    let graph = Graph::read(&repository_root(), "x86_64-unknown-linux-gnu").unwrap();
    assert!(graph.ours().count() > 1, "the graph holds no crates of ours");
    let violations = check(&graph, &RULES);
    assert!(violations.is_empty(), "{}", report(&violations));
}
