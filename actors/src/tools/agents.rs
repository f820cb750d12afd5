//! Runs of agents: a model is asked, the tools that it wants are called, until it answers. A run is
//! a journal in the store; the node that holds its lease carries it on, and when that node dies
//! another one goes on where the journal ends.

mod begin;
mod calls;
mod events;
mod follower;
mod journal;
mod model;
mod offers;
mod runner;
#[cfg(test)]
pub(in crate::tools) mod tests;
mod works;

use std::sync::{Arc, PoisonError};

use headwater_storage::tuple::{self, Element};
use headwater_storage::{KeyRange, RangeRead, StoreError};
use headwater_tools::agent::{AgentSettings, Entry, Finish, Message, Replay};

pub use events::{RunEvent, RunEvents};
pub use follower::AgentFollower;
pub use offers::{OFFERED_MAX, TOOLS_MAX};

use super::handle::{Running, ToolsHandle};
use super::keys;
use super::nouns::{ToolCaller, ToolsError};
use super::records::{self, RunRow, finish_of};
use journal::RunKey;

/// As records of what a run asks and calls have it.
const ROUTE: &str = "/v1/agents/run";
/// Runs of one page.
const PAGE: usize = 200;
/// Of a run whose journal cannot be read.
const GIVEN_UP: &str = "what is stored of the run cannot be read; begin another one";

/// What somebody asks an agent to do.
#[derive(Debug, Clone, PartialEq)]
pub struct RunAsk {
    /// The caller's own id; one is drawn where it is absent. A run that is asked for again with the
    /// same id is the same run.
    pub id: Option<String>,
    pub model: String,
    pub messages: Vec<Message>,
    /// Tools that the model may call, as references; none for the caller's own choice of a few.
    pub tools: Option<Vec<String>>,
    /// One of the team's that goes on; the run has one of its own where it is absent.
    pub session: Option<String>,
    pub settings: AgentSettings,
    /// The header `traceparent` of the request.
    pub trace_parent: Option<String>,
}

/// How far a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunState {
    Running,
    WaitingForApproval,
    /// It ends as soon as its node has heard of it.
    Cancelling,
    Finished,
}

impl RunState {
    pub fn name(self) -> &'static str {
        match self {
            RunState::Running => "running",
            RunState::WaitingForApproval => "waiting_for_approval",
            RunState::Cancelling => "cancelling",
            RunState::Finished => "finished",
        }
    }
}

/// What is told of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct RunTold {
    pub id: String,
    pub model: String,
    pub session: String,
    pub state: RunState,
    /// Why it has ended.
    pub finish: Option<Finish>,
    /// The answer, or the reason why there is none; left out of lists.
    pub output: Option<String>,
    /// Answers of the model.
    pub steps: u64,
    /// What the model and the calls have cost.
    pub cost_microdollars: u64,
    /// Calls and the approvals that they wait for.
    pub approvals: Vec<(String, String)>,
    /// Functions that the model is offered.
    pub tools: Vec<String>,
    pub created_ms: u64,
    pub deadline_ms: u64,
    pub ended_ms: Option<u64>,
}

fn unknown(id: &str) -> ToolsError {
    ToolsError::Unknown { what: format!("run '{id}' of this team") }
}

fn told(id: &str, row: &RunRow, output: Option<String>) -> Result<RunTold, StoreError> {
    let finish = row.finish.as_deref().map(finish_of).transpose()?;
    let state = match (finish, &row.cancelled_by) {
        (Some(_), _) => RunState::Finished,
        (None, Some(_)) => RunState::Cancelling,
        (None, None) if row.waiting.is_empty() => RunState::Running,
        (None, None) => RunState::WaitingForApproval,
    };
    Ok(RunTold {
        id: id.to_owned(),
        model: row.model.clone(),
        session: row.session.clone(),
        state,
        finish,
        output,
        steps: row.steps,
        cost_microdollars: row.spent_microdollars,
        approvals: row.waiting.clone().into_iter().collect(),
        tools: row.tools.iter().map(|tool| tool.function.clone()).collect(),
        created_ms: row.created_ms,
        deadline_ms: row.deadline_ms,
        ended_ms: row.ended_ms,
    })
}

