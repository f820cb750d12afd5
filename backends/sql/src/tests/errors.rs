//! What the server refuses, servers that are away, and passwords that nothing shows.

use headwater_backends::BackendError;
use serde_json::json;

use super::server::{PASSWORD, Server, ask, told, with_password};
use crate::{SqlSettings, Tls};

#[tokio::test]
async fn errors_say_what_the_server_says() {
    let server = Server::start().await;
    let database = server.database();
    for (sql, told) in [
        ("SELECT nothing FROM sales", "column \"nothing\" does not exist (SQLSTATE 42703)"),
        ("SELECT FROM WHERE", "SQLSTATE 42601"),
        ("SELECT 1 / 0", "division by zero (SQLSTATE 22012)"),
        ("SELECT * FROM nowhere", "SQLSTATE 42P01"),
    ] {
        let error = ask(&database, sql, json!([])).await.expect_err(sql);
        assert!(matches!(error, BackendError::Arguments { .. }), "{error:?}");
        assert!(error.to_string().contains(told), "{error}");
    }
    // The server repeats what it was given, and nobody is told the password so.
    let sql = format!("SELECT '{PASSWORD}'::int");
    let error = ask(&database, &sql, json!([])).await.expect_err("no number");
    assert!(error.to_string().contains("[secret]"), "{error}");
    assert!(!error.to_string().contains(PASSWORD), "{error}");

    let wrong = with_password(server.settings(), "tok-wrong-0123456789");
    let error = ask(&wrong, "SELECT 1", json!([])).await.expect_err("a wrong password");
    assert!(matches!(error, BackendError::Refused { .. }), "{error:?}");
    assert!(error.to_string().contains("SQLSTATE 28P01"), "{error}");
    assert!(!error.to_string().contains("tok-wrong"), "{error}");
    let nowhere = SqlSettings { database: "nowhere".to_owned(), ..server.settings() };
    let error = ask(&with_password(nowhere, PASSWORD), "SELECT 1", json!([])).await;
    assert!(error.expect_err("no database").to_string().contains("SQLSTATE 3D000"));
}

#[tokio::test]
async fn a_server_that_is_down_is_left_in_peace_and_found_again() {
    let mut server = Server::start().await;
    let database = server.database();
    told(&database, "SELECT 1", json!([])).await;
    server.stop();
    let error = ask(&database, "SELECT 1", json!([])).await.expect_err("down");
    assert!(error.is_without_effect() && error.is_passing(), "{error:?}");
    let mut asked_again = Vec::new();
    for _ in 0..3 {
        let error = ask(&database, "SELECT 1", json!([])).await.expect_err("down");
        assert!(error.is_without_effect() && error.is_passing(), "{error:?}");
        if let BackendError::Busy { why, retry_after_ms } = error {
            assert!(why.contains("`sales` was not reached"), "{why}");
            asked_again.push(retry_after_ms);
        }
    }
    assert!(!asked_again.is_empty() && asked_again.iter().all(|ms| (1..=30_000).contains(ms)));
    server.run();
    server.owner().await;
    for _ in 0..300 {
        match ask(&database, "SELECT 1", json!([])).await {
            Ok(_) => return,
            Err(error) => assert!(error.is_passing(), "{error:?}"),
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    panic!("the server was not found again");
}

#[tokio::test]
async fn tls_is_verified() {
    let server = Server::start().await;
    let verified = |host: &str, ca_file| {
        let settings = SqlSettings {
            host: host.to_owned(),
            tls: Tls::Verify { ca_file },
            ..server.settings()
        };
        with_password(settings, PASSWORD)
    };
    let good = verified("localhost", Some(server.authority()));
    let sql = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    assert_eq!(told(&good, sql, json!([])).await["rows"], json!([[true]]));
    assert_eq!(told(&server.database(), sql, json!([])).await["rows"], json!([[false]]));
    // A certificate of nobody's that is known, and one for another host.
    for database in [verified("localhost", None), verified("127.0.0.1", Some(server.authority()))] {
        let error = ask(&database, "SELECT 1", json!([])).await.expect_err("not trusted");
        assert!(matches!(error, BackendError::Refused { .. }), "{error:?}");
        assert!(error.to_string().contains("certificate"), "{error}");
    }
    let no_file = Tls::Verify { ca_file: Some("/nowhere.pem".into()) };
    let settings = SqlSettings { tls: no_file, ..server.settings() };
    let error = crate::SqlDatabase::new(settings, headwater_backends::no_headers());
    assert_eq!(error.err().map(|error| error.field), Some("ca_file".to_owned()));
}
