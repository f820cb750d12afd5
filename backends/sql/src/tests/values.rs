//! Columns, values and parameters.

use serde_json::{Value, json};

use super::server::{Server, ask, told};

#[tokio::test]
async fn values_come_as_json_without_loss() {
    let server = Server::start().await;
    let database = server.database();
    let cases: Vec<(&str, &str, Value)> = vec![
        ("true", "bool", json!(true)),
        ("1::int2", "int2", json!(1)),
        ("-7", "int4", json!(-7)),
        ("9007199254740992", "int8", json!(9_007_199_254_740_992_i64)),
        ("9223372036854775807", "int8", json!("9223372036854775807")),
        ("4000000000::oid", "oid", json!(4_000_000_000_u32)),
        ("0.1::float4", "float4", json!(0.1)),
        ("1e300::float8", "float8", json!(1e300)),
        ("'NaN'::float8", "float8", json!("NaN")),
        ("12.50::numeric", "numeric", json!(12.5)),
        ("-0.00001234::numeric", "numeric", json!(-0.000_012_34)),
        ("100000::numeric", "numeric", json!(100_000)),
        ("12345678901234567890.123", "numeric", json!("12345678901234567890.123")),
        ("'-infinity'::numeric", "numeric", json!("-Infinity")),
        // A column of a domain is told as of its base type.
        ("12.5::amount", "numeric", json!(12.5)),
        ("'grün'::text", "text", json!("grün")),
        ("'ab'::char(4)", "bpchar", json!("ab  ")),
        ("'sad'::mood", "mood", json!("sad")),
        ("null::text", "text", json!(null)),
        ("'{\"a\": [1, null]}'::json", "json", json!({"a": [1, null]})),
        ("'{\"a\": 1.5}'::jsonb", "jsonb", json!({"a": 1.5})),
        (
            "'00112233-4455-6677-8899-aabbccddeeff'::uuid",
            "uuid",
            json!("00112233-4455-6677-8899-aabbccddeeff"),
        ),
        ("'2026-12-02'::date", "date", json!("2026-12-02")),
        ("'0044-03-15 BC'::date", "date", json!("-0043-03-15")),
        ("'12:30:00.25'::time", "time", json!("12:30:00.25")),
        ("'2026-12-02 12:30'::timestamp", "timestamp", json!("2026-12-02T12:30:00")),
        ("'2026-12-02 12:30+02'::timestamptz", "timestamptz", json!("2026-12-02T10:30:00Z")),
        ("'infinity'::timestamptz", "timestamptz", json!("infinity")),
        ("'1 year 2 days 3.5 seconds'::interval", "interval", json!("P1Y2DT3.5S")),
        ("'\\x00ff'::bytea", "bytea", json!("AP8=")),
        ("'10.0.0.1'::inet", "inet", json!("10.0.0.1")),
        ("'2001:db8::/32'::cidr", "cidr", json!("2001:db8::/32")),
        ("pg_sleep(0)", "void", json!(null)),
        ("array[[1,2],[3,null]]", "_int4", json!([[1, 2], [3, null]])),
        ("'{}'::text[]", "_text", json!([])),
        ("array['a,b', null]", "_text", json!(["a,b", null])),
        ("array['glad'::mood]", "_mood", json!(["glad"])),
    ];
    for (sql, kind, value) in cases {
        let answer = told(&database, &format!("SELECT {sql} AS it"), json!([])).await;
        assert_eq!(answer["columns"], json!([{"name": "it", "type": kind}]), "{sql}");
        assert_eq!(answer["rows"], json!([[value]]), "{sql}");
    }
    let refused = ask(&database, "SELECT point(1, 2) AS spot", json!([])).await;
    let refused = refused.expect_err("no form").to_string();
    assert!(refused.contains("column `spot` has the type point") && refused.contains("spot::text"));
}

#[tokio::test]
async fn parameters_have_the_types_of_the_statement() {
    let server = Server::start().await;
    let database = server.database();
    let sql = "SELECT id, city FROM sales WHERE id = $1 OR city = $2 ORDER BY id";
    let answer = told(&database, sql, json!([3, "city 5'; DROP TABLE sales; --"])).await;
    assert_eq!(answer["rows"], json!([[3, "city 3"]]));
    let answer = told(&database, sql, json!(["4", "city 5"])).await;
    assert_eq!(answer["rows"], json!([[4, "city 4"], [5, "city 5"]]));
    let sql = "SELECT $1::jsonb AS a, $2::text[] AS b, $3::timestamptz AS c, $4::bool AS d, \
               $5::numeric AS e, $6::int AS f, $7::int[] AS g";
    let given = json!([
        {"x": ["y"]}, ["a\"b", null, "{}"], "2026-12-02T12:00:00+01:00", true,
        "12345678901234567890.5", null, [[1, 2], [3, 4]],
    ]);
    let expected = json!([[
        {"x": ["y"]}, ["a\"b", null, "{}"], "2026-12-02T11:00:00Z", true,
        "12345678901234567890.5", null, [[1, 2], [3, 4]],
    ]]);
    assert_eq!(told(&database, sql, given).await["rows"], expected);
    for (sql, given, why) in [
        ("SELECT $1::int", json!([]), "has 1 parameters and `parameters` has 0"),
        ("SELECT 1", json!([1]), "has 0 parameters and `parameters` has 1"),
        ("SELECT $1::int", json!([{"a": 1}]), "`parameters[0]` must be one value"),
        ("SELECT $1::int[]", json!([1]), "`parameters[0]` must be a list"),
        ("SELECT $1::int", json!(["x"]), "SQLSTATE 22P02"),
    ] {
        let told = ask(&database, sql, given).await.expect_err(why).to_string();
        assert!(told.contains(why), "{told}");
    }
}
