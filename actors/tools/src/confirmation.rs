//! Approvals: a call that somebody else than who asks for it must allow.
//!
//! An approval is for one call: these arguments, of this definition. It is used by one call id.

#[cfg(test)]
mod tests;

use crate::call::{Call, Problem, Refusal, ToolReference, check_id};

/// How long an approval is waited for, and how long a given one may be used, in ms.
pub const EXPIRES_MS: u64 = 3_600_000;
/// Bytes of the text that says what the call would do, and of a reason.
pub const TEXT_BYTES: usize = 2_000;

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    pub team: String,
    /// The key or the person that called.
    pub subject: String,
    pub agent: Option<String>,
    pub session: Option<String>,
    pub call: String,
    pub tool: ToolReference,
    pub arguments_sha256: String,
    /// What the call would do, for whoever decides.
    pub summary: String,
}

impl Asked {
    pub fn of(call: &Call, summary: &str) -> Asked {
        Asked {
            team: call.caller.team.clone(),
            subject: call.caller.subject.clone(),
            agent: call.caller.agent.clone(),
            session: call.session.clone(),
            call: call.id.clone(),
            tool: call.tool.clone(),
            arguments_sha256: call.arguments_sha256.clone(),
            summary: cut(summary),
        }
    }
}

/// Who decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Approver {
    pub team: String,
    /// The key or the person.
    pub subject: String,
    /// Set where an agent acts with the key: an agent approves nothing.
    pub agent: Option<String>,
    /// Its grants say that it may approve calls of this tool.
    pub may_approve: bool,
}

/// Where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ApprovalState {
    Open,
    Given { by: String, at_ms: u64, expires_ms: u64 },
    Refused { by: String, at_ms: u64, reason: String },
    Expired,
    Used { by: String, at_ms: u64, call: String },
}

impl ApprovalState {
    pub fn name(&self) -> &'static str {
        match self {
            ApprovalState::Open => "open",
            ApprovalState::Given { .. } => "given",
            ApprovalState::Refused { .. } => "refused",
            ApprovalState::Expired => "expired",
            ApprovalState::Used { .. } => "used",
        }
    }
}

/// See the module. Its fields are open for records; change it by its methods alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Approval {
    pub id: String,
    pub asked: Asked,
    pub created_ms: u64,
    /// Nobody may decide from this time on.
    pub expires_ms: u64,
    pub state: ApprovalState,
}

impl Approval {
    /// `id` is drawn by the shell and nobody can guess it.
    ///
    /// # Errors
    /// When the id or the time is out of its range.
    pub fn open(
        id: &str,
        asked: Asked,
        expires_after_ms: u64,
        now_ms: u64,
    ) -> Result<Approval, Problem> {
        check_id("approval", id)?;
        if !(1..=24 * EXPIRES_MS).contains(&expires_after_ms) {
            let problem = format!("must be 1 to {}, in milliseconds", 24 * EXPIRES_MS);
            return Err(Problem::new("expires_after_ms", problem));
        }
        Ok(Approval {
            id: id.to_owned(),
            asked,
            created_ms: now_ms,
            expires_ms: now_ms.saturating_add(expires_after_ms),
            state: ApprovalState::Open,
        })
    }

    /// The state as it is now, also when nobody has noted that the time is over.
    pub fn state_at(&self, now_ms: u64) -> ApprovalState {
        match &self.state {
            ApprovalState::Open if now_ms >= self.expires_ms => ApprovalState::Expired,
            ApprovalState::Given { expires_ms, .. } if now_ms >= *expires_ms => {
                ApprovalState::Expired
            }
            state => state.clone(),
        }
    }

    /// Notes that its time is over. True when that is new.
    pub fn tick(&mut self, now_ms: u64) -> bool {
        let next = self.state_at(now_ms);
        let is_new = next != self.state;
        self.state = next;
        is_new
    }

