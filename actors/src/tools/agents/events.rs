//! What is told of a run: its journal from the beginning, then as it grows. Any node tells it.

use std::collections::VecDeque;

use headwater_storage::StoreError;
use headwater_tools::agent::{Agent, Finish, Notice, Replay};

use super::journal::RunKey;
use super::{GIVEN_UP, RunTold, unknown};
use crate::tools::handle::ToolsHandle;
use crate::tools::nouns::{ToolCaller, ToolsError};
use crate::tools::records::{self, RunRow};
use crate::watched;

/// Entries that are read at once.
const ENTRIES: u64 = 200;
/// The pause after a read that failed, in ms.
const AGAIN_MS: u64 = 500;
/// Reads that may fail one after the other.
const FAILURES: u32 = 60;

/// One event of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunEvent {
    /// The journal's entry that it is told of.
    pub index: u64,
    /// The next one is of another entry: whoever asks for what comes after this one misses none.
    pub is_last: bool,
    pub notice: Notice,
    /// Answers of the model so far, and what they and the calls have cost.
    pub steps: u64,
    pub cost_microdollars: u64,
}

/// The events of one run, as they come. Dropped, it leaves the run alone.
pub struct RunEvents {
    tools: ToolsHandle,
    key: RunKey,
    after: Option<u64>,
    replay: Replay,
    /// The entry that is read next.
    next: u64,
    told: VecDeque<RunEvent>,
    is_over: bool,
    failures: u32,
}

impl ToolsHandle {
    /// The events of a run of the caller's team, of the entries after this one.
    ///
    /// # Errors
    /// [`ToolsError::Unknown`], the store's.
    pub async fn run_events(
        &self,
        caller: &ToolCaller,
        id: &str,
        after: Option<u64>,
    ) -> Result<RunEvents, ToolsError> {
        self.agent_run(caller, id).await?;
        Ok(RunEvents {
            tools: self.clone(),
            key: RunKey::new(&caller.team, id),
            after,
            replay: Replay::default(),
            next: 0,
            told: VecDeque::new(),
            is_over: false,
            failures: 0,
        })
    }

    /// A run once it has ended, or as it is after so long.
    ///
    /// # Errors
    /// [`ToolsError::Unknown`], the store's.
    pub async fn ended_run(
        &self,
        caller: &ToolCaller,
        id: &str,
        within_ms: u64,
    ) -> Result<RunTold, ToolsError> {
        let (runtime, key) = (&self.shared.runtime, RunKey::new(&caller.team, id));
        let until_ms = runtime.now_ms().saturating_add(within_ms);
        loop {
            let left_ms = until_ms.saturating_sub(runtime.now_ms());
            if left_ms == 0 {
                return self.agent_run(caller, id).await;
            }
            match watched::read(&self.shared.retry, &key.row()).await {
                Ok((Some(row), watch)) => {
                    let row: RunRow = records::decode(&row)?;
                    if row.finish.is_some() {
                        return self.agent_run(caller, id).await;
                    }
                    runtime.within(left_ms, watched::change(runtime, watch)).await;
                }
                Ok((None, _)) => return Err(unknown(id)),
                Err(error) => {
                    tracing::debug!(run = id, %error, "a run is looked at again");
                    runtime.pause(AGAIN_MS.min(left_ms)).await;
                }
            }
        }
    }
}

impl RunEvents {
    /// The next event; none after the last one. To stop waiting for it loses nothing.
    pub async fn next(&mut self) -> Option<Result<RunEvent, ToolsError>> {
        loop {
            if let Some(event) = self.told.pop_front() {
                return Some(Ok(event));
            }
            if self.is_over {
                return None;
            }
            if let Err(error) = self.read_on().await {
                self.is_over = true;
                return Some(Err(error));
            }
        }
    }

    /// Reads what is new, or waits until something is.
    async fn read_on(&mut self) -> Result<(), ToolsError> {
        let shared = &self.tools.shared;
        let (row, watch) = match watched::read(&shared.retry, &self.key.row()).await {
            Ok(read) => read,
            Err(error) => return self.failed(error).await,
        };
        let Some(row) = row else { return Err(unknown(&self.key.id)) };
        let row: RunRow = records::decode(&row)?;
        if self.next >= row.entries {
            match row.finish.is_some() {
                true => self.end(&row),
                false => watched::change(&shared.runtime, watch).await,
            }
            return Ok(());
        }
        let until = row.entries.min(self.next + ENTRIES);
        let entries = match self.tools.entries(&self.key, self.next, until).await {
            Ok(entries) => entries,
            Err(error) => return self.failed(error).await,
        };
        if entries.is_empty() {
            return Err(records::corrupt(&"an entry of a run is missing").into());
        }
        self.failures = 0;
        for (index, entry) in entries {
            let notices = self.replay.take(&entry).map_err(|error| records::corrupt(&error))?;
            self.next = index + 1;
            if self.after.is_some_and(|after| index <= after) {
                continue;
            }
            let agent = self.replay.agent();
            let steps = agent.map_or(0, Agent::step);
            let cost_microdollars = agent.map_or(0, Agent::spent_microdollars);
            let last = notices.len().saturating_sub(1);
            let told = notices.into_iter().enumerate().map(|(place, notice)| RunEvent {
                index,
                is_last: place == last,
                notice,
                steps,
                cost_microdollars,
            });
            self.told.extend(told);
        }
        Ok(())
    }

    /// There is no more to come. The end of a run that was given up stands in no journal.
    fn end(&mut self, row: &RunRow) {
        self.is_over = true;
        if self.replay.agent().is_none_or(|agent| agent.finished().is_none()) {
            self.told.push_back(RunEvent {
                index: row.entries,
                is_last: true,
                notice: Notice::Finished { reason: Finish::Error, text: GIVEN_UP.to_owned() },
                steps: row.steps,
                cost_microdollars: row.spent_microdollars,
            });
        }
    }

    async fn failed(&mut self, error: StoreError) -> Result<(), ToolsError> {
        self.failures += 1;
        if !error.is_retryable() || self.failures > FAILURES {
            return Err(error.into());
        }
        self.tools.shared.runtime.pause(AGAIN_MS).await;
        Ok(())
    }
}
