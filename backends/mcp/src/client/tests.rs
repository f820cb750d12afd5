//! Settings are checked, and a digest changes with whatever a server tells.

use headwater_backends::{Egress, Hints, Listed, no_headers};
use serde_json::json;

use super::list::digest;
use super::{ClientSettings, McpBackend};

#[test]
fn settings_are_checked() {
    let proxied = ClientSettings {
        proxy: Some("http://[".to_owned()),
        ..ClientSettings::http("https://host/mcp")
    };
    for (settings, field) in [
        (ClientSettings::http("nothing"), "url"),
        (ClientSettings::http("ftp://host/mcp"), "url"),
        (ClientSettings::http("https://user:pass@host/mcp"), "url"),
        (proxied, "proxy"),
    ] {
        let made = McpBackend::new(settings, no_headers(), Egress::everywhere());
        assert_eq!(made.err().map(|error| error.field), Some(field));
    }
}

#[test]
fn every_change_changes_the_digest() {
    let listed = || Listed {
        name: "n".to_owned(),
        title: None,
        description: "d".to_owned(),
        input_schema: json!({"type": "object", "a": [1, {"b": 2}]}),
        output_schema: None,
        hints: Hints::default(),
        digest: String::new(),
    };
    let mut seen = std::collections::BTreeSet::from([digest(&listed())]);
    assert_eq!(digest(&listed()).len(), 64);
    let changes: [fn(&mut Listed); 6] = [
        |one| one.name.push('x'),
        |one| one.title = Some("t".to_owned()),
        |one| one.description.push('x'),
        |one| one.input_schema = json!({"type": "object", "a": [1, {"b": 3}]}),
        |one| one.output_schema = Some(json!({})),
        |one| one.hints.read_only = Some(true),
    ];
    for change in changes {
        let mut changed = listed();
        change(&mut changed);
        assert!(seen.insert(digest(&changed)), "{changed:?}");
    }
    let digested = Listed { digest: "other".to_owned(), ..listed() };
    assert!(!seen.insert(digest(&digested)));
}
