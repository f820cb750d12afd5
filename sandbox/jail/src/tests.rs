//! Parts that need no kernel's help: frames, names, the slot's own ids.

use std::io::{self, Write};
use std::os::unix::net::UnixStream as StdStream;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;

use crate::call::Keeper;
use crate::control::{CALL, Control, DONE, Message, READY};

/// What the host makes of a keeper's bytes, with at most `bytes_max` bytes of files.
async fn answer(bytes: &[u8], bytes_max: u64) -> Result<(String, Vec<(usize, Vec<u8>)>), String> {
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    theirs.write_all(bytes).await.unwrap();
    drop(theirs);
    let reply = Keeper::new(ours)
        .answer(bytes_max)
        .await
        .map_err(|error| format!("{:?}: {error}", error.kind()))?;
    Ok((format!("{:?}", reply.answer.status), reply.files))
}

fn framed(text: &str) -> Vec<u8> {
    [&(text.len() as u32).to_le_bytes()[..], text.as_bytes()].concat()
}

#[tokio::test]
async fn a_keepers_answer_is_read_within_its_limits() {
    let mut whole = framed(r#"{"status":9,"files":[[2,3],[0,0]],"later":"field"}"#);
    whole.extend(b"abc");
    let files = vec![(2, b"abc".to_vec()), (0, Vec::new())];
    assert_eq!(answer(&whole, 3).await, Ok(("Some(9)".to_owned(), files)));

    let end = "UnexpectedEof";
    let long = ((64_u32 << 20) + 1).to_le_bytes();
    for (bytes, expected) in [
        (Vec::new(), end),
        (vec![1, 0], end),
        (whole[..20].to_vec(), end),
        // A file that ends too soon is not taken for a shorter one.
        (whole[..whole.len() - 1].to_vec(), end),
        (long.to_vec(), "its answer is too long"),
        (u32::MAX.to_le_bytes().to_vec(), "its answer is too long"),
        (framed(r#"{"files":[[0,4]]}"#), "its files are too large"),
        (framed(r#"{"files":[[0,18446744073709551615],[1,1]]}"#), "its files are too large"),
        (framed(r#"{"files":[[0,-1]]}"#), "invalid value"),
        (framed("{"), "EOF while parsing"),
        (framed("\u{1}"), "expected value"),
    ] {
        let error = answer(&bytes, 3).await.unwrap_err();
        assert!(error.contains(expected), "{bytes:?}: {error}");
    }
}

fn control() -> (Control, StdStream) {
    let (ours, theirs) = StdStream::pair().unwrap();
    (Control::new(ours).unwrap(), theirs)
}

fn message(kind: u8, call: u64, value: i64) -> Vec<u8> {
    [&[kind][..], &call.to_le_bytes(), &value.to_le_bytes()].concat()
}

#[tokio::test]
async fn messages_of_older_calls_are_left_out() {
    let (control, mut theirs) = control();
    for bytes in [message(READY, 0, 7), message(DONE, 1, 0), message(DONE, 2, -9)] {
        theirs.write_all(&bytes).unwrap();
    }
    let wait = Duration::from_secs(5);
    let found = control.await_kind(DONE, 2, wait).await.unwrap();
    assert_eq!(found, Message { kind: DONE, call: 2, value: -9 });
    let late = control.await_kind(DONE, 3, Duration::from_millis(1)).await;
    assert_eq!(late.unwrap_err().kind(), io::ErrorKind::TimedOut);
}

#[tokio::test]
async fn half_a_message_and_an_end_are_told() {
    let (control, mut theirs) = control();
    theirs.write_all(&message(DONE, 1, 0)[..16]).unwrap();
    let error = control.receive().await.unwrap_err();
    assert!(error.to_string().contains("half a message"), "{error}");
    drop(theirs);
    assert_eq!(control.receive().await.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    let error = control.send(Message::new(CALL, 1), &[]).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
}
