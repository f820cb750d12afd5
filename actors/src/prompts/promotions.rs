//! The way of a version to production, and the way back, as people ask for them.

use headwater_prompts::{
    Action, Because, Event, Head, Input, Outcomes, Pointer, Problem, Promotion, Stage, Wanted,
};

use super::change::Draft;
use super::handle::PromptsHandle;
use super::keys::PromptKey;
use super::manage::{check_length, must_exist, unknown};
use super::nouns::{Actor, PromptError};

/// What somebody asks a promotion to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ask {
    Promote,
    Withdraw { reason: String },
    Override { reason: String },
    Approve,
}

/// A promotion that somebody begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Begin {
    pub version: u64,
    pub reason: String,
    /// Thousandths of production's requests that it gets on trial, in place of the whole way.
    pub canary_per_mille: Option<u32>,
    /// Promotes it as soon as all gates are passed.
    pub is_auto: bool,
}

impl PromptsHandle {
    /// Begins the way of a version to production.
    ///
    /// # Errors
    /// [`PromptError::Invalid`], [`PromptError::Conflict`] while another one is on its way, and
    /// the store's.
    pub async fn begin_promotion(
        &self,
        actor: &Actor,
        prompt: &PromptKey,
        begin: Begin,
    ) -> Result<Promotion, PromptError> {
        let Begin { version, reason, canary_per_mille, is_auto } = begin;
        check_length("reason", &reason)?;
        let (author, _) =
            self.version(prompt, version).await.map(|(info, ready)| (info.author, ready))?;
        let set = self.slot(prompt).and_then(|slot| slot.head.gates.golden_set.clone());
        if let Some(set) = set {
            match self.must_gate(prompt, &set).await {
                // A set that is not there fails its gate, as one that is taken away later does.
                Ok(()) | Err(PromptError::Unknown { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        let by = actor.name.clone();
        let now_ms = self.shared.runtime.wall_ms();
        let done = self
            .change(prompt, move |draft| {
                let wanted = Wanted {
                    version,
                    author: author.clone(),
                    by: by.clone(),
                    reason: reason.clone(),
                    canary_per_mille,
                    is_auto,
                };
                let (promotion, outcomes) =
                    Promotion::begin(&mut draft.head, wanted, now_ms).map_err(conflict)?;
                Ok(left(draft, promotion, outcomes))
            })
            .await?;
        self.tell(prompt, &done);
        Ok(done.0)
    }

    /// Has a promotion do what somebody asks.
    ///
    /// # Errors
    /// [`PromptError::Conflict`] when it does not fit its stage, and the store's.
    pub async fn ask_promotion(
        &self,
        actor: &Actor,
        prompt: &PromptKey,
        id: u64,
        ask: Ask,
    ) -> Result<Promotion, PromptError> {
        // One that has ended is told what it ended as.
        let current = self.promotion(prompt, id).await?;
        // To end the watch of what users get is as much as to promote it.
        if matches!(ask, Ask::Withdraw { .. })
            && matches!(current.stage, Stage::Canary | Stage::Guard)
        {
            self.allow(actor, prompt, Action::Promote)?;
        }
        let by = actor.name.clone();
        let input = match ask {
            Ask::Promote => Input::Promote { by },
            Ask::Withdraw { reason } => Input::Withdraw { by, reason },
            Ask::Override { reason } => Input::Override { by, reason },
            Ask::Approve => Input::Approve { by },
        };
        match &input {
            Input::Withdraw { reason, .. } | Input::Override { reason, .. } => {
                check_length("reason", reason)?
            }
            _ => {}
        }
        self.take(prompt, id, None, input).await.map_err(|error| match error {
            PromptError::Unknown { .. } if current.stage.is_end() => conflict(Problem::new(
                "promotion",
                format!("{id} has ended as {}", current.stage.name()),
            )),
            error => error,
        })
    }

    /// Gives a promotion what was found out or is wanted; with `changes`, only if it is still
    /// where that belongs.
    pub(super) async fn take(
        &self,
        prompt: &PromptKey,
        id: u64,
        changes: Option<u64>,
        input: Input,
    ) -> Result<Promotion, PromptError> {
        let now_ms = self.shared.runtime.wall_ms();
        let what = format!("promotion {id} of the prompt '{}', in progress,", prompt.name);
        let done = self
            .change(prompt, move |draft| {
                let current = draft.promotion.take().filter(|one| one.id == id);
                let mut promotion = current.ok_or(PromptError::Unknown { what: what.clone() })?;
                let is_other = changes.is_some_and(|changes| changes != promotion.changes);
                if is_other {
                    return Err(conflict(Problem::new("promotion", "has gone on since")));
                }
                let outcomes =
                    promotion.take(&mut draft.head, input.clone(), now_ms).map_err(conflict)?;
                Ok(left(draft, promotion, outcomes))
            })
            .await?;
        self.tell(prompt, &done);
        Ok(done.0)
    }

    /// Serves a version in production again that was there before.
    ///
    /// # Errors
    /// [`PromptError::Invalid`] when there is none, and the store's.
    pub async fn roll_back(
        &self,
        actor: &Actor,
        prompt: &PromptKey,
        to: Option<u64>,
        reason: String,
    ) -> Result<Head, PromptError> {
        check_length("reason", &reason)?;
        let (by, unknown) = (actor.name.clone(), unknown(prompt));
        let now_ms = self.shared.runtime.wall_ms();
        self.change(prompt, move |draft| {
            must_exist(draft, &unknown)?;
            let to = draft.head.step_back(to)?;
            let (by, reason) = (by.clone(), reason.clone());
            let left = draft.head.production;
            // What is watched after its promotion is what goes; what is on its way comes no further.
            let input = match draft.promotion.as_ref().map(|one| one.stage) {
                Some(Stage::Guard) => {
                    Some(Input::StepBack { to, by: by.clone(), reason: reason.clone() })
                }
                Some(_) => Some(Input::Withdraw { by: by.clone(), reason: reason.clone() }),
                None => None,
            };
            if let (Some(mut promotion), Some(input)) = (draft.promotion.take(), input) {
                let outcomes = promotion.take(&mut draft.head, input, now_ms).map_err(conflict)?;
                draft.take(outcomes);
                draft.promotion = Some(promotion);
            }
            let told = format!("by {by}: {reason}");
            let because = Because { by, reason, promotion: None, at_ms: now_ms };
            let moved = draft.head.point(Pointer::Production, Some(to), because);
            if moved.is_some() {
                draft.events.push((Event::RolledBack, told));
            }
            draft.moves.extend(moved);
            left.into_iter().for_each(|left| draft.head.give_up(left));
            Ok(draft.head.clone())
        })
        .await
    }

    fn tell(&self, prompt: &PromptKey, (promotion, outcomes): &(Promotion, Outcomes)) {
        for (event, detail) in &outcomes.events {
            self.shared.metrics.event(event.name());
            let PromptKey { team, name } = prompt;
            tracing::info!(
                team,
                name,
                promotion = promotion.id,
                event = event.name(),
                detail,
                "prompt"
            );
        }
    }
}

fn left(draft: &mut Draft, promotion: Promotion, outcomes: Outcomes) -> (Promotion, Outcomes) {
    draft.take(outcomes.clone());
    draft.promotion = Some(promotion.clone());
    (promotion, outcomes)
}

fn conflict(problem: Problem) -> PromptError {
    match problem.field.as_str() {
        "promotion" | "prompt" => PromptError::Conflict(problem),
        _ => PromptError::Invalid(problem),
    }
}
