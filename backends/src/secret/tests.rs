//! Secrets are cut out of texts, and no text shows them.

use super::{SecretHeader, blank};

#[test]
fn secrets_are_blanked_with_and_without_their_scheme() {
    let headers = [
        SecretHeader::new("authorization", "Bearer tok-12345"),
        SecretHeader::new("x-short", "abc"),
    ];
    for (text, expected) in [
        ("bad token tok-12345, abc", "bad token [secret], abc"),
        ("got `Bearer tok-12345`", "got `[secret]`"),
        ("nothing here", "nothing here"),
    ] {
        assert_eq!(blank(text, &headers), expected);
    }
    assert_eq!(format!("{:?}", headers[0]), "SecretHeader(authorization)");
}
