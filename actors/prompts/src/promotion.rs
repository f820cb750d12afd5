//! The way of one version to production, as a state machine: what was found out comes in, moves of
//! pointers and notices go out. What it waits for is read off its stage, so a node that takes it
//! over from one that died goes on where the record says.

mod nouns;
mod people;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::gate::Gates;
use crate::head::{Because, CANARY_PER_MILLE, Canary, Head, Pointer};
use crate::problem::Problem;

pub use nouns::{Event, Input, Outcome, Outcomes, Override, Stage, Step, Wanted};

/// Who acts when nobody does.
pub const GUARD: &str = "headwater";
/// Steps that a promotion remembers.
const STEPS: usize = 100;
/// Bytes of one of them.
const STEP_BYTES: usize = 300;

/// See the module.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Promotion {
    /// From 1 on, for each prompt.
    pub id: u64,
    pub version: u64,
    pub author: String,
    /// What was in production when it was promoted, or begun.
    pub from: Option<u64>,
    pub by: String,
    pub reason: String,
    pub canary_per_mille: Option<u32>,
    pub is_auto: bool,
    /// As they were when it was begun.
    pub gates: Gates,
    pub stage: Stage,
    /// When the stage began, since 1970.
    pub entered_ms: u64,
    pub created_ms: u64,
    pub results: BTreeMap<Stage, (Outcome, String)>,
    pub overridden: Option<Override>,
    /// Changes so far. Whoever found something out tells which one it belongs to, so nothing is
    /// taken twice.
    pub changes: u64,
    /// The move that put it into production, or gave it its share.
    pub epoch: u64,
    /// The move that had put `from` into production.
    pub from_since: u64,
    pub steps: Vec<Step>,
}

impl Promotion {
    /// Begins one, and goes as far as nothing has to be found out.
    ///
    /// # Errors
    /// When the version may not be promoted, or another promotion is in progress.
    pub fn begin(
        head: &mut Head,
        wanted: Wanted,
        now_ms: u64,
    ) -> Result<(Promotion, Outcomes), Problem> {
        head.check_promotable(wanted.version)?;
        if let Some(other) = head.promotion {
            let problem = format!(
                "promotion {other} of this prompt is in progress; withdraw it, or wait for its end"
            );
            return Err(Problem::new("promotion", problem));
        }
        if head.production == Some(wanted.version) {
            return Err(Problem::new(
                "version",
                format!("{} is in production already", wanted.version),
            ));
        }
        let Wanted { version, author, by, reason, canary_per_mille, is_auto } = wanted;
        if canary_per_mille.is_some_and(|share| !(1..=CANARY_PER_MILLE).contains(&share)) {
            return Err(Problem::new(
                "canary_per_mille",
                format!("must be 1 to {CANARY_PER_MILLE}"),
            ));
        }
        if canary_per_mille.is_some() && head.production.is_none() {
            return Err(Problem::new(
                "canary_per_mille",
                "needs a version in production to be compared with; leave it out",
            ));
        }
        if is_auto || canary_per_mille.is_some() {
            check_hands(head, &author, &by)?;
        }
        head.promotions += 1;
        let mut begun = Promotion {
            id: head.promotions,
            version,
            author,
            from: head.production,
            by,
            reason,
            canary_per_mille,
            is_auto,
            gates: head.gates.clone(),
            stage: Stage::FastEval,
            entered_ms: now_ms,
            created_ms: now_ms,
            results: BTreeMap::new(),
            overridden: None,
            changes: 1,
            epoch: 0,
            from_since: head.production_since,
            steps: Vec::new(),
        };
        head.promotion = Some(begun.id);
        let mut outcomes = Outcomes::default();
        begun.note(now_ms, format!("begun by {}: {}", begun.by, begun.reason));
        begun.enter(Stage::FastEval, head, now_ms, &mut outcomes)?;
        Ok((begun, outcomes))
    }

