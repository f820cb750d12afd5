//! Following the store: a prompt that changed is read as soon as a watch tells of it, and looked
//! for again and again in case it does not. A slot is replaced once all of it is here.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use headwater_prompts::{Compiled, Head};
use headwater_storage::{KeyRange, Pair, RangeRead, ReadMode, StoreError, Transaction, Watch};

use super::handle::PromptsHandle;
use super::keys::{self, PromptKey};
use super::nouns::Ready;
use super::records::{self, Changed, Room};
use super::table::{Slot, Table};

/// Changes that one transaction reads.
const STEP_ROWS: u64 = 256;
/// Rows of one page when everything is read.
const PAGE_ROWS: usize = 500;
/// Longest time for one read, in ms.
const READ_MS: u64 = 4_000;
/// The pause after a watch that was lost, or a read that failed, in ms.
const LOST_MS: u64 = 50;

/// What a transaction saw.
struct Step {
    /// The newest change in the store.
    newest: u64,
    /// Those up to this number; none when too much is missing.
    changes: Option<(u64, BTreeSet<Name>)>,
    watch: Option<Watch>,
}

/// What changed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Name {
    Prompt(PromptKey),
    Access(String),
}

impl PromptsHandle {
    /// Follows the store for as long as it is polled.
    pub async fn follow(self) {
        let runtime = self.shared.runtime.clone();
        let refresh_ms = self.shared.settings.refresh_ms;
        let mut watch = None;
        loop {
            match self.catch_up(watch.is_none()).await {
                Ok(fresh) => watch = watch.or(fresh),
                Err(error) => {
                    self.shared.metrics.failed_read();
                    tracing::debug!(%error, "the store was not asked for changed prompts");
                    runtime.pause(LOST_MS).await;
                }
            }
            match &mut watch {
                None => runtime.pause(refresh_ms).await,
                Some(waiting) => match runtime.within(refresh_ms, waiting).await {
                    None => {}
                    Some(Ok(())) => watch = None,
                    Some(Err(_)) => {
                        watch = None;
                        runtime.pause(LOST_MS).await;
                    }
                },
            }
        }
    }

    /// Reads what changed since the last read; with a watch for the next change if one is wanted.
    ///
    /// # Errors
    /// The store's; what this node held before stays.
    pub async fn catch_up(&self, watching: bool) -> Result<Option<Watch>, StoreError> {
        let _one_at_a_time = self.shared.reading.lock().await;
        let mut watch = None;
        // What could not be read before is looked at again.
        let stuck = std::mem::take(&mut *self.shared.stuck());
        for name in stuck {
            self.reload_or_note(name).await?;
        }
        loop {
            // What is committed before this moment is in what the transaction reads.
            let began_ms = self.shared.runtime.now_ms();
            let applied = self.shared.table().revision;
            let step = self.timely(self.step(applied, watching && watch.is_none())).await?;
            watch = watch.or(step.watch);
            let through = match step.changes {
                Some((through, names)) => {
                    for name in names {
                        self.reload_or_note(name).await?;
                    }
                    through
                }
                None => self.load_all().await?,
            };
            let mut table = self.shared.table_mut();
            table.revision = through;
            self.shared.metrics.prompts(table.len());
            drop(table);
            if through >= step.newest {
                self.shared.confirm(began_ms);
                return Ok(watch);
            }
        }
    }

    /// One prompt that cannot be read holds none of the others up: what is held of it serves on.
    async fn reload_or_note(&self, name: Name) -> Result<(), StoreError> {
        match self.reload(&name).await {
            Err(error) if !error.is_retryable() => {
                self.note_stuck(name, &error);
                Ok(())
            }
            outcome => outcome,
        }
    }

    fn note_stuck(&self, name: Name, error: &StoreError) {
        self.shared.metrics.failed_read();
        tracing::error!(?name, %error, "what is stored of a prompt cannot be used; what was read before serves on");
        self.shared.stuck().insert(name);
    }

    /// Reads one prompt anew after a change of this node's own; what fails is seen later.
    pub(super) async fn see(&self, prompt: &PromptKey) {
        if let Err(error) = self.reload(&Name::Prompt(prompt.clone())).await {
            tracing::debug!(%error, "a changed prompt was not read at once");
        }
    }

    pub(super) async fn see_access(&self, team: &str) {
        if let Err(error) = self.reload(&Name::Access(team.to_owned())).await {
            tracing::debug!(%error, "changed roles were not read at once");
        }
    }

    async fn timely<T>(
        &self,
        read: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let late = || StoreError::Unavailable(format!("no answer within {READ_MS} ms"));
        self.shared.runtime.within(READ_MS, read).await.unwrap_or_else(|| Err(late()))
    }

    /// One transaction: the newest change, and those behind `applied`.
    async fn step(&self, applied: u64, watching: bool) -> Result<Step, StoreError> {
        let mut transaction = self.shared.retry.store().begin().await?;
        let newest = records::revision(transaction.as_mut(), ReadMode::Snapshot).await?;
        let watch = match watching {
            true => Some(transaction.watch(&keys::revision()).await?),
            false => None,
        };
        let through = newest.min(applied.saturating_add(STEP_ROWS));
        // A node that holds nothing yet reads everything; so does one whose store went back.
        if through < applied || (applied == 0 && newest > 0) {
            transaction.commit().await?;
            return Ok(Step { newest, changes: None, watch });
        }
        let (mut names, mut rows) = (BTreeSet::new(), 0);
        if through > applied {
            let read = RangeRead::all(keys::log_rows(applied, through)).snapshot();
            for (_, row) in transaction.range(read).await? {
                rows += 1;
                names.insert(match records::decode(&row)? {
                    Changed::Prompt { team, name } => Name::Prompt(PromptKey { team, name }),
                    Changed::Access { team } => Name::Access(team),
                });
            }
        }
        transaction.commit().await?;
        // The log is cut at its far end.
        let is_whole = rows == through - applied;
        Ok(Step { newest, changes: is_whole.then_some((through, names)), watch })
    }