impl ToolsHandle {
    /// A place among the runs of this node; none when there is no room.
    fn room_for(&self, team: &str) -> Option<Running> {
        let settings = &self.shared.settings.agents;
        let mut runs = self.shared.runs.lock().unwrap_or_else(PoisonError::into_inner);
        let all = runs.values().sum::<usize>();
        let own = runs.get(team).copied().unwrap_or_default();
        if all >= settings.runs_max || own >= settings.team_runs_max {
            return None;
        }
        runs.insert(team.to_owned(), own + 1);
        Some(Running { shared: Arc::clone(&self.shared), team: team.to_owned() })
    }

    async fn run_row(&self, key: &RunKey) -> Result<RunRow, ToolsError> {
        let read = self.shared.retry.read(|transaction| {
            let row = key.row();
            Box::pin(async move { records::load::<RunRow>(transaction, &row).await })
        });
        read.await?.ok_or_else(|| unknown(&key.id))
    }

    /// A run of the caller's team.
    ///
    /// # Errors
    /// [`ToolsError::Unknown`], the store's.
    pub async fn agent_run(&self, caller: &ToolCaller, id: &str) -> Result<RunTold, ToolsError> {
        let key = RunKey::new(&caller.team, id);
        let row = self.run_row(&key).await?;
        let output = match &row.finish {
            None => None,
            Some(_) => Some(self.output(&key, &row).await?),
        };
        Ok(told(id, &row, output)?)
    }

    async fn output(&self, key: &RunKey, row: &RunRow) -> Result<String, StoreError> {
        let last = self.entries(key, row.entries.saturating_sub(1), row.entries).await;
        Ok(match last {
            Err(error) if error.is_retryable() => return Err(error),
            Ok(last) => match last.into_iter().next() {
                Some((_, Entry::Finished { text, .. })) => text,
                _ => GIVEN_UP.to_owned(),
            },
            Err(_) => GIVEN_UP.to_owned(),
        })
    }

    /// All messages of a run so far.
    ///
    /// # Errors
    /// [`ToolsError::Unknown`], the store's.
    pub async fn run_messages(
        &self,
        caller: &ToolCaller,
        id: &str,
    ) -> Result<Vec<Message>, ToolsError> {
        let key = RunKey::new(&caller.team, id);
        let row = self.run_row(&key).await?;
        let mut replay = Replay::default();
        for (_, entry) in self.entries(&key, 0, row.entries).await? {
            replay.take(&entry).map_err(|error| records::corrupt(&error))?;
        }
        Ok(replay.agent().map(|agent| agent.messages().to_vec()).unwrap_or_default())
    }

    /// A team's runs behind an id, at most 200.
    ///
    /// # Errors
    /// The store's.
    pub async fn agent_runs(
        &self,
        caller: &ToolCaller,
        after: Option<&str>,
    ) -> Result<Vec<RunTold>, ToolsError> {
        let mut range = keys::runs(&caller.team);
        if let Some(after) = after {
            range.begin = KeyRange::of_key(&keys::run(&caller.team, after)).end;
        }
        let read = self.shared.retry.read(|transaction| {
            let read = RangeRead::all(range.clone()).limit(PAGE);
            Box::pin(async move { transaction.range(read).await })
        });
        let run = |(key, row): (Vec<u8>, Vec<u8>)| {
            let Some(Element::Text(id)) = tuple::unpack(&key)?.pop() else {
                return Err(records::corrupt(&"its key names no run"));
            };
            told(&id, &records::decode(&row)?, None)
        };
        let runs: Result<Vec<_>, StoreError> = read.await?.into_iter().map(run).collect();
        Ok(runs?)
    }

    /// Has a run end. What its calls have begun to change goes on to its end.
    ///
    /// # Errors
    /// [`ToolsError::Unknown`], [`ToolsError::Conflict`] when it has ended, the store's.
    pub async fn cancel_run(&self, caller: &ToolCaller, id: &str) -> Result<RunTold, ToolsError> {
        let (key, by) = (RunKey::new(&caller.team, id), caller.subject.clone());
        let written = self.shared.write_once(|transaction| {
            let (key, by) = (key.clone(), by.clone());
            Box::pin(async move {
                let Some(mut row) = records::load::<RunRow>(transaction, &key.row()).await? else {
                    return Ok(Err(unknown(&key.id)));
                };
                if let Some(finish) = &row.finish {
                    let why = format!("the run has ended already: {finish}");
                    return Ok(Err(ToolsError::Conflict(why)));
                }
                row.cancelled_by.get_or_insert(by);
                transaction.set(&key.row(), &records::encode(&row)?)?;
                Ok(told(&key.id, &row, None).map_err(ToolsError::Store))
            })
        });
        written.await?
    }
}
