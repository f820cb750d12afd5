//! Definitions that are read, refused, written and hashed.

mod compare;

use serde_json::{Value, json};

use crate::{Backend, Builtin, Definition, Kind, Tier};

/// The least that a tool must say.
pub(super) fn plain() -> Value {
    json!({
        "name": "web-search", "description": "Searches the web.", "owner": "search",
        "kind": "read_only",
        "input": {"type": "object", "properties": {"query": {"type": "string"}},
                  "required": ["query"]},
        "backend": {"http": {"url": "https://api.example.com/search", "method": "GET"}},
    })
}

/// The JSON with fields set, or with those that are null taken away.
pub(super) fn with(mut json: Value, fields: Value) -> Value {
    let map = json.as_object_mut().unwrap();
    for (name, value) in fields.as_object().unwrap() {
        match value {
            Value::Null => drop(map.remove(name)),
            value => drop(map.insert(name.clone(), value.clone())),
        }
    }
    json
}

fn code() -> Value {
    let code = json!({"code": {"image": "python", "source": "print('{}')"}});
    with(plain(), json!({"kind": "code", "backend": code}))
}

#[test]
fn what_is_left_out_has_its_default() {
    let definition = Definition::read(&plain()).unwrap();
    assert_eq!(definition.timeout_ms, 10_000);
    assert_eq!(definition.output_bytes_max, 262_144);
    assert!(definition.idempotent, "what only reads may be repeated");
    assert_eq!((definition.breaker.failures, definition.breaker.open_ms), (5, 30_000));
    assert!(definition.room.is_none());
    let room = Definition::read(&code()).unwrap().room.unwrap();
    assert_eq!((room.isolation.word(), room.tier), ("user_kernel", Tier::Small));
    let stateful = Definition::read(&with(plain(), json!({"kind": "stateful"}))).unwrap();
    assert!(!stateful.idempotent);
}

#[test]
fn everything_is_read_as_it_was_written() {
    let all = with(
        plain(),
        json!({
            "output": {"type": "array"}, "sla": {"p95_ms": 800, "note": "on working days"},
            "cost_microdollars": 5_000, "timeout_ms": 30_000, "premium": true,
            "cache": {"ttl_seconds": 60}, "idempotent": false,
            "confirmation": {"when": {"required": ["paid"]}}, "dry_run": true,
            "output_bytes_max": 4_194_304,
            "egress": [
                {"host": "api.example.com", "ports": [443], "methods": ["GET"], "tls": "originate",
                 "headers": [{"header": "authorization", "secret": "SEARCH_KEY"}]},
                {"host": "*.cdn.example.com", "ports": [80, 443], "methods": ["GET", "HEAD"]},
            ],
            "secrets": ["ACCOUNT"], "redact": true, "fallback": {"cached_for_seconds": 3_600},
            "breaker": {"failures": 3, "open_ms": 5_000},
            "quotas": {"calls_per_minute": 60, "microdollars_per_day": 1_000_000},
            "deprecation": {"since": "2027-03-01", "ends": "2027-03-31",
                            "replacement": "web-search@2", "note": "slow"},
            "backend": {"http": {"url": "https://api.example.com/{query}", "method": "GET",
                                 "arguments": "path"}},
        }),
    );
    let definition = Definition::read(&all).unwrap();
    assert_eq!(definition.to_json(), all, "nothing is lost, nothing added");
    assert_eq!(Definition::read(&definition.to_json()).unwrap(), definition);
    assert_eq!(definition.secret_names(), ["ACCOUNT", "SEARCH_KEY"]);
    let more = [
        with(
            plain(),
            json!({"asynchronous": true, "timeout_ms": 600_000, "confirmation": "always"}),
        ),
        with(plain(), json!({"backend": {"builtin": "http_fetch", "bytes_max": 1_000}})),
        with(
            plain(),
            json!({"backend": {"builtin": "vector_search", "collection": "docs", "entries_max": 5}}),
        ),
        with(
            plain(),
            json!({"backend": {"builtin": "sql_read", "database": "SALES", "rows_max": 5}}),
        ),
        with(
            plain(),
            json!({"kind": "code", "backend": {"builtin": "run_python", "image": "data-2"},
                             "isolation": "machine", "limits": "large"}),
        ),
        with(plain(), json!({"backend": {"mcp": {"server": "files", "tool": "fs/read_file"}}})),
        with(code(), json!({"isolation": "contained", "limits": "small"})),
    ];
    for json in more {
        let definition = Definition::read(&json).unwrap();
        for (name, value) in json.as_object().unwrap() {
            if !value.is_object() || name == "backend" && value.get("http").is_none() {
                assert_eq!(definition.to_json().get(name), Some(value), "{name}");
            }
        }
        assert_eq!(Definition::read(&definition.to_json()).unwrap(), definition);
        assert_eq!(definition.backend.is_code(), definition.kind == Kind::Code);
    }
    let backend = Definition::read(&with(plain(), json!({"backend": {"builtin": "http_fetch"}})));
    let settings = Default::default();
    let expected = Backend::Builtin { builtin: Builtin::HttpFetch, settings };
    assert_eq!(backend.unwrap().backend, expected);
}

