//! Pieces of text: characters over several tokens, and stop texts over several tokens.

use super::Pieces;

/// What each token shows, what the end shows, and the stop text that was met.
fn run(stops: &[&str], tokens: &[&[u8]]) -> (Vec<String>, String, Option<String>) {
    let mut pieces = Pieces::new(stops.iter().map(|stop| (*stop).to_owned()).collect());
    let mut shown = Vec::new();
    for token in tokens {
        let piece = pieces.push(token);
        shown.push(piece.text);
        if piece.stop.is_some() {
            return (shown, pieces.finish(true), piece.stop);
        }
    }
    (shown, pieces.finish(false), None)
}

#[test]
fn text_is_held_back_only_as_far_as_it_may_stop() {
    let check = |stops: &[&str], tokens: &[&str], shown: &[&str], rest: &str, met: Option<&str>| {
        let bytes: Vec<&[u8]> = tokens.iter().map(|token| token.as_bytes()).collect();
        let (found, end, stop) = run(stops, &bytes);
        assert_eq!(found, shown, "{stops:?} {tokens:?}");
        assert_eq!((end.as_str(), stop.as_deref()), (rest, met), "{stops:?} {tokens:?}");
    };
    check(&[], &["a", "bc"], &["a", "bc"], "", None);
    check(&["END"], &["a E", "N", "D b"], &["a ", "", ""], "", Some("END"));
    check(&["END"], &["a E", "N", "X b"], &["a ", "", "ENX b"], "", None);
    check(&["END"], &["a E", "N"], &["a ", ""], "EN", None);
    check(&["END"], &["aENDb"], &["a"], "", Some("END"));
    check(&["aab"], &["a", "a", "a", "b", "c"], &["", "", "a", ""], "", Some("aab"));
    check(&["b", "ab"], &["xab"], &["x"], "", Some("ab"));
    check(&["ab", "abc"], &["xabc"], &["x"], "", Some("abc"));
    check(&["ab", "abc"], &["xa", "b"], &["x", ""], "", Some("ab"));
    check(&["é!"], &["the ", "é", "?"], &["the ", "", "é?"], "", None);
    check(&["\n\n"], &["a\n", "b\n", "\n"], &["a", "\nb", ""], "", Some("\n\n"));
}

#[test]
fn only_whole_characters_are_shown() {
    let check = |tokens: &[&[u8]], shown: &[&str], rest: &str| {
        let (found, end, _) = run(&[], tokens);
        assert_eq!((found, end.as_str()), (shown.iter().map(|s| (*s).to_owned()).collect(), rest));
    };
    let rainbow = "🌈".as_bytes();
    check(
        &[b"a", &rainbow[..1], &rainbow[1..3], &rainbow[3..], b"b"],
        &["a", "", "", "🌈", "b"],
        "",
    );
    check(&[&rainbow[..3]], &[""], "\u{fffd}");
    check(&[&rainbow[..2], b"x"], &["", "\u{fffd}x"], "");
    check(&[b"\xff\xffa", b"\x80"], &["\u{fffd}\u{fffd}a", "\u{fffd}"], "");
    check(&[b"\xc3", b"\xa9\xc3", b"\xa9"], &["", "é", "é"], "");
}

/// A stop text may end within the bytes of one token and begin within those of another.
#[test]
fn stop_texts_of_several_bytes_are_met_over_tokens() {
    let bytes = "x🌈y".as_bytes();
    for cut in 1..bytes.len() {
        let (shown, rest, stop) = run(&["🌈"], &[&bytes[..cut], &bytes[cut..]]);
        assert_eq!((shown.concat().as_str(), rest.as_str()), ("x", ""));
        assert_eq!(stop.as_deref(), Some("🌈"));
    }
}
