//! A team sees its own rows, whatever it asks; nobody reaches anything but the view.

use headwater_storage::audit::{AuditError, AuditLake, Cell, Scope};

use super::world::{TODAY, World, ask, record};

/// Questions that would show another team's rows.
const PRYING: &[&str] = &[
    "select id, team from audit",
    "select id, team from audit where team = 'other'",
    "select id, team from audit where team <> 'acme' or 1 = 1",
    "select id, team from audit union all select id, team from audit where team = 'other'",
    "select id, team from (select * from audit) as a where a.team like '%'",
    "select a.id, b.team from audit a join audit b on a.team <> b.team",
    "select a.id, b.team from audit a cross join audit b",
    "with all_rows as (select * from audit) select id, team from all_rows",
    "select id, (select max(team) from audit b) as team from audit a",
    "select id, team from audit a where exists (select 1 from audit b where b.team <> a.team)",
    "select id, team from datafusion.public.audit",
    "select id, team from public.audit where day < date '2100-01-01'",
    "select max(id) as id, team from audit group by team having team <> ''",
];

/// Questions that reach for something else, and what is wrong with them.
const REACHING: &[(&str, &str)] = &[
    ("select * from information_schema.tables", "not found"),
    ("select * from information_schema.columns", "not found"),
    ("show tables", "only one select"),
    ("describe audit", "only one select"),
    ("set datafusion.catalog.information_schema = true", "only one select"),
    ("select * from '/etc/passwd'", "not found"),
    ("select * from 'lake/deep/day=2100-01-01/team=other'", "not found"),
    ("select * from read_parquet('/tmp/x.parquet')", "read_parquet"),
    ("select * from parquet_metadata('/tmp/x.parquet')", "parquet_metadata"),
    ("select * from generate_series(1, 1000000000)", "generate_series"),
    ("select * from range(1, 1000000000)", "range"),
    ("select repeat('x', 2000000000)", "repeat"),
    ("create external table x stored as csv location '/etc/passwd'", "only one select"),
    ("create table x as select * from audit", "only one select"),
    ("create view audit as select 1", "only one select"),
    ("copy audit to '/tmp/x.csv'", "only one select"),
    ("copy (select * from audit) to '/tmp/x.parquet'", "only one select"),
    ("insert into audit select * from audit", "only one select"),
    ("delete from audit", "only one select"),
    ("update audit set team = 'acme'", "only one select"),
    ("drop table audit", "only one select"),
    ("truncate table audit", "only one select"),
    ("select 1; select 2", "single"),
    ("explain select * from audit", "only one select"),
    ("select * into x from audit", ""),
    (
        "with recursive n as (select 1 as n union all select n + 1 from n) select * from n",
        "ecursive",
    ),
];

#[tokio::test]
async fn no_question_shows_a_team_the_rows_of_another() {
    let world = World::new();
    let lake = world.start("one");
    let all = [record("a", "acme", TODAY), record("b", "other", TODAY)];
    assert_eq!(lake.append(&all).await, Ok(2));
    // Some rows are in the lake, and some are not.
    for is_flushed in [false, true] {
        if is_flushed {
            assert_eq!(lake.flush().await, Ok(()));
        }
        for sql in PRYING {
            let scope = Scope::Team("acme".to_owned());
            let table =
                ask(&lake, scope, sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
            for row in &table.rows {
                let expected = [Cell::text("a"), Cell::text("acme")];
                assert_eq!(row.as_slice(), expected, "{sql}");
            }
            let everything = ask(&lake, Scope::All, "select count(*) from audit").await;
            assert_eq!(everything.expect("is answered").rows, [[Cell::Int(2)]]);
        }
    }
    let own = ask(&lake, Scope::Team("nobody".to_owned()), "select count(*) from audit").await;
    assert_eq!(own.expect("is answered").rows, [[Cell::Int(0)]]);
}

#[tokio::test]
async fn nothing_but_the_view_is_reached() {
    let world = World::new();
    let lake = world.start("one");
    assert_eq!(lake.append(&[record("a", "acme", TODAY)]).await, Ok(1));
    assert_eq!(lake.flush().await, Ok(()));
    for scope in [Scope::All, Scope::Team("acme".to_owned())] {
        for (sql, words) in REACHING {
            match ask(&lake, scope.clone(), sql).await {
                Err(AuditError::Refused(said)) => assert!(said.contains(words), "{sql}: {said}"),
                other => panic!("{sql}: {other:?}"),
            }
        }
    }
    assert!(!std::path::Path::new("/tmp/x.csv").exists());
}
