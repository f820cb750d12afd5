//! What whoever waits for a slot holds: a ticket, then the slot; dropped, it goes back.

use headwater_sandbox::{EngineError, Execution, Listener, Outcome};
use headwater_tools::call::Refusal;
use headwater_tools::pool::{Event, Reason, SlotId, Ticket};

use super::pool::PoolMessage;
use super::slot::Held;

/// What a caller without a slot is told.
pub(super) fn refusal(tool: &str, reason: Reason, retry_after_ms: u64, failure: String) -> Refusal {
    let tool = tool.to_owned();
    let retry_after_ms = retry_after_ms.max(1);
    match reason {
        Reason::Queue | Reason::TenantQueue => {
            let what = match reason {
                Reason::TenantQueue => "a sandbox slot of this team",
                _ => "a sandbox slot",
            };
            Refusal::Overloaded { what: what.to_owned(), retry_after_ms }
        }
        Reason::Deadline => {
            let what = "a sandbox slot, longer than the call may take".to_owned();
            Refusal::Overloaded { what, retry_after_ms }
        }
        Reason::StartsFail => {
            let why = format!("no slot starts: {failure}");
            Refusal::Unreachable { tool, why, retry_after_ms }
        }
        Reason::Moved => {
            let why = "this node may not start slots now".to_owned();
            Refusal::Unreachable { tool, why, retry_after_ms }
        }
    }
}

pub(super) struct Leave {
    pub(super) messages: tokio::sync::mpsc::UnboundedSender<PoolMessage>,
    pub(super) ticket: Option<Ticket>,
}

impl Drop for Leave {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            let _ = self.messages.send(PoolMessage::Happened(Event::Gone { ticket }));
        }
    }
}

/// A slot that was given, until this is dropped.
pub(super) struct SlotGuard {
    pub(super) messages: tokio::sync::mpsc::UnboundedSender<PoolMessage>,
    pub(super) slot: SlotId,
    pub(super) held: Held,
    /// The last call ended as a program ends.
    pub(super) is_clean: bool,
}

impl SlotGuard {
    pub(super) async fn run(
        &mut self,
        execution: &Execution,
        listener: &mut dyn Listener,
    ) -> Result<Outcome, EngineError> {
        self.is_clean = false;
        let mut held = self.held.lock().await;
        let slot = held.as_mut().ok_or_else(gone)?;
        let outcome = slot.run(execution, listener).await;
        self.is_clean = outcome.is_ok();
        outcome
    }

    /// Does this with the slot itself.
    pub(super) fn held(&self) -> &Held {
        &self.held
    }
}

pub(super) fn gone() -> EngineError {
    EngineError::Lost { why: "the slot has ended".to_owned() }
}

impl Drop for SlotGuard {
    fn drop(&mut self) {
        let (slot, is_clean) = (self.slot, self.is_clean);
        let _ = self.messages.send(PoolMessage::Happened(Event::Ended { slot, is_clean }));
    }
}
