//! Values as text, by the type that is expected.

use serde_json::{Value, json};
use tokio_postgres::types::Type;

use super::text;

#[test]
fn values_are_written_by_their_types() {
    let cases: [(Type, Value, Result<&str, &str>); 11] = [
        (Type::INT4, json!(3), Ok("3")),
        (Type::INT4, json!(3.0), Ok("3")),
        (Type::NUMERIC, json!("12345678901234567890.1"), Ok("12345678901234567890.1")),
        (Type::FLOAT8, json!(0.25), Ok("0.25")),
        (Type::BOOL, json!(true), Ok("true")),
        (Type::TEXT, json!("it's"), Ok("it's")),
        (Type::JSONB, json!({"a": [1]}), Ok("{\"a\":[1]}")),
        (Type::JSONB, json!("a"), Ok("\"a\"")),
        (Type::TEXT_ARRAY, json!(["a,\"b\\", null, "NULL"]), Ok(r#"{"a,\"b\\",NULL,"NULL"}"#)),
        (Type::INT4_ARRAY, json!([[1], [2]]), Ok(r#"{{"1"},{"2"}}"#)),
        (Type::INT4, json!([1]), Err("must be one value, for its type is int4")),
    ];
    for (kind, value, expected) in cases {
        let told = text(&kind, &value);
        assert_eq!(told.as_deref().map_err(String::as_str), expected, "{value}");
    }
    assert!(text(&Type::INT4_ARRAY, &json!(1)).is_err());
}
