//! What the server keeps for its clients, within bounds: open transactions, outcomes of
//! commits, watches.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use tokio::sync::Mutex;

use super::server::{Session, Waiting};
use super::wire::Id;
use super::{OUTCOME_MS, WATCH_IDLE_MS};
use crate::limits::TRANSACTION_MS;
use crate::{StoreError, Watch};

/// How often watches are looked through for idle ones, in ms.
const LOOK_EVERY_MS: u64 = 1_000;

/// How much the server keeps at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServerLimits {
    /// Open transactions of one client.
    pub transactions_per_client: usize,
    /// Open transactions of all clients.
    pub transactions: usize,
    /// Outcomes of commits, kept so that a commit that comes twice happens once.
    pub outcomes: usize,
    /// Watches of one client.
    pub watches_per_client: usize,
    /// Watches of all clients.
    pub watches: usize,
    /// Bytes of large commits that are under way, as they came in. Below 11 MB the largest
    /// transactions never commit.
    pub staged_bytes: usize,
}

impl Default for ServerLimits {
    fn default() -> Self {
        ServerLimits {
            transactions_per_client: 512,
            transactions: 2_048,
            outcomes: 16_384,
            watches_per_client: 1_024,
            watches: 4_096,
            staged_bytes: 64 << 20,
        }
    }
}

pub(super) type SharedSession = Arc<Mutex<Session>>;
pub(super) type SharedWatch = Arc<Mutex<Waiting>>;

/// How much of something each client has.
#[derive(Debug)]
struct Quota {
    per_client: usize,
    all: usize,
    by_client: BTreeMap<String, usize>,
    total: usize,
}

impl Quota {
    fn new(per_client: usize, all: usize) -> Self {
        Quota { per_client, all, by_client: BTreeMap::new(), total: 0 }
    }

    /// # Errors
    /// Whose share is used up, and how much it was.
    fn take(&mut self, client: &str) -> Result<(), String> {
        let used = self.by_client.get(client).copied().unwrap_or(0);
        if used >= self.per_client {
            return Err(format!("node {client} has {used} of {}", self.per_client));
        }
        if self.total >= self.all {
            return Err(format!("all nodes together have {} of {}", self.total, self.all));
        }
        self.by_client.insert(client.to_owned(), used + 1);
        self.total += 1;
        Ok(())
    }

    fn give_back(&mut self, client: &str) {
        self.total = self.total.saturating_sub(1);
        match self.by_client.get_mut(client) {
            Some(used) if *used > 1 => *used -= 1,
            _ => {
                self.by_client.remove(client);
            }
        }
    }
}

struct Open {
    client: String,
    began_ms: u64,
    session: SharedSession,
}

/// A transaction whose commit began.
struct Closed {
    client: String,
    session: SharedSession,
}

struct Kept {
    client: String,
    asked_ms: u64,
    watch: SharedWatch,
}

pub(super) struct Table {
    server: u64,
    /// The next number of a transaction or a watch.
    next: u64,
    limits: ServerLimits,
    open: BTreeMap<u64, Open>,
    open_quota: Quota,
    closed: BTreeMap<u64, Closed>,
    /// Closed transactions, in the order of their commits, with when each began to commit.
    closed_order: VecDeque<(u64, u64)>,
    /// The highest number of a commit whose outcome was forgotten; 0 is no number.
    forgotten: u64,
    watches: BTreeMap<u64, Kept>,
    watch_quota: Quota,
    looked_ms: u64,
}

impl Table {
    pub(super) fn new(server: u64, limits: ServerLimits) -> Self {
        Table {
            server,
            next: 1,
            limits,
            open: BTreeMap::new(),
            open_quota: Quota::new(limits.transactions_per_client, limits.transactions),
            closed: BTreeMap::new(),
            closed_order: VecDeque::new(),
            forgotten: 0,
            watches: BTreeMap::new(),
            watch_quota: Quota::new(limits.watches_per_client, limits.watches),
            looked_ms: 0,
        }
    }

    fn number(&mut self) -> Id {
        let number = self.next;
        self.next += 1;
        Id { server: self.server, number }
    }

    pub(super) fn open_count(&self) -> usize {
        self.open.len()
    }

    pub(super) fn watch_count(&self) -> usize {
        self.watches.len()
    }

    /// A place for a transaction that begins.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when there is none.
    pub(super) fn open(
        &mut self,
        client: &str,
        now_ms: u64,
    ) -> Result<(Id, SharedSession), StoreError> {
        self.open_quota.take(client).map_err(|full| {
            let hint = "end transactions sooner or raise the server's limits";
            StoreError::Unavailable(format!("{full} open transactions on the store's node; {hint}"))
        })?;
        let id = self.number();
        let session = Arc::new(Mutex::new(Session::Opening));
        let open =
            Open { client: client.to_owned(), began_ms: now_ms, session: Arc::clone(&session) };
        self.open.insert(id.number, open);
        Ok((id, session))
    }

    fn end(&mut self, number: u64) -> Option<Open> {
        let open = self.open.remove(&number)?;
        self.open_quota.give_back(&open.client);
        Some(open)
    }

    /// The number of the client's open transaction, when it is one that is not too old.
    fn find(&self, client: &str, id: Id, now_ms: u64) -> Option<u64> {
        let open = self.open.get(&id.number)?;
        let is_young = now_ms.saturating_sub(open.began_ms) <= TRANSACTION_MS;
        (id.server == self.server && open.client == client && is_young).then_some(id.number)
    }

