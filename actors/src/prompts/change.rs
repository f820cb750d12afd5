//! Changes of a prompt: one transaction each, which writes all of it or nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use headwater_prompts::{Event, Head, Move, Outcomes, Promotion};
use headwater_storage::retry::Applied;
use headwater_storage::{ReadMode, StoreError, Transaction};
use serde_json::json;

use super::evals::{Eval, store_eval};
use super::handle::PromptsHandle;
use super::keys::PromptKey;
use super::nouns::{PromptError, VersionInfo};
use super::records::{self, Changed};
use crate::mutants::{Mutant, planted};
use crate::tenancy::{EventTold, PendingNotice, pending_key};

/// A prompt as a change sees it, and what the change makes of it.
#[derive(Debug, Clone)]
pub(super) struct Draft {
    /// Whether the prompt was there.
    pub(super) exists: bool,
    pub(super) head: Head,
    /// The promotion that the change is about: the one in progress, unless it named another.
    pub(super) promotion: Option<Promotion>,
    pub(super) version: Option<(VersionInfo, String)>,
    pub(super) moves: Vec<Move>,
    pub(super) events: Vec<(Event, String)>,
    pub(super) rows: Vec<(Vec<u8>, Vec<u8>)>,
    /// Rows that the change asked to see, by their keys.
    pub(super) read: BTreeMap<Vec<u8>, Vec<u8>>,
    /// A run that is kept as the prompt's next eval.
    pub(super) eval: Option<Eval>,
}

impl Draft {
    pub(super) fn take(&mut self, outcomes: Outcomes) {
        self.moves.extend(outcomes.moves);
        self.events.extend(outcomes.events);
    }
}

/// What a change does, again for each try of its transaction.
type Act<T> = dyn Fn(&mut Draft) -> Result<T, PromptError> + Send + Sync;

impl PromptsHandle {
    /// Runs a change, and has this node serve what it left before it returns.
    ///
    /// # Errors
    /// The act's own, with nothing written, and the store's.
    pub(super) async fn change<T: Send + 'static>(
        &self,
        prompt: &PromptKey,
        act: impl Fn(&mut Draft) -> Result<T, PromptError> + Send + Sync + 'static,
    ) -> Result<T, PromptError> {
        self.change_reading(prompt, Vec::new(), act).await
    }

    /// The same, with other rows of the same moment before its eyes.
    ///
    /// # Errors
    /// As [`PromptsHandle::change`].
    pub(super) async fn change_reading<T: Send + 'static>(
        &self,
        prompt: &PromptKey,
        wanted: Vec<Vec<u8>>,
        act: impl Fn(&mut Draft) -> Result<T, PromptError> + Send + Sync + 'static,
    ) -> Result<T, PromptError> {
        let act: Arc<Act<T>> = Arc::new(act);
        let (now_ms, tells) = (self.shared.runtime.wall_ms(), self.shared.settings.tells);
        let id = self.shared.operation();
        let written = self.shared.retry.write(id, |transaction| {
            let (prompt, act, wanted) = (prompt.clone(), Arc::clone(&act), wanted.clone());
            Box::pin(async move {
                let read = read_rows(transaction, wanted).await?;
                attempt(transaction, &prompt, &*act, read, (now_ms, tells)).await
            })
        });
        match written.await? {
            Applied::Now(outcome) => {
                let done = outcome?;
                // The others hear of it by their watch; whoever asked here sees it here at once.
                self.see(prompt).await;
                Ok(done)
            }
            // No id is drawn twice.
            Applied::Earlier => Err(StoreError::CommitUnknown.into()),
        }
    }
}

async fn read_rows(
    transaction: &mut dyn Transaction,
    wanted: Vec<Vec<u8>>,
) -> Result<BTreeMap<Vec<u8>, Vec<u8>>, StoreError> {
    let mut read = BTreeMap::new();
    for key in wanted {
        if let Some(row) = transaction.get(&key, ReadMode::Serializable).await? {
            read.insert(key, row);
        }
    }
    Ok(read)
}

async fn attempt<T>(
    transaction: &mut dyn Transaction,
    prompt: &PromptKey,
    act: &Act<T>,
    read: BTreeMap<Vec<u8>, Vec<u8>>,
    (now_ms, tells): (u64, bool),
) -> Result<Result<T, PromptError>, StoreError> {
    let found = records::head(transaction, prompt).await?;
    let (exists, head) = (found.is_some(), found.unwrap_or_default());
    let promotion = match head.promotion {
        Some(id) => records::promotion(transaction, prompt, id).await?,
        None => None,
    };
    let (moves, events, rows) = (Vec::new(), Vec::new(), Vec::new());
    let (version, eval) = (None, None);
    let mut draft = Draft { exists, head, promotion, version, moves, events, rows, read, eval };
    let done = match act(&mut draft) {
        Ok(done) => done,
        Err(error) => return Ok(Err(error)),
    };
    let Draft { mut head, promotion, version, moves, rows, events, eval, .. } = draft;
    head.changes += 1;
    head.updated_ms = now_ms;
    if tells {
        let promotion = promotion.as_ref().map(|promotion| (promotion.id, promotion.version));
        for (place, (event, detail)) in events.iter().enumerate() {
            let is_of_it = !matches!(event, Event::ExperimentExpired | Event::NightlyFailed);
            let of = promotion.filter(|_| is_of_it);
            let place = (head.changes, place as u64);
            let notice = notice_of(prompt, place, of, (*event, detail), now_ms);
            transaction.set(&pending_key(&notice.id), &notice.encode()?)?;
        }
    }
    transaction.set(&prompt.head(), &records::encode(&head)?)?;
    if let Some(promotion) = promotion {
        transaction.set(&prompt.promotion(promotion.id), &records::encode(&promotion)?)?;
    }
    if let Some((info, canonical)) = version {
        records::store_version(transaction, prompt, &info, &canonical)?;
    }
    records::store_moves(transaction, prompt, &moves)?;
    if let Some(eval) = eval {
        store_eval(transaction, prompt, eval).await?;
    }
    for (key, value) in rows {
        transaction.set(&key, &value)?;
    }
    if planted(Mutant::ChangeNotTold) {
        return Ok(Ok(done));
    }
    let (team, name) = (prompt.team.clone(), prompt.name.clone());
    records::tell(transaction, &Changed::Prompt { team, name }).await?;
    Ok(Ok(done))
}

/// What webhooks are told of an event; written in the transaction that it happens in.
fn notice_of(
    prompt: &PromptKey,
    (changes, place): (u64, u64),
    promotion: Option<(u64, u64)>,
    (event, detail): (Event, &str),
    now_ms: u64,
) -> PendingNotice {
    let PromptKey { team, name } = prompt;
    let kind = event.name().to_owned();
    let behind = if detail.is_empty() { String::new() } else { format!(": {detail}") };
    let text = format!("{kind} of the prompt {team}/{name}{behind}");
    let fields = json!({
        "prompt": name,
        "promotion": promotion.map(|(id, _)| id),
        "version": promotion.map(|(_, version)| version),
        "detail": detail,
    });
    let named =
        [prompt.head(), changes.to_be_bytes().to_vec(), place.to_be_bytes().to_vec()].concat();
    PendingNotice::of_event(
        team,
        EventTold { kind, text, fields: fields.to_string() },
        &named,
        now_ms,
    )
}
