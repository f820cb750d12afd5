//! Frames: what is read is what was written, in whatever parts it comes; the rest is refused.

use std::io::ErrorKind;
use std::process::Stdio;

use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use super::{Frames, Kind, Order, frame, told};
use crate::PROGRAM;

fn guest_frame(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = frame(Order::Put, 7, body);
    bytes[0] = kind;
    bytes
}

#[tokio::test]
async fn a_frame_comes_whole_out_of_any_parts() {
    let (mut near, far) = tokio::io::duplex(4);
    let bytes = [guest_frame(66, b"some output"), guest_frame(70, b"")].concat();
    let writer = tokio::spawn(async move { near.write_all(&bytes).await });
    let mut frames = Frames::new(far);
    let first = frames.next().await.unwrap();
    assert_eq!((first.kind, first.channel), (Kind::Output, 7));
    assert_eq!(first.body, b"some output");
    assert_eq!(frames.next().await.unwrap().kind, Kind::Done);
    writer.await.unwrap().unwrap();
    assert_eq!(frames.next().await.unwrap_err().kind(), ErrorKind::UnexpectedEof);
}

#[tokio::test]
async fn what_is_no_frame_is_refused() {
    let large = [66, 0, 0, 0, 0, 255, 255, 255, 255];
    let rows: [&[u8]; 3] = [&large, &guest_frame(1, b""), &guest_frame(255, b"")];
    for bytes in rows {
        let error = Frames::new(bytes).next().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidData);
    }
}

#[tokio::test]
async fn what_a_frame_tells_is_bounded_by_the_frame() {
    let mut good = told(Order::Put, &serde_json::json!({"a": 1}), b"blob");
    good[0] = 69;
    let read = Frames::new(&good[..]).next().await.unwrap();
    assert_eq!(read.told().unwrap(), (serde_json::json!({"a": 1}), &b"blob"[..]));
    let rows: [&[u8]; 4] = [b"", b"\0\0\0", b"\0\0\0\x05abc", b"\0\0\0\x03abc"];
    for body in rows {
        let bytes = guest_frame(69, body);
        let read = Frames::new(&bytes[..]).next().await.unwrap();
        assert_eq!(read.told().unwrap_err().kind(), ErrorKind::InvalidData);
    }
}

#[tokio::test]
async fn the_agent_understands_what_it_is_told_and_is_understood() {
    let letters: String = ('\0'..'\u{800}').chain(['\u{2028}', '\u{fffd}', '🙂']).collect();
    let hostile = ["\"", "\\", "\\\"", "\\N{BULLET}", "' + None + '", "# coding: latin-1", "\r\n"];
    let value = json!({
        "text": letters, "\"": hostile, "null": null, "flags": [true, false], "empty": [{}, [], ""],
        "numbers": [0, -1, u64::MAX, i64::MIN],
    });
    let echo = "\nkind, channel, body = receive()\nsend_told(HELLO, *split(body))\n";
    let mut command = Command::new("/usr/bin/python3");
    command.args(["-I", "-S", "-B", "-X", "utf8", "-c", &format!("{PROGRAM}{echo}")]);
    let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true).spawn();
    let Ok(mut child) = child else { return println!("skipped: no /usr/bin/python3") };
    let order = told(Order::Put, &value, b"blob");
    child.stdin.take().unwrap().write_all(&order).await.unwrap();
    let answer = Frames::new(child.stdout.take().unwrap()).next().await.unwrap();
    assert_eq!(answer.told().unwrap(), (value, &b"blob"[..]));
}
