//! Which version a reference means.

use serde_json::{Value, json};

use crate::{
    Date, Definition, Filter, Kind, Registry, State, Tool, ToolName, ToolReference, ToolVersion,
};

fn at(day: &str) -> u64 {
    day.parse::<Date>().unwrap().begins_seconds() * 1_000
}

fn version(number: u32) -> ToolVersion {
    ToolVersion::new(number).unwrap()
}

fn tool(name: &str, number: u32, fields: Value) -> Tool {
    let mut json = json!({
        "name": name, "description": format!("Does {name}."), "owner": "search",
        "kind": "read_only", "input": {"type": "object"},
        "backend": {"mcp": {"server": "a", "tool": format!("v{number}")}},
    });
    json.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    Tool::new(Definition::read(&json).unwrap(), version(number), 0)
}

fn ends(since: &str, ends: &str) -> Value {
    json!({"deprecation": {"since": since, "ends": ends, "replacement": "web-search@9"}})
}

fn withdrawn(mut tool: Tool) -> Tool {
    tool.state = State::Withdrawn { reason: "it lied".to_owned() };
    tool
}

/// What a reference means on 2027-03-15.
fn resolved(registry: &Registry, reference: &str) -> String {
    let reference: ToolReference = reference.parse().unwrap();
    match registry.resolve(&reference, at("2027-03-15")) {
        Ok(tool) => format!("version {}", tool.version),
        Err(error) => error.to_string(),
    }
}

#[test]
fn a_reference_means_one_version() {
    let plain = || json!({});
    let rows = vec![
        tool("web-search", 1, ends("2027-01-01", "2027-03-14")),
        tool("web-search", 2, ends("2027-01-01", "2027-03-15")),
        tool("web-search", 3, plain()),
        tool("web-search", 4, ends("2027-03-15", "2027-12-31")),
        withdrawn(tool("web-search", 5, plain())),
        tool("old", 1, ends("2027-01-01", "2027-12-31")),
        tool("old", 2, ends("2027-01-01", "2027-12-31")),
        tool("gone", 1, ends("2026-01-01", "2026-12-31")),
        tool("soon", 1, plain()),
        tool("soon", 2, ends("2027-03-16", "2027-12-31")),
        tool("pointed", 1, plain()),
        tool("pointed", 2, plain()),
        tool("pointed-wrong", 1, plain()),
        withdrawn(tool("pointed-wrong", 2, plain())),
    ];
    let pointers = [("pointed", 1), ("pointed-wrong", 2), ("soon", 9)];
    let pointers = pointers.map(|(name, number)| (ToolName::new(name).unwrap(), version(number)));
    let registry = Registry::new(rows, pointers);
    let hash = registry.get("web-search", version(3)).unwrap().hash.to_string();
    let pinned = format!("web-search@3#{}", &hash[..8]);
    let whole = format!("web-search@3#{hash}");
    let rows = [
        ("web-search", "version 3"),
        ("web-search@2", "version 2"),
        ("web-search@4", "version 4"),
        ("web-search@1", "tool web-search@1 ended on 2027-03-14; use web-search@9 instead"),
        ("web-search@5", "tool web-search@5 was withdrawn: it lied; use another version"),
        ("web-search@6", "tool web-search has no version 6; its newest is 5"),
        (&pinned, "version 3"),
        (&whole, "version 3"),
        (
            "web-search@3#00000000",
            &format!(
                "tool web-search@3 is not what was pinned: its definition now has the hash {hash}; read it again and pin that one"
            ),
        ),
        // All are deprecated, and one of them still serves.
        ("old", "version 2"),
        ("gone", "tool gone has no version that serves; ask team search, which owns it"),
        ("soon", "version 2"),
        ("pointed", "version 1"),
        ("pointed-wrong", "version 1"),
        ("web-serch", "there is no tool web-serch; near it are web-search"),
        ("search", "there is no tool search; near it are web-search"),
        ("point", "there is no tool point; near it are pointed, pointed-wrong"),
        ("mail", "there is no tool mail; list or search the tools to find its name"),
        ("x", "there is no tool x; list or search the tools to find its name"),
    ];
    for (reference, expected) in rows {
        assert_eq!(resolved(&registry, reference), expected, "{reference}");
    }
    assert_eq!(registry.next_version("web-search"), Some(version(6)));
    assert_eq!(registry.next_version("new"), Some(ToolVersion::FIRST));
    assert_eq!(registry.versions("web-search").count(), 5);
    let own = registry.get("web-search", version(3)).unwrap();
    assert_eq!(own.reference().to_string(), whole);
    assert_eq!(own.function_name(), "web-search_v3");
}

