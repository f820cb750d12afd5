//! Leases as rows of the store, and the members' rows as bytes between nodes.
//!
//! A lease has two rows: who holds it with which epoch, and until when. Owners' transactions read
//! the first only, so that renewals do not disturb them.

use std::collections::BTreeMap;

use headwater_cluster::mutants::{Mutant, planted};
use headwater_cluster::{
    Acquired, Claimant, Incarnation, Lease, LeaseLost, LeaseStamp, Member, MemberState, NodeId,
    ProtocolRange, Renewal, acquire, hand_over, release, renew,
};
use headwater_storage::retry::Retry;
use headwater_storage::tuple::{self, Element};
use headwater_storage::{KeyRange, RangeRead, ReadMode, StoreError, Transaction, codec};
use serde::{Deserialize, Serialize};

use crate::mutants::Mutant::EpochNotCompared;
use crate::runtime::Runtime;

const HOLDER_RECORD: u8 = 1;
const EXPIRY_RECORD: u8 = 1;
const VIEW_RECORD: u8 = 1;
/// Leases renewed in one transaction.
const RENEWED_TOGETHER: usize = 256;

#[derive(Serialize, Deserialize)]
struct HolderRecord {
    node: String,
    incarnation: u64,
    epoch: u64,
}

/// Key: `("lease", "holder", key)`.
fn holder_key(key: &[u8]) -> Vec<u8> {
    tuple::pack(&["lease".into(), "holder".into(), key.into()])
}

/// Key: `("lease", "expires", key)`; the value is ms since 1970.
fn expiry_key(key: &[u8]) -> Vec<u8> {
    tuple::pack(&["lease".into(), "expires".into(), key.into()])
}

/// By what an owner's transaction proves that it may write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseProof {
    pub key: Vec<u8>,
    pub claimant: Claimant,
    pub epoch: u64,
}

/// Whether the store still says what the proof says. The read is part of the transaction, so a
/// lease that changes hands before the commit makes it conflict: the store is the receiver that
/// refuses a stale epoch.
///
/// # Errors
/// The store's.
pub async fn lease_stands(
    transaction: &mut dyn Transaction,
    proof: &LeaseProof,
) -> Result<bool, StoreError> {
    if planted(Mutant::LeaseNotChecked) {
        return Ok(true);
    }
    let row = transaction.get(&holder_key(&proof.key), ReadMode::Serializable).await?;
    let Some(row) = row else { return Ok(false) };
    let holder: HolderRecord = codec::decode(HOLDER_RECORD, &row)?;
    let LeaseProof { claimant, epoch, .. } = proof;
    Ok(holder.node == claimant.node.as_str()
        && holder.incarnation == claimant.incarnation.0
        && (holder.epoch == *epoch || crate::mutants::planted(EpochNotCompared)))
}

async fn read_lease(
    transaction: &mut dyn Transaction,
    key: &[u8],
) -> Result<Option<Lease>, StoreError> {
    let holder = transaction.get(&holder_key(key), ReadMode::Serializable).await?;
    let expiry = transaction.get(&expiry_key(key), ReadMode::Serializable).await?;
    let (Some(holder), Some(expiry)) = (holder, expiry) else { return Ok(None) };
    lease_of(key, &holder, &expiry).map(Some)
}

fn lease_of(key: &[u8], holder: &[u8], expiry: &[u8]) -> Result<Lease, StoreError> {
    let HolderRecord { node, incarnation, epoch } = codec::decode(HOLDER_RECORD, holder)?;
    let expires_ms: u64 = codec::decode(EXPIRY_RECORD, expiry)?;
    let holder = Claimant { node: node_id(node)?, incarnation: Incarnation(incarnation) };
    Ok(Lease { key: key.to_vec(), holder, epoch, expires_ms })
}

fn node_id(name: String) -> Result<NodeId, StoreError> {
    NodeId::new(name).map_err(|problem| StoreError::Corrupt(problem.to_string()))
}

fn write_lease(transaction: &mut dyn Transaction, lease: &Lease) -> Result<(), StoreError> {
    write_expiry(transaction, lease)?;
    let holder = HolderRecord {
        node: lease.holder.node.as_str().to_owned(),
        incarnation: lease.holder.incarnation.0,
        epoch: lease.epoch,
    };
    transaction.set(&holder_key(&lease.key), &codec::encode(HOLDER_RECORD, &holder)?)
}

