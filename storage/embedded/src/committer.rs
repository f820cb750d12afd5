//! The thread that puts commits in order and writes them in groups.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use headwater_storage::optimistic::{Decision, Proposal, Sequencer, Target, apply};
use headwater_storage::{Committed, Environment, KeyRange, StoreError};
use redb::{Database, Durability, ReadableTable, Table, WriteTransaction};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::failure::{of_commit, of_storage, of_table, of_transaction};
use crate::snapshot::{NUMBERS, PAIRS, VERSION};
use crate::store::Fsync;

/// How long after a commit the disk may lag with [`Fsync::Delayed`], in ms.
pub const DELAYED_FSYNC_MS: u64 = 100;
/// Most commits that share one fsync.
const GROUP: usize = 256;

/// A proposal on its way to the committer.
pub(crate) struct Request {
    pub(crate) proposal: Proposal,
    pub(crate) answer: oneshot::Sender<Result<Committed, StoreError>>,
    /// Held until the answer, so that only so many wait.
    pub(crate) _permit: OwnedSemaphorePermit,
}

pub(crate) struct Committer {
    pub(crate) database: Arc<Database>,
    pub(crate) sequencer: Sequencer,
    pub(crate) environment: Environment,
    pub(crate) fsync: Fsync,
}

/// A proposal that stands in the group's transaction.
struct Written {
    decision: Decision,
    request: Request,
}

impl Committer {
    /// Works until all senders are gone, then brings the disk up to date.
    pub(crate) fn run(mut self, requests: &Receiver<Request>) {
        let mut behind = false;
        loop {
            let first = match behind {
                true => requests.recv_timeout(Duration::from_millis(DELAYED_FSYNC_MS)),
                false => requests.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match first {
                Ok(first) => {
                    let rest = requests.try_iter().take(GROUP - 1);
                    let group: Vec<Request> = std::iter::once(first).chain(rest).collect();
                    behind = self.commit(group) || behind;
                }
                Err(RecvTimeoutError::Timeout) => behind = !self.catch_up(),
                Err(RecvTimeoutError::Disconnected) => {
                    if behind {
                        self.catch_up();
                    }
                    return;
                }
            }
        }
    }

    /// Writes a group and answers it; whether the disk is behind afterwards.
    fn commit(&mut self, group: Vec<Request>) -> bool {
        let (watching, writing): (Vec<Request>, Vec<Request>) =
            group.into_iter().partition(|request| request.proposal.is_read_only());
        let behind = !writing.is_empty() && self.write(writing);
        for mut request in watching {
            let answer = self.watch(&mut request.proposal);
            let committed = answer.map(|()| Committed { version: None, stamp: None });
            // Who stopped waiting needs no answer.
            let _ = request.answer.send(committed);
        }
        behind
    }

    fn write(&mut self, group: Vec<Request>) -> bool {
        let mut written = Vec::new();
        let outcome = self.write_all(group, &mut written);
        for mut done in written {
            let answer = match &outcome {
                Ok(()) => {
                    let woken = self.wake(&done.decision.written);
                    // The commit stands even where the disk cannot tell the watches.
                    let _ = woken.and_then(|()| self.watch(&mut done.request.proposal));
                    Ok(done.decision.committed())
                }
                Err(error) => Err(error.clone()),
            };
            let _ = done.request.answer.send(answer);
        }
        outcome.is_ok() && self.fsync == Fsync::Delayed
    }

    /// Decides on each proposal and writes those that may be written in one transaction.
    fn write_all(
        &mut self,
        group: Vec<Request>,
        written: &mut Vec<Written>,
    ) -> Result<(), StoreError> {
        let mut allowed = Vec::new();
        for request in group {
            match self.sequencer.decide(&request.proposal, self.environment.now_ms()) {
                Ok(decision) => allowed.push(Written { decision, request }),
                Err(error) => {
                    let _ = request.answer.send(Err(error));
                }
            }
        }
        // Filled first, so that a failure below reaches everyone.
        written.append(&mut allowed);
        if written.is_empty() {
            return Ok(());
        }
        let transaction = self.begin(self.fsync)?;
        {
            let mut pairs = transaction.open_table(PAIRS).map_err(of_table)?;
            for done in written.iter() {
                let mutations = &done.request.proposal.mutations;
                apply(mutations, &done.decision.stamp, &mut TableTarget(&mut pairs))?;
            }
            let mut numbers = transaction.open_table(NUMBERS).map_err(of_table)?;
            numbers.insert(VERSION, self.sequencer.version()).map_err(of_storage)?;
        }
        transaction.commit().map_err(of_commit)
    }

    fn begin(&self, fsync: Fsync) -> Result<WriteTransaction, StoreError> {
        let mut transaction = self.database.begin_write().map_err(of_transaction)?;
        let durability = match fsync {
            Fsync::Always => Durability::Immediate,
            Fsync::Delayed => Durability::None,
        };
        let set = transaction.set_durability(durability);
        set.map_err(|error| StoreError::Unavailable(error.to_string()))?;
        Ok(transaction)
    }

    /// An empty durable commit takes all commits before it to the disk.
    fn catch_up(&self) -> bool {
        let outcome = self
            .begin(Fsync::Always)
            .and_then(|transaction| transaction.commit().map_err(of_commit));
        outcome.is_ok()
    }

    fn wake(&mut self, written: &[KeyRange]) -> Result<(), StoreError> {
        let pairs = read_pairs(&self.database)?;
        self.sequencer.wake(written, |key| value_of(&pairs, key))
    }

    fn watch(&mut self, proposal: &mut Proposal) -> Result<(), StoreError> {
        let watches = std::mem::take(&mut proposal.watches);
        if watches.is_empty() {
            return Ok(());
        }
        let pairs = read_pairs(&self.database)?;
        self.sequencer.watch(watches, |key| value_of(&pairs, key))
    }
}

type Pairs = redb::ReadOnlyTable<&'static [u8], &'static [u8]>;

fn read_pairs(database: &Database) -> Result<Pairs, StoreError> {
    use redb::ReadableDatabase;
    let transaction = database.begin_read().map_err(of_transaction)?;
    transaction.open_table(PAIRS).map_err(of_table)
}

fn value_of(pairs: &Pairs, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
    Ok(pairs.get(key).map_err(of_storage)?.map(|value| value.value().to_vec()))
}

struct TableTarget<'a, 'txn>(&'a mut Table<'txn, &'static [u8], &'static [u8]>);

impl Target for TableTarget<'_, '_> {
    fn read(&mut self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.0.get(key).map_err(of_storage)?.map(|value| value.value().to_vec()))
    }

    fn write(&mut self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        self.0.insert(key, value).map_err(of_storage).map(|_| ())
    }

    fn erase(&mut self, range: &KeyRange) -> Result<(), StoreError> {
        if range.is_empty() {
            return Ok(());
        }
        let bounds = range.begin.as_slice()..range.end.as_slice();
        self.0.retain_in::<&[u8], _>(bounds, |_, _| false).map_err(of_storage)
    }
}
