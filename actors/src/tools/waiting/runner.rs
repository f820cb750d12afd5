//! Whoever makes the calls that wait: every node, each call by one of them at a time.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use headwater_storage::{StoreError, Transaction};
use headwater_tools::ToolReference;
use headwater_tools::call::{Ending, Mode, Refusal};
use serde_json::{Value, json};

use super::super::handle::{Ended, TeamRow, ToolsHandle};
use super::super::nouns::{ToolAsk, ToolCaller};
use super::super::{keys, records};
use super::{KEPT_MS, ResultRow, WaitingRow, WaitingState, write};
use crate::tenancy::{EventTold, PendingNotice, pending_key};

/// How often a node looks for calls that nobody makes, in ms.
const LOOK_MS: u64 = 1_000;
/// For how long a node that has taken a call is believed to make it, in ms.
const TAKEN_MS: u64 = 15_000;
/// Rows that one look reads.
const LOOK_ROWS: usize = 200;
/// A call that waits for an approval is tried again after so long, in ms.
const ASK_AGAIN_MS: u64 = 2_000;
const ROUTE: &str = "/v1/tool-calls";

/// Makes calls that wait, for as long as the node lives; cheap to clone.
#[derive(Clone)]
pub struct CallRunner {
    tools: ToolsHandle,
    /// Calls that this process has under way.
    running: Arc<Mutex<BTreeSet<(String, String)>>>,
}

impl CallRunner {
    pub fn new(tools: ToolsHandle) -> CallRunner {
        CallRunner { tools, running: Arc::default() }
    }

    /// Makes calls that nobody makes, until the node ends.
    pub async fn run(self) {
        let runtime = self.tools.shared.runtime.clone();
        loop {
            if let Err(error) = self.look().await {
                tracing::debug!(%error, "asynchronous calls were not looked for");
            }
            if let Err(error) = self.forget().await {
                tracing::debug!(%error, "old asynchronous calls are forgotten later");
            }
            runtime.pause(LOOK_MS).await;
        }
    }

    /// Takes what waits.
    pub(super) async fn look(&self) -> Result<(), StoreError> {
        let shared = &self.tools.shared;
        let mut range = keys::open_calls();
        while let Some(rows) = shared.next_rows(&mut range, LOOK_ROWS).await? {
            let now_ms = shared.runtime.wall_ms();
            for TeamRow { team, id, row } in rows {
                let until_ms: u64 = records::decode(&row)?;
                if until_ms <= now_ms {
                    self.take(&team, &id).await;
                }
            }
        }
        Ok(())
    }

    /// Forgets calls that ended long ago.
    pub(super) async fn forget(&self) -> Result<(), StoreError> {
        let shared = &self.tools.shared;
        let before_ms = shared.runtime.wall_ms().saturating_sub(KEPT_MS);
        for Ended { ended_ms, team, id } in shared.ended(keys::ended_calls(before_ms)).await? {
            let forgotten = shared.retry.write_idempotent(|transaction| {
                let (team, id) = (team.clone(), id.clone());
                Box::pin(async move {
                    transaction.clear(&keys::ended_call(ended_ms, &team, &id))?;
                    transaction.clear(&keys::waiting(&team, &id).row())?;
                    for kind in ["async_arguments", "async_answer"] {
                        transaction.clear_range(&keys::waiting_texts(&team, &id, kind).pieces())?;
                    }
                    Ok(())
                })
            });
            forgotten.await?;
        }
        Ok(())
    }

