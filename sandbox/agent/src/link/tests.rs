//! The last words of a process.

use super::last_words;

#[test]
fn complaints_are_one_line_without_control_characters() {
    let rows: [(&[u8], &str); 3] = [
        (b"", "it told nothing"),
        (b"a\n\n b \x1b[1m\n", "a; b [1m"),
        (b"1\n2\n3\n4\n5\n", "2; 3; 4; 5"),
    ];
    for (bytes, expected) in rows {
        assert_eq!(last_words(bytes), expected);
    }
}
