//! What stands in the store of a run: its row, who holds it, and its journal. Whatever is written of
//! a run proves in the same transaction that the writer still holds it.

use std::collections::BTreeMap;

use headwater_storage::tuple::{self, Element};
use headwater_storage::{KeyRange, RangeRead, StoreError, Transaction};
use headwater_tools::agent::{Entry, Finish};
use headwater_tools::session::Session;

use crate::mutants::{Mutant, planted};
use crate::tools::handle::ToolsHandle;
use crate::tools::keys;
use crate::tools::records::{self, EntryRow, Held, LeaseRow, RunRow, SessionRow};

/// Pieces of entries that one transaction reads.
const PAGE_ROWS: usize = 40;

/// Names a run among all teams'.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct RunKey {
    pub(super) team: String,
    pub(super) id: String,
}

impl RunKey {
    pub(super) fn new(team: &str, id: &str) -> RunKey {
        RunKey { team: team.to_owned(), id: id.to_owned() }
    }

    pub(super) fn row(&self) -> Vec<u8> {
        keys::run(&self.team, &self.id)
    }

    fn lease(&self) -> Vec<u8> {
        keys::run_lease(&self.team, &self.id)
    }
}

/// The right to write of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Hold {
    pub(super) key: RunKey,
    pub(super) epoch: u64,
}

/// What a holder sees when it looks at its run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) cancelled_by: Option<String>,
    /// Calls whose approval is not open any more.
    pub(super) decided: Vec<String>,
}

/// An entry, and what the row tells after it.
#[derive(Debug, Clone)]
struct Appending {
    hold: Hold,
    holder: String,
    index: u64,
    entry: Entry,
    steps: u64,
    spent_microdollars: u64,
    now_ms: u64,
    lease_ms: u64,
}

impl ToolsHandle {
    /// Writes an entry where the journal ends, and holds the run for longer. False when another node
    /// holds it, or has written there.
    ///
    /// # Errors
    /// The store's; whether it is written is not known then.
    pub(super) async fn append(
        &self,
        hold: &Hold,
        index: u64,
        entry: Entry,
        (steps, spent_microdollars): (u64, u64),
    ) -> Result<bool, StoreError> {
        let appending = Appending {
            hold: hold.clone(),
            holder: self.shared.holder.clone(),
            index,
            entry,
            steps,
            spent_microdollars,
            now_ms: self.shared.runtime.wall_ms(),
            lease_ms: self.shared.settings.agents.lease_ms,
        };
        let written = self.shared.write_once(|transaction| {
            let appending = appending.clone();
            Box::pin(async move { appending.attempt(transaction).await })
        });
        written.await
    }

    /// Looks at the run, and holds it for longer. None when another node holds it, or it has ended.
    ///
    /// # Errors
    /// The store's.
    pub(super) async fn look_at_run(
        &self,
        hold: &Hold,
        waiting: &BTreeMap<String, String>,
    ) -> Result<Option<Seen>, StoreError> {
        let (holder, now_ms) = (self.shared.holder.clone(), self.shared.runtime.wall_ms());
        let lease_ms = self.shared.settings.agents.lease_ms;
        let looked = self.shared.retry.write_idempotent(|transaction| {
            let (hold, holder, waiting) = (hold.clone(), holder.clone(), waiting.clone());
            Box::pin(async move {
                let Some(mut lease) = held(transaction, &hold, &holder).await? else {
                    return Ok(None);
                };
                if lease.until_ms < now_ms + lease_ms / 3 * 2 {
                    lease.until_ms = now_ms + lease_ms;
                    transaction.set(&hold.key.lease(), &records::encode(&lease)?)?;
                }
                let row = records::load::<RunRow>(transaction, &hold.key.row()).await?;
                let Some(row) = row else { return Ok(None) };
                let mut decided = Vec::new();
                for (call, approval) in waiting {
                    let found = records::approval(transaction, &hold.key.team, &approval).await?;
                    if found.is_none_or(|found| found.state_at(now_ms).name() != "open") {
                        decided.push(call);
                    }
                }
                Ok(Some(Seen { cancelled_by: row.cancelled_by, decided }))
            })
        });
        looked.await
    }

