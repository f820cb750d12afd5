//! Asynchronous calls: each is a row, and the same path as any call's under the same id. A node that
//! dies leaves its rows to another one, which makes the call again by its id: what was done once is
//! not done twice.

mod runner;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use headwater_storage::{StoreError, Transaction};
use headwater_tools::call::{CallResult, Mode, Refusal};
use serde::{Deserialize, Serialize};

pub use runner::CallRunner;

use super::handle::ToolsHandle;
use super::keys;
use super::nouns::{ToolAsk, ToolCaller, ToolsError};
use super::records;

/// Ended calls stay for so long, in ms.
const KEPT_MS: u64 = 24 * 3_600_000;

/// Where an asynchronous call is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WaitingState {
    Queued,
    WaitingForApproval,
    Running,
    Done,
    Failed,
    Cancelled,
}

impl WaitingState {
    pub fn name(self) -> &'static str {
        match self {
            WaitingState::Queued => "queued",
            WaitingState::WaitingForApproval => "waiting_for_approval",
            WaitingState::Running => "running",
            WaitingState::Done => "done",
            WaitingState::Failed => "failed",
            WaitingState::Cancelled => "cancelled",
        }
    }

    pub fn is_end(self) -> bool {
        matches!(self, WaitingState::Done | WaitingState::Failed | WaitingState::Cancelled)
    }
}

