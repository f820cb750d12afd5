//! What another version changes for those who call the one before.

mod schemas;

use serde_json::Value;

use super::{Confirmation, Definition};
use crate::problem::Problem;
use schemas::{Side, differences};

/// What a difference means for a caller of the old version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Calls that went well go well.
    Compatible,
    /// Whether they do cannot be told from the definitions.
    Unclear,
    /// Some that went well fail, or mean something else.
    Breaking,
}

impl Severity {
    pub fn word(self) -> &'static str {
        match self {
            Severity::Compatible => "compatible",
            Severity::Unclear => "unclear",
            Severity::Breaking => "breaking",
        }
    }
}

/// One difference between two versions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The field by its path, as in `input.properties.query`.
    pub path: String,
    /// What became of it, as in `is required now`.
    pub what: String,
    pub severity: Severity,
}

impl Difference {
    fn new(path: impl Into<String>, what: impl Into<String>, severity: Severity) -> Difference {
        Difference { path: path.into(), what: what.into(), severity }
    }
}

/// Whether callers of the old version can be moved to the new one without looking.
pub fn is_compatible(differences: &[Difference]) -> bool {
    differences.iter().all(|difference| difference.severity == Severity::Compatible)
}

/// Whether a published version may become `changed`: only its description and its deprecation may
/// be others.
///
/// # Errors
/// The first other field that differs.
pub fn amend(published: &Definition, changed: &Definition) -> Result<(), Problem> {
    let differs = fields_that_differ(published, changed);
    let differs =
        differs.iter().find(|name| !["description", "deprecation"].contains(&name.as_str()));
    match differs {
        None => Ok(()),
        Some(name) => {
            let problem = "is not what was published; only description and deprecation can change: \
                           publish a new version";
            Err(Problem::new(name, problem))
        }
    }
}

/// Names of the fields of JSON that are not the same, sorted.
fn fields_that_differ(old: &Definition, new: &Definition) -> Vec<String> {
    let (old, new) = (old.to_json(), new.to_json());
    let names = |json: &Value| -> Vec<String> {
        json.as_object().into_iter().flat_map(|map| map.keys().cloned()).collect()
    };
    let mut all = names(&old);
    all.extend(names(&new));
    all.sort_unstable();
    all.dedup();
    all.retain(|name| old.get(name) != new.get(name));
    all
}

/// What the new version changes for callers of the old one, as far as it can be told, in the order
/// of fields. Schemas are compared part by part; where they are written in another way than with
/// properties, items, types and bounds, a difference is [`Severity::Unclear`].
pub fn compare(old: &Definition, new: &Definition) -> Vec<Difference> {
    let mut found = Vec::new();
    for name in fields_that_differ(old, new) {
        match name.as_str() {
            "input" => {
                found.extend(differences(Side::Input, old.input.source(), new.input.source()));
            }
            "output" => found.extend(output(old, new)),
            "name" | "kind" => found.push(worded(&name, old, new, Severity::Breaking)),
            "backend" => {
                let what = "runs in another way; what it answers cannot be compared";
                found.push(Difference::new(name, what, Severity::Unclear));
            }
            "asynchronous" => found.push(worded(&name, old, new, Severity::Breaking)),
            "confirmation" => found.push(confirmation(old, new)),
            "idempotent" | "dry_run" => {
                let was = if name == "idempotent" { old.idempotent } else { old.dry_run };
                let (what, severity) = match was {
                    true => ("is no longer so", Severity::Breaking),
                    false => ("is so now", Severity::Compatible),
                };
                found.push(Difference::new(name, what, severity));
            }
            "redact" | "cache" | "fallback" => {
                found.push(Difference::new(name, "has changed", Severity::Unclear));
            }
            "timeout_ms" => found.push(less(&name, old.timeout_ms, new.timeout_ms)),
            "output_bytes_max" => {
                found.push(less(&name, old.output_bytes_max, new.output_bytes_max));
            }
            "cost_microdollars" => {
                found.push(less(&name, new.cost_microdollars, old.cost_microdollars));
            }
            _ => found.push(Difference::new(name, "has changed", Severity::Compatible)),
        }
    }
    found
}

fn worded(name: &str, old: &Definition, new: &Definition, severity: Severity) -> Difference {
    let word = |definition: &Definition| match definition.to_json().get(name) {
        Some(Value::String(word)) => word.clone(),
        Some(other) => other.to_string(),
        None => "false".to_owned(),
    };
    Difference::new(name, format!("was {} and is {} now", word(old), word(new)), severity)
}

/// A bound that callers may have used to the full.
fn less(name: &str, old: u64, new: u64) -> Difference {
    let (what, severity) = match new < old {
        true => ("leaves callers less than before", Severity::Unclear),
        false => ("leaves callers more than before", Severity::Compatible),
    };
    Difference::new(name, what, severity)
}

fn output(old: &Definition, new: &Definition) -> Vec<Difference> {
    match (&old.output, &new.output) {
        (Some(old), Some(new)) => differences(Side::Output, old.source(), new.source()),
        (Some(_), None) => {
            vec![Difference::new("output", "is promised no more", Severity::Breaking)]
        }
        (None, _) => vec![Difference::new("output", "is promised now", Severity::Compatible)],
    }
}

fn confirmation(old: &Definition, new: &Definition) -> Difference {
    let (what, severity) = match (&old.confirmation, &new.confirmation) {
        (_, Confirmation::Never) => ("is never needed now", Severity::Compatible),
        (Confirmation::Always, _) => ("is needed less often", Severity::Compatible),
        (Confirmation::Never, _) => ("is needed now: calls wait for a person", Severity::Breaking),
        (_, Confirmation::Always) => ("is always needed now", Severity::Breaking),
        (Confirmation::When(_), Confirmation::When(_)) => {
            ("is needed for other arguments", Severity::Unclear)
        }
    };
    Difference::new("confirmation", what, severity)
}
