//! Every crate in the lock file fits `deny.toml`.

use headwater_tests::deny::{DenySettings, check};
use headwater_tests::graph::Graph;
use headwater_tests::{report, repository_root};

#[test]
fn every_crate_fits_the_rules() {
    let root = repository_root();
    let text = std::fs::read_to_string(root.join("deny.toml")).unwrap();
    let settings = DenySettings::parse(&text).unwrap();
    assert!(!settings.graph.targets.is_empty(), "deny.toml names no target");
    for target in &settings.graph.targets {
        let graph = Graph::read(&root, target).unwrap();
        let refusals = check(&graph, &settings).unwrap();
        assert!(refusals.is_empty(), "{target}: {}", report(&refusals));
    }
}
