//! Whether an experiment may start: each error names the field and says what to do.

use std::collections::BTreeSet;

use super::layer::Taken;
use super::{BUCKETS, Experiment, GoalKind, MAX_DURATION_MS, MAX_VARIANTS, Segment, State};

/// Longest name, in bytes.
const MAX_NAME: usize = 128;

/// What is wrong with an experiment.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum CheckError {
    /// A name is empty, too long, or holds a character that would blur a salt.
    #[error(
        "{field} is {value:?}; it must have 1 to 128 bytes, without control characters{colon}; \
         choose another name"
    )]
    Name {
        /// The field.
        field: &'static str,
        /// What it holds.
        value: String,
        /// What else this field must not hold.
        colon: &'static str,
    },
    /// Fewer than two or more than twenty variants.
    #[error("variants has {0} entries; 2 to 20 are allowed; add or remove variants")]
    VariantCount(usize),
    /// Two variants of one name.
    #[error("variants names {0:?} twice; names must be unique; rename one of them")]
    VariantTwice(String),
    /// Nobody would be served.
    #[error("variants have no weight in total; at least one must be above 0; set a weight")]
    NoWeight,
    /// Everyone compared with would be missing.
    #[error("control {0:?} has weight 0; it must be above 0 to compare with; set its weight")]
    ControlWeight(String),
    /// No variant has the control's name.
    #[error("control is {0:?}; it must be the name of a variant; use one of: {1}")]
    UnknownControl(String, String),
    /// The share is empty or leaves the buckets.
    #[error(
        "share is {from}..{until}; it must satisfy 0 <= from < until <= 10000; \
         use 0..10000 for everyone"
    )]
    Share {
        /// First bucket.
        from: u16,
        /// First bucket after.
        until: u16,
    },
    /// Another running experiment of the layer has some of the buckets.
    #[error(
        "share {from}..{until} overlaps {taken_from}..{taken_until} of running experiment \
         {other:?} in layer {layer:?}; shares of one layer must not overlap; choose free buckets \
         or end that experiment"
    )]
    Overlap {
        /// First bucket asked for.
        from: u16,
        /// First bucket after those asked for.
        until: u16,
        /// First bucket of the other.
        taken_from: u16,
        /// First bucket after those of the other.
        taken_until: u16,
        /// The other experiment.
        other: String,
        /// The layer.
        layer: String,
    },
    /// The unit differs from that of the layer's other experiments.
    #[error(
        "unit differs from that of running experiment {other:?} in layer {layer:?}; all \
         experiments of a layer must have one unit to keep them apart; use another layer"
    )]
    LayerUnit {
        /// The other experiment.
        other: String,
        /// The layer.
        layer: String,
    },
    /// The layer's record holds no more.
    #[error("layer {0:?} has 200 experiments that run; end some of them, or choose another layer")]
    LayerFull(String),
    /// The holdout would keep out everyone.
    #[error("holdout.buckets is {0}; 0 to 9999 are allowed; 500 keeps out 5 % of the users")]
    Holdout(u16),
    /// A condition can never hold.
    #[error("segments: field {0:?} lists no values; at least one is needed; add one or drop it")]
    EmptySegment(String),
    /// The end is not after the start.
    #[error("ends_ms is {ends_ms}; it must be after start_ms {start_ms}; choose a later end")]
    Ends {
        /// The end.
        ends_ms: u64,
        /// The start.
        start_ms: u64,
    },
    /// Longer than 90 days.
    #[error(
        "ends_ms is {days} days after start_ms; at most 90 are allowed; choose an earlier end \
         and start a new experiment then"
    )]
    TooLong {
        /// Days, rounded up.
        days: u64,
    },
    /// Nothing to judge by.
    #[error("goals is empty; at least one goal is needed; the first one decides")]
    NoGoal,
    /// Two goals of one name.
    #[error("goals names {0:?} twice; names must be unique; rename one of them")]
    GoalTwice(String),
    /// A range without width.
    #[error("goals: range of {0:?} is {1} to {2}; min must be below max, both finite; correct it")]
    GoalRange(String, f64, f64),
}

/// Checks an experiment that is about to run, against the other experiments that exist.
///
/// # Errors
/// Everything that is wrong, in the order of the fields.
pub fn check(experiment: &Experiment, others: &[Experiment]) -> Result<(), Vec<CheckError>> {
    let mut errors = Vec::new();
    names(experiment, &mut errors);
    variants(experiment, &mut errors);
    share(experiment, others, &mut errors);
    for Segment { field, values } in &experiment.segments {
        if values.is_empty() {
            errors.push(CheckError::EmptySegment(field.clone()));
        }
    }
    times(experiment, &mut errors);
    goals(experiment, &mut errors);
    if errors.is_empty() { Ok(()) } else { Err(errors) }
}

