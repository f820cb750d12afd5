//! The answering side.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::Poll;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::WATCH_HOLD_MS;
use super::changes::{Change, replay};
use super::page::{Page, Pages};
use super::table::{ServerLimits, Table};
use super::wire::{self, Answer, Ask, Id, Request, saturated};
use crate::{
    Environment, KeyRange, Pause, RangeRead, ReadMode, Store, StoreError, Transaction, Watch,
};

/// How many pairs are read from the store at once; a page may take several such reads, and
/// what does not fit into it was read in vain.
const BATCH: usize = 64;

/// Offers a store to other nodes; cheap to clone. It starts nothing of its own: what is too
/// old goes when the next request comes, or with [`StoreServer::sweep`].
#[derive(Clone)]
pub struct StoreServer {
    shared: Arc<Shared>,
}

struct Shared {
    store: Arc<dyn Store>,
    environment: Environment,
    table: Mutex<Table>,
    staged_bytes: Arc<Semaphore>,
}

/// A client's transaction on the server.
pub(super) enum Session {
    /// Its begin has not been answered yet.
    Opening,
    Open(Opened),
    /// Found by others only when the commit was broken off and may have happened.
    Committing,
    Done(Result<Answer, StoreError>),
}

pub(super) struct Opened {
    transaction: Box<dyn Transaction>,
    staged: Vec<Change>,
    stages: u32,
    /// Held as long as the staged changes are.
    room: Vec<OwnedSemaphorePermit>,
}

impl Session {
    fn opened(&mut self) -> Result<&mut Opened, StoreError> {
        match self {
            Session::Open(opened) => Ok(opened),
            // Messages that come late, to a transaction that has gone on.
            Session::Opening | Session::Committing | Session::Done(_) => Err(StoreError::TooOld),
        }
    }
}

/// A watch on the server.
pub(super) enum Waiting {
    On(Watch),
    Over(Result<(), StoreError>),
}

impl StoreServer {
    /// `environment` must draw another number in each life of the server: clients tell by
    /// it that the server forgot them.
    pub fn new(store: Arc<dyn Store>, environment: Environment, limits: ServerLimits) -> Self {
        let table = Mutex::new(Table::new(environment.draw(), limits));
        let room = limits.staged_bytes.min(Semaphore::MAX_PERMITS);
        let staged_bytes = Arc::new(Semaphore::new(room));
        StoreServer { shared: Arc::new(Shared { store, environment, table, staged_bytes }) }
    }

    /// Answers one request of the named client, whatever its bytes are. Takes as long as
    /// the store does, and up to [`WATCH_HOLD_MS`] for a watch. Dropping the future is
    /// allowed at any time; a commit that was under way may then have happened.
    pub async fn answer(&self, client: &str, request: &[u8]) -> Vec<u8> {
        let answer = match wire::decode_request(request) {
            Ok(asked) => self.shared.answer(client, asked, request.len()).await,
            Err(error) => Err(error),
        };
        wire::encode_answer(answer)
    }

    /// Ends what is too old, for a server that nobody asks anything.
    pub fn sweep(&self) {
        let ended = self.shared.lock().sweep(self.shared.environment.now_ms());
        drop(ended);
    }

    /// How many transactions are open.
    pub fn open_transactions(&self) -> usize {
        self.shared.lock().open_count()
    }

