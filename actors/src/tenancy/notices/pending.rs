//! A notice that waits for its delivery: its row in the store, and what webhooks read.

use headwater_storage::tuple::{self, Element};
use headwater_storage::{KeyRange, StoreError, codec};
use headwater_tenancy::{Limit, Notice, Subject, Unit, date_of_day};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::super::records::LimitRecord;

const RECORD: u8 = 1;
const NOTICES: &str = "notices";
/// Bytes of an id.
const ID_BYTES: usize = 16;
const DAY_MS: u64 = 24 * 60 * 60 * 1000;

pub(crate) fn pending_key(id: &str) -> Vec<u8> {
    tuple::pack(&[NOTICES.into(), "pending".into(), id.into()])
}

pub(super) fn all() -> KeyRange {
    tuple::below(&[NOTICES.into(), "pending".into()])
}

/// The id of the notice whose row has this key; none for another row.
pub fn pending_id(key: &[u8]) -> Option<String> {
    match (all().contains(key), tuple::unpack(key).ok()?.pop()?) {
        (true, Element::Text(id)) => Some(id),
        _ => None,
    }
}

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PendingNotice {
    /// The same for every delivery of the same notice, and no other's.
    pub id: String,
    /// The name of its books, as in [`Subject::named`].
    pub subject: String,
    pub limit: Limit,
    /// Threshold.
    pub percent: u8,
    /// Used, or handed out to an edge that may still use it.
    pub taken: u64,
    /// When it was written, in ms since 1970.
    pub at_ms: u64,
    /// When the window ends, in ms since 1970.
    pub resets_ms: u64,
    /// Ids of the hooks that have it.
    pub taken_by: Vec<String>,
}

#[derive(Serialize, Deserialize)]
struct Row {
    id: String,
    subject: String,
    limit: LimitRecord,
    percent: u8,
    taken: u64,
    at_ms: u64,
    resets_ms: u64,
    taken_by: Vec<String>,
}

impl PendingNotice {
    /// `told_key` is the key of the row that says that it was told, which names it for ever.
    pub(crate) fn new(subject: &str, notice: &Notice, told_key: &[u8], at_ms: u64) -> Self {
        let digest = Sha256::digest(told_key);
        let counter = &notice.key.counter;
        let (unit, window, amount) = (counter.unit, counter.window, notice.amount);
        PendingNotice {
            id: digest.iter().take(ID_BYTES).map(|byte| format!("{byte:02x}")).collect(),
            subject: subject.to_owned(),
            limit: Limit { model: counter.model.clone(), unit, window, amount },
            percent: notice.key.percent,
            taken: notice.taken,
            at_ms,
            resets_ms: notice.resets_ms,
            taken_by: Vec::new(),
        }
    }

    pub(crate) fn encode(&self) -> Result<Vec<u8>, StoreError> {
        let PendingNotice { id, subject, percent, taken, at_ms, resets_ms, .. } = self.clone();
        let (limit, taken_by) = (LimitRecord::from(&self.limit), self.taken_by.clone());
        let row = Row { id, subject, limit, percent, taken, at_ms, resets_ms, taken_by };
        codec::encode(RECORD, &row)
    }

    /// # Errors
    /// [`StoreError::Corrupt`] for bytes that are no such row.
    pub fn decode(bytes: &[u8]) -> Result<PendingNotice, StoreError> {
        let row: Row = codec::decode(RECORD, bytes)?;
        let limit = Limit::try_from(row.limit)?;
        let Row { id, subject, percent, taken, at_ms, resets_ms, taken_by, .. } = row;
        Ok(PendingNotice { id, subject, limit, percent, taken, at_ms, resets_ms, taken_by })
    }

    /// What a webhook reads: `text` for people, as Slack shows it, and the same in fields.
    pub fn body(&self) -> Value {
        let subject = Subject::named(&self.subject);
        let (project, user) = match subject {
            Subject::Team(_) => (None, None),
            Subject::Project { project, .. } => (Some(project), None),
            Subject::User { user, .. } => (None, Some(user)),
        };
        json!({
            "id": self.id,
            "kind": "limit_threshold",
            "text": self.text(),
            "subject": self.subject,
            "team": subject.team(),
            "project": project,
            "user": user,
            "limit": {
                "unit": self.limit.unit.name(),
                "window": self.limit.window.name(),
                "model": self.limit.model,
                "amount": self.limit.amount,
            },
            "threshold_percent": self.percent,
            "taken": self.taken,
            "at": self.at_ms / 1000,
            "resets_at": self.resets_ms / 1000,
        })
    }

    fn text(&self) -> String {
        let Limit { model, unit, window, amount } = &self.limit;
        let of = model.as_deref().map_or(String::new(), |model| format!(" of '{model}'"));
        let amount = match unit {
            Unit::MicroUsd => format!("${}.{:02}", amount / 1_000_000, amount % 1_000_000 / 10_000),
            _ => format!("{amount} {}", unit.name()),
        };
        let (year, month, day) = date_of_day(self.resets_ms / DAY_MS);
        format!(
            "{} has reached {} % of its limit of {amount} per {}{of}; it counts from zero again on \
             {year:04}-{month:02}-{day:02} at 00:00 UTC",
            Subject::named(&self.subject),
            self.percent,
            window.name(),
        )
    }
}