    fn running(&self) -> std::sync::MutexGuard<'_, BTreeSet<(String, String)>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn take(&self, team: &str, id: &str) {
        let own = (team.to_owned(), id.to_owned());
        if !self.running().insert(own.clone()) {
            return;
        }
        let shared = &self.tools.shared;
        let (holder, now_ms) = (shared.holder.clone(), shared.runtime.wall_ms());
        let taken = self.tools.change(team, id, move |row| {
            let is_taken = row.taken.as_ref().is_some_and(|(_, until_ms)| now_ms < *until_ms);
            if row.state.is_end() || is_taken {
                return Ok(None);
            }
            row.taken = Some((holder.clone(), now_ms + TAKEN_MS));
            row.state = WaitingState::Running;
            Ok(Some(row.clone()))
        });
        let runner = self.clone();
        match taken.await {
            Ok(Some(row)) => shared.runtime.spawn(async move {
                runner.make(&own.0, &own.1, row).await;
                runner.running().remove(&own);
            }),
            _ => {
                self.running().remove(&own);
            }
        }
    }

    /// Makes the call, and writes down what came of it, unless it was cancelled.
    async fn make(&self, team: &str, id: &str, row: WaitingRow) {
        let shared = &self.tools.shared;
        let called = {
            let mut making = std::pin::pin!(self.call(team, id, &row));
            loop {
                if let Some(called) = shared.runtime.within(TAKEN_MS / 3, &mut making).await {
                    break called;
                }
                let (holder, now_ms) = (shared.holder.clone(), shared.runtime.wall_ms());
                let held = self.tools.change(team, id, move |row| {
                    if let Some((by, until_ms)) = &mut row.taken
                        && *by == holder
                    {
                        *until_ms = now_ms + TAKEN_MS;
                    }
                    Ok(row.state)
                });
                if held.await.is_ok_and(WaitingState::is_end) {
                    // Cancelled: to stop asking is to cancel what runs.
                    return;
                }
            }
        };
        let ending = match called {
            Ok(ending) => ending,
            Err(error) => {
                tracing::warn!(call = id, %error, "an asynchronous call is made again later");
                return;
            }
        };
        if let Err(error) = self.end(team, id, ending).await {
            tracing::warn!(call = id, %error, "an asynchronous call's end is found out again later");
        }
    }

    async fn call(&self, team: &str, id: &str, row: &WaitingRow) -> Result<Ending, StoreError> {
        let shared = &self.tools.shared;
        let read = shared.retry.read(|transaction| {
            let place = keys::waiting_texts(team, id, "async_arguments");
            Box::pin(async move { records::load_text(transaction, &place).await })
        });
        let arguments: Value =
            serde_json::from_slice(&read.await?).map_err(|error| records::corrupt(&error))?;
        let tool: ToolReference = row.tool.parse().map_err(|error| records::corrupt(&error))?;
        let caller = ToolCaller {
            team: team.to_owned(),
            project: row.project.clone(),
            user: row.user.clone(),
            agent: row.agent.clone(),
            key_id: row.key_id.clone(),
            subject: row.subject.clone(),
            is_operator: row.is_operator,
        };
        let ask = ToolAsk {
            id: Some(id.to_owned()),
            tool,
            arguments,
            session: row.session.clone(),
            mode: Mode::Async,
            is_dry_run: row.is_dry_run,
            timeout_ms: row.timeout_ms,
            tells: false,
            request: format!("{:032x}", shared.runtime.draw()),
            route: ROUTE,
            trace_parent: None,
        };
        Ok(self.tools.call(caller, ask).await.ending)
    }

    async fn end(&self, team: &str, id: &str, ending: Ending) -> Result<(), StoreError> {
        let shared = &self.tools.shared;
        let now_ms = shared.runtime.wall_ms();
        let tells = shared.settings.tells;
        let written = shared.write_once(|transaction| {
            let (team, id, ending) = (team.to_owned(), id.to_owned(), ending.clone());
            Box::pin(async move { end(transaction, &team, &id, ending, (now_ms, tells)).await })
        });
        written.await
    }
}

async fn end(
    transaction: &mut dyn Transaction,
    team: &str,
    id: &str,
    ending: Ending,
    (now_ms, tells): (u64, bool),
) -> Result<(), StoreError> {
    let key = keys::waiting(team, id).row();
    let Some(mut row) = records::load::<WaitingRow>(transaction, &key).await? else {
        return Ok(());
    };
    if row.state.is_end() {
        return Ok(());
    }
    match ending {
        Ok(result) => {
            let place = keys::waiting_texts(team, id, "async_answer");
            records::store_text(transaction, &place, result.content.to_string().as_bytes())?;
            row.state = WaitingState::Done;
            row.result = Some(ResultRow {
                is_error: result.is_error,
                is_cached: result.is_cached,
                is_fallback: result.is_fallback,
                duration_ms: result.duration_ms,
                cost_microdollars: result.cost_microdollars,
                deprecation: result.deprecation,
            });
        }
        Err(Refusal::ApprovalNeeded { approval, expires_ms, .. }) if now_ms < expires_ms => {
            row.state = WaitingState::WaitingForApproval;
            row.approval = Some(approval);
            row.taken = Some((String::new(), now_ms + ASK_AGAIN_MS));
        }
        // Another process makes it, or it may be tried again: the row stays open.
        Err(refusal) if refusal.retry_after_ms().is_some() && now_ms < row.expires_ms => {
            let pause_ms = refusal.retry_after_ms().unwrap_or(ASK_AGAIN_MS);
            row.state = WaitingState::Queued;
            row.taken = Some((String::new(), now_ms + pause_ms.clamp(100, TAKEN_MS)));
        }
        Err(refusal) => {
            row.state = WaitingState::Failed;
            let status = refusal.class().status();
            row.error = Some((refusal.code().to_owned(), refusal.to_string(), status));
        }
    }
    if row.state.is_end() {
        row.ended_ms = Some(now_ms);
        if tells && row.tells {
            let notice = notice(team, id, &row, now_ms);
            transaction.set(&pending_key(&notice.id), &notice.encode()?)?;
        }
    }
    write(transaction, team, id, &row)
}

/// What webhooks are told: that it has ended, and how; the answer is fetched.
fn notice(team: &str, id: &str, row: &WaitingRow, now_ms: u64) -> PendingNotice {
    let state = row.state.name();
    let kind = format!("tool_call.{state}");
    let text = format!("the call {id} of {} is {state}", row.tool);
    let error = row.error.as_ref().map(|(code, ..)| code);
    let fields = json!({"call": id, "tool": row.tool, "state": state, "error": error});
    let told = EventTold { kind, text, fields: fields.to_string() };
    PendingNotice::of_event(team, told, &keys::waiting(team, id).row(), now_ms)
}
