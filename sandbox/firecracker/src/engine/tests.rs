//! Sizes of machines, and what a probe believes.

use headwater_sandbox::{EngineError, Limits};
use serde_json::json;

use super::{FirecrackerEngine, held};
use crate::api::Size;
use crate::settings::Settings;

#[test]
fn a_machine_has_whole_processors_and_room_for_its_kernel() {
    let folder = tempfile::tempdir().unwrap();
    let engine = FirecrackerEngine::new(Settings::new(folder.path())).unwrap();
    let small = Limits::SMALL;
    let rows = [
        (small, Size { vcpus: 1, memory_mib: 616 }),
        (
            Limits { cpu_milli: 10, memory_bytes: (32 << 20) + 1, ..small },
            Size { vcpus: 1, memory_mib: 129 },
        ),
        (Limits { cpu_milli: 1_001, ..small }, Size { vcpus: 2, memory_mib: 616 }),
        (Limits::LARGE, Size { vcpus: 2, memory_mib: 4_256 }),
    ];
    for (limits, expected) in rows {
        assert_eq!(engine.size(&limits).unwrap(), expected);
    }
    let error = engine.size(&Limits { cpu_milli: 32_001, ..small }).unwrap_err();
    assert!(matches!(error, EngineError::Unsupported { .. }), "{error}");
}

#[test]
fn a_probe_believes_only_a_guest_of_another_kernel_that_sees_nothing() {
    let told = |boot: &str, canary: bool, user: u32| {
        json!({"boot": boot, "version": "Linux", "canary": canary, "user": user}).to_string()
    };
    let rows = [
        (told("guest", false, 1000), true),
        (told("host", false, 1000), false),
        (told("", false, 1000), false),
        (told("guest", true, 1000), false),
        (told("guest", false, 0), false),
        ("{}".to_owned(), false),
        (String::new(), false),
    ];
    for (output, expected) in rows {
        assert_eq!(held(output.as_bytes(), "host"), expected, "{output}");
    }
}
