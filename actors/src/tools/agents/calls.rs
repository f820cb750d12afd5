//! Making a call that a run's model asked for, on the one path of every call.

use headwater_storage::audit::TraceParent;
use headwater_tools::agent::Event;
use headwater_tools::call::{Mode, Refusal};
use headwater_tools::{Definition, ToolReference};
use serde_json::Value;

use crate::mutants::{Mutant, planted};
use crate::tools::handle::ToolsHandle;
use crate::tools::nouns::{ToolAsk, ToolCaller};

/// The pause before a call is made again by its id, in ms.
const AGAIN_MS_LEAST: u64 = 50;
const AGAIN_MS_MAX: u64 = 5_000;

/// See the module.
pub(super) struct RunCall {
    pub(super) tools: ToolsHandle,
    pub(super) caller: ToolCaller,
    /// The same after a crash, so that it is the same call.
    pub(super) id: String,
    pub(super) tool: ToolReference,
    pub(super) arguments: Value,
    pub(super) session: String,
    pub(super) route: &'static str,
    pub(super) trace_parent: Option<TraceParent>,
}

impl RunCall {
    /// Makes it. What may pass is waited for as long as the run goes on.
    pub(super) async fn make(self) -> Event {
        let call = self.id.clone();
        loop {
            let called = self.tools.call(self.caller.clone(), self.ask()).await;
            match called.ending {
                Ok(result) => {
                    let text = match result.content {
                        Value::String(text) => text,
                        content => content.to_string(),
                    };
                    let (is_error, microdollars) = (result.is_error, result.cost_microdollars);
                    return Event::CallEnded { call, text, is_error, microdollars };
                }
                Err(Refusal::ApprovalNeeded { approval, .. }) => {
                    return Event::ApprovalNeeded { call, approval };
                }
                Err(
                    Refusal::InProgress { retry_after_ms, .. }
                    | Refusal::StorageDown { retry_after_ms }
                    | Refusal::Overloaded { retry_after_ms, .. },
                ) => {
                    let pause_ms = retry_after_ms.clamp(AGAIN_MS_LEAST, AGAIN_MS_MAX);
                    self.tools.shared.runtime.pause(pause_ms).await;
                }
                Err(refusal) => {
                    // What may have been done is charged.
                    let price = |definition: &Definition| definition.cost_microdollars;
                    let microdollars = match refusal.may_have_run() {
                        true => self.definition(price).unwrap_or_default(),
                        false => 0,
                    };
                    let text = refusal.to_string();
                    return Event::CallEnded { call, text, is_error: true, microdollars };
                }
            }
        }
    }

    fn definition<T>(&self, of: impl FnOnce(&Definition) -> T) -> Option<T> {
        let served = self.tools.shared.served();
        let found = served.registry.resolve(&self.tool, self.tools.now_ms());
        found.ok().map(|tool| of(&tool.definition))
    }

    fn ask(&self) -> ToolAsk {
        // Nobody waits for the run's calls at a connection: a slow tool gets the time that it asks for.
        let is_slow = self.definition(|definition| definition.asynchronous).unwrap_or(false);
        let id = match planted(Mutant::CallOfRunDrawnAnew) {
            true => self.tools.shared.draw_id("call"),
            false => self.id.clone(),
        };
        ToolAsk {
            id: Some(id),
            tool: self.tool.clone(),
            arguments: self.arguments.clone(),
            session: Some(self.session.clone()),
            mode: if is_slow { Mode::Async } else { Mode::Sync },
            is_dry_run: false,
            timeout_ms: None,
            tells: false,
            request: format!("{:032x}", self.tools.shared.runtime.draw()),
            route: self.route,
            trace_parent: self.trace_parent,
        }
    }
}
