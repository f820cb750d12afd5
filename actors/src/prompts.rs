//! Prompts: versions that never change, pointers that move as a whole on every node, and the way
//! of a version to production.

mod access;
mod cases;
mod change;
mod evals;
mod experiments;
mod feedback;
mod follow;
mod golden;
mod handle;
mod judging;
mod keys;
mod manage;
mod metrics;
mod nouns;
mod promotions;
mod records;
mod runner;
mod scan;
mod table;
mod usage;
mod watch;

pub use evals::{CaseResult, Estimate, Eval, EvalAsk};
pub use experiments::{Analysed, ExperimentAsk};
pub use feedback::Feedback;
pub use golden::GoldenInfo;
pub use handle::{Fallback, PromptSettings, PromptsHandle};
pub use keys::PromptKey;
pub use manage::Options;
pub use metrics::PromptMetrics;
pub use nouns::{
    Actor, Checked, Chosen, Commit, Found, Preview, PromptError, PromptInfo, Ready, Resolved,
    ScanOverride, Source, VersionInfo, Wish,
};
pub use promotions::{Ask, Begin};
pub use runner::PromotionRunner;
pub use usage::ShadowAsk;

/// The pure service's nouns of experiments.
pub use headwater_prompts::experiment::{
    Analysis, Better, Ending, Experiment, Finding, Goal, GoalKind, Holdout, Segment, Share,
    State as ExperimentState, Unit, Variant,
};
/// Rules of the secret scan, as the service works with them.
pub use headwater_prompts::scan::{RuleError, Scanner};
/// Its numbers.
pub use headwater_prompts::sequential::Range;
/// The pure service's nouns that whoever serves or changes prompts meets.
pub use headwater_prompts::{
    Access, Action, Canary, Case, Gates, GoldenSet, Head, Judge, ModelSettings, Move, NAME_RULE,
    Outcome, Pointer, Problem, Promotion, PromptDocument, Rendered, RenderedMessage, Role,
    ShadowGate, Stage, Standing, State, ToolSchema, Variable, diff, holds_marker, is_prompt_name,
    show_markers, text_holds_marker,
};
/// The secrets port's nouns that whoever renders prompts meets.
pub use headwater_secrets::{SecretError, SecretSource};
/// The store's word on what went wrong.
pub use headwater_storage::StoreError;
