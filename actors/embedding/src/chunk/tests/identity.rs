//! A chunk's name is the one that other programs compute.

use crate::{chunk_id, normalised};

fn hex(id: [u8; 32]) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn names_are_those_of_the_python_lines_in_the_docs() {
    // Printed by the lines in the docs of `chunk_id` under Python 3.11.
    let table = [
        ("", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
        ("plain text", "c9ecf5e54c7b3f2640ecca21f96d4c3625a2b7935104f41c5ede29935a9e52c9"),
        (
            " caf\u{e9}\r\nline\t",
            "e1348cd3828ecc8f314d8137b846af6a3d5f297f4cf1abd2838bed1d7c342fe1",
        ),
        ("cafe\u{301}\nline", "e1348cd3828ecc8f314d8137b846af6a3d5f297f4cf1abd2838bed1d7c342fe1"),
        (
            "\u{3000}東京か\u{3099}\u{2028}",
            "fa0da7aad37843f16a4dd7a27522b3d248c7b7836d2f4a07fd80f6f18de08ab3",
        ),
        ("\u{1c}a\r", "10a716f49706c923db9f2453152cd96b939dd77189f2a1d99a55d19737de1d49"),
        (
            "\u{2000}\u{212b} ngstr\u{ac01}\u{1100}\u{1161}\u{11a8}",
            "096bdb7ad67f34ce525f477dc8d8a0478b90303dc97c26e864191c39fd83c7b7",
        ),
        ("\u{feff}a", "1951c7860e968e742658b3af34e60741eb4aaf2a8d2ecc3993727016b12e81e8"),
    ];
    for (text, expected) in table {
        assert_eq!(hex(chunk_id(text)), expected, "{text:?}");
    }
}

#[test]
fn what_is_normalised_stays_as_it_is() {
    for text in [" a\r\n\r\nb ", "e\u{301}", "\r\r\n", "a\rb", "か\u{3099}"] {
        let once = normalised(text);
        assert_eq!(normalised(&once), once, "{text:?}");
    }
    assert_eq!(normalised("a\rb"), "a\rb", "a lone carriage return is kept");
    assert_ne!(chunk_id("Text"), chunk_id("text"), "case counts");
    assert_ne!(chunk_id("a  b"), chunk_id("a b"), "inner white space counts");
}
