//! Taking over the runs that nobody runs: every node looks for them, and each is one node's at a time.

use headwater_storage::StoreError;
use headwater_tools::agent::{Agent, Effect, Entry};

use super::journal::{Hold, RunKey};
use super::runner::Runner;
use crate::identity::IdentityHandle;
use crate::tools::handle::{Ended, Running, TeamRow, ToolsHandle};
use crate::tools::keys;
use crate::tools::records::{self, LeaseRow, RunRow};

/// How often a node looks, in ms.
const LOOK_MS: u64 = 1_000;
/// Rows that one transaction reads.
const LOOK_ROWS: usize = 200;
/// Runs that have ended stay for so long, in ms.
const KEPT_MS: u64 = 7 * 24 * 3_600_000;

/// Runs what nobody runs, for as long as the node lives; cheap to clone.
#[derive(Clone)]
pub struct AgentFollower {
    tools: ToolsHandle,
}

impl AgentFollower {
    pub fn new(tools: ToolsHandle) -> AgentFollower {
        AgentFollower { tools }
    }

    /// Looks for runs that nobody runs, until the node ends.
    pub async fn run(self) {
        let runtime = self.tools.shared.runtime.clone();
        loop {
            if let Err(error) = self.look().await {
                tracing::debug!(%error, "runs of agents were not looked for");
            }
            if let Err(error) = self.forget().await {
                tracing::debug!(%error, "old runs of agents are forgotten later");
            }
            runtime.pause(LOOK_MS).await;
        }
    }

    /// Takes what nobody holds any more.
    async fn look(&self) -> Result<(), StoreError> {
        let shared = &self.tools.shared;
        // A run that is taken over offers its model the tools that are served, and ends with its key.
        let vouches = shared.identity.get().is_none_or(IdentityHandle::vouches);
        if !shared.is_known() || !vouches {
            return Ok(());
        }
        let mut range = keys::run_leases();
        while let Some(rows) = shared.next_rows(&mut range, LOOK_ROWS).await? {
            let now_ms = shared.runtime.wall_ms();
            for TeamRow { team, id, row } in rows {
                let lease: LeaseRow = records::decode(&row)?;
                if lease.until_ms <= now_ms {
                    self.take(RunKey::new(&team, &id)).await?;
                }
            }
        }
        Ok(())
    }

    async fn take(&self, key: RunKey) -> Result<(), StoreError> {
        // Where there is no room the next node takes it, or this one later.
        let Some(running) = self.tools.room_for(&key.team) else { return Ok(()) };
        let Some((hold, row)) = self.tools.take_run(&key).await? else { return Ok(()) };
        let journal = self.tools.entries(&key, 0, row.entries).await;
        let entries = match journal {
            Ok(entries) => entries,
            Err(error) if error.is_retryable() => return Err(error),
            Err(error) => return self.give_up(&hold, &error).await,
        };
        let journal: Vec<Entry> = entries.into_iter().map(|(_, entry)| entry).collect();
        match Agent::recover(&journal, self.tools.now_ms()) {
            Ok((agent, effects)) => {
                tracing::info!(run = key.id, step = agent.step(), "takes over a run of an agent");
                self.begin(hold, row, agent, running, effects);
                Ok(())
            }
            Err(problem) => self.give_up(&hold, &problem).await,
        }
    }

    fn begin(&self, hold: Hold, row: RunRow, agent: Agent, running: Running, effects: Vec<Effect>) {
        let runner = Runner::new(self.tools.clone(), hold, row, agent, running);
        self.tools.shared.runtime.spawn(runner.run(effects));
    }

    async fn give_up(
        &self,
        hold: &Hold,
        why: &(dyn std::fmt::Display + Sync),
    ) -> Result<(), StoreError> {
        tracing::error!(run = hold.key.id, %why, "a run of an agent cannot go on");
        self.tools.give_up_run(hold).await
    }

    /// Forgets runs that ended long ago.
    pub(super) async fn forget(&self) -> Result<(), StoreError> {
        let shared = &self.tools.shared;
        let before_ms = shared.runtime.wall_ms().saturating_sub(KEPT_MS);
        for Ended { ended_ms, team, id } in shared.ended(keys::ended_runs(before_ms)).await? {
            self.tools.forget_run(ended_ms, &RunKey::new(&team, &id)).await?;
        }
        Ok(())
    }
}
