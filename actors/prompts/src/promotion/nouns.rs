//! What a promotion is told in: its stages, what comes in, what goes out.

use serde::{Deserialize, Serialize};

use crate::head::Move;

/// Where a promotion stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Up to 20 golden cases.
    FastEval,
    /// All golden cases.
    Regression,
    /// Asked beside production, answers kept from users.
    Shadow,
    /// A share of the users' requests.
    Canary,
    /// All gates are passed; somebody promotes it.
    Ready,
    /// In production, and watched.
    Guard,
    Done,
    RolledBack,
    /// A gate was not passed.
    Stopped,
    Withdrawn,
}

impl Stage {
    pub fn name(self) -> &'static str {
        match self {
            Stage::FastEval => "fast_eval",
            Stage::Regression => "regression",
            Stage::Shadow => "shadow",
            Stage::Canary => "canary",
            Stage::Ready => "ready",
            Stage::Guard => "guard",
            Stage::Done => "done",
            Stage::RolledBack => "rolled_back",
            Stage::Stopped => "stopped",
            Stage::Withdrawn => "withdrawn",
        }
    }

    pub fn is_end(self) -> bool {
        matches!(self, Stage::Done | Stage::RolledBack | Stage::Stopped | Stage::Withdrawn)
    }

    /// Whether somebody has to find something out.
    pub fn is_gate(self) -> bool {
        matches!(
            self,
            Stage::FastEval | Stage::Regression | Stage::Shadow | Stage::Canary | Stage::Guard
        )
    }
}

/// How a gate came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    Passed,
    Failed,
    Skipped,
}

/// An emergency: gates are passed over, when a second person agrees.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Override {
    pub by: String,
    pub reason: String,
    pub approved_by: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// Since 1970.
    pub at_ms: u64,
    pub what: String,
}

/// What somebody wants to promote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    pub version: u64,
    /// Who wrote the version.
    pub author: String,
    pub by: String,
    pub reason: String,
    /// Tries it out on so many thousandths of production's requests, instead of the whole way.
    pub canary_per_mille: Option<u32>,
    /// Promotes it as soon as it is ready.
    pub is_auto: bool,
}

/// What was found out, or is wanted.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// The stage's gate came out so.
    Gate {
        is_passed: bool,
        detail: String,
    },
    Promote {
        by: String,
    },
    /// Somebody wants to pass the gates over.
    Override {
        by: String,
        reason: String,
    },
    Approve {
        by: String,
    },
    /// Ends it where it is; a version in production stays there.
    Withdraw {
        by: String,
        reason: String,
    },
    /// Production goes back to another version by hand.
    StepBack {
        to: u64,
        by: String,
        reason: String,
    },
}

/// What somebody should hear of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    PromotionStopped,
    PromotionReady,
    Promoted,
    RolledBack,
    OverrideAsked,
    PromotionDone,
    ExperimentExpired,
    NightlyFailed,
}

impl Event {
    pub fn name(self) -> &'static str {
        match self {
            Event::PromotionStopped => "prompt.promotion_stopped",
            Event::PromotionReady => "prompt.promotion_ready",
            Event::Promoted => "prompt.promoted",
            Event::RolledBack => "prompt.rolled_back",
            Event::OverrideAsked => "prompt.override_asked",
            Event::PromotionDone => "prompt.promotion_done",
            Event::ExperimentExpired => "prompt.experiment_expired",
            Event::NightlyFailed => "prompt.nightly_failed",
        }
    }
}

/// What one input led to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Outcomes {
    pub moves: Vec<Move>,
    pub events: Vec<(Event, String)>,
}
