//! Evals that several nodes ask: whoever begins one leads it and writes down what is to do; other
//! nodes take batches of its cases. What a case came to is written once, whoever asked it.

mod help;
mod rows;

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use headwater_prompts::Case;
use headwater_prompts::spread::{Claim, Next, Spread};
use headwater_storage::StoreError;

use super::cases::Run;
use super::evals::{Asked, EvalAsk, TOGETHER, all};
use super::handle::PromptsHandle;
use super::nouns::PromptError;
use rows::Job;

/// How often a lead looks whether others have finished what they took, in ms.
const LOOK_MS: u64 = 250;
/// How often a batch that takes long is said to be still under way, in ms.
const RENEW_MS: u64 = 10_000;

/// Runs that this process leads: it does not help itself.
#[derive(Debug, Default)]
pub(super) struct Led(Mutex<BTreeSet<u64>>);

impl Led {
    fn with<T>(&self, act: impl FnOnce(&mut BTreeSet<u64>) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Ends the note when the run ends, in whatever way.
struct Leading<'a>(&'a Led, u64);

impl<'a> Leading<'a> {
    fn begin(led: &'a Led, job: u64) -> Leading<'a> {
        led.with(|led| led.insert(job));
        Leading(led, job)
    }
}

impl Drop for Leading<'_> {
    fn drop(&mut self) {
        self.0.with(|led| led.remove(&self.1));
    }
}

/// Who works on which run.
#[derive(Clone, Copy)]
struct Work<'a> {
    job: u64,
    by: u64,
    run: &'a Run<'a>,
    cases: &'a [Case],
    is_lead: bool,
}

impl PromptsHandle {
    /// Asks all cases, with whoever helps.
    ///
    /// # Errors
    /// The store's.
    pub(super) async fn spread(
        &self,
        run: &Run<'_>,
        cases: &[Case],
        (ask, golden_version): (&EvalAsk, u64),
    ) -> Result<Asked, PromptError> {
        let environment = self.shared.runtime.environment();
        // Keys hold signed numbers.
        let (id, by) = (environment.draw() >> 1, environment.draw());
        let _leading = Leading::begin(&self.shared.led, id);
        let now_ms = self.shared.runtime.wall_ms();
        let begun = Spread::new(cases.len(), ask.budget_micro_usd, by, now_ms);
        self.begin_job(id, &Job::of(run, ask, golden_version), &begun).await?;
        self.work(Work { job: id, by, run, cases, is_lead: true }).await?;
        let asked = self.collect(id, cases.len()).await?;
        if let Err(error) = self.clear_job(id).await {
            tracing::debug!(%error, "a run that is over is cleared later");
        }
        Ok(asked)
    }

    /// Batches one after the other, until the run is over; who only helps leaves when there is
    /// nothing to take. Tells how many there were.
    async fn work(&self, work: Work<'_>) -> Result<u64, StoreError> {
        let Work { job, by, .. } = work;
        let mut batches = 0;
        loop {
            let claimed = self.change_job(job, move |state, now_ms| state.claim(by, now_ms));
            match claimed.await?.unwrap_or(Next::Over) {
                Next::Claim(claim) => {
                    batches += 1;
                    self.batch(work, claim).await?;
                }
                Next::Wait if work.is_lead => self.shared.runtime.pause(LOOK_MS).await,
                Next::Wait | Next::Over => return Ok(batches),
            }
        }
    }

    /// Asks what is left of a batch, some cases at a time.
    async fn batch(&self, work: Work<'_>, claim: Claim) -> Result<(), StoreError> {
        let Work { job, by, run, cases, .. } = work;
        let places = self.unasked(job, claim.batch, cases.len()).await?;
        for together in places.chunks(TOGETHER) {
            let asked = together.iter().filter_map(|place| Some((*place, cases.get(*place)?)));
            let asked =
                asked.map(|(place, case)| async move { (place, self.case(run, case).await) });
            let mut asking = Box::pin(all(asked.collect()));
            let outcomes = loop {
                match self.shared.runtime.within(RENEW_MS, &mut asking).await {
                    Some(outcomes) => break outcomes,
                    // A store that is silent now may hear of it the next time.
                    None => self.renew(work, claim).await.map_or((), drop),
                }
            };
            for (place, outcome) in outcomes {
                match outcome {
                    Ok(result) => self.keep_result(job, place, &result).await?,
                    Err(why) => {
                        let stopped = self.change_job(job, move |state, _| state.stop(why.clone()));
                        stopped.await?;
                    }
                }
            }
            if !self.renew(work, claim).await? {
                return Ok(());
            }
        }
        self.change_job(job, move |state, now_ms| state.finish(by, claim, now_ms)).await.map(drop)
    }

    /// Whether the batch is still this one's, and there is a reason to go on.
    async fn renew(
        &self,
        Work { job, by, .. }: Work<'_>,
        claim: Claim,
    ) -> Result<bool, StoreError> {
        let renewed = self.change_job(job, move |state, now_ms| state.renew(by, claim, now_ms));
        Ok(renewed.await?.unwrap_or(false))
    }
}
