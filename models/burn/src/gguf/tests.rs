//! Files as they are, and files that are cut, lie or hold garbage.

use super::{Gguf, Kind, Value};
use crate::LoadError;

pub(crate) mod made;

use made::{Made, code};

fn sound() -> Made {
    let mut made = Made::default();
    made.set("a.number", Value::Unsigned(7))
        .set("a.signed", Value::Signed(-7))
        .set("a.float", Value::Float(0.5))
        .set("a.flag", Value::Flag(true))
        .set("a.text", Value::Text("seven".to_owned()))
        .set("some.texts", Value::Texts(vec!["a".to_owned(), String::new()]))
        .set("some.integers", Value::Integers(vec![-1, 2]))
        .set("some.floats", Value::Floats(vec![0.25]))
        .set("some.flags", Value::Flags(vec![false, true]))
        .floats("vector", &[3], &[1.0, 2.0, 3.0])
        .tensor("matrix", &[64, 2], code(Kind::Q4_1), vec![5; 80]);
    made
}

#[test]
fn a_sound_file_says_what_was_written() {
    let bytes = sound().bytes();
    let file = Gguf::parse("x.gguf", &bytes).unwrap();
    assert_eq!(file.number("a.number"), Ok(7));
    assert_eq!(file.value("a.signed"), Some(&Value::Signed(-7)));
    assert_eq!(file.float("a.float"), Ok(0.5));
    assert_eq!(file.value("a.flag"), Some(&Value::Flag(true)));
    assert_eq!(file.text("a.text"), Ok("seven"));
    assert_eq!(file.texts("some.texts").unwrap(), ["a", ""]);
    assert_eq!(file.integers("some.integers").unwrap(), [-1, 2]);
    assert_eq!(file.value("some.floats"), Some(&Value::Floats(vec![0.25])));
    assert_eq!(file.value("some.flags"), Some(&Value::Flags(vec![false, true])));
    assert_eq!(file.tensors().collect::<Vec<_>>(), ["matrix", "vector"]);
    let matrix = file.tensor("matrix").unwrap();
    assert_eq!((matrix.kind, matrix.columns, matrix.rows), (Kind::Q4_1, 64, 2));
    assert_eq!(matrix.bytes, [5; 80]);
    let vector = file.tensor("vector").unwrap();
    assert_eq!((vector.columns, vector.rows, vector.bytes.len()), (3, 1, 12));
    assert!(file.tensor("absent").is_none());
}

#[test]
fn a_value_of_another_kind_is_named() {
    let bytes = sound().bytes();
    let file = Gguf::parse("x.gguf", &bytes).unwrap();
    let found = [
        file.number("a.text").err(),
        file.number("a.signed").err(),
        file.float("a.number").err(),
        file.text("a.number").err(),
        file.texts("some.integers").err(),
        file.integers("some.texts").err(),
        file.number("absent").err(),
    ];
    for error in found {
        assert!(matches!(&error, Some(LoadError::Malformed { .. })), "{error:?}");
    }
}

#[test]
fn every_cut_is_an_error_and_no_panic() {
    let bytes = sound().bytes();
    for length in 0..bytes.len() {
        assert!(Gguf::parse("x.gguf", &bytes[..length]).is_err(), "{length} bytes were taken");
    }
}

/// Every byte of the header in turn becomes others: whatever is read then lies in the file.
#[test]
fn garbage_never_panics() {
    let bytes = sound().bytes();
    for index in 0..bytes.len() {
        for wrong in [0, 1, 0x7f, 0xff] {
            let mut bytes = bytes.clone();
            bytes[index] = wrong;
            if let Ok(file) = Gguf::parse("x.gguf", &bytes) {
                for name in file.tensors() {
                    let tensor = file.tensor(name).unwrap();
                    let (numbers, size) = tensor.kind.block();
                    assert_eq!(tensor.bytes.len(), tensor.columns / numbers * tensor.rows * size);
                }
            }
        }
    }
}

#[test]
fn what_is_not_supported_is_named_with_what_is() {
    let check = |made: &Made, expected: &[&str]| {
        let bytes = made.bytes();
        let error = Gguf::parse("x.gguf", &bytes).err().unwrap().to_string();
        for part in expected {
            assert!(error.contains(part), "{part:?} in {error:?}");
        }
    };
    check(sound().tensor("w", &[256], 14, vec![0; 210]), &["w is Q6_K", "Q4_1"]);
    check(sound().tensor("w", &[256], 99, vec![0; 210]), &["w is kind 99"]);
    check(sound().tensor("w", &[33], code(Kind::Q8_0), vec![0; 68]), &["w: the shape [33]"]);
    check(sound().tensor("w", &[0], code(Kind::F32), vec![]), &["w: the shape [0]"]);
    let huge = [u64::MAX, u64::MAX];
    check(sound().tensor("w", &huge, code(Kind::F32), vec![]), &["w: the shape"]);
    check(sound().tensor("w", &[1; 5], code(Kind::F32), vec![0; 4]), &["w: has 5 axes"]);
    check(sound().tensor("w", &[99], code(Kind::F32), vec![0; 4]), &["w: at offset"]);
    check(sound().set("general.alignment", Value::Unsigned(3)), &["general.alignment", "power"]);
    check(sound().set("general.alignment", Value::Unsigned(0)), &["general.alignment", "power"]);
    let mut old = sound().bytes();
    old[4] = 1;
    let error = Gguf::parse("x.gguf", &old).err().unwrap().to_string();
    assert!(error.contains("version is 1") && error.contains("2 or 3"), "{error}");
    let error = Gguf::parse("x.gguf", b"GGML and more").err().unwrap().to_string();
    assert!(error.contains("magic"), "{error}");
}