    /// Takes a run that nobody holds any more.
    ///
    /// # Errors
    /// The store's.
    pub(super) async fn take_run(
        &self,
        key: &RunKey,
    ) -> Result<Option<(Hold, RunRow)>, StoreError> {
        let (holder, now_ms) = (self.shared.holder.clone(), self.shared.runtime.wall_ms());
        let lease_ms = self.shared.settings.agents.lease_ms;
        let taken = self.shared.write_once(|transaction| {
            let (key, holder) = (key.clone(), holder.clone());
            Box::pin(async move {
                let lease = records::load::<LeaseRow>(transaction, &key.lease()).await?;
                let Some(lease) = lease.filter(|lease| lease.until_ms <= now_ms) else {
                    return Ok(None);
                };
                let Some(row) = records::load::<RunRow>(transaction, &key.row()).await? else {
                    transaction.clear(&key.lease())?;
                    return Ok(None);
                };
                let epoch = lease.epoch + 1;
                let lease = LeaseRow { holder, until_ms: now_ms + lease_ms, epoch };
                transaction.set(&key.lease(), &records::encode(&lease)?)?;
                Ok(Some((Hold { key, epoch }, row)))
            })
        });
        taken.await
    }

    /// The entries of a journal from one on, before another.
    ///
    /// # Errors
    /// The store's; when one cannot be read.
    pub(super) async fn entries(
        &self,
        key: &RunKey,
        from: u64,
        until: u64,
    ) -> Result<Vec<(u64, Entry)>, StoreError> {
        let mut texts: BTreeMap<u64, Vec<u8>> = BTreeMap::new();
        let mut range = keys::run_entries(&key.team, &key.id, from, until);
        loop {
            let read = self.shared.retry.read(|transaction| {
                let read = RangeRead::all(range.clone()).limit(PAGE_ROWS);
                Box::pin(async move { transaction.range(read).await })
            });
            // An entry never changes, so that it may be read in two transactions.
            let page = read.await?;
            let Some((last, _)) = page.last() else { break };
            range.begin = KeyRange::of_key(last).end;
            for (key, piece) in page {
                let elements = tuple::unpack(&key)?;
                let [.., Element::Integer(index), Element::Integer(_)] = elements.as_slice() else {
                    return Err(records::corrupt(&"its key names no entry of a run"));
                };
                let index = u64::try_from(*index).map_err(|error| records::corrupt(&error))?;
                texts.entry(index).or_default().extend(piece);
            }
        }
        let entry = |(index, text): (u64, Vec<u8>)| {
            Ok((index, records::decode::<EntryRow>(&text)?.entry()?))
        };
        texts.into_iter().map(entry).collect()
    }

    /// Ends a run whose journal leads nowhere.
    ///
    /// # Errors
    /// The store's.
    pub(super) async fn give_up_run(&self, hold: &Hold) -> Result<(), StoreError> {
        let (holder, now_ms) = (self.shared.holder.clone(), self.shared.runtime.wall_ms());
        let given_up = self.shared.retry.write_idempotent(|transaction| {
            let (hold, holder) = (hold.clone(), holder.clone());
            Box::pin(async move {
                if held(transaction, &hold, &holder).await?.is_none() {
                    return Ok(());
                }
                let row = records::load::<RunRow>(transaction, &hold.key.row()).await?;
                let Some(mut row) = row else { return Ok(()) };
                end(transaction, &hold.key, &mut row, Finish::Error, now_ms).await?;
                transaction.set(&hold.key.row(), &records::encode(&row)?)
            })
        });
        given_up.await
    }

    /// Forgets a run that has ended.
    ///
    /// # Errors
    /// The store's.
    pub(super) async fn forget_run(&self, ended_ms: u64, key: &RunKey) -> Result<(), StoreError> {
        let forgotten = self.shared.retry.write_idempotent(|transaction| {
            let key = key.clone();
            Box::pin(async move {
                let mark = keys::ended_run(ended_ms, &key.team, &key.id);
                // Forgotten before: a run of this id may have been begun since.
                if records::load_raw(transaction, &mark).await?.is_none() {
                    return Ok(());
                }
                transaction.clear(&mark)?;
                transaction.clear(&key.row())?;
                let all = keys::run_entries(&key.team, &key.id, 0, u64::MAX);
                transaction.clear_range(&all)
            })
        });
        forgotten.await
    }
}

