//! What the scanner finds and what it leaves alone, as data.
//!
//! Secrets are put together from pieces when a test runs, so that no scanner of this repository
//! finds one in its source.

use super::{Finding, Mode, RuleError, Scanner, masked};

/// A text in pieces, and the rules that find something in it, in order.
type Case<'a> = (&'a [&'a str], &'a [&'a str]);

fn rules(findings: &[Finding]) -> Vec<&str> {
    findings.iter().map(|it| it.rule.as_str()).collect()
}

fn check(scanner: &Scanner, cases: &[Case<'_>]) {
    for (pieces, expected) in cases {
        let text = pieces.concat();
        assert_eq!(rules(&scanner.scan(&text)), *expected, "in: {text}");
    }
}

fn own() -> Scanner {
    Scanner::new(&[]).unwrap()
}

fn file_only(rules: &str) -> Scanner {
    Scanner::with_mode(Mode { own_rules: false, hold_back: false }, &[rules]).unwrap()
}

const BODY: &str = "q7Zt2LmX9vKc4RwB8nYp3HsD6fGj5TxUa1Ke";

#[test]
fn tokens_are_known_by_their_form() {
    check(
        &own(),
        &[
            (&["use sk-", "proj-", BODY, " now"], &["openai-key"]),
            (&["sk-", "ant-api03-", BODY, BODY], &["anthropic-key"]),
            (&["AI", "za", "Sy7Zt2LmX9vKc4RwB8nYp3HsD6fGj5TxUa1"], &["google-api-key"]),
            (&["gs", "k_", BODY, "q7Zt2LmX9vKc4RwB"], &["groq-key"]),
            (&["h", "f_", "qWzTkLmXyvKcaRwBbnYpdHsDefGjgTxUhh"], &["huggingface-token"]),
            (&["gh", "p_", BODY], &["github-token"]),
            (&["gl", "pat-", "q7Zt2LmX9vKc4RwB8nYp"], &["gitlab-token"]),
            (&["xox", "b-482159637710-", "q7Zt2LmX9vKc4RwB8nYp"], &["slack-token"]),
            (&["sk_", "live_", "q7Zt2LmX9vKc4RwB8nYp"], &["stripe-key"]),
            (&["np", "m_", BODY], &["npm-token"]),
            (&["AK", "IA", "QYLPMN5HHHFPZAM2"], &["aws-access-key-id"]),
            (
                &["aws_secret_", "access_key = ", "wJ4lrXUtnFE7/K7MDENG+bPxRfiC9Zq2TvLmXs81"],
                &["aws-secret-key"],
            ),
        ],
    );
}

#[test]
fn keys_and_logins_are_known_by_their_shape() {
    let half = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7";
    let header = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9";
    let claims = "eyJzdWIiOiI0MiIsIm5hbWUiOiJKIn0";
    check(
        &own(),
        &[
            (
                &[
                    "-----BEGIN ",
                    "PRIVATE ",
                    "KEY-----\n",
                    half,
                    "\n-----END ",
                    "PRIVATE ",
                    "KEY-----",
                ],
                &["private-key"],
            ),
            (
                &[
                    "\"-----BEGIN ",
                    "PRIVATE ",
                    "KEY-----\\n",
                    half,
                    "\\n-----END ",
                    "PRIVATE ",
                    "KEY-----\"",
                ],
                &["private-key"],
            ),
            (&[header, ".", claims, ".", "dBjftJeZ4CVPmB92K27uhbUJU1p1r"], &["jwt"]),
            (&["eyJub3QiOiJqd3QifQ.", claims, ".", "dBjftJeZ4CVPmB92K27uhbUJU1p1r"], &[]),
            (&["postgres://app:", "tr0ub4dor", "@db.internal/app"], &["url-password"]),
            (&["Authorization: Basic ", "YXBwOnRyMHViNGRvcg=="], &["http-basic-login"]),
            (&["Authorization: Bearer ", BODY], &["http-bearer-token"]),
            (&["password: \"", "tr0ub4dor&3", "\""], &["generic-password"]),
            (&["client_secret = ", BODY], &["generic-key-value"]),
        ],
    );
}

#[test]
fn placeholders_and_templates_are_no_secrets() {
    check(
        &own(),
        &[
            (&["api_key: {{ secret.KEY }}"], &[]),
            (&["api_key: {{ secret_store_production_v2 }}"], &[]),
            (&["api_key = ${PRODUCTION_API_KEY_7}"], &[]),
            (&["api_key: <YOUR_KEY>"], &[]),
            (&["sk-proj-xxxxxxxxxxxxxxxxxxxxxxxxxxxx"], &[]),
            (&["export OPENAI_API_KEY=sk-..."], &[]),
            (&["postgres://{{ user }}:{{ password }}@host/db"], &[]),
            (&["postgres://user:password@localhost/db"], &[]),
            (&["AK", "IA", "IOSFODNN7EXAMPLE"], &[]),
            (&["token: your-api-token-goes-here-123"], &[]),
            (&["password: ", "{password}"], &[]),
        ],
    );
}

#[test]
fn a_literal_within_a_template_is_found() {
    check(
        &own(),
        &[
            (&["{{ client(api_key=\"", "gh", "p_", BODY, "\") }}"], &["github-token"]),
            (&["{{ client(api_key=\"", BODY, "\") }}"], &["generic-key-value"]),
        ],
    );
}

#[test]
fn ordinary_text_is_left_alone() {
    check(
        &own(),
        &[
            (&["Summarise the text in at most 200 tokens: be brief."], &[]),
            (&["The password is required and must have 12 characters."], &[]),
            (&["commit 3f786850e387550fdab836ed7e6dc881de23001b"], &[]),
            (&["token_hash: sha256 3f786850e387550fdab836ed7e6dc881de23001b"], &[]),
            (&["api_key = config.providers.openai.api_key"], &[]),
            (&["model_key: gpt-4-1106-preview"], &[]),
            (&["secret_name: production-database-credentials"], &[]),
            (&["public_key = \"", BODY, "\""], &[]),
            (&["session id 123e4567-e89b-12d3-a456-426614174000"], &[]),
        ],
    );
}

#[test]
fn a_comment_does_not_silence_the_scan() {
    check(
        &own(),
        &[(&["key gh", "p_", BODY, " # gitleaks:allow betterleaks:allow"], &["github-token"])],
    );
}

#[test]
fn a_finding_tells_its_place_and_not_its_secret() {
    let secret = ["gh", "p_", BODY].concat();
    let text = format!("é one\nüü {secret} two");
    let findings = own().scan(&text);
    let [finding] = findings.as_slice() else { panic!("one finding, not {findings:?}") };
    assert_eq!(&text[finding.start..finding.end], secret);
    assert_eq!((finding.line, finding.column), (2, 4));
    assert_eq!(finding.fingerprint.len(), 32);
    assert!(!format!("{finding:?}").contains(&BODY[..8]));
    assert_eq!(masked(&text, finding), "ghp_…");
    let twice = own().scan(&format!("{text}\n\n{secret} é {secret}"));
    let places: Vec<_> = twice.iter().map(|it| (it.line, it.column)).collect();
    assert_eq!(places, [(2, 4), (4, 1), (4, 44)]);
    let moved = own().scan(&format!("elsewhere: {secret}"));
    assert_eq!(moved[0].fingerprint, finding.fingerprint);
    let other = own().scan(&format!("{secret}x"));
    assert_ne!(other[0].fingerprint, finding.fingerprint);
}

#[test]
fn the_most_specific_rule_tells_a_place() {
    check(
        &own(),
        &[
            (&["api_key = \"gh", "p_", BODY, "\""], &["github-token"]),
            (
                &["a gh", "p_", BODY, " and sk_", "live_", "q7Zt2LmX9vKc4RwB8nYp"],
                &["github-token", "stripe-key"],
            ),
        ],
    );
}

const PACKAGE: &str = r#"
title = "a package"
[allowlist]
regexes = ['''^zz-known''']
[[rules]]
id = "zz"
description = "a token of zz"
regex = '''(zz-([a-z]+)-?([0-9]+))'''
secretGroup = 3
entropy = 1.5
keywords = ["ZZ-"]
[[rules.allowlists]]
condition = "AND"
regexTarget = "line"
regexes = ['''quiet''']
stopwords = ["77"]
[[rules]]
id = "braces"
description = "RE2 reads a brace that begins nothing as itself"
regex = '''q{x}([0-9]{4})'''
"#;

#[test]
fn a_package_means_what_its_tool_means() {
    check(
        &file_only(PACKAGE),
        &[
            (&["zz-ab-12345"], &["zz"]),
            (&["ZZ-ab-12345 zz-ab-1111"], &[]),
            (&["quiet zz-ab-12345"], &["zz"]),
            (&["loud zz-ab-1237745"], &["zz"]),
            (&["quiet zz-ab-1237745"], &[]),
            (&["q{x}1234"], &["braces"]),
        ],
    );
    let findings = file_only(PACKAGE).scan("zz-ab-12345");
    assert_eq!((findings[0].start, findings[0].end), (6, 11));
}

#[test]
fn a_global_allowlist_holds_for_its_own_file_alone() {
    let text = ["gh", "p_", BODY].concat();
    let loud = "[allowlist]\nregexes = ['''.*''']\n[[rules]]\nid = \"g\"\nregex = '''ghp_\\w+'''\n";
    assert_eq!(rules(&file_only(loud).scan(&text)), Vec::<&str>::new());
    let both = Scanner::new(&[loud]).unwrap();
    assert_eq!(rules(&both.scan(&text)), ["github-token"]);
}

#[test]
fn filters_of_betterleaks_are_honoured_or_told() {
    let rule = |filter: &str| {
        let regex = "regex = '''k_(\\w+)'''";
        format!("[[rules]]\nid = \"k\"\n{regex}\nfilter = '''{filter}'''\n")
    };
    let simple =
        rule("entropy(finding[\"secret\"]) <= 2.0 || !matchesAny(finding[\"secret\"], [`[0-9]`])");
    check(
        &file_only(&simple),
        &[(&["k_aabb1"], &[]), (&["k_abcdefgh"], &[]), (&["k_abcdefg1"], &["k"])],
    );
    let complex = rule("failsTokenEfficiency(finding[\"secret\"])");
    let skipped = file_only(&complex).skipped();
    assert_eq!((skipped.len(), skipped[0].file, skipped[0].rule.as_str()), (1, 1, "k"));
    assert!(skipped[0].reason.contains("failsTokenEfficiency"), "{}", skipped[0].reason);
}

#[test]
fn rules_that_cannot_be_honoured_are_told() {
    for (field, part) in [
        ("path = '''x$'''", "path"),
        ("skipReport = true", "part of another rule"),
        ("novel = 3", "novel"),
        ("check = \"token\"", "check"),
    ] {
        let text = format!("[[rules]]\nid = \"a\"\nregex = '''a'''\n{field}\n");
        let skipped = file_only(&text).skipped();
        assert!(skipped.len() == 1 && skipped[0].reason.contains(part), "{field}: {skipped:?}");
    }
}

#[test]
fn errors_name_the_rule_and_the_field() {
    for (text, named) in [
        ("[[rules]]\nid = \"a\"\nregex = '''('''", "rule \"a\", field regex"),
        ("[[rules]]\nid = \"a\"\nregex = '''a'''\nentropy = \"x\"", "rule \"a\", field entropy"),
        ("[[rules]]\nregex = '''a'''", "rule \"#1\", field id"),
        ("[allowlist]\ncondition = \"XOR\"", "field condition"),
        ("[[rules]", "not TOML"),
    ] {
        let error = Scanner::new(&[text]).unwrap_err();
        assert!(error.to_string().contains(named), "{error}");
        let (RuleError::Syntax { file, .. } | RuleError::Field { file, .. }) = error else {
            panic!("{error}")
        };
        assert_eq!(file, 1);
    }
}

#[test]
fn every_own_rule_is_applied_and_compiles() {
    let scanner = own();
    let all: String = scanner
        .groups
        .iter()
        .flat_map(|it| &it.rules)
        .flat_map(|it| it.keywords.iter().map(|it| format!("{it} ")))
        .collect();
    scanner.scan(&all);
    assert_eq!(scanner.skipped(), []);
    for rule in scanner.groups.iter().flat_map(|it| &it.rules) {
        assert!(rule.pattern.get().is_some(), "{}", rule.id);
        assert!(!rule.description.is_empty(), "{}", rule.id);
    }
}
