//! One node's leases: which to acquire, when to renew, and when its holder must have stopped.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use crate::lease::{Acquired, Claimant, Lease, LeaseLost, LeaseStamp};
use crate::member::NodeId;
use crate::mutants::{Mutant, planted};

/// Most rows of others that are watched; above it all are watched anew.
const SEEN_MAX: usize = 100_000;
/// How much sooner a renewal is tried again when the store did not answer.
const RETRIES_PER_RENEWAL: u64 = 4;

/// How long leases run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeeperSettings {
    /// From a grant to its end, in ms.
    pub ttl_ms: u64,
    /// The most by which two nodes' clocks differ, in ms.
    pub max_skew_ms: u64,
    /// From one renewal to the next, in ms.
    pub renew_ms: u64,
}

impl Default for KeeperSettings {
    fn default() -> Self {
        KeeperSettings { ttl_ms: 3_000, max_skew_ms: 500, renew_ms: 1_000 }
    }
}

/// What the shell is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeeperEffect {
    /// Claim the row of this key; tell [`Keeper::acquired`]. `stood` is the row that has not
    /// changed for longer than a lease lasts.
    Acquire { key: Vec<u8>, stood: Option<LeaseStamp> },
    /// Renew these rows in one transaction; tell [`Keeper::renewed`].
    Renew { leases: Vec<Lease> },
    /// Give this row up, without waiting for the outcome: the next claimant would wait longer.
    Release { lease: Lease },
    /// Give this row to `heir`; tell the heir when it is done.
    HandOver { lease: Lease, heir: Claimant },
    /// This node owns the key from now on.
    Granted { key: Vec<u8>, epoch: u64 },
    /// Somebody else owns it, for so long yet at least unless it renews.
    Held { key: Vec<u8>, by: NodeId, remaining_ms: u64 },
    /// The store did not answer.
    Unknown { key: Vec<u8> },
    /// This node no longer owns the key: stop before anything else.
    Lost { key: Vec<u8>, epoch: u64 },
}

/// What a renewal came to, for one lease.
pub type Renewal = (Lease, Result<Lease, LeaseLost>);

#[derive(Debug)]
struct Held {
    lease: Lease,
    /// When the holder stops by itself; monotonic ms.
    stop_ms: u64,
}

/// See the module. Times are this node's monotonic clock in ms, which runs at the same speed as
/// the others' but starts anywhere.
#[derive(Debug)]
pub struct Keeper {
    settings: KeeperSettings,
    held: BTreeMap<Vec<u8>, Held>,
    /// Keys whose row is being claimed, with the time of the question.
    claiming: BTreeMap<Vec<u8>, u64>,
    /// Rows that others hold, and since when each has stood as it is.
    seen: BTreeMap<Vec<u8>, (LeaseStamp, u64)>,
    /// When the renewal under way was asked for.
    renewing_since_ms: Option<u64>,
    next_renewal_ms: u64,
}

impl Keeper {
    pub fn new(settings: KeeperSettings) -> Keeper {
        Keeper {
            settings,
            held: BTreeMap::new(),
            claiming: BTreeMap::new(),
            seen: BTreeMap::new(),
            renewing_since_ms: None,
            next_renewal_ms: 0,
        }
    }

    /// Somebody wants this node to own the key.
    pub fn want(&mut self, key: &[u8], now_ms: u64, effects: &mut Vec<KeeperEffect>) {
        if let Some(epoch) = self.epoch(key, now_ms) {
            effects.push(KeeperEffect::Granted { key: key.to_vec(), epoch });
        } else if !self.claiming.contains_key(key) {
            self.claiming.insert(key.to_vec(), now_ms);
            let stood = self.stood(key, now_ms);
            effects.push(KeeperEffect::Acquire { key: key.to_vec(), stood });
        }
    }

    /// The row of this key, if it has stood unchanged for longer than any lease lasts.
    fn stood(&self, key: &[u8], now_ms: u64) -> Option<LeaseStamp> {
        let KeeperSettings { ttl_ms, max_skew_ms, .. } = self.settings;
        let (stamp, since_ms) = self.seen.get(key)?;
        (now_ms.saturating_sub(*since_ms) >= ttl_ms.saturating_add(max_skew_ms)).then_some(*stamp)
    }

    /// What a claim came to; `None` when the store did not say.
    pub fn acquired(
        &mut self,
        key: &[u8],
        outcome: Option<Acquired>,
        now_ms: u64,
        effects: &mut Vec<KeeperEffect>,
    ) {
        let Some(asked_ms) = self.claiming.remove(key) else { return };
        let key = key.to_vec();
        effects.push(match outcome {
            None => KeeperEffect::Unknown { key },
            Some(Acquired::Held { by, remaining_ms, stamp }) => {
                if self.seen.len() >= SEEN_MAX && !self.seen.contains_key(&key) {
                    self.seen.clear();
                }
                // Seen at the answer, so that the row has stood at least since then.
                let known = self.seen.get(&key).is_some_and(|(known, _)| *known == stamp);
                if !known {
                    self.seen.insert(key.clone(), (stamp, now_ms));
                }
                KeeperEffect::Held { key, by, remaining_ms }
            }
            Some(Acquired::Granted(lease)) => {
                self.seen.remove(&key);
                let stop_ms = self.stop_ms(asked_ms, now_ms);
                if now_ms >= stop_ms {
                    // The answer took longer than the lease lasts.
                    effects.push(KeeperEffect::Release { lease });
                    effects.push(KeeperEffect::Unknown { key });
                    return;
                }
                let epoch = lease.epoch;
                self.held.insert(key.clone(), Held { lease, stop_ms });
                KeeperEffect::Granted { key, epoch }
            }
        });
    }

