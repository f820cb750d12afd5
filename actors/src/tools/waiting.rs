//! Asynchronous calls: each is a row, and the same path as any call's under the same id. A node that
//! dies leaves its rows to another one, which makes the call again by its id: what was done once is
//! not done twice.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use headwater_storage::retry::Applied;
use headwater_storage::tuple::{self, Element};
use headwater_storage::{KeyRange, RangeRead, StoreError, Transaction};
use headwater_tools::ToolReference;
use headwater_tools::call::{CallResult, Ending, Mode, Refusal};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::handle::ToolsHandle;
use super::keys;
use super::nouns::{ToolAsk, ToolCaller, ToolsError};
use super::records;
use crate::tenancy::{EventTold, PendingNotice, pending_key};

/// How often a node looks for calls that nobody makes, in ms.
const LOOK_MS: u64 = 1_000;
/// For how long a node that has taken a call is believed to make it, in ms.
const TAKEN_MS: u64 = 15_000;
/// Rows that one look reads.
const LOOK_ROWS: usize = 200;
/// Ended calls stay for so long, in ms.
const KEPT_MS: u64 = 24 * 3_600_000;
/// A call that waits for an approval is tried again after so long, in ms.
const ASK_AGAIN_MS: u64 = 2_000;
const ROUTE: &str = "/v1/tool-calls";

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

/// Makes calls that wait, for as long as the node lives; cheap to clone.
#[derive(Clone)]
pub struct CallRunner {
    tools: ToolsHandle,
    /// Calls that this process has under way.
    running: Arc<Mutex<BTreeSet<(String, String)>>>,
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
        let (operation, team) = (self.shared.operation(), caller.team.clone());
        let same = (ready.version.clone(), arguments.clone());
        let written = self.shared.retry.write(operation, |transaction| {
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
                transaction.set(&key, &records::encode(&row)?)?;
                told(transaction, &team, &id, row).await.map(Ok)
            })
        });
        match written.await? {
            Applied::Now(done) => Ok(done?),
            Applied::Earlier => Err(StoreError::CommitUnknown.into()),
        }
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

    /// Cancels a call that has not ended. What runs is stopped soon; whether its tool has done it
    /// already the call's own row tells.
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
        let operation = self.shared.operation();
        let (team, id, act) = (team.to_owned(), id.to_owned(), Arc::new(act));
        let written = self.shared.retry.write(operation, |transaction| {
            let (team, id, act) = (team.clone(), id.clone(), Arc::clone(&act));
            Box::pin(async move {
                let key = keys::waiting(&team, &id).row();
                let Some(mut row) = records::load::<WaitingRow>(transaction, &key).await? else {
                    let what = format!("asynchronous call '{id}' of this team");
                    return Ok(Err(ToolsError::Unknown { what }));
                };
                let done = act(&mut row);
                if done.is_ok() {
                    transaction.set(&key, &records::encode(&row)?)?;
                }
                Ok(done)
            })
        });
        match written.await? {
            Applied::Now(done) => done,
            Applied::Earlier => Err(StoreError::CommitUnknown.into()),
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
            runtime.pause(LOOK_MS).await;
        }
    }

    /// Takes what waits.
    async fn look(&self) -> Result<(), StoreError> {
        let shared = &self.tools.shared;
        let mut range = keys::all_waiting();
        loop {
            let read = shared.retry.read(|transaction| {
                let read = RangeRead::all(range.clone()).limit(LOOK_ROWS).snapshot();
                Box::pin(async move { transaction.range(read).await })
            });
            let page = read.await?;
            let Some((last, _)) = page.last() else { return Ok(()) };
            range.begin = KeyRange::of_key(last).end;
            let now_ms = shared.runtime.wall_ms();
            for (key, row) in &page {
                let elements = tuple::unpack(key)?;
                let [.., Element::Text(team), Element::Text(id)] = elements.as_slice() else {
                    continue;
                };
                let row: WaitingRow = records::decode(row)?;
                let is_old = row.ended_ms.is_some_and(|ended| now_ms >= ended + KEPT_MS);
                let is_taken = row.taken.as_ref().is_some_and(|(_, until_ms)| now_ms < *until_ms);
                if is_old {
                    self.forget(team, id).await?;
                } else if !row.state.is_end() && !is_taken {
                    self.take(team, id).await;
                }
            }
        }
    }

    async fn forget(&self, team: &str, id: &str) -> Result<(), StoreError> {
        let forgotten = self.tools.shared.retry.write_idempotent(|transaction| {
            let (team, id) = (team.to_owned(), id.to_owned());
            Box::pin(async move {
                transaction.clear(&keys::waiting(&team, &id).row())?;
                for kind in ["async_arguments", "async_answer"] {
                    transaction.clear_range(&keys::waiting_texts(&team, &id, kind).pieces())?;
                }
                Ok(())
            })
        });
        forgotten.await
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
        let (operation, now_ms) = (shared.operation(), shared.runtime.wall_ms());
        let tells = shared.settings.tells;
        let written = shared.retry.write(operation, |transaction| {
            let (team, id, ending) = (team.to_owned(), id.to_owned(), ending.clone());
            Box::pin(async move { end(transaction, &team, &id, ending, (now_ms, tells)).await })
        });
        written.await.map(|_| ())
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
    transaction.set(&key, &records::encode(&row)?)
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
