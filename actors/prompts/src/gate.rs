//! What a version must pass before it serves, and how long it is watched when it does.

use serde::{Deserialize, Serialize};

use crate::judge::Judge;
use crate::live::LiveJudge;
use crate::name::{NAME_RULE, is_prompt_name};
use crate::problem::Problem;

/// Most golden cases of the fast eval.
pub const FAST_CASES: u32 = 20;
/// Bytes of all gates of a prompt: they stand in rows with other things.
const GATES_BYTES: usize = 8_000;
/// Longest watch after a promotion, in ms: a day.
const LONGEST_GUARD_MS: u64 = 24 * 60 * 60 * 1000;

/// How a version is run beside the one in production.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ShadowGate {
    /// Requests that it must have answered beside production.
    pub samples: u32,
    /// Thousandths of production's requests that it is asked, too.
    pub per_mille: u32,
    /// What all its answers together may cost, in millionths of a US dollar.
    pub budget_micro_usd: u64,
    /// Judges both answers; error rate, latency and cost are compared in any case. What is
    /// expected is what production said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub judge: Option<Judge>,
}

impl Default for ShadowGate {
    fn default() -> ShadowGate {
        ShadowGate { samples: 50, per_mille: 100, budget_micro_usd: 1_000_000, judge: None }
    }
}

/// See the module.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Gates {
    /// The cases that a version is asked; no eval without it.
    pub golden_set: Option<String>,
    /// Least mean score, 0 to 1: such as 0.95 where safety hangs on it, 0.8 for free writing.
    pub min_score: f64,
    /// Cases of the first, fast eval.
    pub fast_cases: u32,
    pub shadow: Option<ShadowGate>,
    /// How long a promoted version is watched, in ms; 0 watches none.
    pub guard_ms: u64,
    /// Judges a share of the answers that users get, and has the guard watch the scores, too.
    pub live_judge: Option<LiveJudge>,
}

impl Default for Gates {
    fn default() -> Gates {
        Gates {
            golden_set: None,
            min_score: 0.95,
            fast_cases: FAST_CASES,
            shadow: None,
            guard_ms: 600_000,
            live_judge: None,
        }
    }
}

impl Gates {
    /// # Errors
    /// The first field that is out of its bounds.
    pub fn check(&self) -> Result<(), Problem> {
        let bytes = serde_json::to_vec(self).map_or(0, |json| json.len());
        if bytes > GATES_BYTES {
            let problem = format!("have {bytes} bytes as JSON; at most {GATES_BYTES} are allowed");
            return Err(Problem::new("gates", problem));
        }
        if self.golden_set.as_deref().is_some_and(|set| !is_prompt_name(set)) {
            return Err(Problem::new("gates.golden_set", format!("must be {NAME_RULE}")));
        }
        if !(0.0..=1.0).contains(&self.min_score) {
            return Err(Problem::new("gates.min_score", "must be 0 to 1"));
        }
        if !(1..=FAST_CASES).contains(&self.fast_cases) {
            return Err(Problem::new("gates.fast_cases", format!("must be 1 to {FAST_CASES}")));
        }
        if self.guard_ms > LONGEST_GUARD_MS {
            return Err(Problem::new(
                "gates.guard_ms",
                format!("must be 0 to {LONGEST_GUARD_MS}, a day"),
            ));
        }
        if let Some(live) = &self.live_judge {
            live.check("gates.live_judge")?;
            if self.golden_set.is_none() {
                let problem = "needs gates.golden_set, whose llm judge judges; name one";
                return Err(Problem::new("gates.live_judge", problem));
            }
        }
        if let Some(shadow) = &self.shadow {
            if !(10..=10_000).contains(&shadow.samples) {
                return Err(Problem::new("gates.shadow.samples", "must be 10 to 10000"));
            }
            if !(1..=1_000).contains(&shadow.per_mille) {
                return Err(Problem::new("gates.shadow.per_mille", "must be 1 to 1000"));
            }
            if let Some(judge) = &shadow.judge {
                judge.check("gates.shadow.judge")?;
                if judge.is_pairwise() {
                    let problem = "is pairwise, and a shadow's answers get a score each; take llm";
                    return Err(Problem::new("gates.shadow.judge", problem));
                }
            }
        }
        Ok(())
    }
}
