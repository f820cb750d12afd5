//! What people say of the answers of an eval.

use std::collections::BTreeMap;

use headwater_prompts::{Agreement, Label, Problem, Verdict, agreements};
use headwater_storage::{RangeRead, StoreError};

use super::handle::PromptsHandle;
use super::keys::PromptKey;
use super::nouns::{Actor, PromptError};
use super::records;

/// Labels of a prompt that are looked at together, the newest evals' first.
const LABELS: usize = 5_000;

/// What somebody says of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelAsk {
    pub case: String,
    pub verdict: Verdict,
    pub note: String,
}

impl PromptsHandle {
    /// Keeps what somebody says of a case's answer, in the place of what they said before.
    ///
    /// # Errors
    /// [`PromptError::Invalid`], [`PromptError::Unknown`] without such an eval or case,
    /// [`PromptError::SecretFound`] and the store's.
    pub async fn label(
        &self,
        actor: &Actor,
        prompt: &PromptKey,
        eval: u64,
        ask: LabelAsk,
    ) -> Result<Label, PromptError> {
        let LabelAsk { case, verdict, note } = ask;
        Label::check_note(&note)?;
        let found = self.scan_texts([("note".to_owned(), note.clone())]);
        if !found.is_empty() {
            return Err(PromptError::SecretFound(found));
        }
        let judged = self.eval(prompt, eval).await?;
        let unknown = || PromptError::Unknown { what: format!("the case '{case}' of eval {eval}") };
        let result =
            judged.results.iter().find(|result| result.case == case).ok_or_else(unknown)?;
        if result.answer.is_empty() {
            let problem = "has no answer in this eval, so there is nothing to say of it";
            return Err(Problem::new("case", problem).into());
        }
        let cases =
            self.golden_cases(&prompt.team, &judged.golden_set, judged.golden_version).await?;
        let asked = cases.iter().find(|one| one.id == case).ok_or_else(unknown)?;
        let label = Label {
            eval,
            case: case.clone(),
            verdict,
            note,
            by: actor.name.clone(),
            at_ms: self.shared.runtime.wall_ms(),
            score: result.score,
            judge: asked.judge.name(),
        };
        let (key, row) = (prompt.label(eval, &case, &label.by), records::encode(&label)?);
        let written = self.shared.retry.write_idempotent(|transaction| {
            let (key, row) = (key.clone(), row.clone());
            Box::pin(async move { transaction.set(&key, &row) })
        });
        written.await?;
        Ok(label)
    }

    /// What was said of an eval's answers, or of all evals' of the prompt.
    ///
    /// # Errors
    /// The store's.
    pub async fn labels(
        &self,
        prompt: &PromptKey,
        eval: Option<u64>,
    ) -> Result<Vec<Label>, PromptError> {
        let read = self.shared.retry.read(|transaction| {
            let range = prompt.labels(eval);
            Box::pin(async move {
                transaction.range(RangeRead::all(range).reverse().limit(LABELS)).await
            })
        });
        let rows = read.await?;
        Ok(rows.iter().map(|(_, row)| records::decode(row)).collect::<Result<_, StoreError>>()?)
    }

    /// How far each judge of the prompt's evals agrees with people.
    ///
    /// # Errors
    /// The store's.
    pub async fn agreement(
        &self,
        prompt: &PromptKey,
    ) -> Result<BTreeMap<String, Agreement>, PromptError> {
        Ok(agreements(&self.labels(prompt, None).await?))
    }
}