fn names(experiment: &Experiment, errors: &mut Vec<CheckError>) {
    let mut one = |field: &'static str, value: &str, colon_allowed: bool| {
        let bad = value.is_empty()
            || value.len() > MAX_NAME
            || value.chars().any(char::is_control)
            || (!colon_allowed && value.contains(':'));
        if bad {
            let colon = if colon_allowed { "" } else { " and without ':'" };
            errors.push(CheckError::Name { field, value: value.to_owned(), colon });
        }
    };
    one("name", &experiment.name, false);
    one("prompt", &experiment.prompt, true);
    for variant in &experiment.variants {
        one("variants.name", &variant.name, false);
    }
    if let Some(layer) = &experiment.layer {
        one("layer", layer, true);
    }
    if let Some(holdout) = &experiment.holdout {
        one("holdout.name", &holdout.name, true);
    }
    for goal in &experiment.goals {
        one("goals.name", &goal.name, true);
    }
}

fn variants(experiment: &Experiment, errors: &mut Vec<CheckError>) {
    let variants = &experiment.variants;
    if !(2..=MAX_VARIANTS).contains(&variants.len()) {
        errors.push(CheckError::VariantCount(variants.len()));
    }
    let mut seen = BTreeSet::new();
    for variant in variants {
        if !seen.insert(&variant.name) {
            errors.push(CheckError::VariantTwice(variant.name.clone()));
        }
    }
    let weighted = variants.iter().any(|variant| variant.weight > 0);
    if !weighted {
        errors.push(CheckError::NoWeight);
    }
    match experiment.control_variant() {
        None => {
            let known: Vec<&str> = variants.iter().map(|variant| variant.name.as_str()).collect();
            let error = CheckError::UnknownControl(experiment.control.clone(), known.join(", "));
            errors.push(error);
        }
        Some(control) if control.weight == 0 && weighted => {
            errors.push(CheckError::ControlWeight(control.name.clone()));
        }
        Some(_) => {}
    }
}

fn share(experiment: &Experiment, others: &[Experiment], errors: &mut Vec<CheckError>) {
    let (from, until) = (experiment.share.from, experiment.share.until);
    if from >= until || until > BUCKETS {
        errors.push(CheckError::Share { from, until });
    }
    if let Some(holdout) = &experiment.holdout
        && holdout.buckets >= BUCKETS
    {
        errors.push(CheckError::Holdout(holdout.buckets));
    }
    let runs = others.iter().filter(|other| {
        other.state == State::Running && other.layer.is_some() && other.layer == experiment.layer
    });
    let taken: Vec<Taken> = runs.map(Taken::of).collect();
    collisions(experiment, taken.iter(), errors);
}

/// What others of its layer have of what the experiment asks for.
pub(super) fn collisions<'a>(
    experiment: &Experiment,
    others: impl Iterator<Item = &'a Taken>,
    errors: &mut Vec<CheckError>,
) {
    let Some(layer) = &experiment.layer else {
        return;
    };
    let (from, until) = (experiment.share.from, experiment.share.until);
    for other in others {
        let same = other.name == experiment.name && other.prompt == experiment.prompt;
        let meets = experiment.start_ms < other.ends_ms && other.start_ms < experiment.ends_ms;
        if same || !meets {
            continue;
        }
        if other.unit != experiment.unit {
            let error = CheckError::LayerUnit { other: other.name.clone(), layer: layer.clone() };
            errors.push(error);
        }
        if from < other.share.until && other.share.from < until {
            errors.push(CheckError::Overlap {
                from,
                until,
                taken_from: other.share.from,
                taken_until: other.share.until,
                other: other.name.clone(),
                layer: layer.clone(),
            });
        }
    }
}

fn times(experiment: &Experiment, errors: &mut Vec<CheckError>) {
    let (start_ms, ends_ms) = (experiment.start_ms, experiment.ends_ms);
    let duration_ms = ends_ms.saturating_sub(start_ms);
    if duration_ms == 0 {
        errors.push(CheckError::Ends { ends_ms, start_ms });
    } else if duration_ms > MAX_DURATION_MS {
        errors.push(CheckError::TooLong { days: duration_ms.div_ceil(super::DAY_MS) });
    }
}

fn goals(experiment: &Experiment, errors: &mut Vec<CheckError>) {
    if experiment.goals.is_empty() {
        errors.push(CheckError::NoGoal);
    }
    let mut seen = BTreeSet::new();
    for goal in &experiment.goals {
        if !seen.insert(&goal.name) {
            errors.push(CheckError::GoalTwice(goal.name.clone()));
        }
        if let GoalKind::Bounded(range) = goal.kind {
            let (min, max) = (range.min, range.max);
            if !(min.is_finite() && max.is_finite() && min < max) {
                errors.push(CheckError::GoalRange(goal.name.clone(), min, max));
            }
        }
    }
}
