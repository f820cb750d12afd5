//! The asking side.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

use async_trait::async_trait;

use super::changes::{Change, of_proposal, parts};
use super::page::Pages;
use super::wire::{self, Answer, Ask, Id, Request};
use super::{Exchange, ExchangeError};
use crate::optimistic::{Backend, Proposal, Snapshot, begin};
use crate::{Committed, Environment, KeyRange, Pair, Store, StoreError, Transaction, Watch};

/// Most transactions and most watches that one request tells the server it may end.
const RELEASES: usize = 128;
/// Most that wait to be told; the server ends the others by their age.
const RELEASES_WAITING: usize = 4_096;

/// A store on another node; cheap to clone.
#[derive(Clone)]
pub struct RemoteStore {
    shared: Arc<Shared>,
}

struct Shared {
    exchange: Arc<dyn Exchange>,
    environment: Environment,
    done_with: Mutex<DoneWith>,
}

/// What the server may end; told with the next requests.
#[derive(Default)]
struct DoneWith {
    transactions: Vec<Id>,
    watches: Vec<Id>,
}

impl DoneWith {
    fn note(waiting: &mut Vec<Id>, id: Id) {
        if waiting.len() < RELEASES_WAITING {
            waiting.push(id);
        }
    }
}

/// Why a request has no answer that helps.
enum Unanswered {
    Exchange(ExchangeError),
    /// There is an answer, but it makes no sense.
    NotUnderstood,
    Refused(StoreError),
}

impl Unanswered {
    /// For a request that changes nothing, whether carried out or not.
    fn of_read(self) -> StoreError {
        match self {
            Unanswered::Exchange(error) => StoreError::Unavailable(error.to_string()),
            Unanswered::NotUnderstood => not_understood(),
            Unanswered::Refused(error) => error,
        }
    }

    fn of_commit(self) -> StoreError {
        match self {
            Unanswered::Exchange(ExchangeError::Unknown(_)) | Unanswered::NotUnderstood => {
                StoreError::CommitUnknown
            }
            other => other.of_read(),
        }
    }
}

fn not_understood() -> StoreError {
    let text = "its node's answer makes no sense, run the same version on all nodes";
    StoreError::Unavailable(text.to_owned())
}

impl RemoteStore {
    pub fn new(exchange: Arc<dyn Exchange>, environment: Environment) -> RemoteStore {
        let done_with = Mutex::new(DoneWith::default());
        RemoteStore { shared: Arc::new(Shared { exchange, environment, done_with }) }
    }
}

#[async_trait]
impl Store for RemoteStore {
    fn engine(&self) -> &'static str {
        "remote"
    }

    async fn begin(&self) -> Result<Box<dyn Transaction>, StoreError> {
        let (id, settled) = (OnceLock::new(), AtomicBool::new(false));
        begin(Arc::new(Link { shared: Arc::clone(&self.shared), id, settled })).await
    }
}

impl Shared {
    fn done_with(&self) -> MutexGuard<'_, DoneWith> {
        self.done_with.lock().unwrap_or_else(|held| held.into_inner())
    }

    async fn ask(&self, ask: Ask) -> Result<Answer, Unanswered> {
        let request = {
            let mut done_with = self.done_with();
            let some = |waiting: &mut Vec<Id>| {
                let count = waiting.len().min(RELEASES);
                waiting.drain(..count).collect()
            };
            let released = some(&mut done_with.transactions);
            Request { released, unwatched: some(&mut done_with.watches), ask }
        };
        let request = wire::encode_request(&request).map_err(Unanswered::Refused)?;
        let answer = self.exchange.exchange(request).await.map_err(Unanswered::Exchange)?;
        match wire::decode_answer(&answer) {
            Ok(Answer::Failed(failure)) => Err(Unanswered::Refused(failure.into())),
            Ok(answer) => Ok(answer),
            Err(_) => Err(Unanswered::NotUnderstood),
        }
    }
}

/// One transaction's tie to the server.
struct Link {
    shared: Arc<Shared>,
    /// Known once the server has begun it.
    id: OnceLock<Id>,
    /// The server has ended it by itself.
    settled: AtomicBool,
}

impl Drop for Link {
    fn drop(&mut self) {
        if let Some(id) = self.id.get()
            && !self.settled.load(Ordering::Relaxed)
        {
            DoneWith::note(&mut self.shared.done_with().transactions, *id);
        }
    }
}