    /// Gives it. Giving it once more is no error.
    ///
    /// # Errors
    /// When this approver may not, or it is decided otherwise; nothing has changed then.
    pub fn approve(&mut self, approver: &Approver, now_ms: u64) -> Result<(), Problem> {
        self.check_approver(approver)?;
        match self.state_at(now_ms) {
            ApprovalState::Open => {
                self.state = ApprovalState::Given {
                    by: approver.subject.clone(),
                    at_ms: now_ms,
                    expires_ms: now_ms.saturating_add(EXPIRES_MS),
                };
                Ok(())
            }
            ApprovalState::Given { .. } | ApprovalState::Used { .. } => Ok(()),
            state => Err(self.decided(&state)),
        }
    }

    /// Refuses it, also after it was given, as long as it is not used.
    ///
    /// # Errors
    /// As [`Approval::approve`].
    pub fn refuse(
        &mut self,
        approver: &Approver,
        reason: &str,
        now_ms: u64,
    ) -> Result<(), Problem> {
        self.check_approver(approver)?;
        match self.state_at(now_ms) {
            ApprovalState::Open | ApprovalState::Given { .. } => {
                self.state = ApprovalState::Refused {
                    by: approver.subject.clone(),
                    at_ms: now_ms,
                    reason: cut(reason),
                };
                Ok(())
            }
            ApprovalState::Refused { .. } => Ok(()),
            state => Err(self.decided(&state)),
        }
    }

    /// Uses it for a call, before the call runs; write it together with the call's row. The same
    /// call may use it again, after its node died: the row of its id bounds how often it runs.
    ///
    /// # Errors
    /// Why the call may not run.
    pub fn use_for(&mut self, call: &Call, now_ms: u64) -> Result<(), Refusal> {
        if let Some(what) = self.difference(call) {
            return Err(Refusal::ApprovalMismatch { approval: self.id.clone(), what });
        }
        match self.state_at(now_ms) {
            ApprovalState::Given { by, .. } => {
                self.state = ApprovalState::Used { by, at_ms: now_ms, call: call.id.clone() };
                Ok(())
            }
            ApprovalState::Used { .. } => Ok(()),
            ApprovalState::Open => Err(Refusal::ApprovalNeeded {
                tool: self.asked.tool.name.clone(),
                approval: self.id.clone(),
                expires_ms: self.expires_ms,
            }),
            ApprovalState::Refused { by, reason, .. } => {
                Err(Refusal::ApprovalRefused { approval: self.id.clone(), by, reason })
            }
            ApprovalState::Expired => Err(Refusal::ApprovalExpired { approval: self.id.clone() }),
        }
    }

    fn difference(&self, call: &Call) -> Option<&'static str> {
        let asked = &self.asked;
        if asked.team != call.caller.team {
            Some("the team")
        } else if asked.agent != call.caller.agent {
            Some("the agent")
        } else if asked.session != call.session {
            Some("the session")
        } else if asked.tool.name != call.tool.name {
            Some("the tool")
        } else if asked.tool.definition_sha256 != call.tool.definition_sha256 {
            Some("the tool's definition")
        } else if asked.arguments_sha256 != call.arguments_sha256 {
            Some("an argument")
        } else if asked.call != call.id {
            Some("the id")
        } else {
            None
        }
    }

    fn check_approver(&self, approver: &Approver) -> Result<(), Problem> {
        let problem = if approver.team != self.asked.team {
            "is of another team; ask somebody of the team that calls"
        } else if approver.agent.is_some() {
            "is an agent, and an agent approves no call; ask a person"
        } else if approver.subject == self.asked.subject {
            "is who calls; ask somebody else"
        } else if !approver.may_approve {
            "may not approve calls of this tool; ask somebody with that scope"
        } else {
            return Ok(());
        };
        Err(Problem::new("approver", problem))
    }

    fn decided(&self, state: &ApprovalState) -> Problem {
        let problem = format!("{} is {}; have the call made again", self.id, state.name());
        Problem::new("approval", problem)
    }
}

fn cut(text: &str) -> String {
    text.get(..text.floor_char_boundary(TEXT_BYTES)).unwrap_or_default().to_owned()
}
