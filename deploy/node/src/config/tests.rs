//! What settings say, who overrides whom, and where an error points.

use std::path::PathBuf;

use super::{ConfigSource, Engine, SandboxEngine, SandboxSection, Settings, load};
use crate::failure::FailureKind;

struct Given<'a> {
    file: &'a str,
    environment: &'a [(&'a str, &'a str)],
    flags: &'a [&'a str],
}

const NOTHING: Given<'_> = Given { file: "", environment: &[], flags: &[] };

fn read(given: &Given<'_>) -> Result<Settings, String> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file: PathBuf = folder.path().join("node.toml");
    std::fs::write(&file, given.file).expect("the file can be written");
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    let source = ConfigSource {
        file: Some(file),
        environment: given.environment.iter().map(owned).collect(),
        flags: given.flags.iter().map(|flag| (*flag).to_owned()).collect(),
    };
    load(&source).map_err(|failure| {
        assert_eq!(failure.kind, FailureKind::Settings, "{failure}");
        failure.message
    })
}

#[test]
fn nothing_said_is_a_laptop() {
    let settings = load(&ConfigSource::default()).expect("defaults are good");
    assert_eq!(settings, Settings::default());
    assert!(settings.server.listen.ip().is_loopback());
    assert_eq!(settings.storage.engine, Engine::Embedded);
    assert_eq!(settings.embedding.models.len(), 1);
}

#[test]
fn the_environment_overrides_the_file_and_flags_override_both() {
    let file = "[server]\nlisten = \"127.0.0.1:1\"\nthreads = 1\ndrain_timeout_ms = 1";
    let environment =
        [("HEADWATER__SERVER__THREADS", "2"), ("HEADWATER__SERVER__DRAIN_TIMEOUT_MS", "2")];
    let flags = ["server.drain_timeout_ms=3", "embedding.models.0.replicas=4"];
    let file = format!("{file}\n[[embedding.models]]\nname = \"m\"\nsource.folder = \"/m\"");
    let settings = read(&Given { file: &file, environment: &environment, flags: &flags });
    let settings = settings.expect("all of it is good");
    assert_eq!(settings.server.listen.port(), 1);
    assert_eq!(settings.server.threads, 2);
    assert_eq!(settings.server.drain_timeout_ms, 3);
    assert_eq!(settings.embedding.models[0].replica_count(), 4);
}

#[test]
fn errors_name_the_key_and_its_place() {
    let check = |given: Given<'_>, parts: &[&str]| {
        let message = read(&given).expect_err("this must be refused");
        for part in parts {
            assert!(message.contains(part), "no {part:?} in: {message}");
        }
    };
    let file = |file| Given { file, ..NOTHING };
    check(file("[server]\n\nlisen = \"x\""), &["node.toml", "line 3", "lisen", "listen"]);
    check(file("[server]\nthreads = \"two\""), &["node.toml", "line 2", "threads"]);
    check(file("[server]\nthreads = 0"), &["node.toml line 2", "server.threads", "at least 1"]);
    check(file("[server\n"), &["node.toml", "line 1"]);
    check(
        file("[server]\nthreads = 1\nlisten = \"0.0.0.0:8080\""),
        &["line 3", "server.listen", "auth.key_file", "127.0.0.1"],
    );
    let twice = "[[embedding.models]]\nname = \"a\"\nsource.folder = \"/a\"\n\
                 [[embedding.models]]\nname = \"a\"\nsource.folder = \"/b\"\n";
    check(file(twice), &["line 5", "embedding.models.1.name", "twice"]);
    check(file("[embedding]\nmodels = []"), &["line 2", "embedding.models", "at least one"]);
    check(
        file("[tools]\nsearch_encoder = \"none\""),
        &["line 2", "tools.search_encoder", "embedding.models"],
    );
    check(
        file("[[embedding.models]]\nname = \"a\"\nsource.carrier_pigeon = \"/a\"\n"),
        &["line 3", "carrier_pigeon", "folder", "hub", "package"],
    );
    check(
        file("[embedding]\nqueue_tokens = 10"),
        &["line 2", "embedding.queue_tokens", "at least 300000"],
    );
    let environment = [("HEADWATER__SERVER__THREADS", "many")];
    check(
        Given { environment: &environment, ..NOTHING },
        &["HEADWATER__SERVER__THREADS", "server.threads"],
    );
    let environment = [("HEADWATER__SERVER__THREADS", "0")];
    check(
        Given { environment: &environment, ..NOTHING },
        &["HEADWATER__SERVER__THREADS", "at least 1"],
    );
    check(
        Given { flags: &["server.nothing=1"], ..NOTHING },
        &["--set server.nothing=1", "nothing"],
    );
    check(Given { flags: &["server.threads"], ..NOTHING }, &["--set server.threads", "key=value"]);
    check(
        Given { flags: &["server.threads.x=1"], ..NOTHING },
        &["--set server.threads.x=1", "expected usize"],
    );
}

