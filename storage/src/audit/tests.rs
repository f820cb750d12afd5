//! The double keeps the port's promises, and dates are the calendar's.

use super::{
    AuditError, AuditLake, AuditQuery, AuditRecord, COLUMNS, Cell, Content, DAY_MS, MemoryAudit,
    Moment, Outcome, QueryLimits, RequestTrace, Scope, Table, TraceParent, cells,
};

fn record(id: &str, team: &str, time_ms: u64) -> AuditRecord {
    let content = Content::Full { request: "ask".to_owned(), response: "say".to_owned() };
    AuditRecord { time_ms, content: Some(content), ..AuditRecord::new(id, team, Outcome::Whole) }
}

async fn ask(lake: &MemoryAudit, sql: &str, scope: Scope) -> Result<Table, AuditError> {
    let limits = QueryLimits { rows: 2, ..QueryLimits::default() };
    lake.query(AuditQuery { sql: sql.to_owned(), scope, limits }).await
}

async fn ids(lake: &MemoryAudit) -> Vec<String> {
    lake.records().into_iter().map(|one| one.id).collect()
}

#[tokio::test]
async fn a_repetition_adds_nothing_and_a_lake_that_is_away_loses_nothing() {
    let lake = MemoryAudit::new();
    let (a, b) = (record("a", "acme", 7), record("b", "acme", 5));
    assert_eq!(lake.append(std::slice::from_ref(&a)).await, Ok(1));
    lake.set_down(true);
    assert_eq!(lake.append(&[a, b.clone()]).await, Ok(1));
    assert!(matches!(lake.flush().await, Err(AuditError::Unavailable(_))));
    assert_eq!((lake.backlog().records, lake.backlog().oldest_ms), (2, Some(5)));
    lake.set_down(false);
    assert_eq!(lake.flush().await, Ok(()));
    assert_eq!(lake.append(&[b]).await, Ok(0));
    assert_eq!((ids(&lake).await, lake.backlog().records), (vec!["a".into(), "b".into()], 0));
    lake.set_limit_bytes(10);
    let full = lake.append(&[record("c", "acme", 9)]).await;
    assert_eq!(full, Err(AuditError::Full { waiting_bytes: 0, limit_bytes: 10 }));
}

