//! No text shows a value, and no holder is left behind.

use super::SecretValue;

#[test]
fn no_text_shows_a_value() {
    let value = SecretValue::new("canary".to_owned());
    let shown = [format!("{value}"), format!("{value:?}"), format!("{:#?}", Some(&value))];
    for shown in shown {
        assert!(shown.contains("[secret]") && !shown.contains("canary"), "{shown}");
    }
    assert_eq!(value.expose(), "canary");
}

#[test]
fn the_last_clone_takes_the_memory_with_it() {
    let value = SecretValue::new("canary".to_owned());
    let (holders, clone) = (value.holders(), value.clone());
    drop(value);
    assert_eq!(clone.expose(), "canary");
    assert!(holders.upgrade().is_some());
    drop(clone);
    assert!(holders.upgrade().is_none());
}

#[test]
fn bytes_that_are_no_text_are_no_value() {
    assert!(SecretValue::from_bytes(vec![0xff, b'a']).is_none());
    let value = SecretValue::from_bytes("schlüssel".as_bytes().to_vec());
    assert_eq!(value.as_ref().map(SecretValue::expose), Some("schlüssel"));
}
