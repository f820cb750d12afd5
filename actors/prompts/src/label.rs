//! What people say of answers that a judge has judged, and how far the judges agree with them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::agreement::{Agreement, GOOD, Verdicts};
use crate::problem::Problem;

/// Bytes of a note.
const NOTE_BYTES: usize = 1_000;

/// A person's word on an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    Pass,
    Fail,
}

/// One person's word on one case's answer in one eval, beside the judge's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Label {
    pub eval: u64,
    pub case: String,
    pub verdict: Verdict,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
    pub by: String,
    /// Since 1970.
    pub at_ms: u64,
    /// The judge's, as it was told.
    pub score: f64,
    /// The judge's name.
    pub judge: String,
}

impl Label {
    /// # Errors
    /// When the note is too long.
    pub fn check_note(note: &str) -> Result<(), Problem> {
        if note.len() > NOTE_BYTES {
            let problem = format!("has {} bytes; at most {NOTE_BYTES} are allowed", note.len());
            return Err(Problem::new("note", problem));
        }
        Ok(())
    }
}

/// How far each judge agrees with people, by its name. Two people's words on one answer are two.
pub fn agreements(labels: &[Label]) -> BTreeMap<String, Agreement> {
    let mut verdicts: BTreeMap<&str, Verdicts> = BTreeMap::new();
    for label in labels {
        let own = verdicts.entry(&label.judge).or_default();
        own.count(label.verdict == Verdict::Pass, label.score >= GOOD);
    }
    let agreed = verdicts.into_iter();
    agreed.filter_map(|(judge, verdicts)| Some((judge.to_owned(), verdicts.agreement()?))).collect()
}
