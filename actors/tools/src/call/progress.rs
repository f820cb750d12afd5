//! How far an asynchronous call is, and which step may follow which.

use super::{CallResult, Ending, Problem, Refusal};

/// Where it stands.
#[derive(Debug, Clone, PartialEq)]
pub enum CallState {
    Queued,
    Waiting {
        approval: String,
    },
    Running,
    Done(CallResult),
    /// It got no answer, for this reason.
    Failed(Refusal),
    Cancelled {
        by: String,
        /// It was running: the tool may have done it.
        may_have_run: bool,
    },
    /// Its time was over before it ran.
    Expired,
}

impl CallState {
    pub fn name(&self) -> &'static str {
        match self {
            CallState::Queued => "queued",
            CallState::Waiting { .. } => "waiting_for_approval",
            CallState::Running => "running",
            CallState::Done(_) => "done",
            CallState::Failed(_) => "failed",
            CallState::Cancelled { .. } => "cancelled",
            CallState::Expired => "expired",
        }
    }

    pub fn is_end(&self) -> bool {
        !matches!(self, CallState::Queued | CallState::Waiting { .. } | CallState::Running)
    }
}

/// What happens to it.
#[derive(Debug, Clone, PartialEq)]
pub enum CallEvent {
    Wait { approval: String },
    Start,
    End(Ending),
    Cancel { by: String },
    Tick,
}

/// See the module.
#[derive(Debug, Clone, PartialEq)]
pub struct Progress {
    pub state: CallState,
    pub created_ms: u64,
    pub entered_ms: u64,
    pub deadline_ms: u64,
}

impl Progress {
    pub fn new(now_ms: u64, deadline_ms: u64) -> Progress {
        Progress { state: CallState::Queued, created_ms: now_ms, entered_ms: now_ms, deadline_ms }
    }

    /// Goes on. A call that runs is ended by whoever runs it, not by the clock: only he knows
    /// whether the tool was reached. True when the state has changed.
    ///
    /// # Errors
    /// When this cannot follow; nothing has changed then.
    pub fn take(&mut self, event: CallEvent, now_ms: u64) -> Result<bool, Problem> {
        let next = match (&self.state, event) {
            (state, CallEvent::Tick) => {
                if state.is_end() || *state == CallState::Running || now_ms < self.deadline_ms {
                    return Ok(false);
                }
                CallState::Expired
            }
            (CallState::Queued, CallEvent::Wait { approval }) => CallState::Waiting { approval },
            (CallState::Queued | CallState::Waiting { .. }, CallEvent::Start) => {
                if now_ms < self.deadline_ms { CallState::Running } else { CallState::Expired }
            }
            (CallState::Running, CallEvent::End(Ok(result))) => CallState::Done(result),
            (state, CallEvent::End(Err(refusal))) if !state.is_end() => CallState::Failed(refusal),
            (CallState::Queued, CallEvent::End(Ok(result))) if result.is_cached => {
                CallState::Done(result)
            }
            (state, CallEvent::Cancel { by }) if !state.is_end() => {
                CallState::Cancelled { by, may_have_run: *state == CallState::Running }
            }
            (state, event) => {
                let what = match event {
                    CallEvent::Wait { .. } => "wait for an approval",
                    CallEvent::Start => "start",
                    CallEvent::End(_) => "end",
                    CallEvent::Cancel { .. } => "be cancelled",
                    CallEvent::Tick => "go on",
                };
                let problem = format!("is {} and cannot {what}; read its state", state.name());
                return Err(Problem::new("call", problem));
            }
        };
        (self.state, self.entered_ms) = (next, now_ms);
        Ok(true)
    }
}
