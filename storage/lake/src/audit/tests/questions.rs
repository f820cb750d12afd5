//! Answers in plain units, within limits, with words for what is wrong.

use headwater_storage::audit::{
    AuditError, AuditLake, AuditQuery, AuditRecord, COLUMNS, Cell, Content, DAY_MS, Outcome,
    QueryLimits, Scope, Table, ToolUse,
};

use super::world::{NOW_MS, TODAY, World, ask, record, rows};
use crate::audit::ParquetAudit;

async fn limited(lake: &ParquetAudit, sql: &str, limits: QueryLimits) -> Result<Table, AuditError> {
    lake.query(AuditQuery { sql: sql.to_owned(), scope: Scope::All, limits }).await
}

fn text(text: &str) -> Cell {
    Cell::text(text)
}

#[tokio::test]
async fn sums_are_in_plain_units_and_a_day_is_a_day() {
    let world = World::new();
    let lake = world.start("one");
    let mut all: Vec<AuditRecord> = (0..6)
        .map(|number| {
            let team = if number % 3 == 0 { "acme" } else { "other" };
            record(&format!("{number}"), team, TODAY - number % 2)
        })
        .collect();
    all[0].ttft_ms = Some(12);
    all[1].outcome = Outcome::OverQuota;
    assert_eq!(lake.append(&all[..3]).await, Ok(3));
    assert_eq!(lake.flush().await, Ok(()));
    assert_eq!(lake.append(&all[3..]).await, Ok(3));
    let sql = "select team, model_asked, sum(cost_usd), sum(tokens_in) from audit group by 1, 2 \
               order by 1";
    let expected = vec![
        vec![text("acme"), text("chat"), Cell::Float(2.5), Cell::Int(20)],
        vec![text("other"), text("chat"), Cell::Float(5.0), Cell::Int(40)],
    ];
    assert_eq!(rows(&lake, sql).await, expected);
    for (sql, expected) in [
        ("select count(*) from audit where day = '2100-01-01'", Cell::Int(3)),
        ("select count(*) from audit where day < date '2100-01-01'", Cell::Int(3)),
        ("select count(*) from audit where time >= '2100-01-01T00:00:00Z'", Cell::Int(3)),
        ("select count(*) from audit where time < timestamp '2099-12-31 00:00:30'", Cell::Int(0)),
        ("select count(*) from audit where '2099-12-31' = day and team = 'acme'", Cell::Int(1)),
        ("select cast(min(day) as text) from audit", text("2099-12-31")),
        ("select min(time) from audit", text("2099-12-31T00:01:00Z")),
        ("select count(ttft_ms) from audit", Cell::Int(1)),
        ("select count(*) from audit where outcome = 'over_quota'", Cell::Int(1)),
        ("select date_trunc('month', time) from audit limit 1", text("")),
        ("select approx_percentile_cont(latency_ms, 0.5) from audit", Cell::Float(0.0)),
        ("select round(avg(cost_usd), 2) from audit", Cell::Float(1.25)),
        ("select upper(substr(team, 1, 2)) from audit where team = 'acme' limit 1", text("AC")),
    ] {
        let found = rows(&lake, sql).await;
        let Some([cell]) = found.first().map(Vec::as_slice) else { panic!("{sql}: {found:?}") };
        // Some texts are only asked to be there.
        assert!(*cell == expected || expected == text(""), "{sql}: {cell:?}");
    }
}

#[tokio::test]
async fn every_column_comes_back_from_spill_and_lake_alike() {
    let world = World::new();
    let lake = world.start("one");
    let full = AuditRecord {
        time_ms: NOW_MS + 1,
        project: Some("p".into()),
        user: Some("u".into()),
        key_id: Some("k".into()),
        route: "/v1/chat/completions".into(),
        protocol: "openai".into(),
        backend: "b".into(),
        model_served: "m".into(),
        tokens_cached: 3,
        tokens_cache_written: 2,
        is_estimated: true,
        latency_ms: 90,
        ttft_ms: Some(30),
        cache_hit: true,
        redactions: [("email".to_owned(), 2)].into(),
        retries: 1,
        prompt_version: Some("v1".into()),
        config_version: Some(4),
        flags: vec!["redaction_skipped".into()],
        content: Some(Content::Full { request: "ask".into(), response: "say".into() }),
        tool: Some(ToolUse {
            call_id: "call-1".into(),
            session: Some("s".into()),
            agent: Some("a".into()),
            input_sha256: "11".into(),
            output_sha256: Some("22".into()),
            ended: Some("exit 0".into()),
            memory_peak_bytes: Some(5),
            cpu_us: Some(6),
            egress_bytes: Some(7),
            refusal: Some("none".into()),
        }),
        ..record("full", "acme", TODAY)
    };
    let hash = Content::Hash { request: "00".into(), response: "ff".into() };
    let hashed = AuditRecord { content: Some(hash), ..record("hash", "acme", TODAY) };
    assert_eq!(lake.append(&[full, hashed]).await, Ok(2));
    let sql = "select * from audit order by id";
    let before = ask(&lake, Scope::All, sql).await.expect("is answered");
    assert_eq!(lake.flush().await, Ok(()));
    let after = ask(&lake, Scope::All, sql).await.expect("is answered");
    assert_eq!(before, after);
    let names: Vec<&str> = after.columns.iter().map(String::as_str).collect();
    assert_eq!(names, COLUMNS.map(|column| column.name));
    let cell = |row: usize, name: &str| {
        let place = names.iter().position(|own| *own == name).expect("is one");
        after.rows[row][place].clone()
    };
    assert_eq!(cell(0, "time"), text("2100-01-01T01:00:00.001Z"));
    assert_eq!((cell(0, "day"), cell(0, "request")), (text("2100-01-01"), text("ask")));
    assert_eq!((cell(0, "redactions"), cell(0, "ttft_ms")), (text("email=2"), Cell::Int(30)));
    assert_eq!((cell(1, "request"), cell(1, "response_hash")), (Cell::Null, text("ff")));
    assert_eq!((cell(0, "call_id"), cell(0, "cpu_us")), (text("call-1"), Cell::Int(6)));
    assert_eq!((cell(1, "call_id"), cell(1, "cpu_us")), (Cell::Null, Cell::Null));
    assert_eq!((cell(1, "flags"), cell(1, "project")), (Cell::Null, Cell::Null));
}

