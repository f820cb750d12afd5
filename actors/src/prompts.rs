//! Prompts: versions that never change, pointers that move as a whole on every node, and the way
//! of a version to production.

mod access;
mod cases;
mod change;
mod estimates;
mod evals;
mod experiments;
mod feedback;
mod follow;
mod golden;
mod handle;
mod judge_checks;
mod judging;
mod keys;
mod labels;
mod live;
mod manage;
mod metrics;
mod nights;
mod nouns;
mod pairs;
mod promotions;
mod proposals;
mod records;
mod runner;
mod scan;
mod spread;
mod table;
#[cfg(test)]
mod tests;
mod usage;
mod watch;

pub use estimates::Estimate;
pub use evals::{CaseResult, Eval, EvalAsk};
pub use experiments::{Analysed, ExperimentAsk};
pub use feedback::Feedback;
pub use golden::{GoldenAsk, GoldenInfo};
pub use handle::{Fallback, PromptSettings, PromptsHandle};
pub use judge_checks::{Accepted, JudgeCheck, JudgeCheckAsk};
pub use keys::PromptKey;
pub use labels::LabelAsk;
pub use manage::Options;
pub use metrics::PromptMetrics;
pub use nouns::{
    Actor, Checked, Chosen, Commit, Found, Preview, PromptError, PromptInfo, Ready, Resolved,
    ScanOverride, Source, VersionInfo, Wish,
};
pub use promotions::{Ask, Begin};
pub use proposals::Flagged;
pub use records::experiment_of;
pub use runner::PromotionRunner;
pub use usage::ShadowAsk;

/// The pure service's nouns of experiments.
pub use headwater_prompts::experiment::{
    Analysis, Better, Ending, Experiment, Finding, Goal, GoalKind, Holdout, Segment, Share,
    State as ExperimentState, Unit, Variant,
};
/// How live answers are judged.
pub use headwater_prompts::live::LiveJudge;
/// Rules of the secret scan, as the service works with them.
pub use headwater_prompts::scan::{RuleError, Scanner};
/// Its numbers.
pub use headwater_prompts::sequential::Range;
/// The pure service's nouns that whoever serves or changes prompts meets.
pub use headwater_prompts::{
    Acceptance, Access, Action, Agreement, Canary, Case, Drift, Flag, Gates, GoldenSet, Head,
    Interval, Judge, Label, MessageTemplate, ModelSettings, Move, NAME_RULE, Nightly, Outcome,
    Pair, PairOutcome, Pairs, Pointer, Problem, Promotion, PromptDocument, Proposal, Rendered,
    RenderedMessage, Rescored, Role, ShadowGate, Stage, Standing, State, ToolSchema, Variable,
    Verdict, agreements, diff, holds_marker, is_prompt_name, show_markers, text_holds_marker,
};
/// The secrets port's nouns that whoever renders prompts meets.
pub use headwater_secrets::{SecretError, SecretSource};
/// The store's word on what went wrong.
pub use headwater_storage::StoreError;
