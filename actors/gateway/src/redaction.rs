//! Personal data in chats: found, replaced on the way to a model, and put back on the way to the
//! client.
//!
//! A [`Redactor`] finds it and is shared by all; a [`RedactionSession`] belongs to one request and
//! gives the same value the same replacement over all its messages; an [`AnswerRedaction`] does
//! with the parts of the answer what the session asks for, wherever they are split.

mod address;
mod answer;
mod check;
mod context;
mod dates;
mod entity;
mod find;
mod hash;
mod network;
mod numbers;
mod phone;
mod policy;
mod request;
mod restore;
pub mod score;
mod session;
mod stream;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use headwater_models::entities::EntityTagger;

pub use answer::AnswerRedaction;
pub use entity::{Entity, Finding};
pub use hash::HashKey;
pub use policy::{Action, RedactionPolicies, RedactionPolicy, Rule, STANDARD_THRESHOLD_PERCENT};
pub use request::redact_request;
pub use restore::{Restorer, Tokens};
pub use session::RedactionSession;
pub use stream::{MOST_HELD_BYTES, StreamRedactor};

use find::Finder;

/// Longest text that is looked through at once, in bytes.
const WINDOW_BYTES: usize = 8_192;
/// What two windows of a long text share, so that nothing is cut between them.
const SHARED_BYTES: usize = 512;

/// Why a text was not redacted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RedactError {
    /// The policy lets no such thing pass.
    #[error("the text holds personal data of the kind '{}', which is blocked here; remove it", entity.name())]
    Blocked { entity: Entity },
    /// The caller asked to stop.
    #[error("the text was not looked through in time")]
    Stopped,
    #[error("the text could not be looked through: {reason}")]
    Failed { reason: String },
}

/// Finds personal data and knows how to hash it.
pub struct Redactor {
    finder: Finder,
    key: HashKey,
}

impl Redactor {
    /// `tagger` finds names, and more addresses than patterns do; without it there are no names.
    ///
    /// # Errors
    /// When a pattern does not compile, which its tests rule out.
    pub fn new(key: HashKey, tagger: Option<Arc<dyn EntityTagger>>) -> Result<Redactor, String> {
        let finder = Finder::new(tagger).map_err(|error| error.to_string())?;
        Ok(Redactor { finder, key })
    }

    /// What the policy's rules are about, in the order of the text; no two overlap. `stop` is
    /// asked now and then.
    ///
    /// # Errors
    /// [`RedactError::Stopped`] and [`RedactError::Failed`].
    pub fn find(
        &self,
        policy: &RedactionPolicy,
        text: &str,
        stop: &dyn Fn() -> bool,
    ) -> Result<Vec<Finding>, RedactError> {
        let mut found: Vec<Finding> = Vec::new();
        let mut start = 0;
        loop {
            if stop() {
                return Err(RedactError::Stopped);
            }
            let end = cut(text, start, WINDOW_BYTES);
            let is_last = end == text.len();
            let window = text.get(start..end).unwrap_or_default();
            let own = self.finder.find(policy, window);
            let own = own.map_err(|error| RedactError::Failed { reason: error.to_string() })?;
            // What begins in the shared part is the next window's, which sees more of it.
            let until =
                if is_last { end } else { cut(text, start, WINDOW_BYTES - SHARED_BYTES / 2) };
            let last = found.last().map_or(0, |last| last.range.end);
            found.extend(own.into_iter().filter_map(|mut own| {
                own.range = own.range.start + start..own.range.end + start;
                (own.range.start >= last && own.range.start < until).then_some(own)
            }));
            if is_last {
                return Ok(found);
            }
            start = cut(text, start, WINDOW_BYTES - SHARED_BYTES);
        }
    }
}

/// The place that lies at most `most` bytes after `start`, behind a blank where there is one.
fn cut(text: &str, start: usize, most: usize) -> usize {
    if text.len() - start <= most {
        return text.len();
    }
    let end = context::floor(text, start + most);
    let near = context::floor(text, end.saturating_sub(SHARED_BYTES / 4).max(start));
    let blank = text.get(near..end).and_then(|near| near.rfind(char::is_whitespace));
    // A blank of several bytes begins at a border, and so does what follows it.
    let blank = blank.map(|place| near + place).filter(|place| *place > start);
    blank.unwrap_or(end)
}
