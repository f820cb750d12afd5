//! Words of the settings and what they mean.

use super::{DeviceChoice, NumberFormat};

#[test]
fn words_name_devices_and_formats() {
    let devices = [
        ("cpu", Some(DeviceChoice::Cpu)),
        ("cuda:0", Some(DeviceChoice::Cuda(0))),
        ("cuda:12", Some(DeviceChoice::Cuda(12))),
        ("cuda", None),
        ("cuda:", None),
        ("cuda:-1", None),
        ("CPU", None),
        ("", None),
    ];
    for (text, expected) in devices {
        assert_eq!(text.parse::<DeviceChoice>().ok(), expected, "{text:?}");
    }
    for format in [NumberFormat::F32, NumberFormat::F16, NumberFormat::Bf16, NumberFormat::Auto] {
        assert_eq!(format.name().parse::<NumberFormat>(), Ok(format));
    }
}

#[test]
fn errors_name_what_is_allowed() {
    let device = "gpu".parse::<DeviceChoice>().unwrap_err().to_string();
    assert!(device.contains("\"cpu\"") && device.contains("\"cuda:0\""), "{device}");
    let format = "int8".parse::<NumberFormat>().unwrap_err().to_string();
    for word in ["\"f32\"", "\"f16\"", "\"bf16\"", "\"auto\"", "int8"] {
        assert!(format.contains(word), "{format}");
    }
}
