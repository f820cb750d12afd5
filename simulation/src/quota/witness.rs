//! The witness of every commit: keeps each tenant's books and holds them against the clients'
//! diary.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use headwater_actors::tenancy::{LedgerRow, RowKey, RowValue, row_key, row_value};
use headwater_storage::{StoreError, tuple};
use headwater_tenancy::Amounts;

use super::Options;
use super::books::{At, Broken, Granted, TenantBook};
use super::diary::Diary;
use super::mail::Mail;
use crate::shared_store::Commit;
use crate::world::World;

/// See the module; cheap to clone.
#[derive(Clone)]
pub(super) struct Books {
    world: World,
    diary: Diary,
    mail: Mail,
    options: Arc<Options>,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    tenants: BTreeMap<String, TenantBook>,
    /// Broken books say nothing any more.
    broken: bool,
}

type Writes = BTreeMap<String, Vec<(RowKey, Option<RowValue>)>>;

impl Books {
    pub(super) fn new(world: &World, diary: &Diary, mail: &Mail, options: &Arc<Options>) -> Books {
        Books {
            world: world.clone(),
            diary: diary.clone(),
            mail: mail.clone(),
            options: Arc::clone(options),
            state: Arc::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether this request's entry is written, as far as the books are still kept.
    pub(super) fn has(&self, tenant: &str, tag: u64) -> bool {
        let state = self.lock();
        state.broken || state.tenants.get(tenant).is_some_and(|book| book.has(tag))
    }

    /// What an edge may admit by itself in a minute at most.
    pub(super) fn outage_budget(&self, tenant: &str, model: &str) -> Amounts {
        let (percent, fallback) = (self.options.outage_share_percent, self.options.fallback);
        let state = self.lock();
        let book = state.tenants.get(tenant);
        book.map_or(fallback, |book| book.outage_budget(model, percent, fallback))
    }

    /// Allowances granted since then that did not come back: tenant, edge and number.
    pub(super) fn out_since(&self, since_ms: u64) -> Vec<(String, String, u128)> {
        let state = self.lock();
        let tenants = state.tenants.iter().filter(|_| !state.broken);
        let out = tenants.flat_map(|(tenant, book)| {
            let out = book.out_since(since_ms).into_iter();
            out.map(|(edge, id)| (tenant.clone(), edge, id.0))
        });
        out.collect()
    }

    /// Whether a tenant's limits are set.
    pub(super) fn are_limits_set(&self, tenant: &str) -> bool {
        self.lock().tenants.get(tenant).is_some_and(|book| book.limits().is_some())
    }

    /// Takes in a commit.
    pub(super) fn see(&self, commit: &Commit<'_>) {
        self.count(commit);
        self.mail.see(commit);
        let writes = match read(commit) {
            Ok(writes) => writes,
            Err(error) => {
                self.world.violated("every_row_can_be_read", error);
                return;
            }
        };
        let at = At {
            life: commit.by,
            now_ms: self.world.now_ms(),
            base_ms: self.options.base_ms,
            skew_ms: self.options.most_skew_ms(),
        };
        let mut state = self.lock();
        if state.broken {
            return;
        }
        let mut broken = Vec::new();
        for (tenant, writes) in writes {
            let book = state.tenants.entry(tenant.clone()).or_default();
            let mut seen = Vec::new();
            book.take(&at, &writes, &mut seen);
            broken.extend(seen.into_iter().map(|(invariant, seen)| match invariant {
                "admitted_within_the_bound" if tenant.contains('/') => {
                    ("a_subject_stays_within_its_limit", format!("{tenant}: {seen}"))
                }
                _ => (invariant, seen),
            }));
            if let Some(limits) = book.limits() {
                self.mail.awaits(&tenant, &limits.limits, book.risen());
            }
            self.describe(&at, &tenant, book, &writes);
            let rows = writes.iter().filter_map(|(_, value)| match value {
                Some(RowValue::Entry(row)) => Some(row),
                _ => None,
            });
            for row in rows {
                self.compare(&tenant, book, row, &mut broken);
            }
        }
        state.broken = !broken.is_empty();
        drop(state);
        for (invariant, seen) in broken {
            self.world.violated(invariant, seen);
        }
    }

    /// Counts the rare branches that a commit shows.
    fn count(&self, commit: &Commit<'_>) {
        let lease = tuple::below(&["lease".into(), "holder".into()]);
        let only_lease = commit.writes.is_empty() && commit.reads.len() == 1;
        if only_lease && commit.reads.keys().all(|key| lease.contains(key)) {
            self.world.count("stale owner refused");
        }
        let is_entry = |key: &Vec<u8>| matches!(row_key(key), Ok(Some((_, RowKey::Entry(_)))));
        let is_ask = |key: &Vec<u8>| matches!(row_key(key), Ok(Some((_, RowKey::Allowance(_)))));
        // A range may find the neighbours of what is reported, so look for reports of nothing new.
        if commit.ranged.iter().any(is_entry) && !commit.writes.keys().any(is_entry) {
            self.world.count("entry reported again");
        }
        let found = commit.reads.iter().filter(|(_, there)| **there).map(|(key, _)| key);
        if found.clone().any(|key| is_ask(key) && !commit.writes.contains_key(key)) {
            self.world.count("ask repeated");
        }
    }

    fn describe(
        &self,
        at: &At,
        tenant: &str,
        book: &TenantBook,
        writes: &[(RowKey, Option<RowValue>)],
    ) {
        let (mut grants, mut entries, mut returns) = (0, 0, 0);
        for (key, value) in writes {
            match (key, value) {
                (RowKey::Allowance(_), Some(_)) => grants += 1,
                (RowKey::Allowance(_), None) => returns += 1,
                (RowKey::Entry(_), Some(_)) => entries += 1,
                _ => {}
            }
        }
        let again = writes.iter().any(|(key, value)| match (key, value) {
            (RowKey::Allowance(id), Some(_)) => {
                book.allowance(*id).is_some_and(Granted::is_repeated)
            }
            _ => false,
        });
        if again {
            self.world.count("ask granted after its return");
        }
        if returns > 0 {
            self.world.count("allowance returned");
        }
        self.world.note(format_args!(
            "{} writes {tenant}: {grants} grants, {entries} entries, {returns} returns",
            at.life
        ));
    }

    /// An entry against what its client saw.
    fn compare(&self, tenant: &str, book: &TenantBook, row: &LedgerRow, broken: &mut Vec<Broken>) {
        let entry = &row.entry;
        let tag = entry.used.micro_usd;
        let request = self.diary.request(tag, tenant);
        let Some((request, used)) =
            request.and_then(|request| Some((request.clone(), request.used?)))
        else {
            let seen = format!("request {tag} of {tenant} is written, and nobody settled it");
            broken.push(("the_ledger_says_what_was_used", seen));
            return;
        };
        let most_uncovered = if request.unverified { used } else { used.minus(request.estimate) };
        let fits = most_uncovered.covers(entry.uncovered)
            && (!request.unverified || entry.uncovered == used);
        if entry.used != used || !fits {
            let seen = format!("request {tag}: {entry:?} is written, {request:?} was");
            broken.push(("the_ledger_says_what_was_used", seen));
        }
        if entry.unverified != request.unverified {
            let seen = format!("request {tag} unverified: {} is written", entry.unverified);
            broken.push(("outage_is_bounded_and_marked", seen));
        }
        let Some(granted) = entry.allowance.and_then(|id| book.allowance(id)) else { return };
        let until_ms = granted.at_ms + granted.record.allowance.valid_ms;
        if request.admitted_ms >= until_ms {
            let seen = format!(
                "request {tag} was admitted at {} ms, its allowance ended at {until_ms} ms",
                request.admitted_ms
            );
            broken.push(("an_allowance_is_not_used_after_its_time", seen));
        }
        if granted.record.model != entry.model {
            let seen = format!("request {tag} to {} used {:?}", entry.model, granted.record);
            broken.push(("an_allowance_is_used_for_its_model", seen));
        }
    }
}

fn read(commit: &Commit<'_>) -> Result<Writes, StoreError> {
    let mut writes = Writes::new();
    for (key, value) in commit.writes {
        let Some((tenant, row)) = row_key(key)? else { continue };
        let value = value.as_ref().map(|value| row_value(&row, value)).transpose()?;
        writes.entry(tenant).or_default().push((row, value));
    }
    Ok(writes)
}