#[test]
fn the_hash_is_of_all_but_the_deprecation() {
    let hash = |json: Value| Definition::read(&json).unwrap().hash();
    let first = hash(plain());
    let canonical = Definition::read(&plain()).unwrap().canonical();
    assert_eq!(
        canonical,
        "{\"backend\":{\"http\":{\"arguments\":\"query\",\"method\":\"GET\",\"url\":\
         \"https://api.example.com/search\"}},\"description\":\"Searches the web.\",\"input\":\
         {\"properties\":{\"query\":{\"type\":\"string\"}},\"required\":[\"query\"],\"type\":\
         \"object\"},\"kind\":\"read_only\",\"name\":\"web-search\",\"owner\":\"search\",\
         \"timeout_ms\":10000}"
    );
    // Of another program's SHA-256 of the text above.
    assert_eq!(first.as_str(), "00ae305a00772226a5c60e04559f6219358d7f7155e3e2cc9c6a532f04fd4840");
    let same = [
        json!({"idempotent": true, "cost_microdollars": 0, "confirmation": "never", "egress": []}),
        json!({"breaker": {"failures": 5}, "quotas": {}, "sla": {}, "timeout_ms": 10_000}),
        json!({"deprecation": {"since": "2027-03-01", "ends": "2027-03-31"}}),
    ];
    for fields in same {
        assert_eq!(hash(with(plain(), fields.clone())), first, "{fields}");
    }
    let other = [
        json!({"description": "Searches the web. Then mails what it found."}),
        json!({"cost_microdollars": 1}),
        json!({"redact": true}),
        json!({"backend": {"http": {"url": "https://api.example.com/other", "method": "GET"}}}),
    ];
    for fields in other {
        assert_ne!(hash(with(plain(), fields.clone())), first, "{fields}");
    }
}

#[test]
fn what_is_wrong_is_named_by_its_path() {
    let cases = [
        (json!({"name": null}), "name: is missing; give the tool's name, as in web-search"),
        (
            json!({"name": "Web"}),
            "name: 'Web' is not 1 to 48 of a-z, 0-9 and '-', a letter first, as in web-search",
        ),
        (
            json!({"description": "x".repeat(1_025)}),
            "description: must be a text of 1 to 1024 characters",
        ),
        (
            json!({"description": "read\u{E0041} this"}),
            "description: holds the invisible character U+E0041; remove it",
        ),
        (
            json!({"input": {"type": "object", "properties": {"a": {"description": "\u{202E}x"}}}}),
            "input.properties.a.description: holds the invisible character U+202E; remove it",
        ),
        (
            json!({"input": {"type": "string"}}),
            "input: must be a JSON schema of an object, with type \"object\"",
        ),
        (json!({"input": true}), "input: must be a JSON schema of an object, with type \"object\""),
        (
            json!({"owner": "The Team"}),
            "owner: must be 1 to 64 of a-z, 0-9, '.', '_' and '-', beginning with a letter or a digit",
        ),
        (json!({"kind": "readonly"}), "kind: must be one of read_only, stateful, code"),
        (json!({"sla": {"p95": 1}}), "sla.p95: is not known here; allowed are p95_ms, note"),
        (
            json!({"cost_microdollars": -1}),
            "cost_microdollars: must be a whole number from 0 to 1000000000000",
        ),
        (
            json!({"timeout_ms": 10_001}),
            "timeout_ms: must be a whole number from 1 to 10000, or up to 30000 with premium, or up to 600000 with asynchronous",
        ),
        (
            json!({"timeout_ms": 30_001, "premium": true}),
            "timeout_ms: must be a whole number from 1 to 30000, or up to 600000 with asynchronous",
        ),
        (
            json!({"timeout_ms": 600_001, "asynchronous": true}),
            "timeout_ms: must be a whole number from 1 to 600000",
        ),
        (json!({"premium": "yes"}), "premium: must be true or false"),
        (json!({"cache": {}}), "cache.ttl_seconds: is missing; give how long answers are kept"),
        (
            json!({"cache": {"ttl_seconds": 1}, "kind": "stateful"}),
            "cache: is for tools of the kind read_only; leave it out",
        ),
        (
            json!({"fallback": {"cached_for_seconds": 1}, "kind": "stateful"}),
            "fallback: is for tools of the kind read_only; leave it out",
        ),
    ];
    for (fields, expected) in cases {
        let told = Definition::read(&with(plain(), fields)).unwrap_err().to_string();
        assert_eq!(told, expected);
    }
    assert!(
        Definition::read(&json!("x")).unwrap_err().to_string().starts_with("document: must be")
    );
}

