//! Planted crates that the settings refuse, and their neighbours that pass.

use super::{DenySettings, check};
use crate::graph::{Graph, Package};

const SETTINGS: &str = r#"
[graph]
targets = ["here"]
all-features = true
[licenses]
allow = ["Apache-2.0", "MIT", "MPL-2.0"]
exceptions = [{ crate = "roots", allow = ["CDLA-Permissive-2.0"] }]
[bans]
multiple-versions = "allow"
deny = [
    { crate = "tombstone:>=3", reason = "does not compile" },
    { crate = "linked", reason = "links a library" },
    { crate = "runtime", deny-multiple-versions = true, reason = "its state is per process" },
]
[sources]
unknown-registry = "deny"
unknown-git = "deny"
allow-registry = ["https://registry"]
"#;

/// A package as `name version licence source`; `-` stands for none.
fn graph(packages: &[&str]) -> Graph {
    let mut graph = Graph::default();
    for written in packages {
        let parts: Vec<&str> = written.splitn(4, '|').collect();
        let field = |index: usize| Some(parts[index].to_owned()).filter(|part| part != "-");
        let package = Package {
            name: parts[0].to_owned(),
            version: parts[1].to_owned(),
            license: field(2),
            source: field(3),
            ..Package::default()
        };
        graph.packages.insert((*written).to_owned(), package);
    }
    graph
}

fn refusals(packages: &[&str]) -> Vec<String> {
    let settings = DenySettings::parse(SETTINGS).unwrap();
    check(&graph(packages), &settings).unwrap().iter().map(ToString::to_string).collect()
}

#[test]
fn what_is_allowed_passes() {
    let sound = [
        "a|1.0.0|MIT|registry+https://registry",
        "b|1.0.0|GPL-3.0-only OR (MIT AND Apache-2.0)|registry+https://registry",
        "c|1.0.0|MIT/GPL-2.0|sparse+https://registry",
        "d|1.0.0|MPL-2.0+|registry+https://registry",
        "e|1.0.0|Apache-2.0 WITH LLVM-exception OR MIT|registry+https://registry",
        "roots|1.0.0|CDLA-Permissive-2.0|registry+https://registry",
        "tombstone|2.9.0|MIT|registry+https://registry",
        "runtime|1.0.0|MIT|registry+https://registry",
        "small|1.0.0|MIT|registry+https://registry",
        "small|2.0.0|MIT|registry+https://registry",
    ];
    assert_eq!(refusals(&sound), Vec::<String>::new());
}

#[test]
fn what_is_not_is_named_with_its_reason() {
    for (packages, expected) in [
        (vec!["a|1.0.0|GPL-3.0-only|registry+https://registry"], "a 1.0.0: licence `GPL-3.0-only`"),
        (vec!["a|1.0.0|MIT AND GPL-3.0-only|registry+https://registry"], "is not allowed"),
        (vec!["a|1.0.0|CDLA-Permissive-2.0|registry+https://registry"], "is not allowed"),
        (vec!["a|1.0.0|-|registry+https://registry"], "names no licence"),
        (vec!["a|1.0.0|My own|registry+https://registry"], "cannot be read"),
        (vec!["a|1.0.0|MIT|registry+https://elsewhere"], "source `registry+https://elsewhere`"),
        (vec!["a|1.0.0|MIT|git+https://registry"], "source `git+https://registry`"),
        (vec!["a|1.0.0|MIT|-"], "a path outside the workspace"),
        (vec!["tombstone|3.0.0|MIT|registry+https://registry"], "banned: does not compile"),
        (vec!["linked|0.9.0|MIT|registry+https://registry"], "banned: links a library"),
        (
            vec![
                "runtime|1.0.0|MIT|registry+https://registry",
                "runtime|2.0.0|MIT|registry+https://registry",
            ],
            "runtime: stands in versions 1.0.0, 2.0.0, one allowed: its state is per process",
        ),
    ] {
        let found = refusals(&packages);
        assert!(found.len() == 1 && found[0].contains(expected), "{packages:?}: {found:?}");
    }
}

#[test]
fn a_setting_that_would_not_be_honoured_is_refused() {
    for (from, to, expected) in [
        ("unknown-git = \"deny\"", "unknown-git = \"warn\"", "unknown variant `warn`"),
        ("[sources]", "[sources]\nprivate = []", "unknown field `private`"),
        ("all-features = true", "all-features = false", "must be true"),
    ] {
        let text = SETTINGS.replace(from, to);
        let error = DenySettings::parse(&text).unwrap_err().to_string();
        assert!(error.contains(expected), "{expected:?} not in {error:?}");
    }
    for (from, to, expected) in [
        ("\"MIT\"", "\"MITT\"", "`MITT` is no licence"),
        ("tombstone:>=3", "tombstone:three", "`tombstone:three` is neither"),
    ] {
        let settings = DenySettings::parse(&SETTINGS.replace(from, to)).unwrap();
        let sound = graph(&["a|1.0.0|MIT|registry+https://registry"]);
        let error = check(&sound, &settings).unwrap_err().to_string();
        assert!(error.contains(expected), "{expected:?} not in {error:?}");
    }
}
