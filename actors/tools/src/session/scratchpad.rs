//! What an agent notes between its calls: keys with bytes, bounded.

use std::collections::BTreeMap;

use super::{Session, SessionBudget};
use crate::call::{Problem, Refusal};

/// Bytes of a key.
const KEY_BYTES: usize = 256;

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Scratchpad {
    values: BTreeMap<String, Vec<u8>>,
    /// Of keys and values together.
    bytes: u64,
}

impl Scratchpad {
    pub(super) fn new(values: BTreeMap<String, Vec<u8>>) -> Scratchpad {
        let bytes = values.iter().map(|(key, value)| size(key, value)).sum();
        Scratchpad { values, bytes }
    }

    pub(super) fn values(&self) -> &BTreeMap<String, Vec<u8>> {
        &self.values
    }

    /// Of keys and values together.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    pub fn keys(&self) -> u64 {
        self.values.len() as u64
    }

    fn put(&mut self, key: &str, value: Vec<u8>, budget: &SessionBudget) -> Result<(), Problem> {
        if key.is_empty() || key.len() > KEY_BYTES || key.contains(char::is_control) {
            let problem = format!("must have 1 to {KEY_BYTES} bytes and no control characters");
            return Err(Problem::new("key", problem));
        }
        let old = self.values.get(key).map_or(0, |value| size(key, value));
        let (kept, new) = (self.bytes - old, size(key, &value));
        let room = budget.scratchpad_bytes.saturating_sub(kept);
        if new > room {
            let problem = format!(
                "{key:?} needs {new} bytes with its key, and {room} of {} are free; delete keys, or \
                 write less",
                budget.scratchpad_bytes
            );
            return Err(Problem::new("value", problem));
        }
        if old == 0 && self.keys() >= budget.scratchpad_keys {
            let problem = format!(
                "{key:?} is one too many, the scratchpad has {} of {} keys; delete one first",
                self.keys(),
                budget.scratchpad_keys
            );
            return Err(Problem::new("key", problem));
        }
        self.values.insert(key.to_owned(), value);
        self.bytes = kept + new;
        Ok(())
    }

    fn delete(&mut self, key: &str) -> bool {
        let Some(value) = self.values.remove(key) else { return false };
        self.bytes -= size(key, &value);
        true
    }
}

fn size(key: &str, value: &[u8]) -> u64 {
    (key.len() + value.len()) as u64
}

impl Session {
    /// A note of the scratchpad.
    pub fn scratch(&self, key: &str) -> Option<&[u8]> {
        self.scratchpad.values.get(key).map(Vec::as_slice)
    }

    /// Up to `keys_max` keys behind `after`, in the order of their bytes, each with the bytes of
    /// its value.
    pub fn scratch_keys(&self, after: Option<&str>, keys_max: usize) -> Vec<(&str, u64)> {
        let keys = self.scratchpad.values.iter().map(|(key, value)| (key.as_str(), value.len()));
        let behind = keys.filter(|(key, _)| after.is_none_or(|after| *key > after));
        behind.take(keys_max).map(|(key, bytes)| (key, bytes as u64)).collect()
    }

    /// Writes a note, in place of the one before.
    ///
    /// # Errors
    /// When the session does not go on, or there is no room; nothing has changed then.
    pub fn put_scratch(&mut self, key: &str, value: Vec<u8>, now_ms: u64) -> Result<(), Refusal> {
        self.check_active(now_ms)?;
        let put = self.scratchpad.put(key, value, &self.budget);
        put.map_err(|Problem { field, problem }| Refusal::InvalidRequest { field, problem })?;
        self.touched_ms = self.touched_ms.max(now_ms);
        Ok(())
    }

    /// Deletes a note. False where there was none.
    ///
    /// # Errors
    /// When the session does not go on.
    pub fn delete_scratch(&mut self, key: &str, now_ms: u64) -> Result<bool, Refusal> {
        self.check_active(now_ms)?;
        self.touched_ms = self.touched_ms.max(now_ms);
        Ok(self.scratchpad.delete(key))
    }
}