#[test]
fn a_cluster_that_makes_no_sense_is_refused_by_key() {
    let refused = [
        ("cluster.node=a/b", "cluster.node", "holds `/`"),
        ("cluster.id=", "cluster.id", "1 to 64"),
        ("storage.node=a b", "storage.node", "holds ` `"),
        ("storage.node=n1", "storage.node", "is this node"),
        ("storage.serve=true", "storage.serve", "not for its users"),
        ("storage.engine=\"embedded\"", "storage.engine", "share one store"),
        ("cluster.seeds=[\"a:1\", \"b\"]", "cluster.seeds.1", "host:port"),
        ("cluster.advertise=a:70000", "cluster.advertise", "host:port"),
        ("cluster.max_skew_ms=1500", "cluster.lease_ms", "twice"),
        ("cluster.lease_ms=3600001", "cluster.lease_ms", "100 to 3600000"),
        ("cluster.idle_timeout_ms=0", "cluster.idle_timeout_ms", "100 to 600000"),
        ("tenancy.allowance_ms=0", "tenancy.allowance_ms", "1 to 60000"),
        ("tenancy.allowance_ms=60001", "tenancy.allowance_ms", "1 to 60000"),
        ("tenancy.outage_share_percent=101", "tenancy.outage_share_percent", "0 to 100"),
    ];
    let good = [
        "cluster.node=n1",
        "cluster.listen=127.0.0.1:0",
        "cluster.seeds=[\"[::1]:9400\", \"n2.example:9400\"]",
        "cluster.advertise=n1.example:9400",
        "storage.engine=cluster",
        "storage.node=n2",
    ];
    read(&Given { flags: &good, ..NOTHING }).expect("all of it is good");
    for (flag, key, words) in refused {
        let flags: Vec<&str> = good.iter().copied().chain([flag]).collect();
        let message = read(&Given { flags: &flags, ..NOTHING }).expect_err(flag);
        assert!(message.contains(key) && message.contains(words), "{flag}: {message}");
    }
}

#[test]
fn sandboxes_that_cannot_be_had_are_refused_by_key() {
    let mut refused =
        vec![("sandbox.wasm_image=A", "wasm_image"), ("sandbox.engines=[\"vm\"]", "wasm")];
    let wasm = "sandbox.engines=[\"wasm\"]";
    if cfg!(feature = "wasm") {
        read(&Given { flags: &[wasm], ..NOTHING }).expect("this binary has it");
    } else {
        refused.push((wasm, "--features wasm"));
    }
    for (flag, words) in refused {
        let message = read(&Given { flags: &[flag], ..NOTHING }).expect_err(flag);
        assert!(message.contains(words), "{flag}: {message}");
    }
}

#[test]
fn calls_that_name_no_image_get_one_that_an_engine_can_run() {
    use SandboxEngine::{Jail, Wasm};
    let (mine, wasm) = (Some("mine".to_owned()), Some("w".to_owned()));
    for (engines, image, wasm_image, expected) in [
        (vec![Jail], None, None, "python"),
        (vec![Jail, Wasm], None, wasm.clone(), "python"),
        (vec![Wasm], None, wasm.clone(), "w"),
        (vec![Wasm], mine, wasm, "mine"),
        (vec![Wasm], None, None, "python"),
    ] {
        let section = SandboxSection { engines, image, wasm_image, ..SandboxSection::default() };
        assert_eq!(section.default_image(), expected, "{section:?}");
    }
}

#[test]
fn webhooks_that_make_no_sense_are_refused_by_key_and_without_their_address() {
    let url = "url = \"https://hooks.example/services/opensesame\"";
    let good = format!(
        "[notices]\nthresholds_percent = [90]\n[[notices.webhooks]]\n{url}\nteam = \"acme\"\n\
         [[notices.webhooks]]\n{url}\nsecret_file = \"/s\"\n"
    );
    let settings = read(&Given { file: &good, ..NOTHING }).expect("all of it is good");
    assert_eq!(settings.notices.told().iter().collect::<Vec<_>>(), [90]);
    assert!(Settings::default().notices.told().is_empty(), "nobody is there to be told");
    let hook = |field: &str| format!("[[notices.webhooks]]\n{field}\n");
    for (file, key, words) in [
        (hook("url = \"opensesame\""), "notices.webhooks.0.url", "https:// or http://"),
        (hook("url = \"ftp://h/opensesame\""), "notices.webhooks.0.url", "https:// or http://"),
        (hook("url = \"https://me:opensesame@h\""), "notices.webhooks.0.url", "secret_file"),
        (hook(url) + &hook(url), "notices.webhooks.1.url", "twice"),
        (hook(&format!("{url}\nteam = \"a/b\"")), "notices.webhooks.0.team", "1 to 64"),
        (hook(&format!("{url}\nsecret = \"x\"")), "secret", "secret_file"),
        (hook("team = \"acme\""), "notices.webhooks", "url"),
        ("[notices]\nthresholds_percent = []\n".to_owned(), "thresholds_percent", "1 to 100"),
        ("[notices]\nthresholds_percent = [101]\n".to_owned(), "thresholds_percent", "1 to 100"),
    ] {
        let message = read(&Given { file: &file, ..NOTHING }).expect_err(&file);
        assert!(message.contains(key) && message.contains(words), "{file}: {message}");
        assert!(!message.contains("opensesame"), "{message}");
    }
}

