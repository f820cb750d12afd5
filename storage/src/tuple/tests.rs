//! The tuple layer against its specification's examples, and its order against the elements'.

use proptest::prelude::{Strategy, any, prop, prop_oneof, proptest};

use super::{Element, below, pack, unpack};

#[test]
fn examples_of_the_specification() {
    let check = |elements: &[Element], expected: &[u8]| {
        assert_eq!(pack(elements), expected, "{elements:?}");
        assert_eq!(unpack(expected).as_deref(), Ok(elements));
    };
    check(&[Element::Null], b"\x00");
    check(&[b"foo\x00bar"[..].into()], b"\x01foo\x00\xffbar\x00");
    check(&["F\u{d4}O\u{0}bar".into()], b"\x02F\xc3\x94O\x00\xffbar\x00");
    check(&[(-5_551_212_i64).into()], b"\x11\xabK\x93");
    check(&[0_i64.into()], b"\x14");
    check(&[255_i64.into(), 256_i64.into()], b"\x15\xff\x16\x01\x00");
    check(&[(-1_i64).into(), (-256_i64).into()], b"\x13\xfe\x12\xfe\xff");
    check(&[i64::MAX.into()], b"\x1c\x7f\xff\xff\xff\xff\xff\xff\xff");
    check(&[i64::MIN.into()], b"\x0c\x7f\xff\xff\xff\xff\xff\xff\xff");
}

#[test]
fn damage_is_told() {
    for key in [&b"\x02abc"[..], b"\x15", b"\x33\x00", b"\x99", b"\x02\xff\x00", b"\x1c\xff\xff"] {
        let answer = unpack(key);
        assert!(answer.is_err(), "{key:?} gave {answer:?}");
    }
}

fn element() -> impl Strategy<Value = Element> {
    prop_oneof![
        prop::collection::vec(prop_oneof![0_u8..=1, 254_u8..=255, any::<u8>()], 0..6)
            .prop_map(Element::Bytes),
        prop::collection::vec(prop_oneof![0_u32..3, 0x61_u32..0x64], 0..5).prop_map(|letters| {
            Element::Text(letters.into_iter().filter_map(char::from_u32).collect())
        }),
        prop_oneof![any::<i64>(), -300_i64..300].prop_map(Element::Integer),
        (any::<[u8; 10]>(), any::<u16>()).prop_map(|(stamp, order)| Element::Stamp(stamp, order)),
    ]
}

proptest! {
    #[test]
    fn keys_come_back_and_keep_the_order(
        left in prop::collection::vec(element(), 0..4),
        right in prop::collection::vec(element(), 0..4),
    ) {
        assert_eq!(unpack(&pack(&left)).as_ref(), Ok(&left));
        assert_eq!(pack(&left).cmp(&pack(&right)), left.cmp(&right));
        let inside = right.len() > left.len() && right.starts_with(&left);
        assert_eq!(below(&left).contains(&pack(&right)), inside);
    }
}
