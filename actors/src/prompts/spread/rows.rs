//! What is written down of a run that several nodes ask.

use std::sync::Arc;

use headwater_prompts::spread::Spread;
use headwater_storage::retry::Applied;
use headwater_storage::{KeyRange, RangeRead, ReadMode, StoreError, Transaction};
use serde::{Deserialize, Serialize};

use crate::prompts::cases::Run;
use crate::prompts::evals::{Asked, CaseResult, EvalAsk};
use crate::prompts::handle::PromptsHandle;
use crate::prompts::{keys, records};

/// Results of one read.
const PAGE: usize = 500;

/// What a run asks, for whoever helps with it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Job {
    pub(super) team: String,
    pub(super) prompt: String,
    pub(super) version: u64,
    pub(super) baseline: Option<u64>,
    pub(super) golden_set: String,
    pub(super) golden_version: u64,
    pub(super) limit: Option<usize>,
    pub(super) night: Option<u64>,
    /// Configuration of the gateway that answers; a node with another one does not help.
    pub(super) gateway_version: u64,
    /// Who pays, beside the team.
    pub(super) project: Option<String>,
    pub(super) user: Option<String>,
    pub(super) key_id: Option<String>,
}

impl Job {
    pub(super) fn of(run: &Run<'_>, ask: &EvalAsk, golden_version: u64) -> Job {
        Job {
            team: run.prompt.team.clone(),
            prompt: run.prompt.name.clone(),
            version: ask.version,
            baseline: run.baseline.map(|baseline| baseline.number),
            golden_set: ask.golden_set.clone(),
            golden_version,
            limit: ask.limit,
            night: ask.night,
            gateway_version: run.gateway.version(),
            project: run.caller.project.clone(),
            user: run.caller.user.clone(),
            key_id: run.caller.key_id.clone(),
        }
    }
}

pub(super) async fn state(
    transaction: &mut dyn Transaction,
    job: u64,
) -> Result<Option<Spread>, StoreError> {
    let row = transaction.get(&keys::job_state(job), ReadMode::Serializable).await?;
    row.as_deref().map(records::decode).transpose()
}

impl PromptsHandle {
    pub(super) async fn begin_job(
        &self,
        id: u64,
        job: &Job,
        begun: &Spread,
    ) -> Result<(), StoreError> {
        let rows = (records::encode(job)?, records::encode(begun)?);
        let written = self.shared.retry.write_idempotent(|transaction| {
            let (job, state) = rows.clone();
            Box::pin(async move {
                transaction.set(&keys::job(id), &job)?;
                transaction.set(&keys::job_state(id), &state)
            })
        });
        written.await
    }

    /// Changes the run's record; none where it is gone. The change may be made twice.
    pub(super) async fn change_job<T: Send>(
        &self,
        job: u64,
        change: impl Fn(&mut Spread, u64) -> T + Send + Sync + 'static,
    ) -> Result<Option<T>, StoreError> {
        let now_ms = self.shared.runtime.wall_ms();
        let change = Arc::new(change);
        let changed = self.shared.retry.write_idempotent(|transaction| {
            let change = Arc::clone(&change);
            Box::pin(async move {
                let Some(mut state) = state(transaction, job).await? else { return Ok(None) };
                let told = change(&mut state, now_ms);
                transaction.set(&keys::job_state(job), &records::encode(&state)?)?;
                Ok(Some(told))
            })
        });
        changed.await
    }

    /// Places of a batch's cases that have no result: somebody else may have begun it.
    pub(super) async fn unasked(
        &self,
        job: u64,
        batch: usize,
        cases: usize,
    ) -> Result<Vec<usize>, StoreError> {
        let places = Spread::places(cases, batch);
        let read = self.shared.retry.read(|transaction| {
            let places = places.clone();
            Box::pin(async move {
                let mut unasked = Vec::new();
                for place in places {
                    let key = keys::job_case(job, place as u64);
                    if transaction.get(&key, ReadMode::Snapshot).await?.is_none() {
                        unasked.push(place);
                    }
                }
                Ok(unasked)
            })
        });
        read.await
    }

    /// Writes what a case came to, unless somebody has; what it cost counts in any case.
    pub(super) async fn keep_result(
        &self,
        job: u64,
        place: usize,
        result: &CaseResult,
    ) -> Result<(), StoreError> {
        let (key, row) = (keys::job_case(job, place as u64), records::encode(result)?);
        let cost = if result.is_kept { 0 } else { result.micro_usd };
        let operation = self.shared.operation();
        let written = self.shared.retry.write(operation, |transaction| {
            let (key, row) = (key.clone(), row.clone());
            Box::pin(async move {
                // Rows of a run that is gone would be nobody's.
                let Some(mut state) = state(transaction, job).await? else { return Ok(()) };
                if transaction.get(&key, ReadMode::Serializable).await?.is_none() {
                    transaction.set(&key, &row)?;
                }
                state.pay(cost);
                transaction.set(&keys::job_state(job), &records::encode(&state)?)
            })
        });
        match written.await? {
            Applied::Now(()) | Applied::Earlier => Ok(()),
        }
    }

    /// All results, in the order of the cases.
    pub(super) async fn collect(&self, job: u64, cases: usize) -> Result<Asked, StoreError> {
        let state = self.shared.retry.read(|transaction| Box::pin(state(transaction, job))).await?;
        let mut range = keys::job_cases(job);
        let mut results: Vec<CaseResult> = Vec::new();
        loop {
            let page = self.shared.retry.read(|transaction| {
                let read = RangeRead::all(range.clone()).limit(PAGE);
                Box::pin(async move { transaction.range(read).await })
            });
            let page = page.await?;
            let Some((last, _)) = page.last() else { break };
            range.begin = KeyRange::of_key(last).end;
            for (_, row) in &page {
                results.push(records::decode(row)?);
            }
        }
        let (finished, is_cut) = (results.len(), results.len() < cases);
        let micro_usd = state.as_ref().map_or(0, Spread::spent_micro_usd);
        let told = state.as_ref().and_then(Spread::stopped).map(str::to_owned);
        let stopped = told.or_else(|| match state.is_some_and(|state| state.is_spent()) {
            _ if !is_cut => None,
            true => Some(format!("its budget is used up after {finished} cases")),
            false => Some(format!("it was ended after {finished} cases; run it again")),
        });
        Ok(Asked { results, stopped, micro_usd })
    }

    pub(super) async fn clear_job(&self, job: u64) -> Result<(), StoreError> {
        let cleared = self.shared.retry.write_idempotent(|transaction| {
            Box::pin(async move {
                transaction.clear(&keys::job(job))?;
                transaction.clear(&keys::job_state(job))?;
                transaction.clear_range(&keys::job_cases(job))
            })
        });
        cleared.await
    }
}
