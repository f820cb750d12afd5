//! Sockets of a machine: long paths, links that lead elsewhere, and the handshake in parts.

use std::os::unix::fs::symlink;
use std::path::PathBuf;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixListener;

use super::{connect, connect_once, dial};
use crate::api::deadline;

/// A folder whose path is longer than a socket's address.
fn deep(folder: &tempfile::TempDir) -> PathBuf {
    let deep = folder.path().join("d".repeat(100)).join("e".repeat(100));
    std::fs::create_dir_all(&deep).unwrap();
    deep
}

/// A listener below a name whose path fits, moved to where it may not.
fn listener(folder: &tempfile::TempDir, name: &str) -> (UnixListener, PathBuf) {
    let (short, deep) = (folder.path().join("s"), deep(folder));
    let listener = UnixListener::bind(&short).unwrap();
    std::fs::rename(short, deep.join(name)).unwrap();
    (listener, deep)
}

#[tokio::test]
async fn a_path_may_be_long_but_is_no_link_and_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let (_listener, deep) = listener(&folder, "v.sock");
    dial(&deep, "v.sock").await.unwrap();
    symlink(deep.join("v.sock"), deep.join("link")).unwrap();
    std::fs::write(deep.join("file"), "").unwrap();
    for name in ["link", "file", "none"] {
        assert!(dial(&deep, name).await.is_err(), "{name}");
    }
}

#[tokio::test]
async fn the_handshake_is_one_line_and_takes_no_byte_behind_it() {
    let rows: [(&[&[u8]], bool); 6] = [
        (&[b"OK 1073741824\nagent"], true),
        (&[b"O", b"K 1", b"\nag", b"ent"], true),
        (&[b"OK \nagent"], false),
        (&[b"OK 12x\nagent"], false),
        (&[b"ERROR 1\nagent"], false),
        (&[b"OK 1111111111111111111111111111111111111111111111\n"], false),
    ];
    for (parts, good) in rows {
        let folder = tempfile::tempdir().unwrap();
        let (listener, deep) = listener(&folder, "v.sock");
        let server = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut line = [0; 11];
            stream.read_exact(&mut line).await.unwrap();
            assert_eq!(&line, b"CONNECT 52\n");
            for part in parts {
                stream.write_all(part).await.unwrap();
                tokio::task::yield_now().await;
            }
        };
        let ((), stream) = tokio::join!(server, connect_once(&deep, "v.sock"));
        let Ok(mut stream) = stream else {
            assert!(!good, "{parts:?}");
            continue;
        };
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).await.unwrap();
        assert!(good && rest == b"agent", "{parts:?}");
    }
}

#[tokio::test]
async fn a_guest_that_listens_later_is_met_and_one_that_never_does_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let (listener, deep) = listener(&folder, "v.sock");
    let server = async {
        for round in 0..3 {
            let (mut stream, _) = listener.accept().await.unwrap();
            if round == 2 {
                stream.read_exact(&mut [0; 11]).await.unwrap();
                stream.write_all(b"OK 5\n").await.unwrap();
            }
        }
    };
    let ((), met) = tokio::join!(server, connect(&deep, "v.sock", deadline(30_000)));
    met.unwrap();
    drop(listener);
    let error = connect(&deep, "v.sock", deadline(30)).await.unwrap_err();
    assert!(error.contains("nothing listens in the guest"), "{error}");
}
