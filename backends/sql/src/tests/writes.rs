//! Nothing is changed, whatever the statement, by a role that may write.

use std::sync::Arc;

use headwater_backends::{BackendError, SecretHeader};
use serde_json::{Value, json};
use tokio::time::{Duration, Instant};

use super::server::{PASSWORD, Server, ask, told};
use crate::ask::Ask;
use crate::pool::Pool;
use crate::session::Session;
use crate::statement::Bounds;

const ROWS: &str = "SELECT count(*) FROM sales";

#[tokio::test]
async fn writes_are_refused() {
    let server = Server::start().await;
    let database = server.database();
    for (sql, code) in [
        ("WITH gone AS (DELETE FROM sales RETURNING id) SELECT id FROM gone", "25006"),
        ("WITH a AS (INSERT INTO sales VALUES (90, 'x') RETURNING id) TABLE a", "25006"),
        ("EXPLAIN ANALYZE DELETE FROM sales", "25006"),
        ("SELECT sell()", "25006"),
        ("SELECT nextval('counter')", "25006"),
        ("SELECT id INTO copied FROM sales", "25006"),
        ("SELECT id FROM sales FOR UPDATE", "25006"),
        ("SELECT 1; DELETE FROM sales", "42601"),
        ("SELECT 1; SET TRANSACTION READ WRITE", "42601"),
        ("SELECT set_config('transaction_read_only', 'off', false)", "25001"),
        ("SELECT pg_read_file('/etc/passwd')", "42501"),
        ("SELECT lo_export(1, '/tmp/x')", ""),
        ("TABLE hidden", "42501"),
    ] {
        let error = ask(&database, sql, json!([])).await.expect_err(sql);
        let text = error.to_string();
        assert!(text.contains(code), "{sql}: {text}");
        if code == "25006" {
            assert!(matches!(error, BackendError::Arguments { .. }), "{sql}: {error:?}");
            assert!(text.contains("only reads, and nothing was changed"), "{text}");
        }
    }
    // What a statement sets for the session is gone with its transaction.
    let sql = "SELECT set_config('default_transaction_read_only', 'off', false), \
               set_config('search_path', 'evil', false), pg_advisory_lock(7)";
    told(&database, sql, json!([])).await;
    let sql = "SELECT current_setting('default_transaction_read_only'), \
               current_setting('search_path'), \
               (SELECT count(*)::int FROM pg_locks WHERE locktype = 'advisory'), \
               current_setting('transaction_read_only')";
    let answer = told(&database, sql, json!([])).await;
    assert_eq!(answer["rows"], json!([["on", "\"$user\", public", 0, "on"]]));
    assert_eq!(server.count(ROWS).await, 20);
    assert_eq!(server.count("SELECT count(*) FROM pg_class WHERE relname = 'copied'").await, 0);
}

/// A session's answer to a statement that arguments would not have been taken with.
async fn unchecked(pool: &Arc<Pool>, sql: &str) -> Result<Value, BackendError> {
    let secrets = [SecretHeader::new("password", PASSWORD)];
    let deadline = Instant::now() + Duration::from_secs(30);
    let bounds = Bounds { rows_max: 10, bytes_max: 10_000, after_ms: 30_000, deadline };
    let mut session = Session::begin(pool, "acme", &secrets, bounds).await?;
    session.read(Ask { sql, parameters: &[] }).await
}

#[tokio::test]
async fn the_server_refuses_what_would_not_be_sent() {
    let server = Server::start().await;
    let pool = Pool::new(server.settings()).expect("settings");
    for (sql, code) in [
        ("SET TRANSACTION READ WRITE", "25001"),
        ("SET transaction_read_only = off", "25001"),
        (
            "DO $$ BEGIN SET TRANSACTION READ WRITE; INSERT INTO sales VALUES (90, ''); END $$",
            "25001",
        ),
        ("DO $$ BEGIN COMMIT; INSERT INTO sales VALUES (91, ''); END $$", "2D000"),
        ("SET TRANSACTION READ WRITE; INSERT INTO sales VALUES (92, '')", "42601"),
        ("COPY sales FROM PROGRAM 'echo 93'", ""),
        ("INSERT INTO sales VALUES (94, '')", "25006"),
        ("CREATE TABLE made (id int)", "25006"),
    ] {
        let told = unchecked(&pool, sql).await.expect_err(sql).to_string();
        assert!(told.contains(code), "{sql}: {told}");
    }
    // One that ends our transaction, or sets something, is alone in it, and the next call begins
    // another one.
    for sql in [
        "COMMIT",
        "ROLLBACK AND CHAIN",
        "COMMIT AND CHAIN",
        "SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE",
        "SET default_transaction_read_only = off",
    ] {
        let _ = unchecked(&pool, sql).await;
        let told = unchecked(&pool, "INSERT INTO sales VALUES (95, '')").await.expect_err(sql);
        assert!(told.to_string().contains("25006"), "{sql}: {told}");
    }
    assert_eq!(server.count(ROWS).await, 20);
}
