//! What an experiment says: each variant against the control, goal by goal.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

use super::{Better, Experiment, Goal, GoalKind};
use crate::sequential::{
    Binary, Bounded, Comparison, Decision, Guarantee, Mismatch, Numeric, Settings, ValueError,
    sample_ratio_mismatch,
};

/// Level of the sample-ratio test: low, because its alarm throws the whole result away.
const MISMATCH_ALPHA: f64 = 0.001;

/// Summary of one variant on one goal, of the kind the goal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub enum Summary {
    /// For [`GoalKind::Binary`].
    Binary(Binary),
    /// For [`GoalKind::Numeric`] and [`GoalKind::Logarithm`].
    Numeric(Numeric),
    /// For [`GoalKind::Bounded`].
    Bounded(Bounded),
}

/// Why an analysis is not possible.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum AnalyseError {
    /// Alpha is not a probability.
    #[error("alpha is {0}; it must be above 0 and below 1; 0.05 is usual")]
    Alpha(f64),
    /// The control is not a variant.
    #[error("control is {0:?}; it must be the name of a variant; check the experiment first")]
    UnknownControl(String),
    /// A summary of another kind than its goal.
    #[error(
        "summary of variant {variant:?} on goal {goal:?} is of another kind than the goal; \
             start it with Summary::empty for this goal"
    )]
    Kind {
        /// The variant.
        variant: String,
        /// The goal.
        goal: String,
    },
    /// A value that a goal does not take.
    #[error("goal {goal:?}: {source}")]
    Value {
        /// The goal.
        goal: String,
        /// What is wrong with the value.
        source: ValueError,
    },
}

impl Summary {
    /// A summary without observations, of the kind that `goal` asks for.
    #[must_use]
    pub fn empty(goal: &Goal) -> Self {
        match goal.kind {
            GoalKind::Binary => Self::Binary(Binary::default()),
            GoalKind::Numeric | GoalKind::Logarithm => Self::Numeric(Numeric::default()),
            GoalKind::Bounded(_) => Self::Bounded(Bounded::default()),
        }
    }

    /// Takes one value in the unit of the goal.
    ///
    /// # Errors
    /// [`AnalyseError::Value`] when the goal does not take it, [`AnalyseError::Kind`] when this
    /// is a summary for another kind of goal. The summary is then unchanged.
    pub fn record(&mut self, goal: &Goal, value: f64) -> Result<(), AnalyseError> {
        let taken = match (self, goal.kind) {
            (Self::Binary(arm), GoalKind::Binary) => arm.record_number(value),
            (Self::Numeric(arm), GoalKind::Numeric) => arm.record(value),
            (Self::Numeric(arm), GoalKind::Logarithm) => arm.record_logarithm(value),
            (Self::Bounded(arm), GoalKind::Bounded(range)) => arm.record(value, range),
            _ => {
                let (variant, goal) = (String::new(), goal.name.clone());
                return Err(AnalyseError::Kind { variant, goal });
            }
        };
        taken.map_err(|source| AnalyseError::Value { goal: goal.name.clone(), source })
    }

    /// Adds the observations of another node; nothing when the kinds differ.
    #[must_use]
    pub fn merge(self, other: Self) -> Option<Self> {
        match (self, other) {
            (Self::Binary(one), Self::Binary(two)) => Some(Self::Binary(one.merge(two))),
            (Self::Numeric(one), Self::Numeric(two)) => Some(Self::Numeric(one.merge(two))),
            (Self::Bounded(one), Self::Bounded(two)) => Some(Self::Bounded(one.merge(two))),
            _ => None,
        }
    }

    /// Observations taken.
    #[must_use]
    pub fn count(&self) -> u64 {
        match self {
            Self::Binary(arm) => arm.count,
            Self::Numeric(arm) => arm.count,
            Self::Bounded(arm) => arm.count,
        }
    }
}

/// One variant against the control on one goal.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    /// Name of the goal.
    pub goal: String,
    /// Name of the variant.
    pub variant: String,
    /// Observations of the control.
    pub control_count: u64,
    /// Observations of the variant.
    pub variant_count: u64,
    /// Variant minus control at the corrected level; for [`GoalKind::Logarithm`] the difference
    /// of logarithms.
    pub comparison: Comparison,
    /// Whether the variant is better (`Some(true)`), worse, or undecided.
    pub better: Option<bool>,
    /// The same in a sentence.
    pub verdict: String,
}

/// The state of an experiment at this look.
#[derive(Debug, Clone, PartialEq)]
pub struct Analysis {
    /// Level of each comparison: alpha divided by the number of variants beside the control
    /// (Bonferroni). Goals are not corrected for: the first decides, the others explain.
    pub corrected_alpha: f64,
    /// Whether the variants got their shares of users, over all looks, at level 0.001.
    pub mismatch: Mismatch,
    /// Goal by goal in the order of the experiment, variant by variant.
    pub findings: Vec<Finding>,
    /// What to do, in a sentence.
    pub verdict: String,
}

