//! Whoever runs a run: carries out what the pure loop wants, for as long as it holds the run.

use std::collections::BTreeMap;
use std::sync::Arc;

use headwater_storage::StoreError;
use headwater_storage::audit::TraceParent;
use headwater_tools::agent::{Agent, Effect, Event, Message};
use headwater_tools::{ToolReference, openai_chat_tool};
use serde_json::Value;

use super::ROUTE;
use super::calls::RunCall;
use super::journal::Hold;
use super::model::{Question, request};
use super::works::Works;
use crate::gateway::{Caller, Tool};
use crate::mutants::{Mutant, planted};
use crate::runtime::Runtime;
use crate::tools::handle::{Running, ToolsHandle};
use crate::tools::nouns::ToolsError;
use crate::tools::records::RunRow;
use crate::tools::sessions::Act;

/// How often a runner looks whether its run is cancelled, its approvals are decided and it still
/// holds it, in ms.
const LOOK_MS: u64 = 500;
/// The pause before a session is counted again that the store did not answer for, in ms.
const AGAIN_MS: u64 = 1_000;

/// Why a runner stops before its run has ended.
#[derive(Debug, thiserror::Error)]
enum Stop {
    #[error("another node has it")]
    Lost,
    #[error("this node cannot know whether its key is good")]
    Unknown,
    #[error("the store: {0}")]
    Store(#[from] StoreError),
}

/// See the module. Dropped, it leaves the run to whoever takes it over.
pub(super) struct Runner {
    tools: ToolsHandle,
    hold: Hold,
    row: RunRow,
    agent: Agent,
    works: Works,
    /// Approvals that calls wait for, by the calls.
    waiting: BTreeMap<String, String>,
    looked_ms: u64,
    _running: Running,
}

impl Runner {
    pub(super) fn new(
        tools: ToolsHandle,
        hold: Hold,
        row: RunRow,
        agent: Agent,
        running: Running,
    ) -> Runner {
        let (works, waiting) = (Works::default(), BTreeMap::new());
        let looked_ms = tools.shared.runtime.now_ms();
        Runner { tools, hold, row, agent, works, waiting, looked_ms, _running: running }
    }

    fn runtime(&self) -> &Runtime {
        &self.tools.shared.runtime
    }

    /// Carries these out and whatever follows, until the run has ended or is another's.
    pub(super) async fn run(mut self, effects: Vec<Effect>) {
        if let Err(stop) = self.go(effects).await {
            let run = &self.hold.key.id;
            tracing::warn!(run, %stop, "a run of an agent is left to whoever takes it over");
        }
    }

    async fn go(&mut self, mut effects: Vec<Effect>) -> Result<(), Stop> {
        // What was taken over may have ended by itself meanwhile.
        if self.agent.finished().is_none()
            && let Some(by) = self.ended_key()?
        {
            let asks = |effect: &Effect| {
                matches!(effect, Effect::AskModel { .. } | Effect::CallTool { .. })
            };
            effects.retain(|effect| !asks(effect));
            let now_ms = self.runtime().wall_ms();
            effects.extend(self.agent.take(Event::Cancelled { by }, now_ms));
        }
        self.carry_out(effects).await?;
        while self.agent.finished().is_none() {
            let runtime = self.runtime().clone();
            let event = runtime.within(LOOK_MS, self.works.next()).await;
            if let Some(event) = event {
                if let Event::ApprovalNeeded { call, approval } = &event {
                    self.waiting.insert(call.clone(), approval.clone());
                }
                self.hear(event).await?;
            }
            if runtime.now_ms().saturating_sub(self.looked_ms) >= LOOK_MS {
                self.look().await?;
            }
        }
        Ok(())
    }

    async fn hear(&mut self, event: Event) -> Result<(), Stop> {
        let effects = self.agent.take(event, self.runtime().wall_ms());
        self.carry_out(effects).await
    }

    /// What others want of the run, and what time has brought.
    async fn look(&mut self) -> Result<(), Stop> {
        let seen = self.tools.look_at_run(&self.hold, &self.waiting).await?;
        self.looked_ms = self.runtime().now_ms();
        let Some(seen) = seen else { return Err(Stop::Lost) };
        let ended_by = match seen.cancelled_by {
            Some(by) => Some(by),
            None => self.ended_key()?,
        };
        if let Some(by) = ended_by {
            return self.hear(Event::Cancelled { by }).await;
        }
        for call in seen.decided {
            self.waiting.remove(&call);
            self.hear(Event::Decided { call }).await?;
        }
        self.hear(Event::Tick).await
    }

