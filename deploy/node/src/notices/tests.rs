//! Signatures against a known one, ids, and secrets that cannot be read.

use super::{Webhook, read};
use crate::config::{Settings, WebhookSection};

fn section(url: &str, team: Option<&str>) -> WebhookSection {
    let team = team.map(str::to_owned);
    WebhookSection { url: url.to_owned(), secret_file: None, team }
}

/// RFC 4231, test case 2.
#[test]
fn a_body_is_signed_as_the_standard_says() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("secret");
    std::fs::write(&file, "Jefe\n").expect("the file can be written");
    let signed = WebhookSection { secret_file: Some(file), ..section("http://h/x", None) };
    let webhook = Webhook::read(0, &signed).expect("reads");
    assert_eq!(
        webhook.signature(b"what do ya want for nothing?").as_deref(),
        Some("sha256=5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843")
    );
    let unsigned = Webhook::read(0, &section("http://h/x", None)).expect("reads");
    assert_eq!(unsigned.signature(b"what do ya want for nothing?"), None);
}

#[test]
fn a_webhook_keeps_its_id_and_its_id_does_not_tell_its_address() {
    let id = |url, team| Webhook::read(0, &section(url, team)).expect("reads").id;
    assert_eq!(id("https://h/x", None), id("https://h/x", None));
    assert_ne!(id("https://h/x", None), id("https://h/x", Some("acme")));
    assert_ne!(id("https://h/x", None), id("https://h/y", None));
    assert!(id("https://h/x", None).bytes().all(|byte| byte.is_ascii_hexdigit()));
}

#[test]
fn a_secret_that_cannot_be_read_is_told_by_its_field() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (absent, empty) = (folder.path().join("absent"), folder.path().join("empty"));
    std::fs::write(&empty, " \n").expect("the file can be written");
    for (file, words) in [(absent, "cannot read"), (empty, "is empty")] {
        let mut settings = Settings::default();
        let signed = WebhookSection { secret_file: Some(file), ..section("http://h/x", None) };
        settings.notices.webhooks = vec![signed];
        let problem = read(&settings).map(|_| ()).expect_err("it must be refused").message;
        assert!(problem.starts_with("notices.webhooks.0.secret_file: "), "{problem}");
        assert!(problem.contains(words), "{problem}");
    }
}
