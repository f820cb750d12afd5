//! What is told of files that cannot be read.

use std::fs::{create_dir, write};
use std::io::{Error, ErrorKind};

use headwater_actors::ingest::SourceError;
use tempfile::tempdir;

use super::{FileSource, problem_of};

#[test]
fn only_what_may_pass_is_tried_again() {
    for (error, words) in [
        (Error::from(ErrorKind::PermissionDenied), "may not read"),
        (Error::from(ErrorKind::NotFound), "gone"),
        (Error::from(ErrorKind::IsADirectory), "no file"),
        (Error::from(ErrorKind::InvalidInput), "no path"),
        (Error::from_raw_os_error(libc::ELOOP), "links"),
    ] {
        let SourceError::Refused(reason) = problem_of(&error) else { panic!("{error}: retried") };
        assert!(reason.contains(words), "{reason}");
    }
    for error in [Error::from_raw_os_error(libc::EIO), Error::from(ErrorKind::TimedOut)] {
        let problem = problem_of(&error);
        assert!(matches!(problem, SourceError::Unavailable(_)), "{problem:?}");
    }
}

#[tokio::test]
async fn files_below_the_roots_are_read_and_nothing_else() {
    let (root, other) = (tempdir().expect("a folder"), tempdir().expect("a folder"));
    let path = |name: &str| root.path().join(name).to_string_lossy().into_owned();
    write(path("good"), "0123456789").expect("is written");
    create_dir(path("folder")).expect("is made");
    let outside = other.path().join("file");
    write(&outside, "secret").expect("is written");
    let source = FileSource::new(&[root.path().to_path_buf()]).expect("a root");
    assert_eq!(source.read(&path("good"), 4, 3).await, Ok(b"456".to_vec()));
    assert_eq!(source.read(&path("good"), 10, 3).await, Ok(Vec::new()));
    let missing = other.path().join("none");
    let outside = [outside, missing].map(|path| path.to_string_lossy().into_owned());
    for place in [&path("none"), &path("folder"), &outside[0], &outside[1], &"a\0b".to_owned()] {
        let refused = source.read(place, 0, 3).await;
        let Err(SourceError::Refused(reason)) = refused else { panic!("{place}: {refused:?}") };
        assert!(reason.contains("ingest.roots"), "{place}: {reason}");
    }
}