    /// Takes what was found out, or is wanted.
    ///
    /// # Errors
    /// When it does not fit the stage; nothing has changed then.
    pub fn take(
        &mut self,
        head: &mut Head,
        input: Input,
        now_ms: u64,
    ) -> Result<Outcomes, Problem> {
        if self.stage.is_end() {
            return Err(Problem::new(
                "promotion",
                format!("{} has ended as {}", self.id, self.stage.name()),
            ));
        }
        let (mut next, mut after, mut outcomes) = (self.clone(), head.clone(), Outcomes::default());
        next.changes += 1;
        match input {
            Input::Gate { is_passed, detail } => {
                next.gate(&mut after, is_passed, detail, now_ms, &mut outcomes)?
            }
            Input::Promote { by } => next.promote(&mut after, by, now_ms, &mut outcomes)?,
            Input::Override { by, reason } => {
                next.ask_override(by, reason, now_ms, &mut outcomes)?
            }
            Input::Approve { by } => next.approve(&mut after, by, now_ms, &mut outcomes)?,
            Input::StepBack { to, by, reason } => {
                next.note(now_ms, format!("taken back by {by}: {reason}"));
                let because = next.because(&by, &reason, now_ms);
                outcomes.moves.extend(after.point(Pointer::Production, Some(to), because));
                after.give_up(next.version);
                next.end(Stage::RolledBack, &mut after, now_ms);
                outcomes.events.push((Event::RolledBack, format!("by {by}: {reason}")));
            }
            Input::Withdraw { by, reason } => {
                next.withdraw(&mut after, by, reason, now_ms, &mut outcomes)
            }
        }
        (*self, *head) = (next, after);
        Ok(outcomes)
    }

    fn gate(
        &mut self,
        head: &mut Head,
        is_passed: bool,
        detail: String,
        now_ms: u64,
        outcomes: &mut Outcomes,
    ) -> Result<(), Problem> {
        let stage = self.stage;
        if !stage.is_gate() {
            return Err(Problem::new(
                "promotion",
                format!("waits for nothing to be found out; it is {}", stage.name()),
            ));
        }
        let outcome = if is_passed { Outcome::Passed } else { Outcome::Failed };
        self.note(
            now_ms,
            format!("{} {}: {detail}", stage.name(), if is_passed { "passed" } else { "failed" }),
        );
        self.results.insert(stage, (outcome, detail.clone()));
        if is_passed {
            return self.enter(behind(stage), head, now_ms, outcomes);
        }
        match stage {
            Stage::Guard => self.roll_back(head, &detail, now_ms, outcomes),
            Stage::Canary => {
                let because = self.because(GUARD, &detail, now_ms);
                outcomes.moves.extend(head.point(Pointer::Canary, None, because));
                self.end(Stage::RolledBack, head, now_ms);
                outcomes.events.push((Event::RolledBack, detail));
            }
            _ => {
                self.unstage(head, &detail, now_ms, outcomes);
                self.end(Stage::Stopped, head, now_ms);
                outcomes
                    .events
                    .push((Event::PromotionStopped, format!("{}: {detail}", stage.name())));
            }
        }
        Ok(())
    }

    /// Enters a stage, and passes on through those that ask for nothing.
    fn enter(
        &mut self,
        stage: Stage,
        head: &mut Head,
        now_ms: u64,
        outcomes: &mut Outcomes,
    ) -> Result<(), Problem> {
        let mut stage = stage;
        loop {
            if stage == Stage::Regression {
                self.stage_it(head, now_ms, outcomes);
            }
            let Some(why) = self.skipped(stage) else { break };
            self.results.insert(stage, (Outcome::Skipped, why.to_owned()));
            stage = behind(stage);
        }
        (self.stage, self.entered_ms) = (stage, now_ms);
        match stage {
            Stage::Canary => {
                let per_mille = self.canary_per_mille.unwrap_or(1);
                let because = self.because(&self.by.clone(), &self.reason.clone(), now_ms);
                outcomes
                    .moves
                    .extend(head.try_out(Canary { version: self.version, per_mille }, because));
                self.epoch = head.moves;
            }
            Stage::Ready if self.is_auto => {
                let by = self.by.clone();
                return self.promote(head, by, now_ms, outcomes);
            }
            Stage::Ready => outcomes.events.push((Event::PromotionReady, String::new())),
            Stage::Done => {
                self.end(Stage::Done, head, now_ms);
                outcomes.events.push((Event::PromotionDone, String::new()));
            }
            _ => {}
        }
        Ok(())
    }