    /// An open transaction.
    ///
    /// # Errors
    /// [`StoreError::TooOld`] when it is none, or none any more.
    pub(super) fn session(
        &self,
        client: &str,
        id: Id,
        now_ms: u64,
    ) -> Result<SharedSession, StoreError> {
        let number = self.find(client, id, now_ms).ok_or(StoreError::TooOld)?;
        let open = self.open.get(&number).ok_or(StoreError::TooOld)?;
        Ok(Arc::clone(&open.session))
    }

    /// A transaction that shall commit or did; from here on it only does that.
    ///
    /// # Errors
    /// [`StoreError::TooOld`] when it has not committed and never will;
    /// [`StoreError::CommitUnknown`] when it may have.
    pub(super) fn close(
        &mut self,
        client: &str,
        id: Id,
        now_ms: u64,
    ) -> Result<SharedSession, StoreError> {
        if id.server != self.server {
            return Err(StoreError::CommitUnknown);
        }
        if let Some(closed) = self.closed.get(&id.number) {
            let is_own = closed.client == client;
            return if is_own { Ok(Arc::clone(&closed.session)) } else { Err(StoreError::TooOld) };
        }
        if let Some(Open { client, session, .. }) =
            self.find(client, id, now_ms).and_then(|number| self.end(number))
        {
            let kept = Closed { client, session: Arc::clone(&session) };
            self.closed.insert(id.number, kept);
            self.closed_order.push_back((now_ms, id.number));
            return Ok(session);
        }
        let is_open = self.open.contains_key(&id.number);
        let may_be_forgotten = id.number <= self.forgotten && !is_open;
        Err(if may_be_forgotten { StoreError::CommitUnknown } else { StoreError::TooOld })
    }

    /// Ends a transaction that did not begin.
    pub(super) fn abandon(&mut self, id: Id) {
        self.end(id.number);
    }

    /// Ends what the client has done with. What is given back is dropped better outside
    /// the table's lock; so is what [`Table::sweep`] gives back.
    pub(super) fn release(
        &mut self,
        client: &str,
        transactions: &[Id],
        watches: &[Id],
    ) -> Vec<SharedSession> {
        let server = self.server;
        for id in watches.iter().filter(|id| id.server == server) {
            if self.watches.get(&id.number).is_some_and(|kept| kept.client == client) {
                self.end_watch(*id);
            }
        }
        let mut ended = Vec::new();
        for id in transactions.iter().filter(|id| id.server == server) {
            if self.open.get(&id.number).is_some_and(|open| open.client == client) {
                ended.extend(self.end(id.number).map(|open| open.session));
            }
        }
        ended
    }

    /// Ends what is too old.
    pub(super) fn sweep(&mut self, now_ms: u64) -> Vec<SharedSession> {
        let mut ended = Vec::new();
        while let Some((number, open)) = self.open.first_key_value()
            && now_ms.saturating_sub(open.began_ms) > TRANSACTION_MS
        {
            let number = *number;
            ended.extend(self.end(number).map(|open| open.session));
        }
        while let Some((closed_ms, number)) = self.closed_order.front().copied()
            && (self.closed_order.len() > self.limits.outcomes
                || now_ms.saturating_sub(closed_ms) > OUTCOME_MS)
        {
            self.closed_order.pop_front();
            ended.extend(self.closed.remove(&number).map(|closed| closed.session));
            self.forgotten = self.forgotten.max(number);
        }
        if now_ms.saturating_sub(self.looked_ms) >= LOOK_EVERY_MS {
            self.looked_ms = now_ms;
            let is_idle = |kept: &Kept| now_ms.saturating_sub(kept.asked_ms) > WATCH_IDLE_MS;
            for (_, kept) in self.watches.extract_if(.., |_, kept| is_idle(kept)) {
                self.watch_quota.give_back(&kept.client);
            }
        }
        ended
    }

    /// Keeps the first of the watches, as many as there is room for; where their numbers
    /// begin, and how many they are.
    pub(super) fn keep(&mut self, client: &str, watches: Vec<Watch>, now_ms: u64) -> (Id, u32) {
        let first = Id { server: self.server, number: self.next };
        let mut count = 0;
        for watch in watches {
            if self.watch_quota.take(client).is_err() {
                break;
            }
            let id = self.number();
            let watch = Arc::new(Mutex::new(Waiting::On(watch)));
            let kept = Kept { client: client.to_owned(), asked_ms: now_ms, watch };
            self.watches.insert(id.number, kept);
            count += 1;
        }
        (first, count)
    }

    /// A watch that its client asks after.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when it is lost.
    pub(super) fn watch(
        &mut self,
        client: &str,
        id: Id,
        now_ms: u64,
    ) -> Result<SharedWatch, StoreError> {
        let kept = self.watches.get_mut(&id.number);
        let own = kept.filter(|kept| id.server == self.server && kept.client == client);
        let kept = own.ok_or_else(|| {
            StoreError::Unavailable("the store's node no longer has the watch".to_owned())
        })?;
        kept.asked_ms = now_ms;
        Ok(Arc::clone(&kept.watch))
    }

    fn end_watch(&mut self, id: Id) {
        if let Some(kept) = self.watches.remove(&id.number) {
            self.watch_quota.give_back(&kept.client);
        }
    }
}
