//! Which projects and users have limits: a request of theirs reserves from these besides its team.
//! Told by rows that are written with the limits; every node follows them, so that whoever has no
//! limits costs a request nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError, RwLock};

use headwater_storage::retry::Retry;
use headwater_storage::tuple::{self, Element};
use headwater_storage::{
    AtomicOp, KeyRange, RangeRead, ReadMode, StoreError, Transaction, Watch, codec,
};
use headwater_tenancy::{Payer, Subject};

use super::handle::TenancyHandle;
use crate::runtime::Runtime;

const RECORD: u8 = 1;
const LIMITED: &str = "limited";
/// Rows of one page.
const PAGE_ROWS: usize = 500;
/// Longest time for one read, in ms.
const READ_MS: u64 = 2_000;
/// How often it is looked whether something changed when no watch tells, in ms.
const REFRESH_MS: u64 = 1_000;
/// The pause after a read that failed, or a watch that was lost, in ms.
const LOST_MS: u64 = 50;

/// Counts the changes.
fn revision_key() -> Vec<u8> {
    tuple::pack(&[LIMITED.into(), "revision".into()])
}

fn row_key(subject: &str) -> Vec<u8> {
    tuple::pack(&[LIMITED.into(), "subject".into(), subject.into()])
}

/// Notes, beside its limits, whether a project or a user has any.
pub(super) fn note(
    transaction: &mut dyn Transaction,
    subject: &str,
    has_limits: bool,
) -> Result<(), StoreError> {
    if matches!(Subject::named(subject), Subject::Team(_)) {
        return Ok(());
    }
    match has_limits {
        true => transaction.set(&row_key(subject), &codec::encode(RECORD, &())?)?,
        false => transaction.clear(&row_key(subject))?,
    }
    transaction.atomic(&revision_key(), AtomicOp::Add, &1_u64.to_le_bytes())
}

/// A team's projects and users with limits.
#[derive(Default)]
struct Parts {
    projects: BTreeSet<String>,
    users: BTreeSet<String>,
}

type Teams = BTreeMap<String, Parts>;

/// What this node knows of them.
#[derive(Default)]
pub(super) struct Limited {
    teams: RwLock<Arc<Teams>>,
}

impl Limited {
    /// Names of the payer's project and user, as far as they have limits.
    pub(super) fn of(&self, payer: &Payer<'_>) -> Vec<String> {
        if payer.project.is_none() && payer.user.is_none() {
            return Vec::new();
        }
        let teams = self.teams.read().unwrap_or_else(PoisonError::into_inner);
        let Some(parts) = teams.get(payer.team) else { return Vec::new() };
        let has_limits = |subject: &Subject<'_>| match subject {
            Subject::Team(_) => false,
            Subject::Project { project, .. } => parts.projects.contains(*project),
            Subject::User { user, .. } => parts.users.contains(*user),
        };
        payer.parts().filter(has_limits).map(|subject| subject.name()).collect()
    }

    fn replace(&self, names: Vec<String>) {
        let mut teams = Teams::new();
        for name in &names {
            let subject = Subject::named(name);
            let parts = teams.entry(subject.team().to_owned()).or_default();
            match subject {
                Subject::Team(_) => false,
                Subject::Project { project, .. } => parts.projects.insert(project.to_owned()),
                Subject::User { user, .. } => parts.users.insert(user.to_owned()),
            };
        }
        *self.teams.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(teams);
    }
}

impl TenancyHandle {
    /// Reads once which projects and users have limits.
    ///
    /// # Errors
    /// The store's; what this node knew before stays.
    pub async fn learn_limited(&self, store: &Retry) -> Result<(), StoreError> {
        let names = timely(self.runtime(), names(store)).await?;
        self.limited().replace(names);
        Ok(())
    }

    /// Follows which projects and users have limits until the node ends. In an outage of the
    /// store what was known stays.
    pub async fn follow_limited(self, store: Retry) {
        let runtime = self.runtime().clone();
        let (mut watch, mut known) = (None, None);
        loop {
            match self.catch_up(&store, known, watch.is_none()).await {
                Ok((revision, fresh)) => {
                    known = Some(revision);
                    watch = watch.or(fresh);
                }
                Err(error) => {
                    tracing::debug!(%error, "it was not read whose limits changed");
                    watch = None;
                }
            }
            match &mut watch {
                None => runtime.pause(LOST_MS).await,
                Some(waiting) => match runtime.within(REFRESH_MS, waiting).await {
                    None => {}
                    Some(Ok(())) => watch = None,
                    Some(Err(_)) => {
                        watch = None;
                        runtime.pause(LOST_MS).await;
                    }
                },
            }
        }
    }

    /// Reads everything if something changed since `known`; with a watch if one is wanted.
    async fn catch_up(
        &self,
        store: &Retry,
        known: Option<u64>,
        watching: bool,
    ) -> Result<(u64, Option<Watch>), StoreError> {
        // What changes after this is behind the revision, and is read the next time.
        let (revision, watch) = timely(self.runtime(), revision(store, watching)).await?;
        if known != Some(revision) {
            self.learn_limited(store).await?;
        }
        Ok((revision, watch))
    }
}

async fn timely<T>(
    runtime: &Runtime,
    read: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    let late = || StoreError::Unavailable(format!("no answer within {READ_MS} ms"));
    runtime.within(READ_MS, read).await.unwrap_or_else(|| Err(late()))
}

async fn revision(store: &Retry, watching: bool) -> Result<(u64, Option<Watch>), StoreError> {
    let mut transaction = store.store().begin().await?;
    let row = transaction.get(&revision_key(), ReadMode::Snapshot).await?;
    let watch = match watching {
        true => Some(transaction.watch(&revision_key()).await?),
        false => None,
    };
    transaction.commit().await?;
    let bytes = row.unwrap_or_default().try_into().unwrap_or_default();
    Ok((u64::from_le_bytes(bytes), watch))
}

async fn names(store: &Retry) -> Result<Vec<String>, StoreError> {
    let mut range = tuple::below(&[LIMITED.into(), "subject".into()]);
    let mut names = Vec::new();
    loop {
        let mut transaction = store.store().begin().await?;
        let read = RangeRead::all(range.clone()).limit(PAGE_ROWS).snapshot();
        let page = transaction.range(read).await?;
        let Some((last, _)) = page.last() else { return Ok(names) };
        range.begin = KeyRange::of_key(last).end;
        for (key, _) in &page {
            if let Some(Element::Text(name)) = tuple::unpack(key)?.pop() {
                names.push(name);
            }
        }
    }
}
