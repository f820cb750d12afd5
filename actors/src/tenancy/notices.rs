//! Delivers notices: of limits that are being used up, and of prompts. Whoever finds something to
//! tell writes it as a row; the one node that
//! has the lease hands each to every webhook that wants it, and strikes it out once all have it.
//!
//! At least once: a row goes only after its delivery, and a node that dies in between leaves it to
//! the next one, which sends the same id again.

mod metrics;
mod pending;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use headwater_storage::retry::Retry;
use headwater_storage::{RangeRead, ReadMode, StoreError};
use headwater_tenancy::Subject;

use crate::cluster::{Claim, Leases};
use crate::mutants::{Mutant, planted};
use crate::runtime::Runtime;

pub use metrics::NoticeMetrics;
pub(crate) use pending::pending_key;
pub use pending::{About, EventTold, LimitTold, PendingNotice, pending_id};

/// Whoever has this lease delivers.
const LEASE: &[u8] = b"notices";
/// Rows of one page.
const PAGE_ROWS: usize = 200;

/// Where notices go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoticeHook {
    /// Names it in rows, for as long as it is the same place; it opens nothing.
    pub id: String,
    /// It gets the notices of this team alone.
    pub team: Option<String>,
}

/// Hands notices over.
#[async_trait]
pub trait Messenger: Send + Sync {
    /// Hands a notice to the hook of this place in the list.
    ///
    /// # Errors
    /// Why it was not taken, in words without a secret.
    async fn deliver(&self, hook: usize, notice: &PendingNotice) -> Result<(), String>;
}

/// How notices are delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoticeSettings {
    /// How often it is looked for new ones, in ms.
    pub look_ms: u64,
    /// Longest time for one delivery, in ms.
    pub patience_ms: u64,
    /// The pause after the first failure, in ms; each further one doubles it.
    pub first_pause_ms: u64,
    pub longest_pause_ms: u64,
    /// Most deliveries to one hook at a time.
    pub at_once: usize,
    /// After so long a notice that a hook never took is dropped, with an alert, in ms.
    pub kept_ms: u64,
}

impl Default for NoticeSettings {
    fn default() -> Self {
        NoticeSettings {
            look_ms: 1_000,
            patience_ms: 10_000,
            first_pause_ms: 1_000,
            longest_pause_ms: 300_000,
            at_once: 4,
            kept_ms: 7 * 24 * 60 * 60 * 1000,
        }
    }
}

/// The state of one notice and one hook; what a node forgets of it, the next one tries anew.
#[derive(Default)]
struct Try {
    failures: u32,
    again_ms: u64,
    in_flight: bool,
    /// It was taken, and is still to be struck out.
    sent: bool,
}

type Tries = BTreeMap<(String, usize), Try>;

/// See the module; cheap to clone.
#[derive(Clone)]
pub struct Notices {
    shared: Arc<Shared>,
}

struct Shared {
    runtime: Runtime,
    store: Retry,
    leases: Leases,
    hooks: Vec<NoticeHook>,
    messenger: Arc<dyn Messenger>,
    settings: NoticeSettings,
    metrics: NoticeMetrics,
    tries: Mutex<Tries>,
}

impl Notices {
    pub fn new(
        runtime: Runtime,
        store: Retry,
        leases: Leases,
        hooks: Vec<NoticeHook>,
        messenger: Arc<dyn Messenger>,
        settings: NoticeSettings,
        metrics: NoticeMetrics,
    ) -> Notices {
        let tries = Mutex::default();
        let shared = Shared { runtime, store, leases, hooks, messenger, settings, metrics, tries };
        Notices { shared: Arc::new(shared) }
    }

    /// Delivers until the node ends.
    pub async fn run(self) {
        let Shared { runtime, leases, settings, metrics, .. } = &*self.shared;
        loop {
            let is_mine = match leases.epoch(LEASE) {
                Some(_) => true,
                None => matches!(leases.claim(LEASE).await, Claim::Mine { .. }),
            };
            if !is_mine {
                metrics.pending(0);
            } else if let Err(error) = self.look().await {
                tracing::debug!(%error, "it was not read which notices are to be delivered");
            }
            runtime.pause(settings.look_ms).await;
        }
    }

    /// Looks at every notice that is not struck out.
    async fn look(&self) -> Result<(), StoreError> {
        let mut range = pending::all();
        let mut seen = Vec::new();
        loop {
            let read = RangeRead::all(range.clone()).limit(PAGE_ROWS).snapshot();
            let page = self.shared.store.read(|transaction| {
                let read = read.clone();
                Box::pin(async move { transaction.range(read).await })
            });
            let page = page.await?;
            let Some((last, _)) = page.last() else { break };
            range.begin = headwater_storage::KeyRange::of_key(last).end;
            for (_, row) in &page {
                let notice = PendingNotice::decode(row)?;
                seen.push(notice.id.clone());
                self.look_at(notice).await?;
            }
        }
        self.shared.metrics.pending(seen.len());
        seen.sort_unstable();
        self.lock().retain(|(id, _), one| one.in_flight || seen.binary_search(id).is_ok());
        Ok(())
    }