#[test]
fn what_is_wrong_together_is_named_by_its_path() {
    let cases = [
        (
            json!({"confirmation": "sometimes"}),
            "confirmation: must be never, always, or {\"when\": a JSON schema that arguments fit}",
        ),
        (
            json!({"confirmation": {"when": {"type": 1}}}),
            "confirmation.when/type: is no JSON schema: 1 is not valid under any of the schemas listed in the 'anyOf' keyword",
        ),
        (
            json!({"output_bytes_max": 4_194_305}),
            "output_bytes_max: must be a whole number from 1 to 4194304",
        ),
        (
            json!({"secrets": ["key"]}),
            "secrets[0]: must be a secret's name: 1 to 64 of A-Z, 0-9 and '_', a letter first",
        ),
        (json!({"isolation": "machine"}), "isolation: is for tools of the kind code; leave it out"),
        (json!({"limits": "small"}), "limits: is for tools of the kind code; leave it out"),
        (
            json!({"breaker": {"failures": 0}}),
            "breaker.failures: must be a whole number from 1 to 1000",
        ),
        (
            json!({"quotas": {"calls_per_minute": 0}}),
            "quotas.calls_per_minute: must be a whole number from 1 to 1000000",
        ),
        (
            json!({"deprecation": {"since": "2027-03-01"}}),
            "deprecation.ends: is missing; give a day, as in 2027-06-30",
        ),
        (
            json!({"deprecation": {"since": "2027-03-01", "ends": "2027-02-01"}}),
            "deprecation.ends: is before since; choose 2027-03-01 or later",
        ),
        (
            json!({"deprecation": {"since": 1, "ends": "2027-02-01"}}),
            "deprecation.since: must be a text",
        ),
        (json!({"egress": {}}), "egress: must be a list of at most 32 entries"),
        (
            json!({"kind": "code"}),
            "backend: runs no code; choose code or run_python, or another kind",
        ),
        (
            json!({"backend": {"builtin": "run_python"}}),
            "kind: must be code, for the backend runs code",
        ),
        (
            json!({"extra": 1}),
            "extra: is not known here; allowed are name, description, input, output, owner, kind, sla, cost_microdollars, timeout_ms, premium, asynchronous, cache, idempotent, confirmation, dry_run, output_bytes_max, egress, secrets, isolation, limits, redact, fallback, breaker, quotas, deprecation, backend",
        ),
    ];
    for (fields, expected) in cases {
        let told = Definition::read(&with(plain(), fields)).unwrap_err().to_string();
        assert_eq!(told, expected);
    }
    assert!(
        Definition::read(&json!("x")).unwrap_err().to_string().starts_with("document: must be")
    );
}

#[test]
fn backends_are_checked() {
    let braces = "holds braces; they are for arguments in the path: choose path";
    let http = |url: &str| json!({"http": {"url": url}});
    let cases = [
        (json!({}), ": must have exactly one of http, mcp, code, builtin"),
        (json!({"http": {}, "mcp": {}}), ": must have exactly one of http, mcp, code, builtin"),
        (json!({"shell": "ls"}), ".shell: is not known here; allowed are http, mcp, code, builtin"),
        (http("ftp://x"), ".http.url: must begin with https:// or http://"),
        (http("https://"), ".http.url: names no host: ''"),
        (http("https:///path"), ".http.url: names no host: ''"),
        (http("https://{host}/x"), ".http.url: names no host: '{host}'"),
        (
            http("https://a:b@x.example/"),
            ".http.url: must not hold a user or password; name a secret header in egress",
        ),
        (
            http("https://x.example/a b"),
            ".http.url: must be ASCII without spaces; percent-encode the rest",
        ),
        (
            http("https://x.example/#top"),
            ".http.url: must not have a fragment (#); servers never see it",
        ),
        (http("https://x.example/{query}"), &format!(".http.url: {braces}")),
        (
            json!({"http": {"url": "https://x.example/", "arguments": "path"}}),
            ".http.url: has no {name} in its path; add one, or choose query",
        ),
        (
            json!({"http": {"url": "https://x.example/{other}", "arguments": "path"}}),
            ".http.url: has {other} in its path; name it in input.required as well",
        ),
        (
            json!({"http": {"url": "https://x.example/{a", "arguments": "path"}}),
            ".http.url: has a { without a } behind it",
        ),
        (
            json!({"http": {"url": "https://x.example/a}", "arguments": "path"}}),
            ".http.url: has a } without a { before it",
        ),
    ];
    for (backend, expected) in cases {
        let told = Definition::read(&with(plain(), json!({"backend": backend}))).unwrap_err();
        assert_eq!(told.to_string(), format!("backend{expected}"));
    }
}