#[test]
fn a_missing_file_is_named() {
    let file = Some(PathBuf::from("/nowhere/node.toml"));
    let failure = load(&ConfigSource { file, ..ConfigSource::default() });
    let message = failure.expect_err("there is no such file").message;
    assert!(message.contains("/nowhere/node.toml"), "{message}");
}

#[test]
fn a_gateway_that_leads_nowhere_or_has_no_price_is_refused_by_key() {
    let backends = "[[gateway.backends]]\nname = \"a\"\nprotocol = \"openai\"\n";
    let model = |targets: &str| {
        format!("{backends}[[gateway.models]]\nname = \"chat\"\ntargets = [{targets}]\n")
    };
    let good = "{ backend = \"a\", model = \"m\", price = { input = 0.15, output = 0.6 } }";
    let settings = read(&Given { file: &model(good), ..NOTHING }).expect("all of it is good");
    let config = settings.gateway_document().config().expect("is good");
    let target = &config.aliases[0].targets[0];
    assert_eq!((target.weight, target.price.input, target.price.output), (1, 150_000, 600_000));
    assert_eq!(target.price.input_cached, 150_000, "as other input without a price of its own");
    for (targets, key, words) in [
        ("", "gateway.models.0.targets", "weight"),
        ("{ backend = \"b\", free = true }", "targets.0.backend", "there are: a"),
        ("{ backend = \"a\" }", "targets.0.price", "free = true"),
        ("{ backend = \"a\", free = true, weight = 0 }", "gateway.models.0.targets", "weight"),
        (
            "{ backend = \"a\", free = true, price = { input = 1.0, output = 1.0 } }",
            "targets.0.free",
            "price beside it",
        ),
        (
            "{ backend = \"a\", price = { input = -1.0, output = 1.0 } }",
            "targets.0.price.input",
            "0 to 1000000",
        ),
    ] {
        let message = read(&Given { file: &model(targets), ..NOTHING }).expect_err(targets);
        assert!(message.contains(key) && message.contains(words), "{targets}: {message}");
    }
    for (line, key, words) in [
        ("url = \"a.example\"", "gateway.backends.0.url", "http://"),
        ("source.folder = \"/m\"", "gateway.backends.0.source", "local"),
    ] {
        let file = format!("{backends}{line}\n");
        let message = read(&Given { file: &file, ..NOTHING }).expect_err(line);
        assert!(message.contains(key) && message.contains(words), "{line}: {message}");
    }
    let local = "[[gateway.backends]]\nname = \"a\"\nprotocol = \"local\"\n";
    let message = read(&Given { file: local, ..NOTHING }).expect_err("no weights");
    assert!(message.contains("gateway.backends.0.source"), "{message}");
    let encoder = read(&NOTHING).expect("good").embedding.models[0].name.clone();
    let taken = model(good).replace("\"chat\"", &format!("\"{encoder}\""));
    let message = read(&Given { file: &taken, ..NOTHING }).expect_err("taken");
    assert!(message.contains("gateway.models.0.name"), "{message}");
}

