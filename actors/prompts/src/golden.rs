//! Golden sets: cases that a good version answers well.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::document::{MessageTemplate, hex};
use crate::judge::Judge;
use crate::nightly::Nightly;
use crate::problem::Problem;

/// Most cases of a set.
pub const CASES: usize = 2_000;
/// Bytes of the largest set, as JSON.
const SET_BYTES: usize = 4_000_000;

/// One case.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// Unique within its set.
    pub id: String,
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub variables: Map<String, Value>,
    /// Said after the prompt's own messages, as they stand.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub messages: Vec<MessageTemplate>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub expected: String,
    pub judge: Judge,
    /// What a judging model should look at.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub rubric: String,
    /// Of this case in the mean, above 0.
    #[serde(default = "one")]
    pub weight: f64,
}

fn one() -> f64 {
    1.0
}

impl Case {
    /// Names the case by what it says: another expectation or judge is another one.
    pub fn fingerprint(&self) -> String {
        let json = serde_json::to_value(self).unwrap_or_default().to_string();
        hex(&Sha256::digest(json.as_bytes()))
    }

    /// Whether both are judged by the same measure.
    pub fn is_judged_as(&self, other: &Case) -> bool {
        self.judge == other.judge && self.rubric == other.rubric
    }
}

/// A version of a set.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct GoldenSet {
    /// From 1 on.
    pub version: u64,
    pub cases: Vec<Case>,
    pub by: String,
    /// Since 1970.
    pub updated_ms: u64,
    /// The version whose judges may decide: this one, unless they changed and nobody has compared
    /// them with those before.
    #[serde(default)]
    pub baseline: u64,
    /// When the version in production is asked all cases.
    #[serde(default)]
    pub nightly: Option<Nightly>,
}

impl GoldenSet {
    /// Whether its judges may pass or stop a version.
    pub fn may_gate(&self) -> bool {
        self.baseline == self.version
    }

    /// # Errors
    /// The first field that is wrong.
    pub fn check(cases: &[Case]) -> Result<(), Problem> {
        if cases.is_empty() || cases.len() > CASES {
            let problem = format!("has {} entries; 1 to {CASES} are allowed", cases.len());
            return Err(Problem::new("cases", problem));
        }
        let bytes = serde_json::to_vec(cases).map_or(0, |json| json.len());
        if bytes > SET_BYTES {
            let problem = format!("has {bytes} bytes as JSON; at most {SET_BYTES} are allowed");
            return Err(Problem::new("cases", problem));
        }
        let mut seen = std::collections::BTreeSet::new();
        for (place, case) in cases.iter().enumerate() {
            let field = format!("cases[{place}]");
            if case.id.is_empty() || case.id.len() > 128 || !seen.insert(&case.id) {
                let rule = "must be 1 to 128 bytes, and no other case's";
                return Err(Problem::new(format!("{field}.id"), rule));
            }
            if !(case.weight > 0.0 && case.weight <= 1_000.0) {
                return Err(Problem::new(
                    format!("{field}.weight"),
                    "must be above 0, and at most 1000",
                ));
            }
            if case.judge.needs_expected() && case.expected.is_empty() {
                return Err(Problem::new(
                    format!("{field}.expected"),
                    "is missing; its judge compares with it",
                ));
            }
            case.judge.check(&format!("{field}.judge"))?;
        }
        Ok(())
    }
}

/// Whether a case is judged against a baseline version's answer.
pub fn pairwise_in(cases: &[Case]) -> bool {
    cases.iter().any(|case| case.judge.is_pairwise())
}

/// The weighted mean of scores; none without any.
pub fn mean_score(scores: impl IntoIterator<Item = (f64, f64)>) -> Option<f64> {
    let (sum, weights) = scores.into_iter().fold((0.0, 0.0), |(sum, weights), (score, weight)| {
        (sum + score * weight, weights + weight)
    });
    (weights > 0.0).then(|| sum / weights)
}