    /// The key that the run was begun with, once it opens nothing any more.
    fn ended_key(&self) -> Result<Option<String>, Stop> {
        let (identity, key) = (self.tools.shared.identity.get(), self.row.caller.caller().key_id);
        let Some((identity, key)) = identity.zip(key) else { return Ok(None) };
        let stands = identity.stands(&key).map_err(|_| Stop::Unknown)?;
        let has_ended = !stands && !planted(Mutant::RunOutlivesItsKey);
        Ok(has_ended.then(|| format!("the end of its key {key}")))
    }

    async fn carry_out(&mut self, effects: Vec<Effect>) -> Result<(), Stop> {
        for effect in effects {
            match effect {
                Effect::Persist { index, entry } => {
                    let progress = (self.agent.step(), self.agent.spent_microdollars());
                    if !self.tools.append(&self.hold, index, entry, progress).await? {
                        return Err(Stop::Lost);
                    }
                }
                Effect::AskModel { step, messages } => self.ask(step, messages),
                Effect::CallTool { call, name, arguments } => self.call(call, &name, arguments),
                Effect::CancelTool { call } => self.works.leave(&call),
                // Whoever listens reads the journal.
                Effect::Tell(_) => {}
                Effect::Finish { reason, .. } => {
                    self.works.leave_all();
                    self.tools.shared.metrics.agent_ended(reason.name());
                }
            }
        }
        Ok(())
    }

    fn trace_parent(&self) -> Option<TraceParent> {
        self.row.trace_parent.as_deref().and_then(TraceParent::read)
    }

    fn ask(&mut self, step: u64, messages: Vec<Message>) {
        let caller = self.row.caller.caller();
        let Some(gateway) = self.tools.shared.gateway.get().cloned() else {
            let why = "this node has no models; run it on one that has".to_owned();
            let failed = Event::ModelFailed { step, why, is_refusal: false };
            return self.works.begin(None, async { failed });
        };
        let question = Question {
            gateway,
            runtime: self.runtime().clone(),
            caller: Caller {
                tenant: caller.team,
                project: caller.project,
                user: caller.user,
                key_id: caller.key_id,
            },
            route: ROUTE,
            run: self.hold.key.id.clone(),
            trace_parent: self.trace_parent(),
            request: request(&self.row.model, messages, self.offers()),
        };
        let session = (!self.row.owns_session).then(|| self.row.session.clone());
        let (tools, team) = (self.tools.clone(), self.hold.key.team.clone());
        self.works.begin(None, async move {
            match session {
                Some(session) => match count_iteration(&tools, &team, &session).await {
                    Ok(()) => question.ask(step).await,
                    Err(why) => Event::ModelFailed { step, why, is_refusal: true },
                },
                None => question.ask(step).await,
            }
        });
    }

    /// The tools as the model is offered them; one that is not served any more is left out.
    fn offers(&self) -> Vec<Tool> {
        let (served, now_ms) = (self.tools.shared.served(), self.tools.now_ms());
        let offer = |tool: &str| {
            let reference: ToolReference = tool.parse().ok()?;
            let tool = served.registry.resolve(&reference, now_ms).ok()?;
            let rendered = openai_chat_tool(tool);
            let function = rendered.get("function")?;
            Some(Tool {
                name: tool.function_name(),
                description: function.get("description")?.as_str().map(str::to_owned),
                parameters: function.get("parameters")?.clone(),
                strict: None,
            })
        };
        self.row.tools.iter().filter_map(|offered| offer(&offered.tool)).collect()
    }

    fn call(&mut self, call: String, name: &str, arguments: Value) {
        let offered = self.row.tools.iter().find(|offered| offered.function == name);
        let tool = offered.and_then(|offered| offered.tool.parse::<ToolReference>().ok());
        let Some(tool) = tool else {
            let text = format!("there is no tool {name:?} in this run; call another one");
            let (of, is_error) = (Some(call.clone()), true);
            let ended = Event::CallEnded { call, text, is_error, microdollars: 0 };
            return self.works.begin(of, async { ended });
        };
        let making = RunCall {
            tools: self.tools.clone(),
            caller: self.row.caller.caller(),
            id: call.clone(),
            tool,
            arguments,
            session: self.row.session.clone(),
            route: ROUTE,
            trace_parent: self.trace_parent(),
        };
        self.works.begin(Some(call), making.make());
    }
}

/// Counts a round of the model in a session that is not the run's own.
///
/// # Errors
/// In words, when the session does not go on.
async fn count_iteration(tools: &ToolsHandle, team: &str, session: &str) -> Result<(), String> {
    loop {
        let act: Act<()> = Arc::new(|held, now_ms| held.session.iterate(now_ms));
        match tools.change_session(team, session, act).await {
            Ok(()) => return Ok(()),
            Err(ToolsError::Store(error)) => {
                tracing::debug!(session, %error, "a round of a model is counted later");
                tools.shared.runtime.pause(AGAIN_MS).await;
            }
            Err(refusal) => return Err(refusal.to_string()),
        }
    }
}