/// The lease, when this holder has it.
async fn held(
    transaction: &mut dyn Transaction,
    hold: &Hold,
    holder: &str,
) -> Result<Option<LeaseRow>, StoreError> {
    let lease = records::load::<LeaseRow>(transaction, &hold.key.lease()).await?;
    let is_own = |lease: &LeaseRow| lease.epoch == hold.epoch && lease.holder == holder;
    Ok(lease.filter(|lease| is_own(lease) || planted(Mutant::RunNotFenced)))
}

/// Writes a new run: its row, its first entry, who holds it.
pub(super) fn begin(
    transaction: &mut dyn Transaction,
    key: &RunKey,
    row: &RunRow,
    lease: &LeaseRow,
    first: Entry,
) -> Result<(), StoreError> {
    store_entry(transaction, key, 0, first)?;
    transaction.set(&key.row(), &records::encode(row)?)?;
    transaction.set(&key.lease(), &records::encode(lease)?)
}

fn store_entry(
    transaction: &mut dyn Transaction,
    key: &RunKey,
    index: u64,
    entry: Entry,
) -> Result<(), StoreError> {
    let place = keys::run_entry(&key.team, &key.id, index);
    records::store_text(transaction, &place, &records::encode(&EntryRow::of(entry))?)
}

/// Notes the end of a run in its row, and ends what belongs to the run.
async fn end(
    transaction: &mut dyn Transaction,
    key: &RunKey,
    row: &mut RunRow,
    finish: Finish,
    now_ms: u64,
) -> Result<(), StoreError> {
    row.finish = Some(finish.name().to_owned());
    row.ended_ms = Some(now_ms);
    row.waiting.clear();
    transaction.clear(&key.lease())?;
    transaction.set(&keys::ended_run(now_ms, &key.team, &key.id), &[])?;
    if !row.owns_session {
        return Ok(());
    }
    let end = |session: &mut Session| session.end("its run has ended", now_ms);
    change_session(transaction, key, row, end).await?;
    transaction.clear_range(&keys::notes(&key.team, &row.session))
}

/// Changes the run's session; it is written when `act` says so.
async fn change_session(
    transaction: &mut dyn Transaction,
    key: &RunKey,
    row: &RunRow,
    act: impl FnOnce(&mut Session) -> bool,
) -> Result<(), StoreError> {
    let session = keys::session(&key.team, &row.session);
    let found = records::load::<SessionRow>(transaction, &session).await?;
    let Some(found) = found else { return Ok(()) };
    let mut held = Held::of(&key.team, &row.session, found, BTreeMap::new())?;
    match act(&mut held.session) {
        true => transaction.set(&session, &records::encode(&held.row())?),
        false => Ok(()),
    }
}

impl Appending {
    async fn attempt(&self, transaction: &mut dyn Transaction) -> Result<bool, StoreError> {
        let Appending { hold, index, now_ms, .. } = self;
        let Some(mut lease) = held(transaction, hold, &self.holder).await? else {
            return Ok(false);
        };
        let row = records::load::<RunRow>(transaction, &hold.key.row()).await?;
        let is_next = |row: &RunRow| row.entries == *index || planted(Mutant::RunNotFenced);
        let Some(mut row) = row.filter(is_next) else { return Ok(false) };
        store_entry(transaction, &hold.key, *index, self.entry.clone())?;
        row.entries += 1;
        (row.steps, row.spent_microdollars) = (self.steps, self.spent_microdollars);
        match &self.entry {
            Entry::ApprovalNeeded { call, approval, .. } => {
                row.waiting.insert(call.clone(), approval.clone());
            }
            Entry::CallEnded { call, .. } => {
                row.waiting.remove(call);
            }
            Entry::Finished { reason, .. } => {
                end(transaction, &hold.key, &mut row, *reason, *now_ms).await?;
            }
            Entry::Answered { usage, .. } => {
                // Calls must fit into what the models have left of the money.
                let spend = |session: &mut Session| {
                    session.spend(usage.microdollars, *now_ms);
                    usage.microdollars > 0
                };
                change_session(transaction, &hold.key, &row, spend).await?;
            }
            Entry::Began { .. } => {}
        }
        if row.finish.is_none() {
            lease.until_ms = now_ms + self.lease_ms;
            transaction.set(&hold.key.lease(), &records::encode(&lease)?)?;
        }
        transaction.set(&hold.key.row(), &records::encode(&row)?)?;
        Ok(true)
    }
}