fn write_expiry(transaction: &mut dyn Transaction, lease: &Lease) -> Result<(), StoreError> {
    transaction.set(&expiry_key(&lease.key), &codec::encode(EXPIRY_RECORD, &lease.expires_ms)?)
}

/// Claims a key. A repetition after a commit with an unknown result finds the claimant itself
/// and grants anew, with the next epoch.
pub(super) async fn acquire_lease(
    retry: &Retry,
    key: &[u8],
    claimant: &Claimant,
    stood: Option<LeaseStamp>,
    runtime: &Runtime,
    ttl_ms: u64,
) -> Result<Acquired, StoreError> {
    retry
        .write_idempotent(|transaction| {
            let (key, claimant, runtime) = (key.to_vec(), claimant.clone(), runtime.clone());
            Box::pin(async move {
                let existing = read_lease(transaction, &key).await?;
                let now_ms = runtime.wall_ms();
                let outcome = acquire(existing.as_ref(), &key, &claimant, stood, now_ms, ttl_ms);
                if let Acquired::Granted(lease) = &outcome {
                    write_lease(transaction, lease)?;
                }
                Ok(outcome)
            })
        })
        .await
}

/// Renews all of these, so many in one transaction, and reads them by range: a node may own
/// thousands, and a question to the store for each would outlast the leases.
pub(super) async fn renew_leases(
    retry: &Retry,
    leases: &[Lease],
    runtime: &Runtime,
    ttl_ms: u64,
) -> Result<Vec<Renewal>, StoreError> {
    let mut sorted = leases.to_vec();
    sorted.sort_by(|left, right| left.key.cmp(&right.key));
    let mut renewals = Vec::with_capacity(sorted.len());
    for some in sorted.chunks(RENEWED_TOGETHER) {
        let renewed = retry
            .write_idempotent(|transaction| {
                let (mine, runtime) = (some.to_vec(), runtime.clone());
                Box::pin(async move { renew_some(transaction, mine, &runtime, ttl_ms).await })
            })
            .await?;
        renewals.extend(renewed);
    }
    Ok(renewals)
}

/// `leases` in order of key.
async fn renew_some(
    transaction: &mut dyn Transaction,
    leases: Vec<Lease>,
    runtime: &Runtime,
    ttl_ms: u64,
) -> Result<Vec<Renewal>, StoreError> {
    let (Some(first), Some(last)) = (leases.first(), leases.last()) else {
        return Ok(Vec::new());
    };
    let standing = read_leases(transaction, &first.key, &last.key).await?;
    let mut renewals = Vec::with_capacity(leases.len());
    for mine in leases {
        // What stands between them is others' business; only these rows must not change.
        for row in [holder_key(&mine.key), expiry_key(&mine.key)] {
            transaction.add_read_conflict(&KeyRange::of_key(&row))?;
        }
        let outcome = match standing.get(&mine.key) {
            Some(existing) => renew(existing, &mine, runtime.wall_ms(), ttl_ms),
            None => Err(LeaseLost::Expired { ago_ms: 0 }),
        };
        if let Ok(lease) = &outcome {
            write_expiry(transaction, lease)?;
            if planted(Mutant::LostLeaseRenewed) {
                write_lease(transaction, &Lease { holder: mine.holder.clone(), ..lease.clone() })?;
            }
        }
        renewals.push((mine, outcome));
    }
    Ok(renewals)
}

/// Every lease from one key to another, both ends included, by two reads that conflict with
/// nobody.
async fn read_leases(
    transaction: &mut dyn Transaction,
    first: &[u8],
    last: &[u8],
) -> Result<BTreeMap<Vec<u8>, Lease>, StoreError> {
    let rows = |begin: Vec<u8>, end: Vec<u8>| {
        RangeRead::all(KeyRange::new(begin, KeyRange::of_key(&end).end)).snapshot()
    };
    let holders = transaction.range(rows(holder_key(first), holder_key(last))).await?;
    let expiries = transaction.range(rows(expiry_key(first), expiry_key(last))).await?;
    let mut by_key = BTreeMap::new();
    for (row_key, expiry) in expiries {
        by_key.insert(lease_key(&row_key)?, expiry);
    }
    let mut leases = BTreeMap::new();
    for (row_key, holder) in holders {
        let key = lease_key(&row_key)?;
        if let Some(expiry) = by_key.get(&key) {
            let lease = lease_of(&key, &holder, expiry)?;
            leases.insert(key, lease);
        }
    }
    Ok(leases)
}

