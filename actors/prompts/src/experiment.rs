//! Experiments: variants of a prompt on live traffic, who sees which, and what came out.
//!
//! A variant is a version number of the prompt. [`Experiment::assign`] decides who sees which
//! variant (its exact rules are in the module `assign`, for other languages to follow),
//! [`check`] whether an experiment may start, [`expire`] what happens at its end, and
//! [`analyse`] what the goals say. Nothing here reads a clock or draws a number.

mod analyse;
mod assign;
mod check;
mod expire;
mod layer;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

pub use analyse::{AnalyseError, Analysis, Finding, Summary, analyse};
pub use assign::{Assignment, Reason, Request, bucket_of};
pub use check::{CheckError, check};
pub use expire::{Expiry, expire};
pub use layer::{LAYER_EXPERIMENTS, Layer, Taken};

/// Buckets that the users of a layer, and of a holdout, are divided into.
pub const BUCKETS: u16 = 10_000;
/// How long an experiment runs unless told otherwise: 14 days, in milliseconds.
pub const DEFAULT_DURATION_MS: u64 = 14 * DAY_MS;
/// The longest an experiment may run: 90 days, in milliseconds.
pub const MAX_DURATION_MS: u64 = 90 * DAY_MS;
/// The most variants one experiment may have.
pub const MAX_VARIANTS: usize = 20;
const DAY_MS: u64 = 86_400_000;

/// One variant of an experiment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Variant {
    /// Name, unique within the experiment.
    pub name: String,
    /// Version number of the prompt that it serves.
    pub version: u32,
    /// Share of the users relative to the other weights; 0 takes no users.
    pub weight: u32,
}

/// What is assigned, and counts as one observation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// A user, who sees the same variant at every request.
    User,
    /// A single request.
    Request,
}

/// A condition on the attributes of a request; all conditions must hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Segment {
    /// Name of the attribute, for example `country`.
    pub field: String,
    /// Values that take part; a request without the attribute does not.
    pub values: BTreeSet<String>,
}

/// A half-open range of buckets, within 0 to 10,000.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share {
    /// First bucket that takes part.
    pub from: u16,
    /// First bucket after those that take part.
    pub until: u16,
}

impl Share {
    /// Every bucket.
    pub const ALL: Self = Self { from: 0, until: BUCKETS };

    /// Whether `bucket` takes part.
    #[must_use]
    pub fn contains(self, bucket: u16) -> bool {
        (self.from..self.until).contains(&bucket)
    }
}

/// Users kept out of every experiment that names the same holdout.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holdout {
    /// Name; experiments with the same name hold out the same users.
    pub name: String,
    /// How many of the 10,000 buckets are kept out: 500 is 5 % of the users.
    pub buckets: u16,
}

/// Why an experiment ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// It reached its end without a decision.
    Expired,
    /// Somebody stopped it.
    Stopped,
    /// A variant, by name, won and was promoted.
    Promoted(String),
}

/// Where an experiment is in its life.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Written down, serving nobody.
    Draft,
    /// Serving its variants.
    Running,
    /// Over; everyone sees the control, or the version promoted since.
    Ended {
        /// Why.
        reason: Ending,
        /// When, in milliseconds since 1970.
        at_ms: u64,
    },
}

/// What sort of value a goal takes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GoalKind {
    /// 0 or 1, for example a thumbs-up.
    Binary,
    /// Any number.
    Numeric,
    /// An amount of zero or more with a heavy right tail, compared on the scale `ln(1 + amount)`.
    Logarithm,
    /// A number within a range, for example a rating from 1 to 5.
    Bounded(crate::sequential::Range),
}

/// Which direction of a goal is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Better {
    /// More is better, for example a rating.
    Higher,
    /// Less is better, for example cost.
    Lower,
}

/// Something the experiment is judged by.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Goal {
    /// Name that feedback carries, unique within the experiment.
    pub name: String,
    /// Sort of value.
    pub kind: GoalKind,
    /// Good direction.
    pub better: Better,
}

/// An experiment on one prompt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Experiment {
    /// Name, unique within the prompt; part of the salt that variants are drawn with, so it
    /// never changes. Without `:`.
    pub name: String,
    /// Prompt whose versions are compared.
    pub prompt: String,
    /// Who is told when it ends.
    pub owner: String,
    /// The variants, the control among them.
    pub variants: Vec<Variant>,
    /// Name of the variant the others are compared with and that everyone gets at the end.
    pub control: String,
    /// What is assigned.
    pub unit: Unit,
    /// Conditions on attributes; empty takes everyone.
    pub segments: Vec<Segment>,
    /// Experiments of one layer divide its buckets, so they never share a user.
    pub layer: Option<String>,
    /// The buckets of the layer (or of the experiment itself without one) that take part.
    pub share: Share,
    /// Users kept out, if any.
    pub holdout: Option<Holdout>,
    /// First moment it serves, in milliseconds since 1970.
    pub start_ms: u64,
    /// First moment it no longer serves, in milliseconds since 1970.
    pub ends_ms: u64,
    /// Where it is in its life.
    pub state: State,
    /// What it is judged by; the first goal decides, the others explain.
    pub goals: Vec<Goal>,
}

impl Experiment {
    /// The control, when a variant has its name.
    #[must_use]
    pub fn control_variant(&self) -> Option<&Variant> {
        self.variants.iter().find(|variant| variant.name == self.control)
    }

    /// Whether it serves variants at `now_ms`, in milliseconds since 1970.
    #[must_use]
    pub fn serves(&self, now_ms: u64) -> bool {
        self.state == State::Running && (self.start_ms..self.ends_ms).contains(&now_ms)
    }

    /// Whether all conditions hold for the attributes of a request.
    #[must_use]
    pub fn admits(&self, attributes: &BTreeMap<String, String>) -> bool {
        self.segments.iter().all(|segment| {
            attributes.get(&segment.field).is_some_and(|value| segment.values.contains(value))
        })
    }
}
