//! The suite that every sink must pass: a named case for each line of the contract.
//!
//! A sink is checked through [`Sink`] alone and may hold other spaces: every case works in
//! spaces of its own, whose names start with `conformance/`, and drops them.

mod cases;
mod data;
mod searches;
#[cfg(test)]
mod tests;

use crate::{Sink, SinkError};

use data::Case;

/// How a sink broke the contract.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {what}")]
pub struct Violation {
    /// The case's name.
    pub place: String,
    pub what: String,
}

/// What a case ends with: a sentence about what was not as it must be.
type Outcome = Result<(), String>;

macro_rules! run_cases {
    ($sink:expr, $seed:expr, [$($module:ident :: $case:ident),* $(,)?]) => {{
        let mut count = 0;
        $(
            let place = stringify!($case);
            let case = Case::new($sink, $seed, place);
            let outcome = match $module::$case(&case).await {
                Ok(()) => case.clear().await,
                wrong => wrong,
            };
            outcome.map_err(|what| Violation { place: place.to_owned(), what })?;
            count += 1;
        )*
        count
    }};
}

/// Runs every case with vectors drawn from `seed`; returns how many there are.
///
/// # Errors
/// The first violation.
pub async fn run(sink: &dyn Sink, seed: u64) -> Result<usize, Violation> {
    Ok(run_cases!(
        sink,
        seed,
        [
            cases::a_space_is_created_once_and_found,
            cases::a_space_of_another_kind_is_refused,
            cases::calls_on_a_missing_space_are_refused,
            cases::a_dropped_space_takes_its_records_along,
            cases::what_does_not_fit_is_refused_with_nothing_written,
            cases::a_record_replaces_the_one_with_its_id,
            cases::repeating_a_call_changes_nothing,
            cases::records_come_back_whole_in_every_format,
            cases::get_keeps_the_order_of_the_ids,
            cases::pages_follow_the_ids,
            cases::deleted_records_are_gone,
            cases::a_large_call_is_written_whole,
            searches::queries_that_do_not_fit_are_refused,
            searches::every_filter_finds_what_passes_it,
            searches::the_nearest_come_first_in_every_format,
            searches::equal_scores_are_ordered_by_id,
            searches::the_limit_bounds_the_hits,
            searches::a_search_sees_every_earlier_call,
            searches::a_vector_of_zeros_is_near_nothing,
        ]
    ))
}

/// Turns a sink's error into a violation's text.
fn told(doing: &str) -> impl Fn(SinkError) -> String {
    move |error| format!("{doing} failed: {error}")
}

/// A violation unless `left` is `right`.
fn same<T: PartialEq + std::fmt::Debug>(what: &str, left: T, right: T) -> Outcome {
    if left == right { Ok(()) } else { Err(format!("{what} is {left:?}, it must be {right:?}")) }
}

/// A violation unless the answer is the kind of error that `is_right` knows.
fn refused<T: std::fmt::Debug>(
    what: &str,
    kind: &str,
    answer: Result<T, SinkError>,
    is_right: fn(&SinkError) -> bool,
) -> Outcome {
    match answer {
        Err(error) if is_right(&error) => Ok(()),
        other => Err(format!("{what} gave {other:?}, it must be a {kind} error")),
    }
}

fn is_space(error: &SinkError) -> bool {
    matches!(error, SinkError::Space(_))
}

fn is_version(error: &SinkError) -> bool {
    matches!(error, SinkError::Version(_))
}

fn is_request(error: &SinkError) -> bool {
    matches!(error, SinkError::Request(_))
}