#[tokio::test]
async fn an_answer_keeps_within_its_limits() {
    let world = World::new();
    let lake = world.start("one");
    let all: Vec<AuditRecord> =
        (0..3_000).map(|number| record(&format!("{number:04}"), "acme", TODAY)).collect();
    assert_eq!(lake.append(&all).await, Ok(3_000));
    let standard = QueryLimits::default();
    for (sql, rows, is_truncated) in [
        ("select id from audit", 100, true),
        ("select id from audit limit 100", 100, false),
        ("select id from audit where id < '0007'", 7, false),
    ] {
        let limits = QueryLimits { rows: 100, ..standard };
        let table = limited(&lake, sql, limits).await.expect("is answered");
        assert_eq!((table.rows.len(), table.is_truncated), (rows, is_truncated), "{sql}");
    }
    // What is told has a limit of its own.
    let small = QueryLimits { memory_bytes: 40_000, ..standard };
    let table = limited(&lake, "select id from audit", small).await.expect("is answered");
    assert!(table.is_truncated && table.rows.len() < 3_000);
    let sorted = limited(&lake, "select * from audit order by latency_ms, id", small).await;
    assert!(
        matches!(&sorted, Err(AuditError::Refused(said)) if said.contains("memory")),
        "{sorted:?}"
    );
    let endless =
        "select count(*) from audit a, audit b, audit c where a.id < b.id and b.id < c.id";
    let limits = QueryLimits { time_ms: 300, ..standard };
    let endless = limited(&lake, endless, limits).await;
    assert_eq!(endless, Err(AuditError::TimedOut { after_ms: 300 }));
    // And the next one is answered.
    assert_eq!(rows(&lake, "select count(*) from audit").await, [[Cell::Int(3_000)]]);
}

#[tokio::test]
async fn a_wrong_question_is_told_what_is_wrong() {
    let world = World::new();
    let lake = world.start("one");
    let deep = format!("select {}1{} from audit", "(".repeat(400), ")".repeat(400));
    let chained = |length: usize| format!("select 1{} from audit", "+1".repeat(length));
    let (chain, endless) = (chained(490), chained(8_000));
    let long = format!("select '{}'", "x".repeat(20_000));
    for (sql, words) in [
        ("choose 1", "choose"),
        ("select", "expected"),
        ("select nothing from audit", "nothing"),
        ("select nothing from audit", "cost_micro_usd"),
        ("select * from users", "the only table is audit"),
        ("select nosuch(team) from audit", "nosuch"),
        (deep.as_str(), "recursion"),
        (long.as_str(), "at most 16384"),
        (endless.as_str(), "16004 words and signs; at most 1000"),
    ] {
        match ask(&lake, Scope::All, sql).await {
            Err(AuditError::Refused(said)) => {
                assert!(said.to_lowercase().contains(words), "{:.40}: {said:.400}", sql);
            }
            other => panic!("{sql:.40}: {other:?}"),
        }
    }
    // Chains are planned by recursion, which the longest one does not bring to its end.
    let chain = ask(&lake, Scope::All, &chain).await;
    assert!(chain.is_ok(), "{chain:?}");
    assert_eq!(rows(&lake, "select 1").await, [[Cell::Int(1)]]);
}

#[tokio::test]
async fn only_the_days_that_are_asked_for_are_read() {
    let world = World::new();
    let lake = world.start("one");
    let all: Vec<AuditRecord> =
        (0..4).map(|day| record(&format!("{day}"), "acme", TODAY - day)).collect();
    assert_eq!(lake.append(&all).await, Ok(4));
    assert_eq!(lake.flush().await, Ok(()));
    // A file that cannot be read, of the oldest day.
    let files = world.files().await;
    world.put(&files[0], bytes::Bytes::from_static(b"no parquet")).await;
    let all = ask(&lake, Scope::All, "select count(*) from audit").await;
    assert!(matches!(all, Err(AuditError::Unavailable(_))), "{all:?}");
    for condition in [
        "day >= date '2099-12-30'".to_owned(),
        "day between date '2099-12-30' and date '2100-01-01'".to_owned(),
        "time >= '2099-12-30T00:00:00Z'".to_owned(),
        format!("time >= to_timestamp_millis({})", (TODAY - 2) * DAY_MS),
        "time > timestamp '2099-12-30 00:00:00'".to_owned(),
        "day >= timestamp '2099-12-30 00:00:00'".to_owned(),
        "cast(time as date) >= date '2099-12-30' and team = 'acme'".to_owned(),
    ] {
        let sql = format!("select count(*) from audit where {condition}");
        let table = ask(&lake, Scope::All, &sql).await.map(|table| table.rows);
        assert_eq!(table, Ok(vec![vec![Cell::Int(3)]]), "{sql}");
    }
}