    /// How many watches are kept.
    pub fn watches(&self) -> usize {
        self.shared.lock().watch_count()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Table> {
        // No step of the table leaves it half changed.
        self.table.lock().unwrap_or_else(|held| held.into_inner())
    }

    async fn answer(
        &self,
        client: &str,
        request: Request,
        request_bytes: usize,
    ) -> Result<Answer, StoreError> {
        let Request { released, unwatched, ask } = request;
        let now_ms = self.environment.now_ms();
        let ended = {
            let mut table = self.lock();
            (table.sweep(now_ms), table.release(client, &released, &unwatched))
        };
        drop(ended);
        match ask {
            Ask::Begin => self.begin(client, now_ms).await,
            Ask::Get { id, key } => {
                let session = self.lock().session(client, id, now_ms)?;
                let mut session = session.lock().await;
                let transaction = &mut session.opened()?.transaction;
                transaction.get(&key, ReadMode::Snapshot).await.map(Answer::Value)
            }
            Ask::Range { id, begin, end, limit, reverse } => {
                let session = self.lock().session(client, id, now_ms)?;
                let mut session = session.lock().await;
                let transaction = session.opened()?.transaction.as_mut();
                page(transaction, KeyRange { begin, end }, saturated(limit), reverse).await
            }
            Ask::Stage { id, stage, changes } => {
                let session = self.lock().session(client, id, now_ms)?;
                let mut session = session.lock().await;
                self.stage(session.opened()?, stage, changes, request_bytes)
            }
            Ask::Commit { id, stages, changes } => self.commit(client, id, stages, changes).await,
            Ask::AwaitWatch { id } => self.await_watch(client, id, now_ms).await,
        }
    }

    async fn begin(&self, client: &str, now_ms: u64) -> Result<Answer, StoreError> {
        // The place is taken first: however many begin at once, no more are open. A begin
        // that is broken off leaves it to the sweep.
        let (id, session) = self.lock().open(client, now_ms)?;
        let begun = async {
            let mut transaction = self.store.begin().await?;
            let read_version = transaction.read_version().await?;
            Ok((transaction, read_version))
        };
        match begun.await {
            Ok((transaction, read_version)) => {
                let (staged, room) = (Vec::new(), Vec::new());
                let opened = Opened { transaction, staged, stages: 0, room };
                *session.lock().await = Session::Open(opened);
                Ok(Answer::Begun { id, read_version })
            }
            Err(error) => {
                self.lock().abandon(id);
                Err(error)
            }
        }
    }

    fn stage(
        &self,
        opened: &mut Opened,
        stage: u32,
        changes: Vec<Change>,
        request_bytes: usize,
    ) -> Result<Answer, StoreError> {
        if stage < opened.stages {
            return Ok(Answer::Staged);
        }
        if stage > opened.stages {
            return Err(out_of_turn());
        }
        let permits = u32::try_from(request_bytes).unwrap_or(u32::MAX);
        let room =
            Arc::clone(&self.staged_bytes).try_acquire_many_owned(permits).map_err(|_| {
                let text = "too many large commits are under way on the store's node";
                StoreError::Unavailable(text.to_owned())
            })?;
        opened.room.push(room);
        opened.staged.extend(changes);
        opened.stages += 1;
        Ok(Answer::Staged)
    }

    async fn commit(
        &self,
        client: &str,
        id: Id,
        stages: u32,
        changes: Vec<Change>,
    ) -> Result<Answer, StoreError> {
        let session = self.lock().close(client, id, self.environment.now_ms())?;
        // A commit that comes twice waits here for the first one's outcome.
        let mut session = session.lock().await;
        let opened = match std::mem::replace(&mut *session, Session::Committing) {
            Session::Open(opened) => opened,
            Session::Done(outcome) => {
                *session = Session::Done(outcome.clone());
                return outcome;
            }
            Session::Opening => return Err(StoreError::TooOld),
            Session::Committing => return Err(StoreError::CommitUnknown),
        };
        let outcome = self.carry_out(client, opened, stages, changes).await;
        *session = Session::Done(outcome.clone());
        outcome
    }

    async fn carry_out(
        &self,
        client: &str,
        opened: Opened,
        stages: u32,
        changes: Vec<Change>,
    ) -> Result<Answer, StoreError> {
        let Opened { transaction, mut staged, stages: came, room } = opened;
        if stages != came {
            return Err(out_of_turn());
        }
        staged.extend(changes);
        let (committed, watches) = replay(transaction, staged).await?;
        drop(room);
        let (first_watch, count) = self.lock().keep(client, watches, self.environment.now_ms());
        Ok(wire::committed(committed, first_watch, count))
    }

    async fn await_watch(&self, client: &str, id: Id, now_ms: u64) -> Result<Answer, StoreError> {
        let watch = self.lock().watch(client, id, now_ms)?;
        let ended = async {
            // A question that comes twice waits here for its turn, no longer than the first.
            let mut waiting = watch.lock().await;
            let outcome = match &mut *waiting {
                Waiting::On(watch) => watch.as_mut().await,
                Waiting::Over(outcome) => outcome.clone(),
            };
            *waiting = Waiting::Over(outcome.clone());
            outcome
        };
        // It stays until its client has done with it, so that a repeated question has the
        // same answer.
        match within(ended, self.environment.pause(WATCH_HOLD_MS)).await {
            Some(outcome) => outcome.map(|()| Answer::Changed),
            None => Ok(Answer::NotYet),
        }
    }
}

fn out_of_turn() -> StoreError {
    let text = "a part of a large commit is missing; run the same version on all nodes";
    StoreError::Usage(text.to_owned())
}

/// What the work gives, or nothing when the pause ends first.
async fn within<T>(work: impl Future<Output = T>, mut pause: Pause) -> Option<T> {
    let mut work = pin!(work);
    poll_fn(|context| match work.as_mut().poll(context) {
        Poll::Ready(outcome) => Poll::Ready(Some(outcome)),
        Poll::Pending => pause.as_mut().poll(context).map(|()| None),
    })
    .await
}

/// As much of a range as one answer holds.
async fn page(
    transaction: &mut dyn Transaction,
    range: KeyRange,
    limit: usize,
    reverse: bool,
) -> Result<Answer, StoreError> {
    let mut pages = Pages::new(range, limit, reverse);
    let mut page = Page::default();
    loop {
        let limit = pages.limit().min(BATCH);
        let range = pages.left().clone();
        let read = RangeRead { range, limit, reverse, mode: ReadMode::Snapshot };
        let batch = transaction.range(read).await?;
        let is_last = batch.len() < limit;
        for pair in batch {
            let key = pair.0.clone();
            if page.push(pair).is_err() {
                return Ok(page.answer(true));
            }
            if !pages.pass(&key) {
                let text = "a range read gives keys that are out of their order";
                return Err(StoreError::Corrupt(text.to_owned()));
            }
        }
        if is_last || pages.is_done() {
            return Ok(page.answer(false));
        }
    }
}
