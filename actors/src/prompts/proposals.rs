//! Flagged answers of production: kept without personal data and secrets, a bounded number of them
//! for each prompt, until an editor takes or drops them.

use std::collections::BTreeSet;

use headwater_prompts::{Acceptance, Flag, PROPOSALS, Problem, Proposal};
use headwater_storage::retry::Applied;
use headwater_storage::{RangeRead, ReadMode, StoreError, Transaction};

use super::golden::{GoldenInfo, NextSet, cases_of, info, write_set};
use super::handle::PromptsHandle;
use super::keys::PromptKey;
use super::manage::unknown;
use super::nouns::{Actor, PromptError};
use super::records;
use crate::gateway::{GatewayError, PromptUse};

/// What became of a flag.
#[derive(Debug, Clone, PartialEq)]
pub enum Flagged {
    /// It waits for an editor, or did so before.
    Waits(Proposal),
    /// An editor has taken the same before.
    Taken { id: String },
}

impl PromptsHandle {
    /// Keeps a flagged answer as a case that an editor may take.
    ///
    /// # Errors
    /// [`PromptError::Invalid`], [`PromptError::Conflict`] without a golden set or when too many
    /// wait, [`PromptError::SecretFound`], [`PromptError::NotRedacted`], [`PromptError::NoModels`]
    /// on a node without a gateway, and the store's.
    pub async fn take_flag(
        &self,
        actor: &Actor,
        prompt: &PromptKey,
        flag: Flag,
    ) -> Result<Flagged, PromptError> {
        flag.check()?;
        let slot = self.slot(prompt).ok_or_else(|| unknown(prompt))?;
        let golden_set = slot.head.gates.golden_set.clone().ok_or_else(|| {
            let problem = "is not set, so there is nothing that the answer could become a case of; \
                           ask an admin of the team to set it";
            PromptError::Conflict(Problem::new("gates.golden_set", problem))
        })?;
        let flag = self.without_secrets(prompt, flag).await?;
        let texts = flag.texts();
        let found = self.scan_texts(texts.clone());
        if !found.is_empty() {
            return Err(PromptError::SecretFound(found));
        }
        let gateway = self.shared.gateway.get().ok_or(PromptError::NoModels)?;
        let texts = texts.into_iter().map(|(_, text)| text).collect();
        let redacted = gateway.redact_texts(&prompt.team, texts).await.map_err(refused)?;
        let flag = flag.with_texts(redacted);
        let (by, created_ms) = (actor.name.clone(), self.shared.runtime.wall_ms());
        let proposal = Proposal { id: flag.id(), golden_set, flag, by, created_ms, times: 1 };
        let operation = self.shared.operation();
        let written = self.shared.retry.write(operation, |transaction| {
            let (prompt, proposal) = (prompt.clone(), proposal.clone());
            Box::pin(async move { propose(transaction, &prompt, proposal).await })
        });
        match written.await? {
            Applied::Now(outcome) => outcome,
            Applied::Earlier => Err(StoreError::CommitUnknown.into()),
        }
    }

    /// The flag without the values of secrets that the prompt's versions name.
    async fn without_secrets(&self, prompt: &PromptKey, flag: Flag) -> Result<Flag, PromptError> {
        let names: BTreeSet<String> = match self.slot(prompt) {
            Some(slot) => {
                slot.ready.values().flat_map(|ready| ready.compiled.secrets().clone()).collect()
            }
            None => BTreeSet::new(),
        };
        let mut used = PromptUse::default();
        for name in names {
            let value = self.secret(&prompt.team, &name).await?;
            used.secrets.insert(name, value);
        }
        let mut texts: Vec<String> = flag.texts().into_iter().map(|(_, text)| text).collect();
        texts.iter_mut().for_each(|text| used.hide(text));
        let flag = flag.with_texts(texts);
        // What is left can only stand in the name of a field.
        let told = serde_json::to_string(&flag).unwrap_or_default();
        let is_told = |value: &str| {
            let json = serde_json::to_string(value).unwrap_or_default();
            !value.is_empty() && (told.contains(value) || told.contains(json.trim_matches('"')))
        };
        if used.secrets.values().any(|value| is_told(value.expose())) {
            let problem = "has a secret's value in the name of a field; leave that field out";
            return Err(Problem::new("flag.variables", problem).into());
        }
        Ok(flag)
    }

    /// Flagged answers that wait, by their ids.
    ///
    /// # Errors
    /// The store's.
    pub async fn proposals(&self, prompt: &PromptKey) -> Result<Vec<Proposal>, PromptError> {
        let read = self.shared.retry.read(|transaction| {
            let range = prompt.proposals();
            Box::pin(async move {
                transaction.range(RangeRead::all(range).limit(PROPOSALS as usize)).await
            })
        });
        let rows = read.await?;
        Ok(rows.iter().map(|(_, row)| records::decode(row)).collect::<Result<_, StoreError>>()?)
    }

