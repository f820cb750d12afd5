//! Nights of this node: the runs that are due, while it has the lease of evals.

use super::{EVAL_RUNS, Job, LOOK_MS, PromotionRunner, Run};
use crate::prompts::keys::PromptKey;
use crate::prompts::nights::Night;

/// How often it looks whether a night is due, in ms.
const NIGHTS_MS: u64 = 10_000;

impl PromotionRunner {
    /// Begins what is due.
    pub(super) async fn begin_nights(&self, looked_ms: &mut Option<u64>) {
        let now_ms = self.prompts.shared.runtime.now_ms();
        if looked_ms.is_some_and(|looked| now_ms < looked.saturating_add(NIGHTS_MS)) {
            return;
        }
        *looked_ms = Some(now_ms);
        match self.prompts.due_nights().await {
            Ok(due) => due.into_iter().for_each(|(prompt, night)| self.begin_night(prompt, night)),
            Err(error) => tracing::debug!(%error, "nightly evals are looked at later"),
        }
    }

    fn begin_night(&self, prompt: PromptKey, night: Night) {
        let key = (prompt.clone(), Job::Night(night.day));
        let Some(run) = self.take(&key) else { return };
        let this = self.clone();
        let runtime = self.prompts.shared.runtime.clone();
        self.prompts.shared.runtime.spawn(async move {
            let is_last = run.stopped + 1 >= EVAL_RUNS;
            match this.prompts.run_night(&prompt, &night, is_last).await {
                Ok(()) => {
                    this.lock().remove(&key);
                }
                Err(why) => {
                    let PromptKey { team, name } = &prompt;
                    tracing::warn!(team, name, why, "a nightly eval is tried again");
                    runtime.pause(LOOK_MS << (run.stopped + 2).min(7)).await;
                    let stopped = run.stopped + 1;
                    this.lock().insert(key, Run { is_running: false, stopped });
                }
            }
        });
    }
}
