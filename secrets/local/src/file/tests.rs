//! Files: as Kubernetes mounts them, and as nobody should.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use headwater_secrets::{SecretError, SecretName, SecretSource};
use tempfile::TempDir;

use super::{FileSettings, FileSource, VALUE_BYTES_MAX};

fn source(root: &Path) -> FileSource {
    FileSource::new(&FileSettings { root: root.to_owned() }).unwrap()
}

fn write(root: &Path, path: &str, bytes: impl AsRef<[u8]>) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

/// What a question gives: the value, or a part of the error's text.
async fn check(source: &FileSource, team: &str, name: &str, expected: Result<&str, &str>) {
    let value = source.get(team, &SecretName::new(name).unwrap()).await;
    match (&value, expected) {
        (Ok(value), Ok(expected)) => assert_eq!(value.expose(), expected, "{team} {name}"),
        (Err(error), Err(expected)) => {
            let shown = format!("{error} {error:?}");
            assert!(shown.contains(expected) && !shown.contains("canary"), "{team}: {shown}");
        }
        _ => panic!("{team} {name}: {value:?} in place of {expected:?}"),
    }
}

#[tokio::test]
async fn values_are_read_as_they_are_now() {
    let root = TempDir::new().unwrap();
    let longest = "x".repeat(VALUE_BYTES_MAX);
    for (name, bytes, expected) in [
        ("PLAIN", "canary", Ok("canary")),
        ("LINE", "canary\n", Ok("canary")),
        ("DOS", "canary\r\n", Ok("canary")),
        ("RETURN", "canary\r", Ok("canary\r")),
        ("LINES", "one\ntwo\n\n", Ok("one\ntwo\n")),
        ("SPACES", " canary ", Ok(" canary ")),
        ("LONGEST", &longest, Ok(&longest)),
        ("TOO_LONG", &format!("{longest}\n"), Err("more than 65536 bytes; shorten")),
        ("EMPTY", "\n", Err("is empty; write its value")),
    ] {
        write(root.path(), &format!("acme/{name}"), bytes);
        check(&source(root.path()), "acme", name, expected).await;
    }
    write(root.path(), "acme/BYTES", [b'c', 0xff]);
    check(&source(root.path()), "acme", "BYTES", Err("holds no UTF-8")).await;
    let source = source(root.path());
    check(&source, "acme", "PLAIN", Ok("canary")).await;
    write(root.path(), "acme/PLAIN", "new");
    check(&source, "acme", "PLAIN", Ok("new")).await;
    fs::remove_file(root.path().join("acme/PLAIN")).unwrap();
    check(&source, "acme", "PLAIN", Err("team `acme` has no secret `PLAIN`")).await;
    check(&source, "other", "LINE", Err("has no secret")).await;
}

#[tokio::test]
async fn no_team_reaches_out_of_its_folder() {
    let above = TempDir::new().unwrap();
    let root = above.path().join("root");
    write(above.path(), "KEY", "canary");
    write(above.path(), "root-other/KEY", "canary");
    write(&root, "KEY", "canary");
    write(&root, "..data/KEY", "canary");
    write(&root, "a/deep/KEY", "canary");
    write(&root, "b/OWN", "canary");
    fs::create_dir_all(root.join("a/FOLDER")).unwrap();
    symlink(above.path().join("KEY"), root.join("a/OUT")).unwrap();
    symlink("../../root-other/KEY", root.join("a/BESIDE")).unwrap();
    symlink("../b/OWN", root.join("a/OTHER_TEAM")).unwrap();
    symlink("../KEY", root.join("a/ROOT")).unwrap();
    symlink("LOOP", root.join("a/LOOP")).unwrap();
    symlink("nothing", root.join("a/DANGLING")).unwrap();
    symlink("..", root.join("up")).unwrap();
    symlink(".", root.join("self")).unwrap();
    let source = source(&root);
    for team in ["", ".", "..", "../root-other", "a/deep", "a/../b", "..data", "/", "a\0", "a/"] {
        check(&source, team, "KEY", Err("has no secret")).await;
    }
    for name in ["OUT", "BESIDE", "OTHER_TEAM", "ROOT", "FOLDER"] {
        check(&source, "a", name, Err("no file within its team's folder")).await;
    }
    check(&source, "up", "KEY", Err("no file within its team's folder")).await;
    check(&source, "self", "KEY", Err("no file within its team's folder")).await;
    check(&source, "a", "LOOP", Err("leads in a circle")).await;
    check(&source, "a", "DANGLING", Err("has no secret")).await;
}

#[tokio::test]
async fn mounts_of_kubernetes_are_read_and_swapped() {
    let above = TempDir::new().unwrap();
    let root = above.path().join("root");
    // One volume for a team, and one volume for all whose items have paths.
    for (folder, link, target) in [("acme", "KEY", "..data/KEY"), ("", "ops", "..data/ops")] {
        let folder = root.join(folder);
        let inner = if link == "ops" { "ops/KEY" } else { "KEY" };
        write(&folder, &format!("..2026_01/{inner}"), "old\n");
        symlink("..2026_01", folder.join("..data")).unwrap();
        symlink(target, folder.join(link)).unwrap();
    }
    symlink(&root, above.path().join("link")).unwrap();
    for source in [source(&root), source(&above.path().join("link"))] {
        check(&source, "acme", "KEY", Ok("old")).await;
        check(&source, "ops", "KEY", Ok("old")).await;
    }
    let source = source(&root);
    for (folder, inner) in [("acme", "KEY"), ("", "ops/KEY")] {
        let folder = root.join(folder);
        write(&folder, &format!("..2026_02/{inner}"), "new\n");
        symlink("..2026_02", folder.join("..data_tmp")).unwrap();
        fs::rename(folder.join("..data_tmp"), folder.join("..data")).unwrap();
        fs::remove_dir_all(folder.join("..2026_01")).unwrap();
    }
    check(&source, "acme", "KEY", Ok("new")).await;
    check(&source, "ops", "KEY", Ok("new")).await;
}

#[tokio::test]
async fn a_file_that_others_may_read_is_warned_about_once() {
    let root = TempDir::new().unwrap();
    let source = source(root.path());
    for (name, mode) in [("OPEN", 0o644), ("CLOSED", 0o640)] {
        write(root.path(), &format!("acme/{name}"), "canary");
        let path = root.path().join("acme").join(name);
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        for _ in 0..2 {
            check(&source, "acme", name, Ok("canary")).await;
        }
    }
    let warned: Vec<_> = source.warned.lock().unwrap().iter().cloned().collect();
    assert_eq!(warned, [root.path().join("acme/OPEN")]);
}

#[tokio::test]
async fn a_root_that_makes_no_sense_is_refused() {
    let relative = FileSource::new(&FileSettings { root: "secrets".into() }).err();
    assert!(matches!(relative, Some(SecretError::Misconfigured(why)) if why.contains("absolute")));
    let root = TempDir::new().unwrap();
    let missing = source(&root.path().join("missing"));
    check(&missing, "acme", "KEY", Err("`root` does not exist")).await;
    assert!(serde_json::from_str::<FileSettings>(r#"{"root": "/a", "team": "x"}"#).is_err());
}
