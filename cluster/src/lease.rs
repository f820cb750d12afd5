//! Who owns a key: the rules over one lease row, which the store compares and swaps.
//!
//! A claimant may take a row once its own clock reads `expires_ms`. A holder stops `max_skew_ms`
//! earlier on its own clock. While no two clocks differ by more than `max_skew_ms`, the holder has
//! stopped before another is granted. The row is never deleted: its epoch must keep growing.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use crate::member::{Incarnation, NodeId};
use crate::mutants::{Mutant, planted};

/// The row of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    pub key: Vec<u8>,
    pub holder: Claimant,
    /// Grows with every grant. Each side effect of the holder carries it, and the receiver
    /// refuses a stale one ([`Fence`]).
    pub epoch: u64,
    /// Milliseconds on the clock that the nodes share within the skew allowed.
    pub expires_ms: u64,
}

/// One start of one node, as an owner: a restarted node is another claimant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claimant {
    pub node: NodeId,
    pub incarnation: Incarnation,
}

/// The answer to a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Acquired {
    /// Write this row where the row read still stands; the lease counts from that commit.
    Granted(Lease),
    /// Somebody else's lease runs for `remaining_ms` yet, on the claimant's clock. `stamp` says
    /// which row was read.
    Held { by: NodeId, remaining_ms: u64, stamp: LeaseStamp },
}

/// Tells one state of a lease's row from every other: each grant and each renewal changes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseStamp {
    pub epoch: u64,
    pub expires_ms: u64,
}

/// Why a lease cannot be changed by the one who asked; the claimant stops and acquires anew.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LeaseLost {
    #[error("the lease is held by {by} with epoch {epoch}; stop and acquire it anew")]
    Taken { by: NodeId, epoch: u64 },
    #[error("the lease ran out {ago_ms} ms ago; stop and acquire it anew")]
    Expired { ago_ms: u64 },
}

/// Claims `key` over the row that stands in the store, if one does.
///
/// A suspicion that the holder is dead never grants: only its time running out, its release, the
/// claimant being the holder itself (a retry of a commit with an unknown result), or the row
/// having stood as `stood` says for longer than a lease lasts, by the claimant's own monotonic
/// clock. The last one needs no clock that the nodes share: it ends a lease that was stamped by a
/// clock far ahead, which no other clock would ever call over.
pub fn acquire(
    existing: Option<&Lease>,
    key: &[u8],
    claimant: &Claimant,
    stood: Option<LeaseStamp>,
    now_ms: u64,
    ttl_ms: u64,
) -> Acquired {
    let stamp = |lease: &Lease| LeaseStamp { epoch: lease.epoch, expires_ms: lease.expires_ms };
    let epoch = match existing {
        Some(lease)
            if lease.expires_ms > now_ms
                && lease.holder != *claimant
                && stood != Some(stamp(lease))
                && !planted(Mutant::RunningLeaseGranted) =>
        {
            let remaining_ms = lease.expires_ms - now_ms;
            let by = lease.holder.node.clone();
            return Acquired::Held { by, remaining_ms, stamp: stamp(lease) };
        }
        Some(lease) if planted(Mutant::EpochReused) => lease.epoch,
        Some(lease) => lease.epoch.saturating_add(1),
        None => 1,
    };
    let (key, holder) = (key.to_vec(), claimant.clone());
    Acquired::Granted(Lease { key, holder, epoch, expires_ms: now_ms.saturating_add(ttl_ms) })
}

/// Lengthens the lease `mine`, if the row in the store is still it. The row changes in any case,
/// even where the holder's clock was set back: others see that its holder lives.
///
/// # Errors
/// [`LeaseLost`] when another holds the row or its time ran out.
pub fn renew(existing: &Lease, mine: &Lease, now_ms: u64, ttl_ms: u64) -> Result<Lease, LeaseLost> {
    still_mine(existing, mine, now_ms)?;
    let later_ms = existing.expires_ms.saturating_add(1);
    let expires_ms = later_ms.max(now_ms.saturating_add(ttl_ms));
    Ok(Lease { expires_ms, ..existing.clone() })
}

/// Gives the lease `mine` up, so that the next claimant need not wait. The holder has stopped
/// before it writes this row.
///
/// # Errors
/// [`LeaseLost`] when another holds the row or its time ran out.
pub fn release(existing: &Lease, mine: &Lease, now_ms: u64) -> Result<Lease, LeaseLost> {
    still_mine(existing, mine, now_ms)?;
    Ok(Lease { expires_ms: 0, ..existing.clone() })
}

/// Gives the lease `mine` to `heir` with the next epoch. The holder has stopped before it writes
/// this row; the heir starts once it reads it.
///
/// # Errors
/// [`LeaseLost`] when another holds the row or its time ran out.
pub fn hand_over(
    existing: &Lease,
    mine: &Lease,
    heir: Claimant,
    now_ms: u64,
    ttl_ms: u64,
) -> Result<Lease, LeaseLost> {
    still_mine(existing, mine, now_ms)?;
    let epoch = existing.epoch.saturating_add(1);
    let expires_ms = now_ms.saturating_add(ttl_ms);
    Ok(Lease { holder: heir, epoch, expires_ms, ..existing.clone() })
}

/// Whether the holder must have stopped by now, on its own clock.
pub fn holder_must_stop(lease: &Lease, now_ms: u64, max_skew_ms: u64) -> bool {
    let margin_ms = if planted(Mutant::SkewIgnored) { 0 } else { max_skew_ms };
    now_ms.saturating_add(margin_ms) >= lease.expires_ms
}

fn still_mine(existing: &Lease, mine: &Lease, now_ms: u64) -> Result<(), LeaseLost> {
    if planted(Mutant::LostLeaseRenewed) {
        return Ok(());
    }
    if existing.holder != mine.holder || existing.epoch != mine.epoch {
        let (by, epoch) = (existing.holder.node.clone(), existing.epoch);
        return Err(LeaseLost::Taken { by, epoch });
    }
    match now_ms.checked_sub(existing.expires_ms) {
        Some(ago_ms) => Err(LeaseLost::Expired { ago_ms }),
        None => Ok(()),
    }
}

/// The receiver's side: the highest epoch that it met for each key. One entry a key.
#[derive(Clone, Debug, Default)]
pub struct Fence {
    highest: BTreeMap<Vec<u8>, u64>,
}

/// A side effect of an owner that has been replaced.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("epoch {given} is stale, epoch {highest} was met; the sender must stop and acquire anew")]
pub struct StaleEpoch {
    pub given: u64,
    pub highest: u64,
}

impl Fence {
    /// Admits a side effect that carries `epoch`, unless a higher one was met for `key`.
    ///
    /// # Errors
    /// [`StaleEpoch`]: the effect must not be applied.
    pub fn admit(&mut self, key: &[u8], epoch: u64) -> Result<(), StaleEpoch> {
        match self.highest.get_mut(key) {
            Some(highest) if *highest > epoch && !planted(Mutant::StaleEpochAdmitted) => {
                return Err(StaleEpoch { given: epoch, highest: *highest });
            }
            Some(highest) => *highest = epoch,
            None => _ = self.highest.insert(key.to_vec(), epoch),
        }
        Ok(())
    }
}
