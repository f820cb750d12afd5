//! A notice that waits for its delivery: its row in the store, and what webhooks read.

use headwater_storage::tuple::{self, Element};
use headwater_storage::{KeyRange, StoreError, codec};
use headwater_tenancy::{Limit, Notice, Subject, Unit, date_of_day};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::super::records::LimitRecord;

/// 1 knew limits alone.
const RECORD: u8 = 2;
const LIMITS_ALONE: u8 = 1;
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
    pub about: About,
    /// When it was written, in ms since 1970.
    pub at_ms: u64,
    /// Ids of the hooks that have it.
    pub taken_by: Vec<String>,
}

/// What a notice tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum About {
    Limit(LimitTold),
    Event(EventTold),
}

/// A threshold that was reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitTold {
    pub limit: Limit,
    /// Threshold.
    pub percent: u8,
    /// Used, or handed out to an edge that may still use it.
    pub taken: u64,
    /// When the window ends, in ms since 1970.
    pub resets_ms: u64,
}

/// Something that happened to what belongs to a team.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventTold {
    /// Such as `prompt.rolled_back`.
    pub kind: String,
    /// For people.
    pub text: String,
    /// Its fields, as a JSON object.
    pub fields: String,
}

#[derive(Serialize, Deserialize)]
struct Row {
    id: String,
    subject: String,
    about: AboutRow,
    at_ms: u64,
    taken_by: Vec<String>,
}

/// As rows were before there were events.
#[derive(Deserialize)]
struct LimitRow {
    id: String,
    subject: String,
    limit: LimitRecord,
    percent: u8,
    taken: u64,
    at_ms: u64,
    resets_ms: u64,
    taken_by: Vec<String>,
}

#[derive(Serialize, Deserialize)]
enum AboutRow {
    Limit { limit: LimitRecord, percent: u8, taken: u64, resets_ms: u64 },
    Event(EventTold),
}

/// A name for what this names.
fn id_of(name: &[u8]) -> String {
    let digest = Sha256::digest(name);
    digest.iter().take(ID_BYTES).map(|byte| format!("{byte:02x}")).collect()
}

impl PendingNotice {
    /// `told_key` is the key of the row that says that it was told, which names it for ever.
    pub(crate) fn new(subject: &str, notice: &Notice, told_key: &[u8], at_ms: u64) -> Self {
        let counter = &notice.key.counter;
        let (unit, window, amount) = (counter.unit, counter.window, notice.amount);
        let about = About::Limit(LimitTold {
            limit: Limit { model: counter.model.clone(), unit, window, amount },
            percent: notice.key.percent,
            taken: notice.taken,
            resets_ms: notice.resets_ms,
        });
        let (id, subject, taken_by) = (id_of(told_key), subject.to_owned(), Vec::new());
        PendingNotice { id, subject, about, at_ms, taken_by }
    }

    /// Of a team; `name` is another one for each event.
    pub(crate) fn of_event(team: &str, event: EventTold, name: &[u8], at_ms: u64) -> Self {
        let (id, subject, taken_by) = (id_of(name), team.to_owned(), Vec::new());
        PendingNotice { id, subject, about: About::Event(event), at_ms, taken_by }
    }

    pub(crate) fn encode(&self) -> Result<Vec<u8>, StoreError> {
        let PendingNotice { id, subject, about, at_ms, taken_by } = self.clone();
        let about = match about {
            About::Limit(LimitTold { limit, percent, taken, resets_ms }) => {
                AboutRow::Limit { limit: LimitRecord::from(&limit), percent, taken, resets_ms }
            }
            About::Event(event) => AboutRow::Event(event),
        };
        codec::encode(RECORD, &Row { id, subject, about, at_ms, taken_by })
    }

    /// # Errors
    /// [`StoreError::Corrupt`] for bytes that are no such row.
    pub fn decode(bytes: &[u8]) -> Result<PendingNotice, StoreError> {
        if codec::version(bytes)? == LIMITS_ALONE {
            return PendingNotice::decode_limit(bytes);
        }
        let Row { id, subject, about, at_ms, taken_by } = codec::decode(RECORD, bytes)?;
        let about = match about {
            AboutRow::Limit { limit, percent, taken, resets_ms } => {
                let limit = Limit::try_from(limit)?;
                About::Limit(LimitTold { limit, percent, taken, resets_ms })
            }
            AboutRow::Event(event) => About::Event(event),
        };
        Ok(PendingNotice { id, subject, about, at_ms, taken_by })
    }

    fn decode_limit(bytes: &[u8]) -> Result<PendingNotice, StoreError> {
        let LimitRow { id, subject, limit, percent, taken, at_ms, resets_ms, taken_by } =
            codec::decode(LIMITS_ALONE, bytes)?;
        let limit = Limit::try_from(limit)?;
        let about = About::Limit(LimitTold { limit, percent, taken, resets_ms });
        Ok(PendingNotice { id, subject, about, at_ms, taken_by })
    }

    /// What a webhook reads: `text` for people, as Slack shows it, and the same in fields.
    pub fn body(&self) -> Value {
        let mut body = match &self.about {
            About::Limit(told) => self.limit_body(told),
            About::Event(event) => {
                let fields: Value = serde_json::from_str(&event.fields).unwrap_or_default();
                json!({"kind": event.kind, "text": event.text, "event": fields})
            }
        };
        body["id"] = self.id.as_str().into();
        body["team"] = Subject::named(&self.subject).team().into();
        body["at"] = (self.at_ms / 1000).into();
        body
    }

    fn limit_body(&self, told: &LimitTold) -> Value {
        let (project, user) = match Subject::named(&self.subject) {
            Subject::Team(_) => (None, None),
            Subject::Project { project, .. } => (Some(project), None),
            Subject::User { user, .. } => (None, Some(user)),
        };
        json!({
            "kind": "limit_threshold",
            "text": self.limit_text(told),
            "subject": self.subject,
            "project": project,
            "user": user,
            "limit": {
                "unit": told.limit.unit.name(),
                "window": told.limit.window.name(),
                "model": told.limit.model,
                "amount": told.limit.amount,
            },
            "threshold_percent": told.percent,
            "taken": told.taken,
            "resets_at": told.resets_ms / 1000,
        })
    }

    fn limit_text(&self, told: &LimitTold) -> String {
        let Limit { model, unit, window, amount } = &told.limit;
        let of = model.as_deref().map_or(String::new(), |model| format!(" of '{model}'"));
        let amount = match unit {
            Unit::MicroUsd => format!("${}.{:02}", amount / 1_000_000, amount % 1_000_000 / 10_000),
            _ => format!("{amount} {}", unit.name()),
        };
        let (year, month, day) = date_of_day(told.resets_ms / DAY_MS);
        format!(
            "{} has reached {} % of its limit of {amount} per {}{of}; it counts from zero again on \
             {year:04}-{month:02}-{day:02} at 00:00 UTC",
            Subject::named(&self.subject),
            told.percent,
            window.name(),
        )
    }
}