#[test]
fn a_silent_change_is_refused_and_an_announced_end_is_not() {
    let first = tool("web-search", 1, json!({}));
    let reference = first.reference();
    let now_ms = at("2027-03-15");
    let resolves = |tool: Tool| {
        let registry = Registry::new([first.clone(), tool], []);
        registry.resolve(&reference, now_ms).is_ok()
    };
    assert!(resolves(tool("web-search", 1, ends("2027-03-01", "2027-12-31"))));
    assert!(!resolves(tool("web-search", 1, json!({"description": "Do as I say."}))));
    let notice = tool("web-search", 1, ends("2027-03-01", "2027-03-20")).notice(now_ms).unwrap();
    assert_eq!(notice.days_left, 5);
    assert!(first.notice(now_ms).is_none());
}

#[test]
fn lists_are_filtered_and_paged() {
    let rows = vec![
        tool("a-mail", 1, json!({"owner": "office", "kind": "stateful"})),
        tool("b-mail", 1, json!({"owner": "office", "description": "Finds Letters."})),
        tool("c-web", 1, json!({})),
        tool("c-web", 2, json!({})),
        tool("d-web", 1, json!({"kind": "stateful"})),
        withdrawn(tool("e-web", 1, json!({}))),
    ];
    let registry = Registry::new(rows, []);
    let office = Some("office".to_owned());
    let text = |text: &str| Filter { text: Some(text.to_owned()), ..Filter::default() };
    let rows = [
        (Filter::default(), vec!["a-mail", "b-mail", "c-web", "d-web"]),
        (Filter { owner: office.clone(), ..Filter::default() }, vec!["a-mail", "b-mail"]),
        (Filter { kind: Some(Kind::Stateful), ..Filter::default() }, vec!["a-mail", "d-web"]),
        (Filter { owner: office, kind: Some(Kind::ReadOnly), text: None }, vec!["b-mail"]),
        (text("WEB"), vec!["c-web", "d-web"]),
        (text("letters"), vec!["b-mail"]),
        (text("nothing"), vec![]),
    ];
    for (filter, expected) in rows {
        for limit in [1, 2, 3, 200] {
            let (mut names, mut after, mut pages) = (Vec::new(), None, 0);
            loop {
                let page = registry.list(&filter, after.as_ref(), limit, 0, |_| true);
                assert!(page.tools.len() <= limit);
                names.extend(page.tools.iter().map(|tool| tool.name().to_string()));
                pages += 1;
                match page.next {
                    Some(next) => after = Some(next),
                    None => break,
                }
            }
            assert_eq!(names, expected, "{filter:?} {limit}");
            assert_eq!(pages, expected.len().div_ceil(limit).max(1), "no empty last page");
        }
    }
    let page = registry.list(&Filter::default(), None, 0, 0, |tool| tool.name().as_str() > "b");
    assert_eq!((page.tools.len(), page.next.unwrap().as_str()), (1, "b-mail"));
    let versions: Vec<u32> = registry.defaults(0).map(|tool| tool.version.get()).collect();
    assert_eq!(versions, [1, 1, 2, 1]);
}
