//! Folders as a source.

use std::path::Path;

use super::{FetchError, Staging, WeightsSource, fetch, missing_file};
use crate::folder::REQUIRED;

#[test]
fn a_folder_must_hold_every_required_file() {
    let folder = tempfile::tempdir().unwrap();
    let source = WeightsSource::Folder(folder.path().to_owned());
    for name in REQUIRED {
        match fetch(&source, Path::new(""), &mut |_, _| {}) {
            Err(FetchError::Source(reason)) => assert!(reason.contains(name), "{reason}"),
            other => panic!("{other:?}"),
        }
        std::fs::write(folder.path().join(name), "x").unwrap();
    }
    assert_eq!(fetch(&source, Path::new(""), &mut |_, _| {}), Ok(folder.path().to_owned()));
}

#[test]
fn a_folder_is_published_whole_and_the_first_one_stays() {
    let cache = tempfile::tempdir().unwrap();
    let target = cache.path().join("deep/model");
    let publish = |content: &str| {
        let staging = Staging::beside(&target).unwrap();
        let inner = staging.path().join("model");
        std::fs::create_dir(&inner).unwrap();
        for name in REQUIRED {
            std::fs::write(inner.join(name), content).unwrap();
        }
        staging.publish(&inner)
    };
    assert_eq!(publish("first"), Ok(target.clone()));
    assert_eq!(publish("second"), Ok(target.clone()));
    assert_eq!(std::fs::read_to_string(target.join(REQUIRED[0])).unwrap(), "first");
    assert!(missing_file(&target).is_none());
    let left = std::fs::read_dir(target.parent().unwrap()).unwrap().count();
    assert_eq!(left, 1, "no staging folder is left behind");
}
