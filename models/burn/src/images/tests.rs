//! Bytes that are no image, images that are too large, and the steps that are read from a file.

use serde_json::{Value, json};

use super::Preprocessing;
use crate::config::{ClipConfig, NetworkConfig};

fn data(name: &str) -> Vec<u8> {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/tests_data/families/clip/");
    std::fs::read(format!("{root}{name}")).unwrap()
}

fn config() -> ClipConfig {
    match NetworkConfig::parse(&data("config.json")).unwrap() {
        NetworkConfig::Clip(config) => config,
        other => panic!("{other:?}"),
    }
}

fn preprocessing() -> Preprocessing {
    Preprocessing::parse(&data("preprocessor_config.json"), &config()).unwrap()
}

/// A PNG whose header claims this size and holds nothing else.
fn claim(width: u32, height: u32) -> Vec<u8> {
    let mut png = vec![0x89, b'P', b'N', b'G', 0x0d, 0x0a, 0x1a, 0x0a];
    let mut header = b"IHDR".to_vec();
    header.extend(width.to_be_bytes());
    header.extend(height.to_be_bytes());
    header.extend([8, 2, 0, 0, 0]);
    png.extend(13u32.to_be_bytes());
    let check = header.iter().fold(u32::MAX, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| {
            (sum >> 1) ^ (0xEDB8_8320 & (sum & 1).wrapping_neg())
        })
    });
    png.extend(header);
    png.extend((!check).to_be_bytes());
    png.extend([0, 0, 0, 0]);
    png.extend(b"IDAT");
    png
}

#[test]
fn what_is_no_image_or_too_large_is_refused_with_a_reason() {
    let mut cut = data("wide.png");
    cut.truncate(200);
    let cases: [(Vec<u8>, &str); 8] = [
        (Vec::new(), "send PNG or JPEG"),
        (b"hello".to_vec(), "send PNG or JPEG"),
        (b"GIF89a0000000000".to_vec(), "send PNG or JPEG"),
        (cut, "cannot be decoded"),
        (claim(100_000, 10), "cannot be decoded"),
        (claim(8192, 8192), "8192 × 8192"),
        (claim(0, 8), "cannot be decoded"),
        (vec![0xff, 0xd8, 0xff, 0xe0, 0, 16], "cannot be decoded"),
    ];
    for (bytes, expected) in cases {
        let error = preprocessing().read(&bytes).unwrap_err();
        assert!(error.contains(expected), "{expected:?} is not in: {error}");
    }
}

#[test]
fn any_shape_becomes_the_models_size() {
    for name in ["wide.png", "tall.png", "small.png", "photo.jpg"] {
        let pixels = preprocessing().read(&data(name)).unwrap();
        assert_eq!((pixels.width, pixels.height, pixels.tokens), (32, 32, 17), "{name}");
        assert_eq!(pixels.values.len(), 3 * 32 * 32, "{name}");
        let (low, high) = (-1.8, 2.2);
        assert!(pixels.values.iter().all(|value| (low..high).contains(value)), "{name}");
    }
}

#[test]
fn steps_that_are_not_computed_are_refused_by_name() {
    let cases: [(&str, Value, &[&str]); 7] = [
        ("do_resize", json!(false), &["do_resize", "true"]),
        ("do_normalize", json!(false), &["do_normalize", "true"]),
        ("resample", json!(2), &["resample", "bicubic"]),
        ("size", json!({"height": 32, "width": 32}), &["size", "shortest_edge"]),
        ("size", json!({"shortest_edge": 31}), &["size", "32"]),
        ("crop_size", json!({"height": 32, "width": 33}), &["crop_size", "32"]),
        ("image_std", json!([0.0, 1.0, 1.0]), &["image_std", "above 0"]),
    ];
    for (field, value, words) in cases {
        let mut file: Value = serde_json::from_slice(&data("preprocessor_config.json")).unwrap();
        file[field] = value;
        let error = Preprocessing::parse(file.to_string().as_bytes(), &config()).unwrap_err();
        for word in words {
            assert!(error.to_string().contains(word), "{word:?} is not in: {error}");
        }
    }
    let mut old: Value = serde_json::from_slice(&data("preprocessor_config.json")).unwrap();
    old["size"] = json!(32);
    old["crop_size"] = json!(32);
    assert_eq!(
        Preprocessing::parse(old.to_string().as_bytes(), &config()).unwrap(),
        preprocessing(),
        "older files hold numbers"
    );
}
