//! Answers as a terminal shows them.

use serde_json::json;

use super::{drawn, plain, table};

#[test]
fn numbers_stand_to_the_right_and_money_is_told_in_full() {
    let answer = json!({
        "columns": ["team", "sum(cost_usd)", "requests", "project"],
        "rows": [["acme", 1.25, 12_345, null], ["a longer name", 0.000_001, 3, "p\nq"]],
        "truncated": false,
    });
    let text = "team           sum(cost_usd)  requests  project\n\
                acme                    1.25     12345  -\n\
                a longer name       0.000001         3  p q\n";
    assert_eq!(drawn(&table(&answer)), text);
    let csv = "team,sum(cost_usd),requests,project\r\nacme,1.25,12345,\r\n\
               a longer name,0.000001,3,\"p\nq\"\r\n";
    assert_eq!(table(&answer).csv(), csv);
    assert_eq!(drawn(&table(&json!({"columns": ["id"], "rows": []}))), "id\n");
}

#[test]
fn only_plain_values_go_into_an_address() {
    assert!(plain("2026-12-01").is_ok() && plain("team,model_served").is_ok());
    for wrong in ["a&b", "a b", "2026/12", "é", "a#"] {
        assert!(plain(wrong).is_err(), "{wrong}");
    }
}
