//! Which files of runsc belong to a container.

use super::is_of;

#[test]
fn a_longer_name_is_another_container() {
    let rows = [
        ("a_sandbox:a.state", true),
        ("a_sandbox:a.lock", true),
        ("runsc-a.sock", true),
        ("a-1_sandbox:a-1.state", false),
        ("ab.state", false),
        ("b.state", false),
    ];
    for (file, expected) in rows {
        assert_eq!(is_of(file, "a"), expected, "{file}");
    }
}
