//! Lines come out the same however the bytes are cut.

use proptest::prelude::{any, proptest};

use crate::ingest::{Line, LineProblem, Lines};

type Read = (u64, Result<String, LineProblem>);

fn good(number: u64, text: &str) -> Read {
    (number, Ok(text.to_owned()))
}

fn bad(number: u64, problem: LineProblem) -> Read {
    (number, Err(problem))
}

fn read(lines: Vec<Line>) -> Vec<Read> {
    lines.into_iter().map(|line| (line.number, line.text)).collect()
}

fn cut(bytes: &[u8], piece: usize) -> Vec<Line> {
    let mut reader = Lines::after(0, 8);
    let mut lines: Vec<Line> = bytes.chunks(piece).flat_map(|piece| reader.push(piece)).collect();
    lines.extend(reader.finish());
    lines
}

#[test]
fn line_ends_marks_and_bad_lines() {
    let too_long = LineProblem::TooLong { allowed_bytes: 8 };
    for (bytes, expected) in [
        (&b"one\ntwo\n"[..], vec![good(1, "one"), good(2, "two")]),
        (b"one\r\ntwo", vec![good(1, "one"), good(2, "two")]),
        (b"\xef\xbb\xbfone\n", vec![good(1, "one")]),
        (b"one\n\n \t\r\ntwo\n", vec![good(1, "one"), good(4, "two")]),
        (b"12345678\r\n123456789\nx", vec![good(1, "12345678"), bad(2, too_long), good(3, "x")]),
        (b"\xef\xbb\xbf12345678\r\n", vec![good(1, "12345678")]),
        (
            b"ok\nab\xff\n1234567890123456789012345",
            vec![good(1, "ok"), bad(2, LineProblem::NotUtf8 { byte: 2 }), bad(3, too_long)],
        ),
        (b"", vec![]),
        (b"\n", vec![]),
    ] {
        for piece in 1..12 {
            assert_eq!(read(cut(bytes, piece)), expected, "{bytes:?} in pieces of {piece}");
        }
    }
}

#[test]
fn numbers_go_on_behind_earlier_lines() {
    let mut lines = Lines::after(41, 100);
    let first = lines.push(b"x\r\ny");
    assert_eq!((first[0].end, read(first)), (3, vec![good(42, "x")]));
    assert_eq!(lines.read(), 42);
    let last = lines.finish().expect("a line without an end");
    assert_eq!((last.end, last.number), (4, 43));
}

proptest! {
    #[test]
    fn pieces_do_not_matter(bytes: Vec<u8>, piece in 1usize..20, ends in any::<bool>()) {
        let mut bytes: Vec<u8> = bytes.iter().map(|byte| if byte % 5 == 0 { b'\n' } else { *byte }).collect();
        if ends {
            bytes.push(b'\n');
        }
        assert_eq!(cut(&bytes, piece), cut(&bytes, usize::MAX));
    }
}
