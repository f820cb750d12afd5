//! Clients of a counter and a pointer: every operation through the retry loop, with an id that
//! outlives a crash.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use headwater_storage::retry::{Applied, OperationId, Retry};
use headwater_storage::tuple;
use headwater_storage::{ReadMode, StoreError, Transaction, codec};

use super::history::{Action, Operation};
use crate::world::World;

const RECORD: u8 = 1;

/// The two registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Register {
    Counter,
    Pointer,
}

impl Register {
    pub(super) fn key(self) -> Vec<u8> {
        let name = match self {
            Register::Counter => "counter",
            Register::Pointer => "pointer",
        };
        tuple::pack(&["register".into(), name.into()])
    }
}

/// A write whose client does not know its result yet.
#[derive(Clone, Copy)]
struct Unfinished {
    id: OperationId,
    register: Register,
    action: Action,
    /// Its place in the history.
    place: usize,
    /// An earlier call may have written it.
    asked_before: bool,
}

/// Both histories, and what each client was about to do; survives crashes.
#[derive(Clone, Default)]
pub(super) struct Journal(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    events: u64,
    history: Vec<(Register, Operation)>,
    /// Places of operations that are known not to have happened.
    undone: Vec<usize>,
    unfinished: BTreeMap<u64, Unfinished>,
    next_pointer: u64,
}

impl Journal {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn call(&self, register: Register, action: Action) -> usize {
        let mut state = self.lock();
        state.events += 1;
        let called = state.events;
        state.history.push((register, Operation { action, called, returned: None }));
        state.history.len() - 1
    }

    fn end(&self, place: usize, action: Action) {
        let mut state = self.lock();
        state.events += 1;
        let returned = Some(state.events);
        if let Some((_, operation)) = state.history.get_mut(place) {
            (operation.action, operation.returned) = (action, returned);
        }
    }

    /// The history of one register; what is known not to have happened is left out.
    pub(super) fn history(&self, register: Register) -> Vec<Operation> {
        let state = self.lock();
        let kept = state
            .history
            .iter()
            .enumerate()
            .filter(|(place, (of, _))| *of == register && !state.undone.contains(place));
        kept.map(|(_, (_, operation))| *operation).collect()
    }

    /// Adds a last read, by somebody who sees the store itself.
    pub(super) fn read_at_the_end(&self, register: Register, value: u64) {
        let place = self.call(register, Action::Read(None));
        self.end(place, Action::Read(Some(value)));
    }

    /// Writes that are still under way.
    pub(super) fn unfinished(&self) -> usize {
        self.lock().unfinished.len()
    }
}

/// One client, over its restarts.
#[derive(Clone)]
pub(super) struct Client {
    pub(super) number: u64,
    pub(super) world: World,
    pub(super) retry: Retry,
    pub(super) journal: Journal,
    pub(super) stop_ms: u64,
    /// A planted bug: reads take no part in conflict detection.
    pub(super) snapshot_reads: bool,
}

pub(super) fn value_of(row: Option<&Vec<u8>>) -> Result<u64, StoreError> {
    row.map_or(Ok(0), |row| codec::decode(RECORD, row))
}

impl Client {
    pub(super) async fn run(self) {
        let unfinished = self.journal.lock().unfinished.remove(&self.number);
        if let Some(unfinished) = unfinished {
            if self.world.percent(60) {
                self.world.count("operation taken up after a crash");
                self.write(Unfinished { asked_before: true, ..unfinished }).await;
            } else {
                self.world.count("operation forgotten in a crash");
            }
        }
        while self.world.now_ms() < self.stop_ms {
            self.world.sleep(self.world.between(50, 2_500)).await;
            match self.world.between(0, 4) {
                0 => _ = self.read(Register::Counter).await,
                1 => _ = self.read(Register::Pointer).await,
                2 => self.begin(Register::Counter, Action::Increment(None)).await,
                _ => self.swing().await,
            }
        }
    }

    async fn swing(&self) {
        let Some(from) = self.read(Register::Pointer).await else { return };
        let to = {
            let mut state = self.journal.lock();
            state.next_pointer += 1;
            state.next_pointer
        };
        self.begin(Register::Pointer, Action::Swing { from, to, swung: None }).await;
    }

    async fn read(&self, register: Register) -> Option<u64> {
        let place = self.journal.call(register, Action::Read(None));
        let outcome = self
            .retry
            .read(|transaction| {
                let key = register.key();
                Box::pin(async move {
                    value_of(transaction.get(&key, ReadMode::Serializable).await?.as_ref())
                })
            })
            .await;
        match outcome {
            Ok(value) => {
                self.world.count("read");
                self.world.note(format_args!("{} reads {register:?}: {value}", self.number));
                self.journal.end(place, Action::Read(Some(value)));
                Some(value)
            }
            Err(_) => {
                self.world.count("read failed");
                self.journal.lock().undone.push(place);
                None
            }
        }
    }

    async fn begin(&self, register: Register, action: Action) {
        let id = OperationId::draw(0, self.retry.environment());
        let place = self.journal.call(register, action);
        self.write(Unfinished { id, register, action, place, asked_before: false }).await;
    }

    /// Writes until it is known what came of it.
    async fn write(&self, unfinished: Unfinished) {
        let Unfinished { id, register, action, place, mut asked_before } = unfinished;
        self.journal.lock().unfinished.insert(self.number, unfinished);
        loop {
            let snapshot_reads = self.snapshot_reads;
            let outcome = self
                .retry
                .write(id, |transaction| {
                    Box::pin(change(transaction, register, action, snapshot_reads))
                })
                .await;
            self.world.note(format_args!("{} {action:?}: {outcome:?}", self.number));
            match outcome {
                Ok(Applied::Now(action)) => {
                    self.world.count("written");
                    self.journal.end(place, action);
                    break;
                }
                Ok(Applied::Earlier) => {
                    self.world.count("written earlier");
                    self.journal.end(place, action);
                    break;
                }
                Err(StoreError::CommitUnknown) => {
                    self.world.count("write unknown");
                    asked_before = true;
                    self.world.sleep(self.world.between(50, 1_000)).await;
                }
                Err(_) if asked_before => {
                    self.world.sleep(self.world.between(50, 1_000)).await;
                }
                Err(_) => {
                    self.world.count("write failed");
                    self.journal.lock().undone.push(place);
                    break;
                }
            }
        }
        self.journal.lock().unfinished.remove(&self.number);
    }
}

/// One write's body: the action with its result.
async fn change(
    transaction: &mut dyn Transaction,
    register: Register,
    action: Action,
    snapshot_reads: bool,
) -> Result<Action, StoreError> {
    let key = register.key();
    let mode = if snapshot_reads { ReadMode::Snapshot } else { ReadMode::Serializable };
    let value = value_of(transaction.get(&key, mode).await?.as_ref())?;
    match action {
        Action::Increment(_) => {
            transaction.set(&key, &codec::encode(RECORD, &(value + 1))?)?;
            Ok(Action::Increment(Some(value + 1)))
        }
        Action::Swing { from, to, .. } => {
            if value == from {
                transaction.set(&key, &codec::encode(RECORD, &to)?)?;
            }
            Ok(Action::Swing { from, to, swung: Some(value == from) })
        }
        Action::Read(_) => Ok(Action::Read(Some(value))),
    }
}
