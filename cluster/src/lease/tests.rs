//! Each rule by example, and that no two holders act at once however the clocks differ.

use proptest::prelude::{Strategy, prop_oneof};
use proptest::{collection, prop_assert, proptest};

use super::{
    Acquired, Claimant, Fence, Lease, LeaseLost, LeaseStamp, StaleEpoch, acquire, hand_over,
    holder_must_stop, release, renew,
};
use crate::member::{Incarnation, NodeId};

const KEY: &[u8] = b"tenant/1";
const TTL_MS: u64 = 1000;

fn claimant(node: &str, incarnation: u64) -> Claimant {
    Claimant { node: NodeId::new(node).unwrap(), incarnation: Incarnation(incarnation) }
}

fn lease(node: &str, epoch: u64, expires_ms: u64) -> Lease {
    Lease { key: KEY.to_vec(), holder: claimant(node, 1), epoch, expires_ms }
}

#[test]
fn who_may_acquire() {
    let held = lease("a", 7, 5000);
    let granted = |node, epoch, expires_ms| Acquired::Granted(lease(node, epoch, expires_ms));
    let stamp = LeaseStamp { epoch: 7, expires_ms: 5000 };
    let by = || held.holder.node.clone();
    let refused = |remaining_ms| Acquired::Held { by: by(), remaining_ms, stamp };
    for (existing, node, now_ms, expected) in [
        (None, "b", 10, granted("b", 1, 1010)),
        (Some(&held), "b", 4999, refused(1)),
        (Some(&held), "b", 5000, granted("b", 8, 6000)),
        (Some(&held), "b", 0, refused(5000)),
        (Some(&held), "a", 3000, granted("a", 8, 4000)),
        (Some(&held), "b", u64::MAX, granted("b", 8, u64::MAX)),
    ] {
        let acquired = acquire(existing, KEY, &claimant(node, 1), None, now_ms, TTL_MS);
        assert_eq!(acquired, expected, "{node} at {now_ms}");
    }
    let restarted = acquire(Some(&held), KEY, &claimant("a", 2), None, 4000, TTL_MS);
    assert_eq!(restarted, refused(1000), "a restarted node waits like any other");
    let stood = |stamp| acquire(Some(&held), KEY, &claimant("b", 1), Some(stamp), 4000, TTL_MS);
    assert_eq!(stood(stamp), granted("b", 8, 5000), "its row stood for too long");
    assert_eq!(stood(LeaseStamp { expires_ms: 4999, ..stamp }), refused(1000), "it was renewed");
}

#[test]
fn only_the_holder_changes_its_lease() {
    let mine = lease("a", 7, 5000);
    let heir = claimant("b", 1);
    let taken = |node: &str, epoch| Err(LeaseLost::Taken { by: NodeId::new(node).unwrap(), epoch });
    let mut restarted = mine.clone();
    restarted.holder.incarnation = Incarnation(2);
    for (existing, now_ms, expected) in [
        (lease("a", 7, 5000), 4999, Ok(())),
        (lease("a", 7, 5000), 5000, Err(LeaseLost::Expired { ago_ms: 0 })),
        (lease("a", 7, 5000), 5200, Err(LeaseLost::Expired { ago_ms: 200 })),
        (lease("a", 8, 5000), 4000, taken("a", 8)),
        (lease("b", 7, 5000), 4000, taken("b", 7)),
        (restarted, 4000, taken("a", 7)),
    ] {
        let renewed = renew(&existing, &mine, now_ms, TTL_MS);
        let released = release(&existing, &mine, now_ms);
        let given = hand_over(&existing, &mine, heir.clone(), now_ms, TTL_MS);
        let want = |row: Lease| expected.clone().map(|()| row);
        assert_eq!(renewed, want(lease("a", 7, 5999)), "renew of {existing:?}");
        assert_eq!(released, want(lease("a", 7, 0)), "release of {existing:?}");
        assert_eq!(given, want(lease("b", 8, 5999)), "hand over of {existing:?}");
    }
    let renewed = renew(&mine, &mine, 100, TTL_MS);
    assert_eq!(renewed, Ok(lease("a", 7, 5001)), "a renewal never shortens, and always shows");
}

#[test]
fn a_holder_stops_one_skew_early() {
    let mine = lease("a", 1, 5000);
    for (now_ms, max_skew_ms, must_stop) in
        [(4899, 100, false), (4900, 100, true), (4999, 0, false), (5000, 0, true), (0, 5000, true)]
    {
        assert_eq!(holder_must_stop(&mine, now_ms, max_skew_ms), must_stop, "{now_ms}");
    }
    assert!(holder_must_stop(&mine, u64::MAX, 100));
}

