//! Rows, bytes, time, connections, and callers who leave.

use headwater_backends::{Backend, BackendError};
use serde_json::{Value, json};

use super::server::{PASSWORD, Server, ask, invocation, told, with_password};
use crate::SqlSettings;

const ASLEEP: &str = "SELECT count(*) FROM pg_stat_activity \
                      WHERE usename = 'reader' AND state = 'active' AND query LIKE '%pg_sleep(600)%'";
/// Those beyond two.
const SURPLUS: &str =
    "SELECT greatest(count(*) - 2, 0) FROM pg_stat_activity WHERE usename = 'reader'";
const CONNECTIONS: &str = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'reader'";

#[tokio::test]
async fn rows_and_bytes_are_bounded() {
    let server = Server::start().await;
    let database = server.database();
    let answer = told(&database, "SELECT id FROM sales ORDER BY id LIMIT 10", json!([])).await;
    assert_eq!((&answer["row_count"], &answer["truncated"]), (&json!(10), &json!(false)));
    let answer = told(&database, "SELECT id FROM sales ORDER BY id", json!([])).await;
    assert_eq!((&answer["row_count"], &answer["truncated"]), (&json!(10), &json!(true)));
    assert_eq!(answer["rows"][9], json!([10]));
    let answer = told(&database, "SELECT n FROM generate_series(1, 100000000) n", json!([])).await;
    assert_eq!(answer["truncated"], json!(true));
    let too_large = BackendError::TooLarge { bytes_max: 100_000 };
    for sql in [
        "SELECT repeat('x', 20000) FROM sales",
        // More than is ever read of an answer.
        "SELECT repeat('x', 100000000)",
    ] {
        assert_eq!(ask(&database, sql, json!([])).await, Err(too_large.clone()), "{sql}");
    }
    let answer = ask(&database, "SELECT 1", json!([])).await.expect("an answer");
    assert_eq!(answer.reached.len(), 1);
    assert!(answer.bytes_in > 0 && answer.bytes_out > 0 && answer.bytes_in < 10_000);
}

#[tokio::test]
async fn time_is_bounded_and_whoever_leaves_is_told_to_the_server() {
    let server = Server::start().await;
    let database = server.database();
    let backend = database.backend(10);
    let mut short = invocation("SELECT pg_sleep(600)", json!([]));
    short.deadline_ms = 1_000;
    let ended = backend.call(&short).await.expect_err("no answer");
    assert_eq!(ended, BackendError::TimedOut { after_ms: 1_000, sent: true });
    server.wait_for(ASLEEP, 0).await;

    let long = invocation("SELECT pg_sleep(600)", json!([]));
    let left = {
        let backend = backend.clone();
        tokio::spawn(async move { backend.call(&long).await })
    };
    server.wait_for(ASLEEP, 1).await;
    left.abort();
    server.wait_for(ASLEEP, 0).await;
    // Its connection was closed, and its room is there again.
    for _ in 0..server.settings().connections_max {
        assert_eq!(told(&database, "SELECT 1", json!([])).await["rows"], json!([[1]]));
    }

    let owner = server.owner().await;
    owner.batch_execute("BEGIN; LOCK TABLE sales").await.expect("a lock");
    let ended = ask(&database, "TABLE sales", json!([])).await.expect_err("locked");
    assert!(matches!(ended, BackendError::Busy { .. }), "{ended:?}");
    assert!(ended.to_string().contains("lock timeout"), "{ended}");
}

#[tokio::test]
async fn connections_are_bounded_kept_and_closed() {
    let server = Server::start().await;
    let settings = SqlSettings { connections_max: 2, ..server.settings() };
    let database = with_password(settings, PASSWORD);
    let calls: Vec<_> = (0..8)
        .map(|n| {
            let backend = database.backend(10);
            let mut call = invocation("SELECT pg_backend_pid() FROM pg_sleep(0.05)", json!([]));
            call.tenant = format!("team-{}", n % 4);
            tokio::spawn(async move { (n % 4, backend.call(&call).await) })
        })
        .collect();
    let mut sessions = Vec::new();
    for call in calls {
        let (team, answer) = call.await.expect("ends");
        let Value::Array(rows) = answer.expect("an answer").content.to_json()["rows"].take() else {
            panic!("no rows");
        };
        sessions.push((team, rows[0][0].clone()));
    }
    // No team's call went over another one's connection.
    for (team, session) in &sessions {
        assert!(
            sessions.iter().all(|(other, its)| its != session || other == team),
            "{sessions:?}"
        );
    }
    assert!(database.pool().idle_count() <= 2);
    server.wait_for(SURPLUS, 0).await;
    let of_team = |told: Value| told["rows"][0][0].clone();
    let first = of_team(told(&database, "SELECT pg_backend_pid()", json!([])).await);
    let second = of_team(told(&database, "SELECT pg_backend_pid()", json!([])).await);
    assert_eq!(first, second);
    drop(database);
    server.wait_for(CONNECTIONS, 0).await;

    let database = with_password(SqlSettings { idle_ms: 100, ..server.settings() }, PASSWORD);
    told(&database, "SELECT 1", json!([])).await;
    server.wait_for(CONNECTIONS, 0).await;
    assert_eq!(database.pool().idle_count(), 0);
}