    /// Why a gate asks for nothing.
    fn skipped(&self, stage: Stage) -> Option<&'static str> {
        let has_set = self.gates.golden_set.is_some();
        match stage {
            Stage::FastEval if !has_set => Some("no golden set is configured for this prompt"),
            Stage::Regression if !has_set => Some("no golden set is configured for this prompt"),
            Stage::Regression | Stage::Shadow if self.canary_per_mille.is_some() => {
                Some("tried out as a canary instead")
            }
            Stage::Shadow if self.gates.shadow.is_none() => {
                Some("no shadow traffic is configured for this prompt")
            }
            Stage::Shadow if self.from.is_none() => {
                Some("nothing is in production to be compared with")
            }
            Stage::Canary if self.canary_per_mille.is_none() => Some("was not asked for"),
            Stage::Guard if self.gates.guard_ms == 0 => {
                Some("no guard is configured for this prompt")
            }
            Stage::Guard if self.from.is_none() => {
                Some("nothing was in production to be compared with")
            }
            _ => None,
        }
    }

    fn stage_it(&mut self, head: &mut Head, now_ms: u64, outcomes: &mut Outcomes) {
        if self.canary_per_mille.is_none() {
            let because = self.because(&self.by.clone(), &self.reason.clone(), now_ms);
            outcomes.moves.extend(head.point(Pointer::Staging, Some(self.version), because));
        }
    }

    fn unstage(&mut self, head: &mut Head, why: &str, now_ms: u64, outcomes: &mut Outcomes) {
        if head.staging == Some(self.version) {
            let because = self.because(GUARD, why, now_ms);
            outcomes.moves.extend(head.point(Pointer::Staging, None, because));
        }
    }

    fn promote(
        &mut self,
        head: &mut Head,
        by: String,
        now_ms: u64,
        outcomes: &mut Outcomes,
    ) -> Result<(), Problem> {
        if self.stage != Stage::Ready {
            let problem = format!(
                "is not ready; it is in {}, wait for it, or ask for an override",
                self.stage.name()
            );
            return Err(Problem::new("promotion", problem));
        }
        check_hands(head, &self.author, &by)?;
        self.serve(head, &by, now_ms, outcomes)
    }

    fn serve(
        &mut self,
        head: &mut Head,
        by: &str,
        now_ms: u64,
        outcomes: &mut Outcomes,
    ) -> Result<(), Problem> {
        (self.from, self.from_since) = (head.production, head.production_since);
        let because = self.because(by, &self.reason.clone(), now_ms);
        outcomes.moves.extend(head.point(Pointer::Canary, None, because.clone()));
        outcomes.moves.extend(head.point(Pointer::Production, Some(self.version), because));
        self.epoch = head.moves;
        self.note(now_ms, format!("promoted by {by}"));
        outcomes.events.push((Event::Promoted, format!("by {by}")));
        self.enter(Stage::Guard, head, now_ms, outcomes)
    }

    fn roll_back(&mut self, head: &mut Head, why: &str, now_ms: u64, outcomes: &mut Outcomes) {
        // Whoever moved the pointer meanwhile knew why; that is not undone.
        if head.production == Some(self.version) {
            let because = self.because(GUARD, why, now_ms);
            outcomes.moves.extend(head.point(Pointer::Production, self.from, because));
            head.give_up(self.version);
        }
        self.unstage(head, why, now_ms, outcomes);
        self.end(Stage::RolledBack, head, now_ms);
        outcomes.events.push((Event::RolledBack, why.to_owned()));
    }

    fn end(&mut self, stage: Stage, head: &mut Head, now_ms: u64) {
        (self.stage, self.entered_ms) = (stage, now_ms);
        head.promotion = None;
        self.note(now_ms, format!("ended as {}", stage.name()));
    }

    fn because(&self, by: &str, reason: &str, at_ms: u64) -> Because {
        Because { by: by.to_owned(), reason: reason.to_owned(), promotion: Some(self.id), at_ms }
    }

    fn note(&mut self, at_ms: u64, mut what: String) {
        what.truncate(what.floor_char_boundary(STEP_BYTES));
        if self.steps.len() < STEPS {
            self.steps.push(Step { at_ms, what });
        }
    }
}

/// The stage behind one that is passed.
fn behind(stage: Stage) -> Stage {
    match stage {
        Stage::FastEval => Stage::Regression,
        Stage::Regression => Stage::Shadow,
        Stage::Shadow => Stage::Canary,
        Stage::Canary => Stage::Ready,
        _ => Stage::Done,
    }
}

/// A protected prompt's version is promoted by somebody who did not write it.
fn check_hands(head: &Head, author: &str, by: &str) -> Result<(), Problem> {
    if head.is_protected && author == by {
        let problem = "is protected: who wrote a version does not promote it; ask somebody else";
        return Err(Problem::new("prompt", problem));
    }
    Ok(())
}