    /// What a renewal came to; `None` when the store did not say.
    pub fn renewed(
        &mut self,
        outcome: Option<Vec<Renewal>>,
        now_ms: u64,
        effects: &mut Vec<KeeperEffect>,
    ) {
        let Some(asked_ms) = self.renewing_since_ms.take() else { return };
        let stop_ms = self.stop_ms(asked_ms, now_ms);
        if outcome.is_none() {
            let soon_ms = now_ms.saturating_add(self.settings.renew_ms / RETRIES_PER_RENEWAL);
            self.next_renewal_ms = self.next_renewal_ms.min(soon_ms);
        }
        for (mine, renewal) in outcome.into_iter().flatten() {
            let Some(held) = self.held.get_mut(&mine.key) else { continue };
            if held.lease.epoch != mine.epoch {
                continue;
            }
            match renewal {
                Ok(lease) => {
                    held.lease = lease;
                    held.stop_ms = held.stop_ms.max(stop_ms);
                }
                Err(_) => self.lose(&mine.key, effects),
            }
        }
    }

    /// Does what is due by now, and says when to come again.
    pub fn wake(&mut self, now_ms: u64, effects: &mut Vec<KeeperEffect>) -> Option<u64> {
        let over = |(key, held): (&Vec<u8>, &Held)| (now_ms >= held.stop_ms).then(|| key.clone());
        let over: Vec<Vec<u8>> = self.held.iter().filter_map(over).collect();
        for key in over {
            self.lose(&key, effects);
        }
        if now_ms >= self.next_renewal_ms && self.renewing_since_ms.is_none() {
            self.next_renewal_ms = now_ms.saturating_add(self.settings.renew_ms);
            let leases: Vec<Lease> = self.held.values().map(|held| held.lease.clone()).collect();
            if !leases.is_empty() {
                self.renewing_since_ms = Some(now_ms);
                effects.push(KeeperEffect::Renew { leases });
            }
        }
        let stop = self.held.values().map(|held| held.stop_ms).min();
        let renewal = (!self.held.is_empty()).then_some(self.next_renewal_ms.max(now_ms + 1));
        [stop, renewal].into_iter().flatten().min()
    }

    /// Stops owning the key and lets others have it at once.
    pub fn release(&mut self, key: &[u8], effects: &mut Vec<KeeperEffect>) {
        let Some(lease) = self.held.get(key).map(|held| held.lease.clone()) else { return };
        self.lose(key, effects);
        effects.push(KeeperEffect::Release { lease });
    }

    /// Stops owning the key and gives it to `heir`.
    pub fn hand_over(&mut self, key: &[u8], heir: Claimant, effects: &mut Vec<KeeperEffect>) {
        let Some(lease) = self.held.get(key).map(|held| held.lease.clone()) else { return };
        if !planted(Mutant::HandOverKeepsServing) {
            self.lose(key, effects);
        }
        effects.push(KeeperEffect::HandOver { lease, heir });
    }

    /// This node's epoch for the key, if it owns it now.
    pub fn epoch(&self, key: &[u8], now_ms: u64) -> Option<u64> {
        let held = self.held.get(key).filter(|held| now_ms < held.stop_ms);
        held.map(|held| held.lease.epoch)
    }

    /// Every key that this node owns now, with its epoch and the ms that it may yet go on.
    pub fn holdings(&self, now_ms: u64) -> impl Iterator<Item = (&[u8], u64, u64)> {
        let held = self.held.iter().filter(move |(_, held)| now_ms < held.stop_ms);
        held.map(move |(key, held)| (key.as_slice(), held.lease.epoch, held.stop_ms - now_ms))
    }

    fn lose(&mut self, key: &[u8], effects: &mut Vec<KeeperEffect>) {
        if let Some(held) = self.held.remove(key) {
            effects.push(KeeperEffect::Lost { key: key.to_vec(), epoch: held.lease.epoch });
        }
    }

    /// The row's time counts from after the question was asked, so counting from the question
    /// is never too long.
    fn stop_ms(&self, asked_ms: u64, answered_ms: u64) -> u64 {
        let KeeperSettings { ttl_ms, max_skew_ms, .. } = self.settings;
        let margin_ms = if planted(Mutant::SkewIgnored) { 0 } else { max_skew_ms };
        let from_ms = if planted(Mutant::TimeFromAnswer) { answered_ms } else { asked_ms };
        from_ms.saturating_add(ttl_ms.saturating_sub(margin_ms))
    }
}
