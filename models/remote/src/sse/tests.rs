//! Events are the same wherever the bytes are cut.

use std::collections::VecDeque;

use super::{Broken, Event, Parser};

fn read(pieces: &[&[u8]], bytes_max: usize) -> Result<Vec<Event>, Broken> {
    let mut parser = Parser::new(bytes_max);
    let mut events = VecDeque::new();
    for piece in pieces {
        parser.feed(piece, &mut events)?;
    }
    Ok(events.into())
}

fn event(name: &str, data: &str) -> Event {
    let name = Some(name.to_owned()).filter(|name| !name.is_empty());
    Event { name, data: data.to_owned() }
}

fn check(text: &str, expected: &[(&str, &str)]) {
    let expected: Vec<Event> = expected.iter().map(|(name, data)| event(name, data)).collect();
    let bytes = text.as_bytes();
    assert_eq!(read(&[bytes], 1_000), Ok(expected.clone()), "{text:?} whole");
    let single: Vec<&[u8]> = bytes.chunks(1).collect();
    assert_eq!(read(&single, 1_000), Ok(expected.clone()), "{text:?} byte by byte");
    for first in 0..bytes.len() {
        for second in first..bytes.len() {
            let pieces = [&bytes[..first], &bytes[first..second], &bytes[second..]];
            assert_eq!(read(&pieces, 1_000), Ok(expected.clone()), "{text:?} {first} {second}");
        }
    }
}

#[test]
fn events_at_every_cut() {
    for end in ["\n", "\r\n", "\r"] {
        let with_end = |text: &str| text.replace('\n', end);
        check(
            &with_end("data: {\"a\":1}\n\ndata: [DONE]\n\n"),
            &[("", "{\"a\":1}"), ("", "[DONE]")],
        );
        check(&with_end("event: ping\ndata:x\n\ndata:  y\n\n"), &[("ping", "x"), ("", " y")]);
        check(&with_end("\u{feff}data: first\ndata: second\ndata\n\n"), &[("", "first\nsecond\n")]);
        check(
            &with_end(": keep-alive\n\n:\nid: 7\nretry: 3\ndata: Kyōto 京都\n\n"),
            &[("", "Kyōto 京都")],
        );
        check(&with_end("event: lost\n\ndata: a:b\n\n\n\ndata: not ended\n"), &[("", "a:b")]);
        check(&with_end("data: not ended"), &[]);
        check(&with_end("event:\ndata\n\n"), &[("", "")]);
    }
}

#[test]
fn a_byte_order_mark_later_is_no_mark() {
    check("data: a\n\n\u{feff}data: b\n\ndata: \u{feff}c\n\n", &[("", "a"), ("", "\u{feff}c")]);
}

#[test]
fn long_events_are_told_from_too_long_ones() {
    let text = format!("data: {}\n\n", "x".repeat(94));
    assert_eq!(read(&[text.as_bytes()], 100).map(|events| events.len()), Ok(1));
    let too_long = Err(Broken::TooLong { bytes_max: 99 });
    assert_eq!(read(&[text.as_bytes()], 99), too_long);
    let pieces: Vec<&[u8]> = text.as_bytes().chunks(7).collect();
    assert_eq!(read(&pieces, 99), too_long);
    let lines = "data: 0123456789\n".repeat(10);
    assert_eq!(read(&[lines.as_bytes()], 99), too_long, "many lines are one event");
}

#[test]
fn what_is_no_text_is_told() {
    assert_eq!(read(&[b"data: \xff\n\n"], 100), Err(Broken::NotUtf8));
}
