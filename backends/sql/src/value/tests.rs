//! Numbers and times, where the server's answers would not meet each edge.

use serde_json::{Value, json};

use super::{Bytes, Form, number, time};

fn numeric(weight: i16, sign: u16, scale: u16, groups: &[u16]) -> Option<String> {
    let mut bytes = (groups.len() as u16).to_be_bytes().to_vec();
    bytes.extend(weight.to_be_bytes());
    bytes.extend(sign.to_be_bytes());
    bytes.extend(scale.to_be_bytes());
    bytes.extend(groups.iter().flat_map(|group| group.to_be_bytes()));
    number::digits(&mut Bytes(&bytes))
}

#[test]
fn numerics_are_written_as_the_server_does() {
    let cases: [(i16, u16, u16, &[u16], &str); 9] = [
        (0, 0, 0, &[], "0"),
        (0, 0, 2, &[], "0.00"),
        (1, 0, 0, &[1], "10000"),
        (1, 0x4000, 1, &[12, 34, 5_000], "-120034.5"),
        (-1, 0, 4, &[12], "0.0012"),
        (-2, 0, 6, &[1_200], "0.000012"),
        (0, 0, 3, &[1, 2_345], "1.234"),
        (0, 0xC000, 0, &[], "NaN"),
        (0, 0xF000, 0, &[], "-Infinity"),
    ];
    for (weight, sign, scale, groups, text) in cases {
        assert_eq!(numeric(weight, sign, scale, groups).as_deref(), Some(text));
    }
    assert_eq!(numeric(0, 1, 0, &[]), None);
    assert_eq!(numeric(0, 0, 0, &[10_000]), None);
}

#[test]
fn numbers_lose_nothing() {
    let cases = [
        ("12.10", json!(12.1)),
        ("-0.000012", json!(-0.000_012)),
        ("9007199254740992", json!(9_007_199_254_740_992_i64)),
        ("9007199254740993", json!("9007199254740993")),
        ("123456789012345678901234567890", json!("123456789012345678901234567890")),
        ("0.1234567890123456789", json!("0.1234567890123456789")),
        ("NaN", json!("NaN")),
    ];
    for (text, value) in cases {
        assert_eq!(number::exact(text), value, "{text}");
    }
    assert_eq!(number::single(0.1), json!(0.1));
    assert_eq!(number::double(f64::NEG_INFINITY), json!("-Infinity"));
    assert_eq!(number::whole(-9_007_199_254_740_993), json!("-9007199254740993"));
}

#[test]
fn times_are_of_iso_8601() {
    for (days, text) in [
        (0, "2000-01-01"),
        (59, "2000-02-29"),
        (60, "2000-03-01"),
        (-1, "1999-12-31"),
        (-10_957, "1970-01-01"),
        (9_832, "2026-12-02"),
        (2_921_939, "9999-12-31"),
        (2_921_940, "+10000-01-01"),
        (-730_486, "-0001-12-31"),
        (i32::MAX, "infinity"),
        (i32::MIN, "-infinity"),
    ] {
        assert_eq!(time::date(days), text);
    }
    assert_eq!(time::moment(-1, "Z"), "1999-12-31T23:59:59.999999Z");
    assert_eq!(time::moment(1_500_000, ""), "2000-01-01T00:00:01.5");
    assert_eq!(time::moment(i64::MAX, "Z"), "infinity");
    for (months, days, us, text) in [
        (0, 0, 0, "PT0S"),
        (14, 0, 0, "P1Y2M"),
        (-1, 3, -500_000, "P-1M3DT-0.5S"),
        (0, 0, 3_661_000_001, "PT3661.000001S"),
    ] {
        assert_eq!(time::span(months, days, us), text);
    }
}

#[test]
fn bytes_that_are_no_value_are_told() {
    for (form, bytes) in [
        (Form::Int4, &[0_u8, 0, 0][..]),
        (Form::Int4, &[0, 0, 0, 0, 0]),
        (Form::Jsonb, b"\x02{}"),
        (Form::Text, b"\xff"),
        (Form::Inet, b"\x02\x20\x00\x05\x00\x00\x00\x00\x00"),
        (Form::Array(Box::new(Form::Int4)), b"\x00\x00\x00\x07\x00\x00\x00\x00\x00\x00\x00\x17"),
        (
            Form::Array(Box::new(Form::Int4)),
            b"\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x17\x7f\xff\xff\xff\x00\x00\x00\x01",
        ),
    ] {
        assert_eq!(form.read(bytes), None, "{form:?}");
    }
    assert_eq!(Form::Json.read(b"[1e999]"), Some(Value::String("[1e999]".to_owned())));
}
