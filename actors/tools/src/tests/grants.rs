//! Who may call what.

use serde_json::{Value, json};

use crate::{Caller, Date, Decision, Definition, Denial, Grant, ToolVersion, decide};

fn mail() -> Definition {
    Definition::read(&json!({
        "name": "send-mail", "description": "Sends a mail.", "owner": "office", "kind": "stateful",
        "input": {"type": "object", "properties": {"to": {"type": "string"}}},
        "backend": {"mcp": {"server": "mail", "tool": "send"}},
    }))
    .unwrap()
}

fn own(id: &str, more: Value) -> Grant {
    let mut json = json!({"id": id, "team": "sales", "tool": "send-mail"});
    json.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    Grant::read(&json).unwrap()
}

/// What is decided for version 2 on 2027-03-15, in one line.
fn decided(grants: &[Grant], team: &str, agent: &str, arguments: Option<Value>) -> String {
    let now_ms = "2027-03-15".parse::<Date>().unwrap().begins_seconds() * 1_000;
    let who = Caller { team, agent };
    let version = ToolVersion::new(2).unwrap();
    match decide(grants, who, (&mail(), version), arguments.as_ref(), now_ms) {
        Decision::Allowed(allowed) => {
            let by = allowed.grant.unwrap_or_else(|| "owner".to_owned());
            let confirm = allowed.confirm.map(|id| format!(", {id} asks")).unwrap_or_default();
            format!("by {by}{confirm}")
        }
        Decision::Denied(denied) => {
            assert_eq!(denied.to_string(), denied.reason);
            assert_eq!(denied.grant.is_none(), denied.denial == Denial::None);
            denied.reason
        }
    }
}

#[test]
fn grants_decide() {
    let ask = "ask team office, which owns the tool, for a grant";
    let none = format!("team sales has no grant for tool send-mail; {ask}");
    let cases: Vec<(Vec<Grant>, &str, &str, String)> = vec![
        (vec![], "office", "bot", "by owner".to_owned()),
        (vec![], "sales", "bot", none.clone()),
        (vec![own("a", json!({}))], "sales", "bot", "by a".to_owned()),
        (vec![own("a", json!({"team": "*"}))], "sales", "bot", "by a".to_owned()),
        (vec![own("a", json!({"tool": "send-*"}))], "sales", "bot", "by a".to_owned()),
        // Grants of others, or for other tools, are not named.
        (vec![own("a", json!({"team": "legal"}))], "sales", "bot", none.clone()),
        (vec![own("a", json!({"tool": "read-*"}))], "sales", "bot", none),
        (
            vec![own("a", json!({"agent": "crm-*"}))],
            "sales",
            "bot",
            format!("grant a for send-mail is for agents named 'crm-*', not 'bot'; {ask}"),
        ),
        (
            vec![own("a", json!({"versions": {"most": 1}}))],
            "sales",
            "bot",
            format!("grant a for send-mail is for versions up to 1, not version 2; {ask}"),
        ),
        (
            vec![own("a", json!({"versions": {"least": 2, "most": 2}}))],
            "sales",
            "bot",
            "by a".to_owned(),
        ),
        (
            vec![own("a", json!({"versions": {"least": 3}}))],
            "sales",
            "bot",
            format!("grant a for send-mail is for version 3 and later, not version 2; {ask}"),
        ),
        (vec![own("a", json!({"expires": "2027-03-15"}))], "sales", "bot", "by a".to_owned()),
        (
            vec![own("a", json!({"expires": "2027-03-14"}))],
            "sales",
            "bot",
            format!("grant a for send-mail expired on 2027-03-14; {ask}"),
        ),
    ];
    for (grants, team, agent, expected) in cases {
        let arguments = Some(json!({"to": "x@them.example"}));
        assert_eq!(decided(&grants, team, agent, arguments), expected, "{grants:?}");
    }
}

#[test]
fn what_nearly_fits_is_named() {
    let ask = "ask team office, which owns the tool, for a grant";
    let to_us = json!({"properties": {"to": {"pattern": "@us\\.example$"}}, "required": ["to"]});
    let cases: Vec<(Vec<Grant>, &str, &str, String)> = vec![
        (
            vec![own("a", json!({"arguments": to_us}))],
            "sales",
            "bot",
            format!(
                "grant a does not allow the arguments: /to must match the pattern @us\\.example$, \
                 not \"x@them.example\"; change them, or {ask}"
            ),
        ),
        // The one that fits nearly is named, not the first.
        (
            vec![own("a", json!({"agent": "x"})), own("b", json!({"expires": "2027-01-01"}))],
            "sales",
            "bot",
            format!("grant b for send-mail expired on 2027-01-01; {ask}"),
        ),
        (
            vec![own("a", json!({"agent": "x"})), own("b", json!({}))],
            "sales",
            "bot",
            "by b".to_owned(),
        ),
        // The stricter one wins.
        (
            vec![own("a", json!({})), own("b", json!({"confirm": true}))],
            "sales",
            "bot",
            "by a, b asks".to_owned(),
        ),
        (
            vec![own("b", json!({"team": "office", "confirm": true}))],
            "office",
            "bot",
            "by owner, b asks".to_owned(),
        ),
    ];
    for (grants, team, agent, expected) in cases {
        let arguments = Some(json!({"to": "x@them.example"}));
        assert_eq!(decided(&grants, team, agent, arguments), expected, "{grants:?}");
    }
}