    /// Takes a flagged answer into the golden set, as one step: the case is there and the proposal
    /// gone, or neither.
    ///
    /// # Errors
    /// [`PromptError::Invalid`] with the field that is missing, [`PromptError::Unknown`] and the
    /// store's.
    pub async fn accept_proposal(
        &self,
        actor: &Actor,
        prompt: &PromptKey,
        id: &str,
        taken: Acceptance,
    ) -> Result<GoldenInfo, PromptError> {
        let (by, now_ms) = (actor.name.clone(), self.shared.runtime.wall_ms());
        let operation = self.shared.operation();
        let written = self.shared.retry.write(operation, |transaction| {
            let (prompt, id, taken, by) =
                (prompt.clone(), id.to_owned(), taken.clone(), by.clone());
            Box::pin(async move {
                let Some(proposal) = proposal(transaction, &prompt, &id).await? else {
                    return Ok(Err(not_there(&prompt, &id)));
                };
                let set = proposal.golden_set.clone();
                let mut cases = match info(transaction, &prompt.team, &set).await? {
                    Some(info) => cases_of(transaction, &prompt.team, &set, info.version).await?,
                    None => Vec::new(),
                };
                match proposal.case(taken, &cases) {
                    Ok(case) => cases.push(case),
                    Err(problem) => return Ok(Err(problem.into())),
                }
                let next = NextSet { cases, expected: None, nights: None, by, now_ms };
                let written = write_set(transaction, &prompt.team, &set, next).await?;
                if written.is_ok() {
                    transaction.set(&prompt.proposal_taken(&id), &[])?;
                    remove(transaction, &prompt, &id).await?;
                }
                Ok(written)
            })
        });
        match written.await? {
            Applied::Now(outcome) => outcome,
            Applied::Earlier => Err(StoreError::CommitUnknown.into()),
        }
    }

    /// Drops a flagged answer.
    ///
    /// # Errors
    /// [`PromptError::Unknown`] and the store's.
    pub async fn drop_proposal(&self, prompt: &PromptKey, id: &str) -> Result<(), PromptError> {
        let operation = self.shared.operation();
        let written = self.shared.retry.write(operation, |transaction| {
            let (prompt, id) = (prompt.clone(), id.to_owned());
            Box::pin(async move {
                if proposal(transaction, &prompt, &id).await?.is_none() {
                    return Ok(Err(not_there(&prompt, &id)));
                }
                remove(transaction, &prompt, &id).await?;
                Ok(Ok(()))
            })
        });
        match written.await? {
            Applied::Now(outcome) => outcome,
            Applied::Earlier => Err(StoreError::CommitUnknown.into()),
        }
    }
}

async fn propose(
    transaction: &mut dyn Transaction,
    prompt: &PromptKey,
    asked: Proposal,
) -> Result<Result<Flagged, PromptError>, StoreError> {
    let id = asked.id.clone();
    let taken = transaction.get(&prompt.proposal_taken(&id), ReadMode::Serializable).await?;
    if taken.is_some() {
        return Ok(Ok(Flagged::Taken { id }));
    }
    let proposal = match proposal(transaction, prompt, &id).await? {
        Some(waits) => Proposal { times: waits.times.saturating_add(1), ..waits },
        None => {
            let waiting = waiting(transaction, prompt).await?;
            if waiting >= PROPOSALS {
                let problem = format!(
                    "has {waiting} flagged answers that wait; an editor must take or drop some first"
                );
                return Ok(Err(PromptError::Conflict(Problem::new("flag", problem))));
            }
            transaction.set(&prompt.proposal_count(), &records::encode(&(waiting + 1))?)?;
            asked
        }
    };
    transaction.set(&prompt.proposal(&id), &records::encode(&proposal)?)?;
    Ok(Ok(Flagged::Waits(proposal)))
}

async fn proposal(
    transaction: &mut dyn Transaction,
    prompt: &PromptKey,
    id: &str,
) -> Result<Option<Proposal>, StoreError> {
    let row = transaction.get(&prompt.proposal(id), ReadMode::Serializable).await?;
    row.as_deref().map(records::decode).transpose()
}

async fn waiting(transaction: &mut dyn Transaction, prompt: &PromptKey) -> Result<u64, StoreError> {
    let row = transaction.get(&prompt.proposal_count(), ReadMode::Serializable).await?;
    row.as_deref().map_or(Ok(0), records::decode)
}

async fn remove(
    transaction: &mut dyn Transaction,
    prompt: &PromptKey,
    id: &str,
) -> Result<(), StoreError> {
    let left = waiting(transaction, prompt).await?.saturating_sub(1);
    transaction.set(&prompt.proposal_count(), &records::encode(&left)?)?;
    transaction.clear(&prompt.proposal(id))
}

fn not_there(prompt: &PromptKey, id: &str) -> PromptError {
    PromptError::Unknown { what: format!("the proposal {id} of the prompt '{}'", prompt.name) }
}

fn refused(error: GatewayError) -> PromptError {
    match error {
        GatewayError::PersonalData { entity } => {
            let problem = format!(
                "holds personal data ({entity}) that the team's policy keeps out; take it out"
            );
            Problem::new("flag", problem).into()
        }
        error => PromptError::NotRedacted(error.to_string()),
    }
}
