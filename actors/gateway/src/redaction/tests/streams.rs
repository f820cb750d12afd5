//! Texts that come in pieces: wherever they are split, the whole is the same.

use std::sync::Arc;

use super::{redacted, redactor, session};
use crate::redaction::{
    Action, Entity, MOST_HELD_BYTES, RedactionPolicy, RedactionSession, Restorer, StreamRedactor,
    Tokens,
};

/// Cuts a text into pieces by a seed, at borders of characters.
fn pieces(text: &str, mut seed: u64) -> Vec<&str> {
    let (mut pieces, mut rest) = (Vec::new(), text);
    while !rest.is_empty() {
        // Knuth's MMIX generator.
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let count = ((seed >> 33) % 9) as usize;
        let end = rest.char_indices().nth(count).map_or(rest.len(), |(place, _)| place);
        let (piece, after) = rest.split_at(end);
        pieces.push(piece);
        rest = after;
    }
    pieces
}

fn restored(mut restorer: Restorer, pieces: &[&str]) -> String {
    let mut text: String = pieces.iter().map(|piece| restorer.push(piece)).collect();
    text.push_str(&restorer.finish());
    text
}

fn tokens() -> Tokens {
    let mut session = session(Action::Token);
    for number in 0..12 {
        redacted(&mut session, &format!("p{number}@example.com"));
    }
    redacted(&mut session, "José O\"Hara");
    session.tokens()
}

#[test]
fn any_split_restores_the_same() {
    let text = "<<EMAIL_1>, <EMAIL_11> and <EMAIL_2 > <EMAIL_3>>, <PERSON_1> <EMAIL_<EMAIL_4> \
                <EMAIL_99> < EMAIL_1> \\<EMAIL_12>ü<";
    let expected = "<p0@example.com, p10@example.com and <EMAIL_2 > p2@example.com>, José O\"Hara \
                    <EMAIL_p3@example.com <EMAIL_99> < EMAIL_1> \\p11@example.comü<";
    assert_eq!(restored(tokens().restorer(), &[text]), expected);
    for seed in 0..2_000 {
        let pieces = pieces(text, seed);
        assert_eq!(restored(tokens().restorer(), &pieces), expected, "{pieces:?}");
    }
}

#[test]
fn in_json_values_are_parts_of_strings() {
    let text = r#"{"a":"<PERSON_1>","b":"\u003cPERSON_1\u003e","c":"\u003CEMAIL_1\u003E\n\u003c"}"#;
    let expected = r#"{"a":"José O\"Hara","b":"José O\"Hara","c":"p0@example.com\n\u003c"}"#;
    for seed in 0..500 {
        let own = restored(tokens().json_restorer(), &pieces(text, seed));
        assert_eq!(own, expected);
        let read: serde_json::Value = serde_json::from_str(&own).expect("it is JSON");
        assert_eq!(read["b"], "José O\"Hara");
    }
}

#[test]
fn only_what_may_be_a_token_is_held_back() {
    let mut restorer = tokens().restorer();
    for (piece, out) in [
        ("a <", "a "),
        ("b", "<b"),
        ("<EMA", ""),
        ("IL_1", ""),
        (">!", "p0@example.com!"),
        ("<PERSONAL", "<PERSONAL"),
        ("x < y", "x < y"),
    ] {
        assert_eq!(restorer.push(piece), out, "{piece:?}");
    }
    assert_eq!(restorer.finish(), "");
}

fn stream(json: bool) -> StreamRedactor {
    let policy = RedactionPolicy::of(Action::Mask, &Entity::ALL);
    let session = RedactionSession::new(Arc::new(policy));
    StreamRedactor::new(redactor(), session, tokens(), json)
}

/// The whole, and the most bytes that were held back.
fn streamed(mut own: StreamRedactor, pieces: &[&str]) -> (String, usize) {
    let (mut text, mut most, mut sent) = (String::new(), 0, 0usize);
    let mut out_bytes = 0;
    for piece in pieces {
        sent += piece.len();
        let out = own.push(piece).expect("nothing is blocked");
        // Replacements change the length, so only texts without any are measured.
        out_bytes += out.len();
        most = most.max(sent.saturating_sub(out_bytes));
        text.push_str(&out);
    }
    text.push_str(&own.finish().expect("nothing is blocked"));
    (text, most)
}

const ANSWER: &str = "Sure. Write to ada@example.com or call +1 415 555 2671. The server 203.0.113.9 \
is hers; Ada Lovelace lives at 742 Evergreen Terrace,\nSpringfield, IL 62704. <EMAIL_1> stays.\n\n\
- one b@example.com\n- two\n\nThe card 4111 1111 1111 1111 is blocked and the account is DE89 3704 \
0044 0532 0130 00 in the bank! Ünïcödé is fine. SSN 536-90-4399";

#[test]
fn any_split_redacts_the_same() {
    let (whole, _) = streamed(stream(false), &[ANSWER]);
    let expected = "Sure. Write to [EMAIL] or call [PHONE]. The server [IP] is hers; [PERSON] lives \
                    at [ADDRESS]. <EMAIL_1> stays.\n\n- one [EMAIL]\n- two\n\nThe card [CARD] is \
                    blocked and the account is [IBAN] in the bank! Ünïcödé is fine. SSN [SSN]";
    assert_eq!(whole, expected);
    for seed in 0..200 {
        let pieces = pieces(ANSWER, seed);
        assert_eq!(streamed(stream(false), &pieces).0, expected, "{pieces:?}");
    }
}

#[test]
fn a_long_line_is_let_go_in_parts() {
    let filler = "words that say nothing of anybody go on and on ";
    for lead in [0, 1, 7, 30, 45] {
        let text = format!(
            "{}{} ada@example.com, {}",
            &filler[..lead],
            filler.repeat(10),
            filler.repeat(30)
        );
        let (whole, _) = streamed(stream(false), &[&text]);
        assert_eq!(whole, text.replace("ada@example.com", "[EMAIL]"));
        for seed in 0..20 {
            assert_eq!(streamed(stream(false), &pieces(&text, seed)).0, whole);
        }
    }
    for text in [filler.repeat(100), "ß".repeat(3_000)] {
        let characters: Vec<String> = text.chars().map(String::from).collect();
        let pieces: Vec<&str> = characters.iter().map(String::as_str).collect();
        let (whole, most) = streamed(stream(false), &pieces);
        assert_eq!(whole, text);
        assert!(most <= MOST_HELD_BYTES, "{most} bytes were held back");
    }
}

#[test]
fn json_stays_json() {
    let text = r#"{"to":"ada@example.com","text":"\nAda Lovelace\u00e9\n203.0.113.9 said \"+1 415 555 2671\"","k":[1,2]}"#;
    let (whole, _) = streamed(stream(true), &[text]);
    let read: serde_json::Value = serde_json::from_str(&whole).expect("it is JSON");
    assert_eq!(read["to"], "[EMAIL]");
    assert_eq!(read["text"], "\n[PERSON]é\n[IP] said \"[PHONE]\"");
    for seed in 0..200 {
        assert_eq!(streamed(stream(true), &pieces(text, seed)).0, whole);
    }
}