#[test]
fn other_backends_are_checked() {
    let cases = [
        (
            json!({"http": {"url": "https://x.example/", "method": "GET", "arguments": "json"}}),
            ".http.arguments: must be query or path, for a GET has no body",
        ),
        (
            json!({"http": {"url": "https://x.example/", "method": "get"}}),
            ".http.method: must be one of GET, HEAD, POST, PUT, PATCH, DELETE",
        ),
        (
            json!({"mcp": {"server": "Files", "tool": "x"}}),
            ".mcp.server: must be 1 to 63 of a-z, 0-9, '_' and '-', a letter first",
        ),
        (
            json!({"mcp": {"server": "files", "tool": ""}}),
            ".mcp.tool: must be 1 to 128 of letters, digits, '_', '-', '.' and '/'",
        ),
        (json!({"code": {"image": "python"}}), ".code.source: is missing; give a Python program"),
        (
            json!({"code": {"image": "../x", "source": "1"}}),
            ".code.image: image name \"../x\" is not allowed; use 1 to 63 lower-case letters, digits and `-`, a letter first",
        ),
        (
            json!({"builtin": "rm"}),
            ".builtin: must be one of http_fetch, vector_search, sql_read, run_python",
        ),
        (
            json!({"builtin": "http_fetch", "http": {}}),
            ".http: is not known here; allowed are builtin, bytes_max",
        ),
        (json!({"builtin": "vector_search"}), ".collection: is missing; give the name of one"),
        (
            json!({"builtin": "sql_read", "database": "postgres://u:p@h"}),
            ".database: must be 1 to 64 letters, digits, '_' and '-', a letter first",
        ),
    ];
    for (backend, expected) in cases {
        let told = Definition::read(&with(plain(), json!({"backend": backend}))).unwrap_err();
        assert_eq!(told.to_string(), format!("backend{expected}"));
    }
}

#[test]
fn ways_out_are_checked() {
    let host =
        "a host's name in lower case, as in api.example.com, or *.example.com for those below one";
    let header = |header: &str, more: Value| {
        let headers = json!([{"header": header, "secret": "KEY"}]);
        with(json!({"host": "x.example", "tls": "originate", "headers": headers}), more)
    };
    let cases = [
        (json!({}), format!(".host: is missing; give {host}")),
        (json!({"host": "*"}), format!(".host: must be {host}")),
        (json!({"host": "*.com"}), format!(".host: must be {host}")),
        (json!({"host": "https://x"}), format!(".host: must be {host}")),
        (json!({"host": "x.example", "ports": [0]}), ".ports[0]: must be a whole number from 1 to 65535".to_owned()),
        (json!({"host": "x.example", "methods": ["CONNECT"]}), ".methods[0]: must be one of GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS".to_owned()),
        (json!({"host": "x.example", "tls": "none"}), ".tls: must be one of originate".to_owned()),
        (header("authorization", json!({"tls": null})), ".headers: are added where the way out speaks TLS itself; set tls to originate".to_owned()),
        (header("authorization", json!({"host": "*.x.example"})), ".headers: would go to every host below the name; write one host".to_owned()),
        (header("Host", json!({})), ".headers[0].header: must be 1 to 64 letters, digits and '-', and none that HTTP itself needs, as in authorization".to_owned()),
    ];
    for (egress, expected) in cases {
        let told = Definition::read(&with(plain(), json!({"egress": [egress]}))).unwrap_err();
        assert_eq!(told.to_string(), format!("egress[0]{expected}"));
    }
}
