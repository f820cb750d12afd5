//! Images of this host's interpreter, and all that must be refused.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use headwater_sandbox::ImageName;

use crate::libraries::library_of;
use crate::{ImageError, Recipe, digest, list, make, open, verify};

fn name(text: &str) -> ImageName {
    ImageName::new(text).unwrap()
}

#[test]
fn an_image_is_made_opened_verified_and_found_broken() {
    let folder = tempfile::tempdir().unwrap();
    let images = folder.path().join("images");
    assert_eq!(list(&images).unwrap().len(), 0);
    let missing = open(&images, &name("python")).unwrap_err();
    assert!(matches!(missing, ImageError::Missing { .. }), "{missing}");

    // What a run that was cut off has left.
    let rest = images.join(".python.making/root/junk");
    fs::create_dir_all(&rest).unwrap();
    let mut recipe = Recipe::new(name("python"));
    recipe.preload = vec!["json".to_owned(), "os.path".to_owned()];
    let (image, manifest) = make(&images, &recipe).unwrap();
    assert_eq!(image.python, "/usr/bin/python3");
    assert_eq!(image.preload, recipe.preload);
    assert!(manifest.bytes > 1 << 20, "{manifest:?}");
    for file in ["etc/passwd", "usr/bin/python3", "work", "dev", "tmp", "proc"] {
        assert!(fs::symlink_metadata(image.root.join(file)).is_ok(), "{file}");
    }
    assert!(!rest.exists() && !image.root.join("junk").exists());
    verify(&image).unwrap();
    runs_as_a_root(&image.root);

    let again = make(&images, &recipe).unwrap_err();
    assert!(matches!(again, ImageError::Exists { .. }), "{again}");
    let (opened, same) = open(&images, &name("python")).unwrap();
    assert_eq!((opened, same), (image.clone(), manifest));
    let listed = list(&images).unwrap();
    assert_eq!(listed.len(), 1);
    assert!(listed[0].1.is_ok());

    fs::write(image.root.join("etc/passwd"), "root::0:0:::\n").unwrap();
    let broken = verify(&image).unwrap_err();
    assert!(matches!(broken, ImageError::Broken { .. }), "{broken}");
    fs::write(images.join("python/manifest.json"), "{}").unwrap();
    let broken = open(&images, &name("python")).unwrap_err();
    assert!(broken.to_string().contains("manifest"), "{broken}");
}

/// The interpreter starts with the root's own libraries alone, where this user may change roots.
fn runs_as_a_root(root: &Path) {
    let code = "import ctypes, decimal, hashlib, json, socket, ssl, sqlite3, zlib, sys\n\
                print(sys.executable, sys.flags.isolated)";
    let output = Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount", "--pid", "--fork", "chroot"])
        .arg(root)
        .args(["/usr/bin/python3", "-I", "-c", code])
        .output();
    let Ok(output) = output else { return println!("skipped: there is no unshare here") };
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    if text.contains("unshare failed") {
        return println!("skipped: no user namespaces here: {text}");
    }
    assert!(output.status.success(), "{text}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "/usr/bin/python3 1\n");
}

#[test]
fn recipes_that_cannot_be_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let recipe = Recipe::new(name("bad"));
    let with_package =
        |package: &str| Recipe { packages: vec![package.to_owned()], ..recipe.clone() };
    let with_preload = |module: &str| Recipe { preload: vec![module.to_owned()], ..recipe.clone() };
    let with_python = |python: &str| Recipe { python: PathBuf::from(python), ..recipe.clone() };
    for (recipe, expected) in [
        (with_package("--index-url=http://x"), "package"),
        (with_package(""), "package"),
        (with_package("../numpy"), "package"),
        (with_package("numpy @ https://example.org/x"), "package"),
        (with_preload("os; import x"), "preload"),
        (with_preload("a..b"), "preload"),
        (with_preload("no_such_module_at_all"), "take the module out of `preload`"),
        (with_python("/no/such/python"), "name a Python interpreter"),
        (with_python("/bin/false"), "name a Python interpreter"),
    ] {
        let error = make(folder.path(), &recipe).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
        let left: Vec<_> = fs::read_dir(folder.path()).unwrap().flatten().collect();
        let left: Vec<_> = left.iter().filter(|entry| entry.path().is_dir()).collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

#[test]
fn the_digest_sees_every_change() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    fs::create_dir(path.join("a")).unwrap();
    fs::write(path.join("a/b"), "text").unwrap();
    std::os::unix::fs::symlink("b", path.join("a/c")).unwrap();
    let mut seen = vec![digest(path).unwrap()];
    let mut changed = |what: &str| {
        let now = digest(path).unwrap();
        assert!(!seen.contains(&now), "{what}");
        seen.push(now);
    };
    fs::write(path.join("a/b"), "texT").unwrap();
    changed("a byte");
    fs::set_permissions(path.join("a/b"), Permissions::from_mode(0o755)).unwrap();
    changed("a mode");
    fs::rename(path.join("a/b"), path.join("b")).unwrap();
    changed("a place");
    fs::remove_file(path.join("a/c")).unwrap();
    std::os::unix::fs::symlink("d", path.join("a/c")).unwrap();
    changed("a link's target");
    fs::remove_file(path.join("a/c")).unwrap();
    fs::write(path.join("a/c"), "d").unwrap();
    changed("a kind");
    fs::create_dir(path.join("empty")).unwrap();
    changed("an empty folder");
    let socket = std::os::unix::net::UnixListener::bind(path.join("socket")).unwrap();
    assert!(digest(path).unwrap_err().to_string().contains("neither a file"));
    drop(socket);
}

#[test]
fn lines_of_ldd() {
    for (line, expected) in [
        ("\tlibm.so.6 => /lib/x/libm.so.6 (0x00007f12)", Some("/lib/x/libm.so.6")),
        ("\t/lib64/ld-linux-x86-64.so.2 (0x00007f12)", Some("/lib64/ld-linux-x86-64.so.2")),
        ("\tlinux-vdso.so.1 (0x00007ffd)", None),
        ("\tlibx.so => not found", None),
        ("/usr/bin/python3:", None),
        ("\tstatically linked", None),
    ] {
        assert_eq!(library_of(line), expected.map(PathBuf::from), "{line}");
    }
}
