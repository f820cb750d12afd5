//! Planted violations, each caught, and the layout as it stands, which passes.

use super::{CrateRule, HeavyRule, Layer, Rules, Violation, check};
use crate::graph::{Graph, Import, ImportKind, Package};

const RULES: Rules = Rules {
    crates: &[
        CrateRule { name: "port", layer: Layer::Port, imports: &[] },
        CrateRule { name: "other-port", layer: Layer::Port, imports: &[] },
        CrateRule { name: "adapter", layer: Layer::Adapter, imports: &["port"] },
        CrateRule { name: "service", layer: Layer::Pure, imports: &["port"] },
        CrateRule { name: "other-service", layer: Layer::Pure, imports: &["port"] },
        CrateRule { name: "shell", layer: Layer::Shell, imports: &["service"] },
        CrateRule { name: "node", layer: Layer::Top, imports: &[] },
    ],
    heavy: &[HeavyRule { pattern: "engine*", manifests: &["adapter"], reason: "slow to build" }],
    also_pure: &["port"],
    runtime: &["tokio"],
    seeded: &["tables"],
};

/// Edges of a graph that keeps every rule.
const SOUND: &[(&str, &str, ImportKind)] = &[
    ("adapter", "port", ImportKind::Normal),
    ("adapter", "engine", ImportKind::Normal),
    ("service", "port", ImportKind::Normal),
    ("other-service", "port", ImportKind::Normal),
    ("shell", "service", ImportKind::Normal),
    ("shell", "tokio", ImportKind::Normal),
    ("other-port", "helper", ImportKind::Normal),
    ("helper", "tokio", ImportKind::Normal),
    ("node", "adapter", ImportKind::Normal),
    ("node", "shell", ImportKind::Normal),
];

const OURS: &[&str] =
    &["port", "other-port", "adapter", "service", "other-service", "shell", "node"];

fn graph(edges: &[(&str, &str, ImportKind)]) -> Graph {
    let mut graph = Graph::default();
    let mut package = |name: &str| {
        let ours = OURS.contains(&name) || name.starts_with("new");
        let fresh = Package { name: name.to_owned(), ours, ..Package::default() };
        graph.packages.entry(name.to_owned()).or_insert(fresh).imports.len()
    };
    OURS.iter().for_each(|name| _ = package(name));
    edges.iter().for_each(|(from, to, _)| _ = (package(from), package(to)));
    for (from, to, kind) in edges {
        let import = Import { package: (*to).to_owned(), kind: *kind };
        graph.packages.get_mut(*from).unwrap().imports.push(import);
    }
    graph
}

fn planted(from: &str, to: &str, kind: ImportKind) -> Vec<String> {
    let mut edges = SOUND.to_vec();
    edges.push((from, to, kind));
    check(&graph(&edges), &RULES).iter().map(ToString::to_string).collect()
}

#[test]
fn a_sound_graph_passes() {
    assert_eq!(check(&graph(SOUND), &RULES), []);
}

#[test]
fn wrong_edges_are_named() {
    use ImportKind::{Build, Development, Normal};
    let cases = [
        ("port", "adapter", Normal, "port: may not import adapter ([dependencies])"),
        ("port", "other-port", Normal, "port: may not import other-port"),
        ("service", "other-service", Normal, "service: may not import other-service"),
        ("service", "shell", Build, "service: may not import shell ([build-dependencies])"),
        ("adapter", "service", Normal, "adapter: may not import service"),
        ("adapter", "other-port", Development, "adapter: may not import other-port ([dev-"),
        ("shell", "adapter", Development, "shell: may not import adapter ([dev-dependencies])"),
        ("service", "tokio", Normal, "reaches a runtime: service -> tokio"),
        ("port", "helper", Normal, "reaches a runtime: port -> helper -> tokio"),
        (
            "shell",
            "engine-macros",
            Normal,
            "shell: may not name engine-macros; allowed in: adapter",
        ),
        ("node", "new-crate", Normal, "new-crate: no rule names this crate"),
    ];
    for (from, to, kind, expected) in cases {
        let found = planted(from, to, kind);
        assert!(found.iter().any(|line| line.contains(expected)), "{expected:?} not in {found:?}");
    }
}

#[test]
fn development_edges_may_reach_doubles() {
    for (from, to) in
        [("port", "port"), ("adapter", "port"), ("shell", "port"), ("service", "tokio")]
    {
        assert_eq!(planted(from, to, ImportKind::Development), Vec::<String>::new(), "{from}");
    }
}

#[test]
fn a_rule_without_a_crate_is_stale() {
    let mut graph = graph(SOUND);
    graph.packages.remove("other-service");
    let stale = Violation::Stale { name: "other-service".to_owned() };
    assert_eq!(check(&graph, &RULES), [stale]);
}