#[test]
fn a_fence_refuses_what_is_older_than_what_it_met() {
    let mut fence = Fence::default();
    for (key, epoch, expected) in [
        (KEY, 3, Ok(())),
        (KEY, 3, Ok(())),
        (KEY, 2, Err(StaleEpoch { given: 2, highest: 3 })),
        (b"tenant/2", 1, Ok(())),
        (KEY, 5, Ok(())),
        (KEY, 3, Err(StaleEpoch { given: 3, highest: 5 })),
        (KEY, 5, Ok(())),
    ] {
        assert_eq!(fence.admit(key, epoch), expected, "epoch {epoch}");
    }
}

const NODES: usize = 3;
const MAX_SKEW_MS: u64 = 50;

#[derive(Clone, Debug)]
enum Step {
    Wait { ms: u64 },
    Acquire { node: usize },
    Renew { node: usize },
    Release { node: usize },
    HandOver { node: usize, heir: usize },
}

fn any_step() -> impl Strategy<Value = Step> {
    let node = || 0..NODES;
    prop_oneof![
        4 => (0..120u64).prop_map(|ms| Step::Wait { ms }),
        4 => node().prop_map(|node| Step::Acquire { node }),
        3 => node().prop_map(|node| Step::Renew { node }),
        1 => node().prop_map(|node| Step::Release { node }),
        1 => (node(), node()).prop_map(|(node, heir)| Step::HandOver { node, heir }),
    ]
}

/// One row in a store, and what each node believes that it holds.
struct World {
    true_ms: u64,
    /// How far each node's clock runs ahead of the slowest that is allowed.
    ahead_ms: [u64; NODES],
    row: Option<Lease>,
    beliefs: [Option<Lease>; NODES],
    highest_epoch: u64,
}

impl World {
    fn now_ms(&self, node: usize) -> u64 {
        self.true_ms + self.ahead_ms[node]
    }

    fn node(node: usize) -> Claimant {
        claimant(["a", "b", "c"][node], 1)
    }

    /// Commits a grant to `node`; false when its epoch did not grow.
    fn grant(&mut self, node: usize, granted: Lease) -> bool {
        let grew = granted.epoch > self.highest_epoch;
        self.highest_epoch = granted.epoch;
        self.row = Some(granted.clone());
        self.beliefs[node] = Some(granted);
        grew
    }

    fn apply(&mut self, step: &Step) -> bool {
        const TTL_MS: u64 = 200;
        match *step {
            Step::Wait { ms } => self.true_ms += ms,
            Step::Acquire { node } => {
                let now_ms = self.now_ms(node);
                let answer =
                    acquire(self.row.as_ref(), KEY, &Self::node(node), None, now_ms, TTL_MS);
                if let Acquired::Granted(granted) = answer {
                    return self.grant(node, granted);
                }
            }
            Step::Renew { node } | Step::Release { node } | Step::HandOver { node, .. } => {
                let (Some(row), Some(mine)) = (self.row.clone(), self.beliefs[node].clone()) else {
                    return true;
                };
                let now_ms = self.now_ms(node);
                match *step {
                    Step::HandOver { heir, .. } => {
                        let next = Self::node(heir);
                        if let Ok(given) = hand_over(&row, &mine, next, now_ms, TTL_MS) {
                            self.beliefs[node] = None;
                            return self.grant(heir, given);
                        }
                    }
                    Step::Release { .. } => {
                        if let Ok(released) = release(&row, &mine, now_ms) {
                            (self.row, self.beliefs[node]) = (Some(released), None);
                        }
                    }
                    _ => match renew(&row, &mine, now_ms, TTL_MS) {
                        Ok(longer) => {
                            (self.row, self.beliefs[node]) = (Some(longer.clone()), Some(longer));
                        }
                        Err(_) => self.beliefs[node] = None,
                    },
                }
            }
        }
        true
    }

    fn acting(&self) -> Vec<usize> {
        let acts = |node: &usize| {
            let belief = self.beliefs[*node].as_ref();
            belief.is_some_and(|mine| !holder_must_stop(mine, self.now_ms(*node), MAX_SKEW_MS))
        };
        (0..NODES).filter(acts).collect()
    }
}

proptest! {
    #[test]
    fn two_holders_never_act_at_once_and_epochs_grow(
        ahead_ms in [0..=MAX_SKEW_MS, 0..=MAX_SKEW_MS, 0..=MAX_SKEW_MS],
        steps in collection::vec(any_step(), 1..80),
    ) {
        let mut world = World {
            true_ms: 0,
            ahead_ms,
            row: None,
            beliefs: [const { None }; NODES],
            highest_epoch: 0,
        };
        for step in &steps {
            prop_assert!(world.apply(step), "{step:?}: the epoch did not grow");
            let acting = world.acting();
            prop_assert!(acting.len() <= 1, "{step:?}: nodes {acting:?} act at once");
        }
    }
}
