//! The keyed hash is the standard's, and what is kept has an end.

use headwater_models::chat::{ChatEvent, ChatRequest, Chunk, Message, Role};
use headwater_storage::audit::Content;

use super::{ContentMode, ContentPolicy, HashKey, Hmac, KEPT_BYTES};

fn text(said: &str) -> Chunk {
    Chunk::of(vec![ChatEvent::Text { choice: 0, text: said.to_owned() }])
}

fn request() -> ChatRequest {
    ChatRequest::new("chat", vec![Message::text(Role::User, "How deep is the lake?")])
}

#[test]
fn the_hash_is_hmac_sha256() {
    // RFC 4231, test cases 1, 2 and 6.
    for (key, said, hash) in [
        (
            vec![0x0b; 20],
            "Hi There",
            "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
        ),
        (
            b"Jefe".to_vec(),
            "what do ya want for nothing?",
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
        ),
        (
            vec![0xaa; 131],
            "Test Using Larger Than Block-Size Key - Hash Key First",
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
        ),
    ] {
        let mut hmac = Hmac::new(&HashKey::new(&key));
        let (first, rest) = said.split_at(3);
        hmac.add(first);
        hmac.add(rest);
        assert_eq!(hmac.end(), hash);
    }
}

#[test]
fn a_team_keeps_what_it_wants() {
    let key = HashKey::new(b"key");
    let by_team = [("full", ContentMode::Full), ("hash", ContentMode::Hash)];
    let by_team = by_team.map(|(team, mode)| (team.to_owned(), mode)).into();
    let policy = ContentPolicy { standard: ContentMode::None, by_team, key: key.clone() };
    let kept = |team: &str| {
        let mut kept = policy.begin(team, &request());
        kept.see(&text("Deep "));
        kept.see(&text("enough."));
        kept.end().0
    };
    let hash = |text: &str| {
        let mut hmac = Hmac::new(&key);
        hmac.add(text);
        hmac.end()
    };
    let (asked, said) = ("user: How deep is the lake?\n", "Deep enough.");
    assert_eq!(kept("other"), None);
    let full = Content::Full { request: asked.to_owned(), response: said.to_owned() };
    assert_eq!(kept("full"), Some(full));
    let hashed = Content::Hash { request: hash(asked), response: hash(said) };
    assert_eq!(kept("hash"), Some(hashed));
}

#[test]
fn what_is_kept_has_an_end() {
    let policy = ContentPolicy {
        standard: ContentMode::Full,
        by_team: Default::default(),
        key: HashKey::new(b""),
    };
    let mut kept = policy.begin("acme", &request());
    kept.see(&text(&"x".repeat(KEPT_BYTES - 1)));
    kept.see(&text("é"));
    let (content, is_cut) = kept.end();
    let Some(Content::Full { response, .. }) = content else { panic!("all is kept") };
    assert_eq!((response.len(), is_cut), (KEPT_BYTES - 1, true));
}