    async fn look_at(&self, notice: PendingNotice) -> Result<(), StoreError> {
        let Shared { runtime, settings, metrics, .. } = &*self.shared;
        let left = self.left(&notice);
        if left.is_empty() {
            return self.strike_out(&notice.id, None).await;
        }
        if runtime.wall_ms().saturating_sub(notice.at_ms) > settings.kept_ms {
            metrics.delivery("expired");
            let (id, subject) = (&notice.id, &notice.subject);
            tracing::error!(alert = "notice_expired", id, subject, "no webhook took a notice");
            return self.forget(id).await;
        }
        for hook in left {
            if self.begin(&notice.id, hook) {
                let (this, notice) = (self.clone(), notice.clone());
                runtime.spawn(async move { this.deliver(hook, notice).await });
            }
        }
        Ok(())
    }

    /// Hooks that want the notice and have not taken it.
    fn left(&self, notice: &PendingNotice) -> Vec<usize> {
        let team = Subject::named(&notice.subject).team();
        let hooks = self.shared.hooks.iter().enumerate();
        let wants = |hook: &NoticeHook| hook.team.as_deref().is_none_or(|only| only == team);
        let left = hooks.filter(|(_, hook)| wants(hook) && !notice.taken_by.contains(&hook.id));
        left.map(|(place, _)| place).collect()
    }

    /// Whether a delivery is due; it is under way from now on.
    fn begin(&self, id: &str, hook: usize) -> bool {
        let now_ms = self.shared.runtime.now_ms();
        let mut tries = self.lock();
        let busy = tries.iter().filter(|((_, to), one)| *to == hook && one.in_flight).count();
        let one = tries.entry((id.to_owned(), hook)).or_default();
        if one.in_flight || one.again_ms > now_ms || busy >= self.shared.settings.at_once {
            return false;
        }
        one.in_flight = true;
        true
    }

    async fn deliver(&self, hook: usize, notice: PendingNotice) {
        if planted(Mutant::StruckOutBeforeSent) {
            let _ = self.struck_out(&notice.id, hook).await;
        }
        let key = (notice.id.clone(), hook);
        let was_sent = self.lock().get(&key).is_some_and(|one| one.sent);
        let sent = was_sent || self.send(hook, &notice).await;
        let is_done = sent && self.struck_out(&notice.id, hook).await;
        let NoticeSettings { first_pause_ms, longest_pause_ms, .. } = self.shared.settings;
        let now_ms = self.shared.runtime.now_ms();
        let mut tries = self.lock();
        if is_done {
            tries.remove(&key);
            return;
        }
        let one = tries.entry(key).or_default();
        let doubled = first_pause_ms.saturating_mul(1 << one.failures.min(20));
        one.again_ms = now_ms.saturating_add(doubled.min(longest_pause_ms));
        one.failures = one.failures.saturating_add(1);
        (one.in_flight, one.sent) = (false, sent);
    }

    async fn send(&self, hook: usize, notice: &PendingNotice) -> bool {
        let Shared { runtime, settings, metrics, messenger, .. } = &*self.shared;
        let delivery = messenger.deliver(hook, notice);
        let outcome = runtime.within(settings.patience_ms, delivery).await;
        let late = || Err(format!("no answer within {} ms", settings.patience_ms));
        match outcome.unwrap_or_else(late) {
            Ok(()) => {
                metrics.delivery("delivered");
                true
            }
            Err(problem) => {
                metrics.delivery("failed");
                let id = &notice.id;
                tracing::warn!(hook, id, problem, "a webhook did not take a notice; trying again");
                false
            }
        }
    }

    /// Whether the store knows that this hook has it.
    async fn struck_out(&self, id: &str, hook: usize) -> bool {
        let Some(hook) = self.shared.hooks.get(hook) else { return true };
        self.strike_out(id, Some(hook.id.clone())).await.is_ok()
    }

    /// Notes who has taken it, and drops it when nobody is left who wants it.
    async fn strike_out(&self, id: &str, taken_by: Option<String>) -> Result<(), StoreError> {
        let key = pending_key(id);
        let written = self.shared.store.write_idempotent(|transaction| {
            let (key, taken_by, this) = (key.clone(), taken_by.clone(), self.clone());
            Box::pin(async move {
                let row = transaction.get(&key, ReadMode::Serializable).await?;
                let Some(row) = row else { return Ok(()) };
                let mut notice = PendingNotice::decode(&row)?;
                notice.taken_by.extend(taken_by);
                match this.left(&notice).is_empty() {
                    true => transaction.clear(&key),
                    false => transaction.set(&key, &notice.encode()?),
                }
            })
        });
        written.await
    }

    async fn forget(&self, id: &str) -> Result<(), StoreError> {
        let key = pending_key(id);
        let written = self.shared.store.write_idempotent(|transaction| {
            let key = key.clone();
            Box::pin(async move { transaction.clear(&key) })
        });
        written.await
    }

    fn lock(&self) -> MutexGuard<'_, Tries> {
        self.shared.tries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
