//! What people do to a promotion beside promoting it.

use super::{Event, Outcome, Outcomes, Override, Promotion, Stage};
use crate::head::{Head, Pointer};
use crate::problem::Problem;

impl Promotion {
    pub(super) fn ask_override(
        &mut self,
        by: String,
        reason: String,
        now_ms: u64,
        outcomes: &mut Outcomes,
    ) -> Result<(), Problem> {
        if self.stage == Stage::Guard {
            return Err(Problem::new(
                "promotion",
                "is in production already; there is nothing to pass over",
            ));
        }
        if reason.trim().is_empty() {
            return Err(Problem::new("reason", "is missing; say why the gates are passed over"));
        }
        self.note(now_ms, format!("override asked for by {by}: {reason}"));
        outcomes.events.push((Event::OverrideAsked, format!("by {by}: {reason}")));
        self.overridden = Some(Override { by, reason, approved_by: None });
        Ok(())
    }

    pub(super) fn approve(
        &mut self,
        head: &mut Head,
        by: String,
        now_ms: u64,
        outcomes: &mut Outcomes,
    ) -> Result<(), Problem> {
        let Some(asked) = &mut self.overridden else {
            return Err(Problem::new("promotion", "has no override to approve; ask for one first"));
        };
        if asked.approved_by.is_some() {
            return Err(Problem::new("promotion", "has its override approved already"));
        }
        if asked.by == by {
            return Err(Problem::new(
                "promotion",
                "needs a second person to approve the override; who asked for it cannot",
            ));
        }
        asked.approved_by = Some(by.clone());
        let who = format!("{} with {by}", asked.by);
        self.note(now_ms, format!("override approved by {by}"));
        let stage = self.stage;
        if stage.is_gate() {
            self.results.insert(stage, (Outcome::Skipped, format!("passed over by {who}")));
        }
        self.serve(head, &who, now_ms, outcomes)
    }

    pub(super) fn withdraw(
        &mut self,
        head: &mut Head,
        by: String,
        reason: String,
        now_ms: u64,
        outcomes: &mut Outcomes,
    ) {
        self.note(now_ms, format!("withdrawn by {by}: {reason}"));
        let because = self.because(&by, &reason, now_ms);
        if head.at(Pointer::Canary) == Some(self.version) {
            outcomes.moves.extend(head.point(Pointer::Canary, None, because.clone()));
        }
        if self.stage != Stage::Guard && head.staging == Some(self.version) {
            outcomes.moves.extend(head.point(Pointer::Staging, None, because));
        }
        self.end(Stage::Withdrawn, head, now_ms);
    }
}
