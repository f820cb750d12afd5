//! What is kept of what was said: nothing, a keyed hash, or all of it.

use std::collections::BTreeMap;
use std::fmt;

use headwater_models::chat::{ChatEvent, ChatRequest, Chunk, Part, Role};
use headwater_storage::audit::Content;
use sha2::{Digest, Sha256};

/// Most bytes that are kept of a request, and of an answer.
const KEPT_BYTES: usize = 1 << 20;
/// Bytes that SHA-256 takes at a time.
const BLOCK_BYTES: usize = 64;

/// How much is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContentMode {
    None,
    /// HMAC-SHA256: whoever has the key can tell whether a text was the one.
    Hash,
    Full,
}

/// The key of all hashes.
#[derive(Clone)]
pub struct HashKey([u8; BLOCK_BYTES]);

impl fmt::Debug for HashKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("HashKey(..)")
    }
}

impl HashKey {
    pub fn new(key: &[u8]) -> HashKey {
        let mut block = [0; BLOCK_BYTES];
        if key.len() <= BLOCK_BYTES {
            block[..key.len()].copy_from_slice(key);
        } else {
            block[..32].copy_from_slice(&Sha256::digest(key));
        }
        HashKey(block)
    }
}

/// HMAC-SHA256 (RFC 2104) of what comes part by part.
pub(super) struct Hmac {
    inner: Sha256,
    key: HashKey,
}

impl Hmac {
    fn new(key: &HashKey) -> Hmac {
        let inner = Sha256::new().chain_update(key.0.map(|byte| byte ^ 0x36));
        Hmac { inner, key: key.clone() }
    }

    fn add(&mut self, text: &str) {
        self.inner.update(text.as_bytes());
    }

    fn end(self) -> String {
        let outer = Sha256::new().chain_update(self.key.0.map(|byte| byte ^ 0x5c));
        let hash = outer.chain_update(self.inner.finalize()).finalize();
        hash.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// What is kept, by team.
#[derive(Debug, Clone)]
pub struct ContentPolicy {
    pub standard: ContentMode,
    pub by_team: BTreeMap<String, ContentMode>,
    pub key: HashKey,
}

impl ContentPolicy {
    /// What is kept of two texts that are whole already.
    pub(super) fn texts(&self, team: &str, request: &str, response: &str) -> Option<Content> {
        let hashed = |text: &str| {
            let mut hash = Hmac::new(&self.key);
            hash.add(text);
            hash.end()
        };
        let cut = |text: &str| {
            let (mut kept, mut is_cut) = (String::new(), false);
            keep(&mut kept, text, &mut is_cut);
            kept
        };
        match self.by_team.get(team).unwrap_or(&self.standard) {
            ContentMode::None => None,
            ContentMode::Hash => {
                Some(Content::Hash { request: hashed(request), response: hashed(response) })
            }
            ContentMode::Full => {
                Some(Content::Full { request: cut(request), response: cut(response) })
            }
        }
    }

    /// Begins to keep a request's content as its team wants it.
    pub(super) fn begin(&self, team: &str, request: &ChatRequest) -> Kept {
        match self.by_team.get(team).unwrap_or(&self.standard) {
            ContentMode::None => Kept::Nothing,
            ContentMode::Hash => {
                let mut hash = Hmac::new(&self.key);
                hash.add(&text_of(request));
                Kept::Hash { request: hash.end(), response: Hmac::new(&self.key) }
            }
            ContentMode::Full => {
                let (mut kept, mut is_cut) = (String::new(), false);
                keep(&mut kept, &text_of(request), &mut is_cut);
                Kept::Full { request: kept, response: String::new(), is_cut }
            }
        }
    }
}

/// What is kept so far.
pub(super) enum Kept {
    Nothing,
    Hash { request: String, response: Hmac },
    Full { request: String, response: String, is_cut: bool },
}

impl Kept {
    pub(super) fn see(&mut self, chunk: &Chunk) {
        if matches!(self, Kept::Nothing) {
            return;
        }
        for event in &chunk.events {
            match event {
                ChatEvent::Text { text, .. } | ChatEvent::Refusal { text, .. } => self.add(text),
                ChatEvent::ToolCall { name, arguments, .. } => {
                    if let Some(name) = name {
                        self.add(name);
                    }
                    self.add(arguments);
                }
                _ => {}
            }
        }
    }

    fn add(&mut self, text: &str) {
        match self {
            Kept::Nothing => {}
            Kept::Hash { response, .. } => response.add(text),
            Kept::Full { response, is_cut, .. } => keep(response, text, is_cut),
        }
    }

    /// What is kept, and whether there was more.
    pub(super) fn end(self) -> (Option<Content>, bool) {
        match self {
            Kept::Nothing => (None, false),
            Kept::Hash { request, response } => {
                (Some(Content::Hash { request, response: response.end() }), false)
            }
            Kept::Full { request, response, is_cut } => {
                (Some(Content::Full { request, response }), is_cut)
            }
        }
    }
}

fn keep(kept: &mut String, text: &str, is_cut: &mut bool) {
    let mut room = KEPT_BYTES.saturating_sub(kept.len()).min(text.len());
    *is_cut |= room < text.len();
    while !text.is_char_boundary(room) {
        room -= 1;
    }
    kept.push_str(&text[..room]);
}

/// The client's own body, or what it means.
fn text_of(request: &ChatRequest) -> String {
    if let Some(body) = &request.body {
        return serde_json::to_string(&body.fields).unwrap_or_default();
    }
    let mut text = String::new();
    for message in &request.messages {
        let role = match message.role {
            Role::System => "system",
            Role::User => "user",
            Role::Assistant => "assistant",
        };
        for part in &message.parts {
            let said = match part {
                Part::Text(said)
                | Part::Refusal(said)
                | Part::Thinking { text: said, .. }
                | Part::ToolResult { text: said, .. }
                | Part::ToolCall { arguments: said, .. } => said,
                Part::Image(_) => "(an image)",
            };
            text.push_str(&format!("{role}: {said}\n"));
        }
    }
    text
}

#[cfg(test)]
mod tests;