/// What is told of an asynchronous call.
#[derive(Debug, Clone, PartialEq)]
pub struct WaitingTold {
    pub id: String,
    pub tool: String,
    pub state: WaitingState,
    pub created_ms: u64,
    pub ended_ms: Option<u64>,
    /// Waits for this one.
    pub approval: Option<String>,
    pub result: Option<CallResult>,
    /// Its code, its text and its status.
    pub error: Option<(String, String, u16)>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct WaitingRow {
    tool: String,
    state: WaitingState,
    project: Option<String>,
    user: Option<String>,
    agent: Option<String>,
    key_id: Option<String>,
    subject: String,
    is_operator: bool,
    session: Option<String>,
    is_dry_run: bool,
    timeout_ms: Option<u64>,
    tells: bool,
    created_ms: u64,
    /// Nobody begins it after this.
    expires_ms: u64,
    ended_ms: Option<u64>,
    /// The process that makes it, and until when it is believed to.
    taken: Option<(String, u64)>,
    approval: Option<String>,
    result: Option<ResultRow>,
    error: Option<(String, String, u16)>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct ResultRow {
    is_error: bool,
    is_cached: bool,
    is_fallback: bool,
    duration_ms: u64,
    cost_microdollars: u64,
    deprecation: Option<String>,
}

impl ToolsHandle {
    /// Writes a call down that is made soon, here or elsewhere; its id is for asking after it.
    ///
    /// # Errors
    /// [`ToolsError::Refused`] for what would be refused at once, the store's.
    pub async fn begin_call(
        &self,
        caller: &ToolCaller,
        ask: ToolAsk,
    ) -> Result<WaitingTold, ToolsError> {
        let ask = ToolAsk {
            mode: Mode::Async,
            id: Some(ask.id.unwrap_or_else(|| self.shared.draw_id("call"))),
            ..ask
        };
        let ready = self.ready(caller, &ask)?;
        let id = ready.call.id.clone();
        let row = WaitingRow {
            // The version of now, whatever is published before it runs.
            tool: ready.version.clone(),
            state: WaitingState::Queued,
            project: caller.project.clone(),
            user: caller.user.clone(),
            agent: caller.agent.clone(),
            key_id: caller.key_id.clone(),
            subject: caller.subject.clone(),
            is_operator: caller.is_operator,
            session: ask.session.clone(),
            is_dry_run: ask.is_dry_run,
            timeout_ms: ask.timeout_ms,
            tells: ask.tells,
            created_ms: ready.call.created_ms,
            expires_ms: ready.call.created_ms.saturating_add(KEPT_MS),
            ended_ms: None,
            taken: None,
            approval: None,
            result: None,
            error: None,
        };
        let arguments = ask.arguments.to_string();
        let team = caller.team.clone();
        let same = (ready.version.clone(), arguments.clone());
        let written = self.shared.write_once(|transaction| {
            let (team, id, row) = (team.clone(), id.clone(), row.clone());
            let (arguments, same) = (arguments.clone(), same.clone());
            Box::pin(async move {
                let texts = keys::waiting_texts(&team, &id, "async_arguments");
                let key = keys::waiting(&team, &id).row();
                if let Some(held) = records::load::<WaitingRow>(transaction, &key).await? {
                    let text = records::load_text(transaction, &texts).await?;
                    if (held.tool.as_str(), text.as_slice()) != (&same.0, same.1.as_bytes()) {
                        let what = "another tool or other arguments";
                        return Ok(Err(Refusal::IdConflict { id, what }));
                    }
                    return told(transaction, &team, &id, held).await.map(Ok);
                }
                records::store_text(transaction, &texts, arguments.as_bytes())?;
                write(transaction, &team, &id, &row)?;
                told(transaction, &team, &id, row).await.map(Ok)
            })
        });
        Ok(written.await??)
    }

    /// An asynchronous call of the caller's team.
    ///
    /// # Errors
    /// [`ToolsError::Unknown`], the store's.
    pub async fn waiting_call(
        &self,
        caller: &ToolCaller,
        id: &str,
    ) -> Result<WaitingTold, ToolsError> {
        let (team, id) = (caller.team.clone(), id.to_owned());
        let read = self.shared.retry.read(|transaction| {
            let (team, id) = (team.clone(), id.clone());
            Box::pin(async move {
                let key = keys::waiting(&team, &id).row();
                match records::load(transaction, &key).await? {
                    Some(row) => told(transaction, &team, &id, row).await.map(Some),
                    None => Ok(None),
                }
            })
        });
        let what = || format!("asynchronous call '{id}' of this team");
        read.await?.ok_or_else(|| ToolsError::Unknown { what: what() })
    }

    /// Cancels a call that has not ended. What has begun to change something goes on to its end:
    /// whether its tool has done it, the row of the call's id tells.
    ///
    /// # Errors
    /// [`ToolsError::Unknown`], [`ToolsError::Conflict`] when it has ended, the store's.
    pub async fn cancel_call(
        &self,
        caller: &ToolCaller,
        id: &str,
    ) -> Result<WaitingTold, ToolsError> {
        let now_ms = self.shared.runtime.wall_ms();
        let error = Refusal::Cancelled { by: caller.subject.clone() };
        let error = (error.code().to_owned(), error.to_string(), error.class().status());
        self.change(&caller.team, id, move |row| {
            if row.state.is_end() {
                let state = row.state.name();
                return Err(ToolsError::Conflict(format!("the call is {state} already")));
            }
            row.state = WaitingState::Cancelled;
            row.ended_ms = Some(now_ms);
            row.error = Some(error.clone());
            Ok(())
        })
        .await?;
        self.waiting_call(caller, id).await
    }

    async fn change<T: Send + 'static>(
        &self,
        team: &str,
        id: &str,
        act: impl Fn(&mut WaitingRow) -> Result<T, ToolsError> + Send + Sync + 'static,
    ) -> Result<T, ToolsError> {
        let (team, id, act) = (team.to_owned(), id.to_owned(), Arc::new(act));
        let written = self.shared.write_once(|transaction| {
            let (team, id, act) = (team.clone(), id.clone(), Arc::clone(&act));
            Box::pin(async move {
                let key = keys::waiting(&team, &id).row();
                let Some(mut row) = records::load::<WaitingRow>(transaction, &key).await? else {
                    let what = format!("asynchronous call '{id}' of this team");
                    return Ok(Err(ToolsError::Unknown { what }));
                };
                let done = act(&mut row);
                if done.is_ok() {
                    write(transaction, &team, &id, &row)?;
                }
                Ok(done)
            })
        });
        written.await?
    }
}

/// Writes a call's row, and where whoever looks for calls to make, or to forget, finds it.
fn write(
    transaction: &mut dyn Transaction,
    team: &str,
    id: &str,
    row: &WaitingRow,
) -> Result<(), StoreError> {
    transaction.set(&keys::waiting(team, id).row(), &records::encode(row)?)?;
    let open = keys::open_call(team, id);
    match row.ended_ms {
        None => {
            let until_ms = row.taken.as_ref().map_or(0, |(_, until_ms)| *until_ms);
            transaction.set(&open, &records::encode(&until_ms)?)
        }
        Some(ended_ms) => {
            transaction.clear(&open)?;
            transaction.set(&keys::ended_call(ended_ms, team, id), &[])
        }
    }
}

async fn told(
    transaction: &mut dyn Transaction,
    team: &str,
    id: &str,
    row: WaitingRow,
) -> Result<WaitingTold, StoreError> {
    let result = match row.result {
        None => None,
        Some(result) => {
            let place = keys::waiting_texts(team, id, "async_answer");
            let text = records::load_text(transaction, &place).await?;
            let content =
                serde_json::from_slice(&text).map_err(|error| records::corrupt(&error))?;
            Some(CallResult {
                content,
                is_error: result.is_error,
                is_cached: result.is_cached,
                is_fallback: result.is_fallback,
                is_dry_run: row.is_dry_run,
                duration_ms: result.duration_ms,
                cost_microdollars: result.cost_microdollars,
                deprecation: result.deprecation,
            })
        }
    };
    Ok(WaitingTold {
        id: id.to_owned(),
        tool: row.tool,
        state: row.state,
        created_ms: row.created_ms,
        ended_ms: row.ended_ms,
        approval: row.approval,
        result,
        error: row.error,
    })
}