#[test]
fn what_denies_wins() {
    let allow = || own("a", json!({}));
    let deny = |more: Value| {
        let mut json = json!({"effect": "deny"});
        json.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        own("d", json)
    };
    let them = json!({"properties": {"to": {"pattern": "@them"}}, "required": ["to"]});
    let cases = [
        (deny(json!({})), true),
        (deny(json!({"team": "*"})), true),
        (deny(json!({"agent": "crm-*"})), false),
        (deny(json!({"versions": {"least": 3}})), false),
        (deny(json!({"expires": "2027-03-14"})), false),
        (deny(json!({"arguments": them})), true),
        (deny(json!({"arguments": {"properties": {"to": {"pattern": "@us"}}}})), false),
    ];
    let arguments = || Some(json!({"to": "x@them.example"}));
    for (rule, denies) in cases {
        for grants in [vec![allow(), rule.clone()], vec![rule.clone(), allow()]] {
            let told = decided(&grants, "sales", "bot", arguments());
            assert_eq!(
                told.starts_with("grant d denies send-mail to team sales"),
                denies,
                "{rule:?}"
            );
            assert_eq!(told == "by a", !denies, "{rule:?}");
        }
    }
    // The owner is not above a rule for every team.
    let told = decided(&[deny(json!({"team": "*"}))], "office", "bot", arguments());
    assert!(told.starts_with("grant d denies"), "{told}");
}

#[test]
fn before_there_are_arguments_what_could_be_allowed_is() {
    let to_us = json!({"properties": {"to": {"pattern": "@us"}}, "required": ["to"]});
    let some = own("a", json!({"arguments": to_us}));
    let denied = own("d", json!({"effect": "deny", "arguments": to_us}));
    assert_eq!(decided(std::slice::from_ref(&some), "sales", "bot", None), "by a");
    assert_eq!(decided(&[some.clone(), denied], "sales", "bot", None), "by a");
    let all = own("d", json!({"effect": "deny"}));
    assert!(decided(&[some, all], "sales", "bot", None).starts_with("grant d denies"));
}

#[test]
fn grants_are_read_and_written() {
    let full = json!({
        "id": "crm", "effect": "allow", "team": "sales", "agent": "crm-*", "tool": "send-*",
        "versions": {"least": 1, "most": 3}, "arguments": {"required": ["to"]}, "confirm": true,
        "expires": "2027-03-31",
    });
    let grant = Grant::read(&full).unwrap();
    assert_eq!(Grant::read(&grant.to_json()).unwrap(), grant);
    let plain = json!({"id": "a", "team": "*", "tool": "*"});
    assert_eq!(Grant::read(&plain).unwrap().to_json(), plain);
    let bad = [
        (
            json!([]),
            "document: must be an object with id, effect, team, agent, tool, versions, arguments, confirm, expires",
        ),
        (
            json!({"teams": "a"}),
            "teams: is not known here; allowed are id, effect, team, agent, tool, versions, arguments, confirm, expires",
        ),
        (
            json!({"id": "a", "tool": "*"}),
            "team: is missing; give a team (1 to 64 of a-z, 0-9, '.', '_' and '-', beginning with a letter or a digit), or * for every team",
        ),
        (
            json!({"id": "a", "team": "*", "tool": "a b"}),
            "tool: must be 1 to 128 of letters, digits, '.', '_', '-', '@', ':' and '/', where * stands for any characters",
        ),
        (
            json!({"id": "a", "team": "*", "tool": "*", "versions": {"least": 3, "most": 2}}),
            "versions.most: is below least; choose 3 or more",
        ),
        (
            json!({"id": "a", "team": "*", "tool": "*", "versions": {"least": 0}}),
            "versions.least: must be a whole number from 1 to 4294967295",
        ),
        (
            json!({"id": "a", "team": "*", "tool": "*", "expires": "soon"}),
            "expires: 'soon' is no day from 1970-01-01 to 9999-12-31; write it as in 2027-03-31",
        ),
        (
            json!({"id": "a", "team": "*", "tool": "*", "effect": "deny", "confirm": true}),
            "confirm: is for grants that allow; leave it out",
        ),
        (
            json!({"id": "a", "team": "*", "tool": "*", "arguments": {"$ref": "http://x.example"}}),
            "arguments/$ref: must be a pointer into the same schema, as in #/$defs/address; nothing is fetched from elsewhere",
        ),
    ];
    for (json, expected) in bad {
        assert_eq!(Grant::read(&json).unwrap_err().to_string(), expected);
    }
}
