//! Which arguments are taken, and how those that are not are told.

use serde_json::{Value, json};

use super::{Ask, first_word};

#[test]
fn the_first_word_is_found_behind_comments() {
    let cases = [
        ("SELECT 1", "SELECT"),
        ("  \n((select 1))", "select"),
        ("-- a\n--b\r\nTable t", "Table"),
        ("/* a /* b */ COPY */ with x as (select) select", "with"),
        ("/* never closed", ""),
        ("-- only", ""),
        ("", ""),
        ("explain(analyze) delete from t", "explain"),
        ("selection", "selection"),
        ("/**/select", "select"),
        ("*/ select", ""),
        ("\u{a0}set x = 1", "set"),
    ];
    for (sql, word) in cases {
        assert_eq!(first_word(sql), word, "{sql}");
    }
}

#[test]
fn statements_that_do_not_read_are_not_sent() {
    for sql in [
        "SET TRANSACTION READ WRITE",
        "/* SELECT */ COMMIT",
        "ROLLBACK AND CHAIN",
        "COPY t TO PROGRAM 'cat'",
        "copy (select 1) to '/tmp/x'",
        "DO $$ begin end $$",
        "CALL p()",
        "PREPARE TRANSACTION 'x'",
        "LISTEN x",
        "INSERT INTO t VALUES (1)",
        "; SELECT 1",
    ] {
        let arguments = json!({"sql": sql});
        let told = Ask::read(&arguments).expect_err(sql).to_string();
        assert!(told.contains("this tool only reads"), "{told}");
    }
}

#[test]
fn arguments_are_checked() {
    let cases: [(Value, &str); 6] = [
        (json!([]), "must be an object"),
        (json!({}), "`sql` must be one statement"),
        (json!({"sql": "  "}), "`sql` must be one statement"),
        (json!({"sql": "x".repeat(65_537)}), "at most 65536 bytes"),
        (json!({"sql": "SELECT 1", "parameters": {}}), "`parameters` must be a list"),
        (json!({"sql": "SELECT 1", "host": "evil"}), "`host` is not known"),
    ];
    for (arguments, why) in cases {
        let told = Ask::read(&arguments).expect_err(why).to_string();
        assert!(told.contains(why), "{told}");
    }
    let arguments = json!({"sql": "SELECT $1", "parameters": [1]});
    let ask = Ask::read(&arguments).expect("arguments");
    assert_eq!((ask.sql, ask.parameters), ("SELECT $1", &[json!(1)][..]));
}