    async fn reload(&self, name: &Name) -> Result<(), StoreError> {
        match name {
            Name::Prompt(prompt) => {
                let held = self.shared.table().slot(&prompt.team, &prompt.name).cloned();
                if let Some(slot) = self.read_slot(prompt, held.as_deref()).await? {
                    self.shared.table_mut().put(prompt, Arc::new(slot));
                }
            }
            Name::Access(team) => {
                let read = async {
                    let mut transaction = self.shared.retry.store().begin().await?;
                    records::access(transaction.as_mut(), team).await
                };
                if let Some(access) = self.timely(read).await? {
                    self.shared.table_mut().put_access(team.clone(), access);
                }
            }
        }
        Ok(())
    }

    /// A prompt as it is now; none where there is none.
    async fn read_slot(
        &self,
        prompt: &PromptKey,
        held: Option<&Slot>,
    ) -> Result<Option<Slot>, StoreError> {
        let read = async {
            let mut transaction = self.shared.retry.store().begin().await?;
            match records::head(transaction.as_mut(), prompt).await? {
                Some(head) => slot(transaction.as_mut(), prompt, head, held).await.map(Some),
                None => Ok(None),
            }
        };
        self.timely(read).await
    }

    /// Everything, a page to a transaction. What changes meanwhile is behind the revision that it
    /// returns, and is read next.
    async fn load_all(&self) -> Result<u64, StoreError> {
        let mut table = Table::default();
        let newest = async {
            let mut transaction = self.shared.retry.store().begin().await?;
            records::revision(transaction.as_mut(), ReadMode::Snapshot).await
        };
        table.revision = self.timely(newest).await?;
        let mut range = keys::heads(None, None);
        loop {
            let page = self.timely(self.page(RangeRead::all(range.clone()))).await?;
            let Some((last, _)) = page.last() else { break };
            range.begin = KeyRange::of_key(last).end;
            for (key, _) in &page {
                let prompt = records::prompt_of(key)?;
                match self.read_slot(&prompt, None).await {
                    Ok(Some(slot)) => table.put(&prompt, Arc::new(slot)),
                    Ok(None) => {}
                    Err(error) if !error.is_retryable() => {
                        self.note_stuck(Name::Prompt(prompt), &error);
                    }
                    Err(error) => return Err(error),
                }
            }
        }
        let mut range = keys::all_access();
        loop {
            let page = self.timely(self.page(RangeRead::all(range.clone()))).await?;
            let Some((last, _)) = page.last() else { break };
            range.begin = KeyRange::of_key(last).end;
            for (key, row) in &page {
                table.put_access(records::team_of(key)?, records::decode(row)?);
            }
        }
        let revision = table.revision;
        self.shared.table_mut().take(table);
        Ok(revision)
    }

    async fn page(&self, read: RangeRead) -> Result<Vec<Pair>, StoreError> {
        let mut transaction = self.shared.retry.store().begin().await?;
        transaction.range(read.limit(PAGE_ROWS).snapshot()).await
    }
}

/// A slot with all that it may have to serve; versions never change, so held ones are taken over.
async fn slot(
    transaction: &mut dyn Transaction,
    prompt: &PromptKey,
    head: Head,
    held: Option<&Slot>,
) -> Result<Slot, StoreError> {
    let promotion = match head.promotion {
        Some(id) => records::promotion(transaction, prompt, id).await?,
        None => None,
    };
    let mut wanted: BTreeSet<u64> = [head.production, head.staging].into_iter().flatten().collect();
    wanted.extend(head.canary.map(|canary| canary.version));
    wanted.extend(variants(&head));
    wanted.extend(promotion.as_ref().map(|promotion| promotion.version));
    let mut ready = BTreeMap::new();
    for number in wanted {
        let held = held.and_then(|held| held.ready.get(&number));
        let one = match held {
            Some(held) => Arc::clone(held),
            None => match version(transaction, prompt, number).await? {
                Some(ready) => Arc::new(ready),
                None => {
                    let what = format!("{}/{} version {number}", prompt.team, prompt.name);
                    return Err(StoreError::Corrupt(format!("{what}: its text is missing")));
                }
            },
        };
        ready.insert(number, one);
    }
    Ok(Slot { head, ready, promotion })
}

/// Versions that experiments serve.
fn variants(head: &Head) -> impl Iterator<Item = u64> + '_ {
    let variants = head.experiments.iter().flat_map(|experiment| &experiment.variants);
    variants.map(|variant| u64::from(variant.version))
}

/// A version, compiled.
pub(super) async fn version(
    transaction: &mut dyn Transaction,
    prompt: &PromptKey,
    number: u64,
) -> Result<Option<Ready>, StoreError> {
    let Some(document) = records::document(transaction, prompt, number).await? else {
        return Ok(None);
    };
    let what = || format!("{}/{} version {number}", prompt.team, prompt.name);
    let mut room = Room::default();
    let bundle = records::bundle(transaction, &prompt.team, document.clone(), 0, &mut room).await?;
    let bundle = bundle.map_err(|problem| StoreError::Corrupt(format!("{}: {problem}", what())))?;
    let compiled = Compiled::new(&bundle)
        .map_err(|problem| StoreError::Corrupt(format!("{}: {problem}", what())))?;
    Ok(Some(Ready { number, sha256: document.sha256(), document, compiled }))
}
