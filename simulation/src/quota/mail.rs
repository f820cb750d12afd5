//! Webhooks that lose, refuse and delay what they are sent, and what they must have been told in
//! the end: each threshold that a counter reached.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use headwater_actors::tenancy::{
    About, LimitTold, Messenger, NoticeHook, PendingNotice, pending_id,
};
use headwater_tenancy::{CounterKey, Limit, Unit, Window};

use crate::shared_store::Commit;
use crate::world::World;

/// As the owners of the quota workloads have them.
const THRESHOLDS: [u64; 3] = [50, 80, 100];
/// The second webhook's.
const TEAM: &str = "plain";

/// One threshold of one limit in one window, told by the window's end.
type Key = (String, Option<String>, Unit, Window, u64, u64);

/// The webhooks: one gets everything, the other one team's.
pub(super) fn hooks() -> Vec<NoticeHook> {
    let all = NoticeHook { id: "all".to_owned(), team: None };
    let some = NoticeHook { id: "some".to_owned(), team: Some(TEAM.to_owned()) };
    vec![all, some]
}

/// See the module; cheap to clone.
#[derive(Clone)]
pub(super) struct Mail {
    world: World,
    heal_ms: u64,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    expected: BTreeSet<Key>,
    /// How often each was told, by webhook.
    told: BTreeMap<(usize, Key), u64>,
    /// Ids that were written down.
    written: BTreeSet<String>,
}

impl Mail {
    pub(super) fn new(world: &World, heal_ms: u64) -> Mail {
        Mail { world: world.clone(), heal_ms, state: Arc::default() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counters that a commit raised: what they reach must be told.
    pub(super) fn awaits(&self, tenant: &str, limits: &[Limit], risen: &[(CounterKey, u64)]) {
        for (counter, taken) in risen.iter().filter(|(of, _)| of.window != Window::Minute) {
            let same = |limit: &&Limit| {
                limit.model == counter.model
                    && limit.unit == counter.unit
                    && limit.window == counter.window
            };
            let Some(limit) = limits.iter().find(same).filter(|limit| limit.amount > 0) else {
                continue;
            };
            let is_reached = |percent: &&u64| taken * 100 >= limit.amount * **percent;
            for percent in THRESHOLDS.iter().filter(is_reached) {
                let end_ms = counter.window.end_ms(counter.index);
                let (unit, window) = (counter.unit, counter.window);
                let key =
                    (tenant.to_owned(), counter.model.clone(), unit, window, end_ms, *percent);
                self.lock().expected.insert(key);
            }
        }
    }

    /// A notice is written down anew once.
    pub(super) fn see(&self, commit: &Commit<'_>) {
        for (key, value) in commit.writes {
            let (Some(id), Some(value)) = (pending_id(key), value) else { continue };
            let notice = PendingNotice::decode(value);
            let is_new = notice.is_ok_and(|notice| notice.taken_by.is_empty());
            if is_new && !self.lock().written.insert(id.clone()) {
                self.world.violated("a_notice_is_written_once", format_args!("{id} again"));
            }
        }
    }

    /// In the end every webhook knows what it should.
    pub(super) fn check(&self) {
        let state = self.lock();
        for key in &state.expected {
            let wants_some = key.0.split('/').next() == Some(TEAM);
            let wanting = if wants_some { 2 } else { 1 };
            for hook in 0..wanting {
                if !state.told.contains_key(&(hook, key.clone())) {
                    let seen = format!("webhook {hook} was never told of {key:?}");
                    self.world.violated("each_threshold_is_told_at_least_once", seen);
                }
            }
        }
    }
}

#[async_trait]
impl Messenger for Mail {
    async fn deliver(&self, hook: usize, notice: &PendingNotice) -> Result<(), String> {
        let world = &self.world;
        let is_bad = world.now_ms() < self.heal_ms;
        world.sleep(world.between(1, if is_bad { 3_000 } else { 200 })).await;
        if is_bad && world.percent(30) {
            world.count("notice not taken");
            return Err("it answered 503".to_owned());
        }
        let PendingNotice { subject, about, .. } = notice.clone();
        let About::Limit(LimitTold { limit, percent, resets_ms, .. }) = about else {
            return Ok(());
        };
        let Limit { model, unit, window, .. } = limit;
        let key = (subject, model, unit, window, resets_ms, u64::from(percent));
        let mut state = self.lock();
        let times = state.told.entry((hook, key)).or_default();
        *times += 1;
        let times = *times;
        drop(state);
        world.count("notice told");
        if times > 1 {
            world.count("notice told again");
        }
        // It was told, and the sender does not hear of it.
        match is_bad && world.percent(10) {
            true => Err("the answer was lost".to_owned()),
            false => Ok(()),
        }
    }
}