#[tokio::test]
async fn a_team_sees_its_own_rows_and_a_wrong_question_is_told_why() {
    let lake = MemoryAudit::new();
    let all = [record("a", "acme", 1), record("b", "other", 2), record("c", "acme", DAY_MS)];
    assert_eq!(lake.append(&all).await, Ok(3));
    let own = ask(&lake, "SELECT id, day FROM audit", Scope::Team("acme".to_owned())).await;
    let row = |id: &str, day: &str| vec![Cell::text(id), Cell::text(day)];
    let rows = vec![row("a", "1970-01-01"), row("c", "1970-01-02")];
    let columns = vec!["id".to_owned(), "day".to_owned()];
    assert_eq!(own, Ok(Table { columns, rows, is_truncated: false }));
    let cut = ask(&lake, "select * from audit", Scope::All).await.expect("is answered");
    assert_eq!((cut.columns.len(), cut.rows.len(), cut.is_truncated), (COLUMNS.len(), 2, true));
    for (sql, words) in [
        ("drop table audit", "no select"),
        ("select id from users", "more than it can"),
        ("select nothing from audit", "no column nothing"),
        ("select from audit", "no column"),
        ("select id from audit limit x", "no number"),
    ] {
        match ask(&lake, sql, Scope::All).await {
            Err(AuditError::Refused(reason)) => assert!(reason.contains(words), "{reason}"),
            other => panic!("{sql}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn what_was_said_goes_first_and_what_is_flagged_stays() {
    let lake = MemoryAudit::new();
    let flagged = AuditRecord { flags: vec!["quota_unproven".into()], ..record("f", "acme", 0) };
    assert_eq!(lake.append(&[record("a", "acme", 0), flagged.clone()]).await, Ok(2));
    lake.flush().await.expect("is flushed");
    let pruned = lake.prune(6 * DAY_MS).await.expect("is pruned");
    assert_eq!((pruned.stripped, pruned.removed), (0, 0));
    let pruned = lake.prune(7 * DAY_MS).await.expect("is pruned");
    assert_eq!((pruned.stripped, pruned.removed), (1, 0));
    assert_eq!(lake.records()[0].content, None);
    let pruned = lake.prune(90 * DAY_MS).await.expect("is pruned");
    assert_eq!((pruned.stripped, pruned.removed), (0, 1));
    assert_eq!(lake.records(), [flagged]);
}

#[test]
fn dates_are_the_calendars() {
    for (text, days) in [
        ("1970-01-01", 0),
        ("1972-02-29", 789),
        ("2000-02-29", 11_016),
        ("2026-12-01", 20_788),
        ("2100-03-01", 47_541),
    ] {
        assert_eq!(Moment::of_date(text), Some(Moment { ms: days * DAY_MS }), "{text}");
        assert_eq!(Moment { ms: days * DAY_MS + 5 }.date(), text);
    }
    for wrong in ["", "2026-2-1", "2026-02-30", "2026-13-01", "1969-12-31", "2026-12-01T00"] {
        assert_eq!(Moment::of_date(wrong), None, "{wrong}");
    }
    assert_eq!(Moment { ms: 1_796_117_400_125 }.text(), "2026-12-01T09:30:00.125Z");
}

#[test]
fn each_outcome_has_a_name_of_its_own_and_a_record_all_its_cells() {
    for outcome in Outcome::ALL {
        assert_eq!(Outcome::named(outcome.name()), Some(outcome));
    }
    let mut one = record("a", "acme", DAY_MS + 1);
    one.cost_micro_usd = 1_500_000;
    one.redactions = [("email".to_owned(), 2), ("iban".to_owned(), 1)].into();
    one.flags = vec!["x".to_owned(), "y".to_owned()];
    let cells = cells(&one);
    let cell = |name: &str| {
        let place = COLUMNS.iter().position(|column| column.name == name).expect("is one");
        cells[place].clone()
    };
    assert_eq!(cell("cost_usd"), Cell::Float(1.5));
    assert_eq!(cell("day"), Cell::Int(1));
    assert_eq!(cell("redactions"), Cell::text("email=2,iban=1"));
    assert_eq!(cell("flags"), Cell::text("x,y"));
    assert_eq!((cell("request"), cell("request_hash")), (Cell::text("ask"), Cell::Null));
    let debug = format!("{one:?}");
    assert!(debug.contains("Full(..)") && !debug.contains("\"ask\""), "no log tells: {debug}");
}

#[test]
fn a_table_is_csv_whatever_its_texts_hold() {
    let cells = vec![
        Cell::Null,
        Cell::text(""),
        Cell::text("plain"),
        Cell::text("a,\"b\"\nc"),
        Cell::Int(-3),
        Cell::Float(0.25),
        Cell::Bool(true),
    ];
    let columns = (0..cells.len()).map(|place| format!("c{place}")).collect();
    let table = Table { columns, rows: vec![cells], is_truncated: false };
    let csv = "c0,c1,c2,c3,c4,c5,c6\r\n,\"\",plain,\"a,\"\"b\"\"\nc\",-3,0.25,true\r\n";
    assert_eq!(table.csv(), csv);
}

#[test]
fn a_traceparent_is_read_as_the_recommendation_has_it() {
    let good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let read = TraceParent::read(good).expect("valid");
    assert_eq!((read.span_id, read.is_sampled), (0xb7ad_6b71_6920_3331, true));
    assert_eq!(read.header(), good);
    let later = format!("cc{}-what-else", &good[2..]);
    assert_eq!(TraceParent::read(&later), Some(read));
    for bad in [
        "",
        "00",
        &good.to_uppercase(),
        &good[..good.len() - 1],
        &format!("{good}-more"),
        &format!("ff{}", &good[2..]),
        &good.replace("b7ad6b7169203331", "0000000000000000"),
        &good.replace("0af7651916cd43dd8448eb211c80319c", &"0".repeat(32)),
        &good.replace("b7ad6b71", "+7ad6b71"),
    ] {
        assert_eq!(TraceParent::read(bad), None, "{bad}");
    }
}

#[test]
fn a_request_has_spans_of_its_own_in_the_clients_trace_or_in_a_new_one() {
    let id = "01890a5d-ac96-774b-bcce-b302099a8057";
    let alone = RequestTrace::of(id, None).expect("a UUID");
    assert_eq!(format!("{:032x}", alone.own.trace_id), id.replace('-', ""));
    assert_ne!(alone.own.span_id, alone.model.span_id);
    let parent = TraceParent { trace_id: 7, span_id: 9, is_sampled: false };
    let within = RequestTrace::of(id, Some(parent)).expect("a UUID");
    assert_eq!((within.own.trace_id, within.model.trace_id, within.parent), (7, 7, Some(parent)));
    assert_eq!(within.own.span_id, alone.own.span_id);
    assert_eq!(RequestTrace::of("request-1", None), None);
}
