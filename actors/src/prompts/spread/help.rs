//! Runs that other nodes lead: this one takes batches of them.

use std::sync::Arc;

use headwater_prompts::spread::Spread;
use headwater_prompts::{Case, Judge};
use headwater_storage::RangeRead;

use super::Work;
use super::rows::{Job, state};
use crate::gateway::{Caller, ChatRequest, GatewayHandle};
use crate::prompts::cases::Run;
use crate::prompts::evals::taken;
use crate::prompts::handle::PromptsHandle;
use crate::prompts::keys::{self, PromptKey};
use crate::prompts::nouns::{PromptError, Ready};
use crate::prompts::records;

/// Runs that a node looks at.
const JOBS: usize = 16;
/// How long a run stays written down after its lead was lost, in ms.
const LOST_MS: u64 = 60_000;

impl PromptsHandle {
    /// Helps with runs that other nodes lead, and clears away those whose lead was lost; tells how
    /// many batches it took.
    ///
    /// # Errors
    /// [`PromptError::NoModels`] on a node without a gateway, and the store's.
    pub async fn help(&self) -> Result<u64, PromptError> {
        let gateway = self.shared.gateway.get().cloned().ok_or(PromptError::NoModels)?;
        let jobs = self.shared.retry.read(|transaction| {
            let read = RangeRead::all(keys::jobs()).limit(JOBS);
            Box::pin(async move {
                let mut jobs: Vec<(u64, Job, Option<Spread>)> = Vec::new();
                for (key, row) in transaction.range(read).await? {
                    let id = keys::job_of(&key)?;
                    jobs.push((id, records::decode(&row)?, state(transaction, id).await?));
                }
                Ok(jobs)
            })
        });
        let (jobs, now_ms) = (jobs.await?, self.shared.runtime.wall_ms());
        let mut batches = 0;
        for (id, job, state) in jobs {
            let Some(state) = state.filter(|state| state.lost_ms(now_ms) <= LOST_MS) else {
                self.clear_job(id).await?;
                continue;
            };
            let is_over = state.is_over() || state.lost_ms(now_ms) > 0;
            if !is_over && !self.shared.led.with(|led| led.contains(&id)) {
                batches += self.help_with(&gateway, id, job).await?;
            }
        }
        Ok(batches)
    }

    async fn help_with(
        &self,
        gateway: &GatewayHandle,
        id: u64,
        job: Job,
    ) -> Result<u64, PromptError> {
        let prompt = PromptKey::new(&job.team, &job.prompt);
        let ready = self.old_version(&prompt, job.version).await?;
        let baseline = match job.baseline {
            Some(baseline) => Some(self.old_version(&prompt, baseline).await?),
            None => None,
        };
        let cases = self.golden_cases(&job.team, &job.golden_set, job.golden_version).await?;
        let cases = taken(cases, job.limit, job.night);
        let versions = [Some(&ready), baseline.as_ref()];
        if !self.can_help(gateway, &job, versions.into_iter().flatten(), &cases) {
            return Ok(0);
        }
        let Job { team, project, user, key_id, night, .. } = job;
        let caller = Caller { tenant: team, project, user, key_id };
        let (ready, baseline, prompt) = (&*ready, baseline.as_deref(), &prompt);
        let run = Run { gateway, prompt, ready, baseline, caller: &caller, night };
        let by = self.shared.runtime.environment().draw();
        Ok(self.work(Work { job: id, by, run: &run, cases: &cases, is_lead: false }).await?)
    }

    /// Whether this node asks the same models: a node that serves others would fail the version.
    fn can_help<'a>(
        &self,
        gateway: &GatewayHandle,
        job: &Job,
        mut versions: impl Iterator<Item = &'a Arc<Ready>>,
        cases: &[Case],
    ) -> bool {
        let serves = |model: &str| {
            gateway.dearest(&ChatRequest::new(model.to_owned(), Vec::new()), 0).is_some()
        };
        let encodes = |name: &str| {
            self.shared.embedder.get().is_some_and(|embedder| embedder.card(name).is_some())
        };
        let judges = |case: &Case| match &case.judge {
            Judge::Llm { model, .. } | Judge::Pairwise { model, .. } => serves(model),
            Judge::Similarity { encoder, .. } => encodes(encoder),
            _ => true,
        };
        gateway.version() == job.gateway_version
            && versions.all(|ready| ready.document.model.model.as_deref().is_none_or(serves))
            && cases.iter().all(judges)
    }
}