#[test]
fn an_issuer_that_could_be_anybody_is_refused_by_key() {
    let issuer = |fields: &str| format!("[[auth.issuers]]\n{fields}\n");
    let good = "issuer = \"https://id.example\"\naudience = [\"us\"]\nteams = [\"acme\"]\n";
    let url = "jwks_url = \"https://id.example/keys\"\n";
    let listen = "[server]\nlisten = \"0.0.0.0:8080\"\n";
    let file = format!("{listen}{}", issuer(&format!("{good}{url}")));
    let settings = read(&Given { file: &file, ..NOTHING }).expect("an issuer is no open node");
    let issuer_settings = settings.auth.issuers[0].settings();
    assert_eq!((issuer_settings.claims.team.as_str(), issuer_settings.operators), ("team", false));
    let table = [
        (good.to_owned(), "jwks_url", "jwks_file"),
        (format!("{good}{url}jwks_file = \"/keys\""), "jwks_url", "not both"),
        (format!("{good}jwks_url = \"http://id.example/keys\""), "jwks_url", "https://"),
        (format!("{good}jwks_url = \"keys\""), "jwks_url", "https://"),
        (format!("{good}{url}algorithms = []"), "algorithms", "RS256"),
        (format!("{good}{url}leeway_s = 601"), "leeway_s", "0 to 600"),
        (format!("{good}{url}refresh_ms = 0"), "refresh_ms", "at least 1"),
        (format!("{}{url}", good.replace("[\"us\"]", "[]")), "audience", "empty"),
        (format!("{}{url}", good.replace("[\"acme\"]", "[]")), "teams", "`*`"),
        (format!("{}{url}", good.replace("https://id.example", "headwater")), "issuer", "own"),
    ];
    for (fields, key, words) in table {
        let message = read(&Given { file: &issuer(&fields), ..NOTHING }).expect_err(&fields);
        let key = format!("auth.issuers.0.{key}");
        assert!(message.contains(&key) && message.contains(words), "{fields}: {message}");
    }
    for algorithm in ["HS256", "none"] {
        let file = issuer(&format!("{good}{url}algorithms = [\"{algorithm}\"]"));
        let message = read(&Given { file: &file, ..NOTHING }).expect_err(algorithm);
        assert!(message.contains(algorithm) && message.contains("RS256"), "{message}");
    }
    let twice = issuer(&format!("{good}{url}")).repeat(2);
    let message = read(&Given { file: &twice, ..NOTHING }).expect_err("twice");
    assert!(message.contains("auth.issuers.1.issuer") && message.contains("twice"), "{message}");
    let message = read(&Given { flags: &["auth.stale_ms=1"], ..NOTHING }).expect_err("short");
    assert!(message.contains("auth.stale_ms") && message.contains("1000"), "{message}");
}

#[test]
fn an_audit_that_makes_no_sense_is_refused_by_key() {
    let file = "[audit]\nlocation = \"s3://bucket/audit/\"\ncontent = \"hash\"\n\
                content_by_team = { acme = \"full\", other = \"none\" }\n";
    let settings = read(&Given { file, ..NOTHING }).expect("all of it is good");
    assert_eq!(settings.audit.content_by_team.len(), 2);
    assert!(!settings.is_audited(), "a node without a gateway keeps none");
    for (line, key, words) in [
        ("content = \"some\"", "content", "`none`, `hash`, `full`"),
        ("content_by_team = { acme = \"x\" }", "content_by_team", "`full`"),
        ("content_days = 0", "audit.content_days", "at least 1"),
        ("content_days = 91", "audit.content_days", "audit.metadata_days, 90"),
        ("spill_limit_bytes = 10", "audit.spill_limit_bytes", "1048576"),
        ("query_rows = 0", "audit.query_rows", "at least 1"),
        ("location = \"\"", "audit.location", "s3://bucket/prefix/"),
        ("place = \"x\"", "place", "location"),
    ] {
        let file = format!("[audit]\n{line}\n");
        let message = read(&Given { file: &file, ..NOTHING }).expect_err(line);
        assert!(message.contains(key) && message.contains(words), "{line}: {message}");
    }
}

#[test]
fn redaction_is_read_and_wrong_fields_are_named() {
    let policy = |line: &str| format!("[gateway.redaction.standard]\n{line}\n");
    let good = policy("rules = { email = { action = \"token\" }, ssn = { action = \"block\" } }")
        + "[gateway.redaction.teams.legal]\nresponse = true\n\
           rules = { person = { action = \"mask\", threshold_percent = 30 } }\n";
    let settings = read(&Given { file: &good, ..NOTHING }).expect("all of it is good");
    let policies = settings.gateway_document().config().expect("is good").redaction;
    let standard = policies.of("sales").expect("for all");
    assert!(standard.must_hold() && standard.request && !standard.response);
    let legal = policies.of("legal").expect("of their own");
    assert!(legal.response && !legal.must_hold() && policies.want_names());
    for (line, key, words) in [
        ("rules = {}", "redaction.standard.rules", "at least one"),
        ("rules = { e_mail = { action = \"mask\" } }", "standard.rules.e_mail", "there are: ssn"),
        ("rules = { ip = { action = \"hide\" } }", "rules.ip.action", "mask, hash"),
        (
            "rules = { ip = { action = \"mask\", threshold_percent = 0 } }",
            "rules.ip.threshold_percent",
            "1 to 99",
        ),
        ("rules = { ip = { action = \"hash\" } }", "gateway.redaction_key_file", "all nodes"),
    ] {
        let message = read(&Given { file: &policy(line), ..NOTHING }).expect_err(line);
        assert!(message.contains(key) && message.contains(words), "{line}: {message}");
    }
    let message = read(&Given { file: "gateway.redaction_budget_ms = 0\n", ..NOTHING });
    assert!(message.expect_err("no time").contains("gateway.redaction_budget_ms"));
}
