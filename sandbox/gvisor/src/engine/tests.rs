//! What a probe believes.

use super::{KERNEL, held};

#[test]
fn a_probe_believes_only_a_guest_of_gvisor_that_sees_nothing() {
    let ours = format!("Linux version 4.4.0 {KERNEL}");
    let host = std::fs::read_to_string("/proc/version").unwrap();
    let told = |version: &str, log: &str, canary: bool, user: u32| {
        serde_json::json!({"version": version, "log": log, "canary": canary, "user": user})
            .to_string()
    };
    let rows = [
        (told(&ours, "", false, 1000), true),
        (told("Linux version 9", "Starting gVisor...", false, 1000), true),
        (told("Linux version 9", "", false, 1000), false),
        (told(&host, "Starting gVisor...", false, 1000), false),
        (told(&ours, "", true, 1000), false),
        (told(&ours, "", false, 0), false),
        ("{}".to_owned(), false),
        (String::new(), false),
    ];
    for (output, expected) in rows {
        assert_eq!(held(output.as_bytes()).is_some(), expected, "{output}");
    }
}