/// Analyses an experiment at total level `alpha`, at any time and as often as one likes.
///
/// `users` is how many units each variant got (each counted once), `summaries` what each goal
/// measured for each variant, both by name; what is missing counts as no observations.
///
/// # Errors
/// [`AnalyseError::Alpha`], [`AnalyseError::UnknownControl`] and [`AnalyseError::Kind`].
pub fn analyse(
    experiment: &Experiment,
    users: &BTreeMap<String, u64>,
    summaries: &BTreeMap<String, BTreeMap<String, Summary>>,
    alpha: f64,
) -> Result<Analysis, AnalyseError> {
    if !(alpha > 0.0 && alpha < 1.0) {
        return Err(AnalyseError::Alpha(alpha));
    }
    let Some(control) = experiment.control_variant() else {
        return Err(AnalyseError::UnknownControl(experiment.control.clone()));
    };
    let others = || experiment.variants.iter().filter(|variant| variant.name != control.name);
    let corrected_alpha = alpha / others().count().max(1) as f64;
    let mut findings = Vec::new();
    for goal in &experiment.goals {
        let of = |variant: &str| {
            let found = summaries.get(&goal.name).and_then(|arms| arms.get(variant)).copied();
            found.unwrap_or_else(|| Summary::empty(goal))
        };
        let base = of(&control.name);
        for variant in others() {
            let arm = of(&variant.name);
            let Some(comparison) = compare(goal, base, arm, corrected_alpha) else {
                let (variant, goal) = (variant.name.clone(), goal.name.clone());
                return Err(AnalyseError::Kind { variant, goal });
            };
            findings.push(finding(
                goal,
                control.name.as_str(),
                &variant.name,
                base,
                arm,
                comparison,
            ));
        }
    }
    let arms: Vec<(u32, u64)> = experiment
        .variants
        .iter()
        .map(|variant| (variant.weight, users.get(&variant.name).copied().unwrap_or(0)))
        .collect();
    let mismatch = sample_ratio_mismatch(&arms, MISMATCH_ALPHA);
    let verdict = verdict(experiment, mismatch, &findings);
    Ok(Analysis { corrected_alpha, mismatch, findings, verdict })
}

/// The comparison that fits the goal; nothing when a summary is of another kind.
fn compare(goal: &Goal, control: Summary, variant: Summary, alpha: f64) -> Option<Comparison> {
    match (goal.kind, control, variant) {
        (GoalKind::Binary, Summary::Binary(control), Summary::Binary(variant)) => {
            Some(Binary::compare(&control, &variant, alpha, Guarantee::Combined))
        }
        (GoalKind::Numeric, Summary::Numeric(control), Summary::Numeric(variant)) => {
            Some(Numeric::compare(&control, &variant, alpha, Settings::HEAVY_TAIL))
        }
        (GoalKind::Logarithm, Summary::Numeric(control), Summary::Numeric(variant)) => {
            Some(Numeric::compare(&control, &variant, alpha, Settings::EXPERIMENT))
        }
        (GoalKind::Bounded(range), Summary::Bounded(control), Summary::Bounded(variant)) => {
            Some(Bounded::compare(&control, &variant, alpha, range))
        }
        _ => None,
    }
}

fn finding(
    goal: &Goal,
    control: &str,
    variant: &str,
    base: Summary,
    arm: Summary,
    comparison: Comparison,
) -> Finding {
    let better = match comparison.decision {
        Decision::Undecided => None,
        Decision::Higher => Some(goal.better == Better::Higher),
        Decision::Lower => Some(goal.better == Better::Lower),
    };
    let says = match better {
        None => "not yet different from",
        Some(true) => "better than",
        Some(false) => "worse than",
    };
    let (estimate, lower, upper) = on_reading_scale(goal, &comparison);
    let verdict = format!(
        "{variant:?} is {says} {control:?} on {:?}: {estimate} (between {lower} and {upper}, \
         always-valid p = {:.4})",
        goal.name, comparison.p_value
    );
    Finding {
        goal: goal.name.clone(),
        variant: variant.to_owned(),
        control_count: base.count(),
        variant_count: arm.count(),
        comparison,
        better,
        verdict,
    }
}

/// Estimate and interval for a reader: points of a percentage, ratios, or the goal's own unit.
fn on_reading_scale(goal: &Goal, comparison: &Comparison) -> (String, String, String) {
    let text = |value: f64| match goal.kind {
        _ if value.is_infinite() => "unknown".to_owned(),
        GoalKind::Binary => format!("{:+.2} points", value * 100.0),
        GoalKind::Logarithm => format!("{:+.1} %", value.exp_m1() * 100.0),
        GoalKind::Numeric | GoalKind::Bounded(_) => format!("{value:+.4}"),
    };
    (text(comparison.estimate), text(comparison.lower), text(comparison.upper))
}

/// The overall verdict, by the first goal and only while the shares of users are right.
fn verdict(experiment: &Experiment, mismatch: Mismatch, findings: &[Finding]) -> String {
    if mismatch.found {
        return format!(
            "Do not trust this result: the variants did not get their shares of users (p = {:.1e}). \
             Look for requests that are lost or filtered on one variant.",
            mismatch.p_value
        );
    }
    let Some(goal) = experiment.goals.first() else {
        return "No goal to decide by: add one.".to_owned();
    };
    let on_goal = || findings.iter().filter(|finding| finding.goal == goal.name);
    let good = |finding: &Finding| match goal.better {
        Better::Higher => finding.comparison.estimate,
        Better::Lower => -finding.comparison.estimate,
    };
    let winner = on_goal()
        .filter(|finding| finding.better == Some(true))
        .max_by(|left, right| good(left).total_cmp(&good(right)));
    if let Some(winner) = winner {
        return format!("Promote {:?}: {}.", winner.variant, winner.verdict);
    }
    if on_goal().all(|finding| finding.better == Some(false)) {
        return format!(
            "Keep {:?}: every variant is worse on {:?}.",
            experiment.control, goal.name
        );
    }
    format!("Undecided on {:?}: keep collecting, or keep the control at the end.", goal.name)
}
