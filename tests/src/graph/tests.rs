//! What is read from `cargo metadata`, and that a dev-dependency opens no path.

use super::{Graph, ImportKind};

const METADATA: &str = r#"{
  "workspace_members": ["ours#1"],
  "packages": [
    {"id": "ours#1", "name": "ours", "version": "1.0.0", "license": "MIT", "source": null},
    {"id": "lib#2", "name": "lib", "version": "2.0.0", "license": null, "source": "registry+x"},
    {"id": "deep#3", "name": "deep", "version": "3.0.0", "source": "registry+x"},
    {"id": "windows#4", "name": "windows", "version": "4.0.0", "source": "registry+x"}
  ],
  "resolve": {"nodes": [
    {"id": "ours#1", "deps": [
      {"pkg": "lib#2", "dep_kinds": [{"kind": null, "target": null}, {"kind": "dev"}]}]},
    {"id": "lib#2", "deps": [{"pkg": "deep#3", "dep_kinds": [{"kind": "build"}]}]},
    {"id": "deep#3", "deps": []}
  ]}
}"#;

#[test]
fn reads_members_edges_and_kinds() {
    let graph = Graph::parse(METADATA).unwrap();
    assert_eq!(graph.packages.len(), 3, "a package without a node belongs to another target");
    let (_, ours) = graph.ours().next().unwrap();
    assert_eq!((ours.name.as_str(), ours.license.as_deref()), ("ours", Some("MIT")));
    let edges: Vec<_> = graph.imported(ours).map(|(to, kind)| (to.name.as_str(), kind)).collect();
    assert_eq!(edges, [("lib", ImportKind::Normal), ("lib", ImportKind::Development)]);
}

#[test]
fn reaches_over_build_edges_but_not_over_development_edges() {
    let graph = Graph::parse(METADATA).unwrap();
    let reached: Vec<_> = graph.reachable("ours#1").into_iter().collect();
    assert_eq!(reached, [("deep#3", "lib#2"), ("lib#2", "ours#1")]);

    let only_development = METADATA.replace(r#"{"kind": null, "target": null}, "#, "");
    let graph = Graph::parse(&only_development).unwrap();
    assert!(graph.reachable("ours#1").is_empty());
}

#[test]
fn says_what_is_missing() {
    let error = Graph::parse(r#"{"packages": []}"#).unwrap_err().to_string();
    assert!(error.contains("workspace_members"), "{error}");
    assert!(Graph::parse("no json").is_err());
}
