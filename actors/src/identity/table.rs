//! The keys and revocations in a node's memory.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::nouns::{Key, KeyRefusal, RevokedToken};
use super::records::KeyRecord;
use super::secret::{Fingerprint, parse};

/// What this node knows of all keys. A revoked key is not kept: what is not here opens nothing.
#[derive(Debug, Default)]
pub(super) struct Table {
    keys: BTreeMap<String, Known>,
    /// By issuer and id, with the token's own end.
    tokens: BTreeMap<(String, String), u64>,
    /// The last change that this table holds.
    pub(super) revision: u64,
}

#[derive(Debug)]
struct Known {
    key: Arc<Key>,
    secret: Fingerprint,
    previous: Option<Fingerprint>,
}

impl Known {
    fn has_ended(&self, now_ms: u64) -> bool {
        self.key.expires_ms.is_some_and(|end_ms| end_ms <= now_ms)
    }
}

impl Table {
    /// Empty, to be filled with what there is at this change.
    pub(super) fn at(revision: u64) -> Table {
        Table { revision, ..Table::default() }
    }

    /// Takes a key as it stands in the store now; none when its row is gone.
    pub(super) fn take_key(&mut self, id: &str, record: Option<KeyRecord>) {
        match record {
            Some(KeyRecord { key, secret, previous }) if key.revoked_ms.is_none() => {
                let known = Known { key: Arc::new(key), secret, previous };
                self.keys.insert(id.to_owned(), known);
            }
            _ => {
                self.keys.remove(id);
            }
        }
    }

    pub(super) fn take_token(&mut self, token: RevokedToken) {
        self.tokens.insert((token.issuer, token.id), token.expires_ms);
    }

    /// Forgets revocations of tokens that have ended.
    pub(super) fn forget_ended(&mut self, now_ms: u64) {
        self.tokens.retain(|_, expires_ms| *expires_ms > now_ms);
    }

    pub(super) fn key_count(&self) -> usize {
        self.keys.len()
    }

    pub(super) fn is_token_revoked(&self, issuer: &str, id: &str) -> bool {
        self.tokens.contains_key(&(issuer.to_owned(), id.to_owned()))
    }

    /// Whether the key with this id opens anything at this time.
    pub(super) fn stands(&self, id: &str, now_ms: u64) -> bool {
        self.keys.get(id).is_some_and(|known| !known.has_ended(now_ms))
    }

    /// The key of this text at this time.
    pub(super) fn find(&self, text: &str, now_ms: u64) -> Result<Arc<Key>, KeyRefusal> {
        let (id, secret) = parse(text).ok_or(KeyRefusal::Malformed)?;
        let sent = Fingerprint::of(secret);
        let known = self.keys.get(id).ok_or(KeyRefusal::Unknown)?;
        let is_current = known.secret.matches(&sent);
        let in_grace = known.key.previous_until_ms.is_some_and(|until_ms| now_ms < until_ms);
        let is_previous = known.previous.as_ref().is_some_and(|before| before.matches(&sent));
        if !(is_current || is_previous && in_grace) {
            return Err(KeyRefusal::Unknown);
        }
        if known.has_ended(now_ms) {
            return Err(KeyRefusal::Expired);
        }
        Ok(Arc::clone(&known.key))
    }
}