/// The lease's own key in the key of one of its rows.
fn lease_key(row_key: &[u8]) -> Result<Vec<u8>, StoreError> {
    match tuple::unpack(row_key)?.pop() {
        Some(Element::Bytes(key)) => Ok(key),
        _ => Err(StoreError::Corrupt("a lease's key".to_owned())),
    }
}

/// Gives a lease up; that somebody else has it by now is as good.
pub(super) async fn release_lease(
    retry: &Retry,
    mine: &Lease,
    runtime: &Runtime,
) -> Result<(), StoreError> {
    retry
        .write_idempotent(|transaction| {
            let (mine, runtime) = (mine.clone(), runtime.clone());
            Box::pin(async move {
                let Some(existing) = read_lease(transaction, &mine.key).await? else {
                    return Ok(());
                };
                if let Ok(lease) = release(&existing, &mine, runtime.wall_ms()) {
                    write_expiry(transaction, &lease)?;
                }
                Ok(())
            })
        })
        .await
}

/// Gives a lease to the heir. False when it was no longer this node's to give.
pub(super) async fn hand_over_lease(
    retry: &Retry,
    mine: &Lease,
    heir: &Claimant,
    runtime: &Runtime,
    ttl_ms: u64,
) -> Result<bool, StoreError> {
    retry
        .write_idempotent(|transaction| {
            let (mine, heir, runtime) = (mine.clone(), heir.clone(), runtime.clone());
            Box::pin(async move {
                let Some(existing) = read_lease(transaction, &mine.key).await? else {
                    return Ok(false);
                };
                if existing.holder == heir && existing.epoch == mine.epoch + 1 {
                    // An earlier try whose result was not known.
                    return Ok(true);
                }
                let Ok(lease) =
                    hand_over(&existing, &mine, heir.clone(), runtime.wall_ms(), ttl_ms)
                else {
                    return Ok(false);
                };
                write_lease(transaction, &lease)?;
                Ok(true)
            })
        })
        .await
}

/// One lease as it stands in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseRow {
    pub key: Vec<u8>,
    pub holder: Claimant,
    pub epoch: u64,
    /// Ms since 1970.
    pub expires_ms: u64,
}

/// Every lease by key, those that ran out included.
///
/// # Errors
/// The store's.
pub async fn all_leases(retry: &Retry) -> Result<Vec<LeaseRow>, StoreError> {
    let leases = retry
        .read(|transaction| {
            // No key of a lease begins with 0xff.
            Box::pin(async move { read_leases(transaction, &[], &[0xff]).await })
        })
        .await?;
    let row =
        |Lease { key, holder, epoch, expires_ms }| LeaseRow { key, holder, epoch, expires_ms };
    Ok(leases.into_values().map(row).collect())
}

#[derive(Serialize, Deserialize)]
struct MemberRecord {
    node: String,
    incarnation: u64,
    state: u8,
    revision: u64,
    address: String,
    capacity: u32,
    load: u32,
    offers: Vec<String>,
    oldest: u16,
    newest: u16,
}

/// A view as bytes for another node.
pub(super) fn encode_view<'a>(
    members: impl Iterator<Item = &'a Member>,
) -> Result<Vec<u8>, StoreError> {
    let record = |member: &Member| MemberRecord {
        node: member.node.as_str().to_owned(),
        incarnation: member.incarnation.0,
        state: match member.state {
            MemberState::Alive => 0,
            MemberState::Draining => 1,
            MemberState::Left => 2,
        },
        revision: member.revision,
        address: member.address.clone(),
        capacity: member.capacity,
        load: member.load,
        offers: member.offers.iter().cloned().collect(),
        oldest: member.versions.oldest,
        newest: member.versions.newest,
    };
    codec::encode(VIEW_RECORD, &members.map(record).collect::<Vec<_>>())
}

/// A view from another node.
pub(super) fn decode_view(bytes: &[u8]) -> Result<Vec<Member>, StoreError> {
    let records: Vec<MemberRecord> = codec::decode(VIEW_RECORD, bytes)?;
    let member = |record: MemberRecord| {
        Ok(Member {
            node: node_id(record.node)?,
            incarnation: Incarnation(record.incarnation),
            state: match record.state {
                0 => MemberState::Alive,
                1 => MemberState::Draining,
                _ => MemberState::Left,
            },
            revision: record.revision,
            address: record.address,
            capacity: record.capacity,
            load: record.load,
            offers: record.offers.into_iter().collect(),
            versions: ProtocolRange { oldest: record.oldest, newest: record.newest },
        })
    };
    records.into_iter().map(member).collect()
}
