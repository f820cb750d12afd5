//! What is looked at all the time: who owns what, and who waits.

use std::collections::BTreeMap;

use headwater_actors::tenancy::tenant_key;

use super::client::Crowd;
use super::receiver::slot_keys;

/// Nobody waits longer for an admission, in ms: several asks that each wait out a silent owner,
/// and a process that stood still.
const LONGEST_WAIT_MS: u64 = 60_000;
/// A key that nobody owned for so long changed hands by its lease's end, in ms.
const AT_ONCE_MS: u64 = 1_000;
const LOOK_MS: u64 = 5_000;

/// Who owned a key last, and when that was seen.
struct Last {
    life: u64,
    seen_ms: u64,
}

/// Watches the owners of all keys.
pub(super) struct OwnerWatch {
    crowd: Crowd,
    keys: Vec<Vec<u8>>,
    last: BTreeMap<Vec<u8>, Last>,
    broken: bool,
}

impl OwnerWatch {
    pub(super) fn new(crowd: &Crowd) -> OwnerWatch {
        let tenants = crowd.cluster.options.tenants.iter();
        let mut keys: Vec<Vec<u8>> = tenants.map(|tenant| tenant_key(&tenant.name)).collect();
        if crowd.cluster.options.slot_holders > 0 {
            keys.extend(slot_keys());
        }
        OwnerWatch { crowd: crowd.clone(), keys, last: BTreeMap::new(), broken: false }
    }

    /// Looks at this instant.
    pub(super) fn look(&mut self) {
        let world = &self.crowd.world;
        let now_ms = world.now_ms();
        let mut owned: Vec<(Vec<u8>, u64)> = Vec::new();
        self.crowd.cluster.each(|life| {
            for (key, _, _) in life.leases.holdings() {
                owned.push((key, life.number));
            }
        });
        for key in &self.keys {
            let mut owners = owned.iter().filter(|(of, _)| of == key).map(|(_, life)| *life);
            let Some(owner) = owners.next() else { continue };
            if let Some(other) = owners.next()
                && !self.broken
                && !self.crowd.cluster.options.clocks_jump()
            {
                self.broken = true;
                let key = String::from_utf8_lossy(key);
                let seen = format!("processes {owner} and {other} both own {key}");
                world.violated("one_owner_at_a_time", seen);
            }
            if let Some(last) = self.last.get(key).filter(|last| last.life != owner) {
                let at_once = now_ms - last.seen_ms < AT_ONCE_MS;
                world.count(if at_once {
                    "owner changed at once"
                } else {
                    "takeover after expiry"
                });
            }
            self.last.insert(key.clone(), Last { life: owner, seen_ms: now_ms });
        }
    }
}

/// Looks from time to time whether somebody waits too long.
pub(super) async fn watch_waiting(crowd: Crowd) {
    loop {
        crowd.world.sleep(LOOK_MS).await;
        let before_ms = crowd.world.now_ms().saturating_sub(LONGEST_WAIT_MS);
        if somebody_waits(&crowd, before_ms) {
            return;
        }
    }
}

/// Whether somebody waits for an admission since before this time.
pub(super) fn somebody_waits(crowd: &Crowd, before_ms: u64) -> bool {
    let mut waits = false;
    for life in crowd.cluster.lives() {
        for (tag, since_ms) in crowd.diary.waiting_since(life.number, before_ms) {
            waits = true;
            let seen = format!("request {tag} in process {} since {since_ms} ms", life.number);
            crowd.world.violated("nobody_waits_for_ever", seen);
        }
    }
    waits
}
