//! The redaction of one request: what was found in it, and what stands in its place.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::entity::{Entity, Finding};
use super::policy::{Action, RedactionPolicy};
use super::restore::Tokens;
use super::{RedactError, Redactor};

/// Replacements of one request; the same value has the same one in all its messages.
#[derive(Clone)]
pub struct RedactionSession {
    policy: Arc<RedactionPolicy>,
    /// What stands for a value.
    replacements: BTreeMap<(Entity, String), String>,
    /// The value that a token stands for.
    values: BTreeMap<String, String>,
    /// Tokens that the client wrote itself: they stand for nothing.
    taken: BTreeSet<String>,
    numbers: BTreeMap<Entity, u64>,
    counts: BTreeMap<Entity, u64>,
    /// Texts that were done already: a request holds each twice, as nouns and as its body.
    done: BTreeMap<String, Option<String>>,
}

impl std::fmt::Debug for RedactionSession {
    /// Values stay out.
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("RedactionSession").field("counts", &self.counts).finish_non_exhaustive()
    }
}

impl RedactionSession {
    pub fn new(policy: Arc<RedactionPolicy>) -> RedactionSession {
        RedactionSession {
            policy,
            replacements: BTreeMap::new(),
            values: BTreeMap::new(),
            taken: BTreeSet::new(),
            numbers: BTreeMap::new(),
            counts: BTreeMap::new(),
            done: BTreeMap::new(),
        }
    }

    pub fn policy(&self) -> &Arc<RedactionPolicy> {
        &self.policy
    }

    /// How often each entity was replaced.
    pub fn counts(&self) -> &BTreeMap<Entity, u64> {
        &self.counts
    }

    /// What the answer's tokens stand for.
    pub fn tokens(&self) -> Tokens {
        Tokens::new(self.values.clone())
    }

    /// Keeps tokens that stand in this text from being given to a value. All texts of a request
    /// come here before the first of them is redacted.
    pub fn reserve(&mut self, text: &str) {
        for (start, _) in text.match_indices('<') {
            let rest = text.get(start..).unwrap_or_default();
            let Some(end) = rest.find('>') else { return };
            let token = rest.get(..=end).unwrap_or_default();
            let is_own = |own: char| own.is_ascii_uppercase() || own.is_ascii_digit() || own == '_';
            if token.len() < 40 && token.trim_matches(['<', '>']).chars().all(is_own) {
                self.taken.insert(token.to_owned());
            }
        }
    }

    /// The text without what the policy's rules are about; none when there was nothing.
    ///
    /// # Errors
    /// See [`RedactError`].
    pub fn redact(
        &mut self,
        redactor: &Redactor,
        text: &str,
        stop: &dyn Fn() -> bool,
    ) -> Result<Option<String>, RedactError> {
        if let Some(done) = self.done.get(text) {
            return Ok(done.clone());
        }
        let policy = Arc::clone(&self.policy);
        let found = redactor.find(&policy, text, stop)?;
        let redacted = self.replace(redactor, text, &found)?;
        self.done.insert(text.to_owned(), redacted.clone());
        Ok(redacted)
    }

    /// The text with each finding replaced; none when there is none.
    pub(super) fn replace(
        &mut self,
        redactor: &Redactor,
        text: &str,
        found: &[Finding],
    ) -> Result<Option<String>, RedactError> {
        if found.is_empty() {
            return Ok(None);
        }
        let mut redacted = String::with_capacity(text.len());
        let mut end = 0;
        for own in found {
            let value = text.get(own.range.clone()).unwrap_or_default();
            redacted.push_str(text.get(end..own.range.start).unwrap_or_default());
            redacted.push_str(&self.replacement(redactor, own.entity, value)?);
            end = own.range.end;
        }
        redacted.push_str(text.get(end..).unwrap_or_default());
        Ok(Some(redacted))
    }

    fn replacement(
        &mut self,
        redactor: &Redactor,
        entity: Entity,
        value: &str,
    ) -> Result<String, RedactError> {
        let label = entity.label();
        let action = self.policy.rules.get(&entity).map_or(Action::Mask, |rule| rule.action);
        if action == Action::Block {
            return Err(RedactError::Blocked { entity });
        }
        *self.counts.entry(entity).or_default() += 1;
        let key = (entity, value.to_owned());
        if let Some(known) = self.replacements.get(&key) {
            return Ok(known.clone());
        }
        let replacement = match action {
            Action::Mask | Action::Block => format!("[{label}]"),
            Action::Hash => match redactor.key.hash(entity, value) {
                Some(hash) => format!("[{label}:{hash}]"),
                None => format!("[{label}]"),
            },
            Action::Token => self.token(entity, value),
        };
        self.replacements.insert(key, replacement.clone());
        Ok(replacement)
    }

    fn token(&mut self, entity: Entity, value: &str) -> String {
        let number = self.numbers.entry(entity).or_default();
        let token = loop {
            *number += 1;
            let token = format!("<{}_{number}>", entity.label());
            if !self.taken.contains(&token) {
                break token;
            }
        };
        self.values.insert(token.clone(), value.to_owned());
        token
    }
}
