//! Names and images that are refused.

use headwater_sandbox::{Image, ImageName};

use super::{check_image, check_name};

#[test]
fn names_become_folders_and_are_held_to_letters() {
    let rows = [("a-1", true), ("", false), ("a/b", false), ("..", false), ("a_b", false)];
    for (name, expected) in rows {
        assert_eq!(check_name("any", name).is_ok(), expected, "{name}");
    }
    assert!(check_name("any", &"a".repeat(64)).is_err());
}

#[test]
fn an_image_has_an_interpreter_below_a_whole_path() {
    let root = tempfile::tempdir().unwrap();
    std::fs::write(root.path().join("python"), "").unwrap();
    let image = |root: &std::path::Path, python: &str| Image {
        name: ImageName::new("guest").unwrap(),
        digest: String::new(),
        root: root.to_path_buf(),
        python: python.to_owned(),
        preload: Vec::new(),
    };
    let rows = [
        (image(root.path(), "/python"), true),
        (image(root.path(), "python"), false),
        (image(root.path(), "/ruby"), false),
        (image(&root.path().join("none"), "/python"), false),
        (image("relative".as_ref(), "/python"), false),
    ];
    for (image, expected) in rows {
        assert_eq!(check_image("any", &image).is_ok(), expected, "{image:?}");
    }
}
