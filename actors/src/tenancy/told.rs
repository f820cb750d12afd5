//! What an owner has told of its limits: a row for each notice, so that it is told once, and beside
//! it one for whoever delivers it, written in the owner's transactions.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use headwater_storage::{ReadMode, StoreError, Transaction, codec};
use headwater_tenancy::{Notice, NoticeKey};

use super::notices::{PendingNotice, pending_key};
use super::records::{RECORD, told_key};

/// What this owner knows to be told; cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Told {
    keys: Arc<Mutex<BTreeSet<NoticeKey>>>,
}

impl Told {
    /// Those that may not be told yet.
    pub(super) fn unknown(&self, notices: Vec<Notice>) -> Vec<Notice> {
        let known = self.lock();
        notices.into_iter().filter(|notice| !known.contains(&notice.key)).collect()
    }

    /// These stand in the store. What was told of earlier windows is never asked for again.
    pub(super) fn remember(&self, keys: Vec<NoticeKey>) {
        let mut known = self.lock();
        for key in keys {
            let (window, index) = (key.counter.window, key.counter.index);
            known.retain(|old| old.counter.window != window || old.counter.index >= index);
            known.insert(key);
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<NoticeKey>> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes down those that do not stand there yet, and returns the keys of all: they stand once
/// this transaction has committed.
pub(super) async fn tell(
    transaction: &mut dyn Transaction,
    tenant: &str,
    notices: Vec<Notice>,
    told: &Told,
    wall_ms: u64,
) -> Result<Vec<NoticeKey>, StoreError> {
    let mut keys = Vec::new();
    for notice in told.unknown(notices) {
        let row_key = told_key(tenant, &notice.key);
        if transaction.get(&row_key, ReadMode::Serializable).await?.is_none() {
            transaction.set(&row_key, &codec::encode(RECORD, &())?)?;
            let pending = PendingNotice::new(tenant, &notice, &row_key, wall_ms);
            transaction.set(&pending_key(&pending.id), &pending.encode()?)?;
        }
        keys.push(notice.key);
    }
    Ok(keys)
}
