//! Prompts as software: what a version says and how it is rendered, which version serves, how one
//! is promoted and taken back, experiments, and the scan for secrets. Pure: time and drawn numbers
//! come in as arguments, effects go out.

mod access;
mod agreement;
mod diff;
mod document;
mod drift;
pub mod experiment;
mod gate;
mod golden;
mod head;
mod judge;
mod label;
pub mod live;
mod marker;
mod name;
mod nightly;
mod pairwise;
mod problem;
mod promotion;
mod proposal;
pub mod scan;
pub mod sequential;
pub mod spread;
mod template;
#[cfg(test)]
mod tests;
mod variable;

pub use access::{Access, Action, Standing};
pub use agreement::{Agreement, GOOD, Interval, Verdicts};
pub use diff::{FieldDiff, Line, LineKind, diff};
pub use document::{
    DOCUMENT_BYTES, MessageTemplate, ModelSettings, Partial, PromptDocument, Role, ToolSchema,
};
pub use drift::{ANCHORS, Drift, MOST_ANCHORS, Rescored, judge_changes, judged_now};
pub use gate::{FAST_CASES, Gates, ShadowGate};
pub use golden::{CASES, Case, GoldenSet, mean_score, pairwise_in};
pub use head::{Because, CANARY_PER_MILLE, Canary, Fork, Head, Move, Pointer, State};
pub use judge::{Judge, Score};
pub use label::{Label, Verdict, agreements};
pub use marker::{holds_marker, replace_markers, show_markers, text_holds_marker};
pub use name::{NAME_RULE, is_prompt_name, is_secret_name, is_variable_name};
pub use nightly::Nightly;
pub use pairwise::{BothOrders, Pair, PairOutcome, Pairs, Preference};
pub use problem::Problem;
pub use promotion::{
    Event, GUARD, Input, Outcome, Outcomes, Override, Promotion, Stage, Step, Wanted,
};
pub use proposal::{Acceptance, Flag, PROPOSALS, Proposal};
pub use template::{Bundle, Compiled, DEPTH, Rendered, RenderedMessage};
pub use variable::{Kind, Variable};