impl Link {
    /// Sends the changes and commits; the first of the watches and how many were kept.
    async fn propose(
        &self,
        id: Id,
        changes: Vec<Change>,
    ) -> Result<(Committed, Id, u32), StoreError> {
        let (full, last) = parts(changes);
        let mut stages = 0;
        for changes in full {
            let staged = self.shared.ask(Ask::Stage { id, stage: stages, changes }).await;
            // No commit was asked for yet, so nothing can have been written.
            match staged.map_err(Unanswered::of_read)? {
                Answer::Staged => stages += 1,
                _ => return Err(not_understood()),
            }
        }
        let answer = self.shared.ask(Ask::Commit { id, stages, changes: last }).await;
        if matches!(answer, Ok(_) | Err(Unanswered::Refused(_))) {
            self.settled.store(true, Ordering::Relaxed);
        }
        match answer.map_err(Unanswered::of_commit)? {
            Answer::Committed { version, stamp, first_watch, watches } => {
                Ok((Committed { version, stamp }, first_watch, watches))
            }
            _ => Err(StoreError::CommitUnknown),
        }
    }
}

#[async_trait]
impl Backend for Link {
    fn now_ms(&self) -> u64 {
        self.shared.environment.now_ms()
    }

    async fn snapshot(&self) -> Result<Box<dyn Snapshot>, StoreError> {
        match self.shared.ask(Ask::Begin).await.map_err(Unanswered::of_read)? {
            Answer::Begun { id, read_version } => {
                let id = *self.id.get_or_init(|| id);
                let shared = Arc::clone(&self.shared);
                Ok(Box::new(RemoteSnapshot { shared, id, read_version }))
            }
            _ => Err(not_understood()),
        }
    }

    async fn commit(&self, proposal: Proposal) -> Result<Committed, StoreError> {
        let id = *self.id.get().ok_or_else(not_understood)?;
        let is_read_only = proposal.is_read_only();
        let (changes, waiting) = of_proposal(proposal);
        let (committed, first, kept) = match self.propose(id, changes).await {
            Err(StoreError::CommitUnknown) if is_read_only => {
                let text = "it is not known whether the transaction's watches are kept";
                return Err(StoreError::Unavailable(text.to_owned()));
            }
            outcome => outcome?,
        };
        for (number, request) in (0..kept).zip(waiting) {
            let number = first.number.saturating_add(u64::from(number));
            let id = Id { server: first.server, number };
            request.hand_on(await_watch(&self.shared, id));
        }
        Ok(committed)
    }
}

struct RemoteSnapshot {
    shared: Arc<Shared>,
    id: Id,
    read_version: u64,
}

#[async_trait]
impl Snapshot for RemoteSnapshot {
    fn version(&self) -> u64 {
        self.read_version
    }

    async fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let ask = Ask::Get { id: self.id, key: key.to_vec() };
        match self.shared.ask(ask).await.map_err(Unanswered::of_read)? {
            Answer::Value(value) => Ok(value),
            _ => Err(not_understood()),
        }
    }

    async fn range(
        &self,
        range: &KeyRange,
        limit: usize,
        reverse: bool,
    ) -> Result<Vec<Pair>, StoreError> {
        let mut pages = Pages::new(range.clone(), limit, reverse);
        let mut found: Vec<Pair> = Vec::new();
        while !pages.is_done() {
            let KeyRange { begin, end } = pages.left().clone();
            let limit = pages.limit() as u64;
            let ask = Ask::Range { id: self.id, begin, end, limit, reverse };
            let answer = self.shared.ask(ask).await.map_err(Unanswered::of_read)?;
            let Answer::Pairs { pairs, more } = answer else { return Err(not_understood()) };
            let is_stuck = more && pairs.is_empty();
            if is_stuck || !pairs.iter().all(|(key, _)| pages.pass(key)) {
                return Err(not_understood());
            }
            found.extend(pairs);
            if !more {
                break;
            }
        }
        if reverse {
            found.reverse();
        }
        Ok(found)
    }
}

/// A watch that the server keeps; it may end it when this is dropped.
struct KeptWatch {
    shared: Arc<Shared>,
    id: Id,
}

impl Drop for KeptWatch {
    fn drop(&mut self) {
        DoneWith::note(&mut self.shared.done_with().watches, self.id);
    }
}

fn await_watch(shared: &Arc<Shared>, id: Id) -> Watch {
    let kept = KeptWatch { shared: Arc::clone(shared), id };
    Box::pin(async move {
        loop {
            let answer = kept.shared.ask(Ask::AwaitWatch { id: kept.id }).await;
            match answer.map_err(Unanswered::of_read)? {
                Answer::Changed => return Ok(()),
                Answer::NotYet => {}
                _ => return Err(not_understood()),
            }
        }
    })
}
