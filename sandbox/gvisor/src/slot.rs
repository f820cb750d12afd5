//! One sandbox of one tenant.

use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use headwater_sandbox::{
    EngineError, Execution, FileEntry, GuestFile, GuestPath, Limits, Listener, Outcome, Slot,
    SlotSpec, Usage, Way,
};
use serde_json::{Value, json};
use tokio::sync::mpsc::UnboundedSender;
use tokio::time::{Instant, sleep, timeout_at};

use crate::ENGINE;
use crate::call::{Call, check, order};
use crate::link::{Answer, Link, lost};
use crate::remains::Remains;
use crate::runsc::Runsc;
use crate::wire::{CHUNK_BYTES, Kind, Order, frame, told};

/// The longest that a small order may take, and the end of a call that was given up.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// The longest that a call waits for the memory of the one before.
const GIVEN_BACK_WITHIN: Duration = Duration::from_secs(1);
const LOOK_EVERY: Duration = Duration::from_millis(5);
const ENTRIES_MAX: usize = 100_000;

/// A slot of the gVisor engine.
pub(crate) struct GvisorSlot {
    pub(crate) link: Link,
    pub(crate) remains: Remains,
    pub(crate) runsc: Runsc,
    pub(crate) limits: Limits,
    pub(crate) way: Way,
    /// What the sandbox held before its first call, in bytes.
    pub(crate) idle_bytes: u64,
    state: State,
    calls: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Ready,
    /// An order was given up before its answer came.
    Owed,
    Paused,
    Gone,
}

/// Kills the call when its future is dropped.
struct Abandon {
    outbound: UnboundedSender<Vec<u8>>,
    number: Option<u32>,
}

impl Drop for Abandon {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            drop(self.outbound.send(frame(Order::Kill, number, b"")));
        }
    }
}

impl GvisorSlot {
    pub(crate) fn new(link: Link, remains: Remains, runsc: Runsc, spec: &SlotSpec) -> Self {
        let idle_bytes = remains.group.memory_bytes().unwrap_or(0);
        let (limits, way) = (spec.limits, spec.way);
        Self { link, remains, runsc, limits, way, idle_bytes, state: State::Ready, calls: 0 }
    }

    /// Sees that the agent listens, and waits for the end of what was given up.
    async fn settle(&mut self) -> Result<(), EngineError> {
        match self.state {
            State::Ready => return Ok(()),
            State::Paused => return Err(unsupported("work while it is paused; resume it first")),
            State::Gone => return Err(lost("it ended in an earlier call")),
            State::Owed => {}
        }
        let until = Instant::now() + ANSWER_WITHIN;
        loop {
            match timeout_at(until, self.link.next()).await {
                Ok(Ok(frame)) if matches!(frame.kind, Kind::Done | Kind::Refused) => break,
                Ok(Ok(_)) => {}
                Ok(Err(error)) => {
                    self.state = State::Gone;
                    return Err(self.link.lost(&error).await);
                }
                Err(_) => return Err(self.gone("a call that was given up did not end")),
            }
        }
        self.state = State::Ready;
        Ok(())
    }

    /// Waits for the memory of the call before: the sandbox's kernel gives it back a moment after
    /// the end of its processes. Files of a session stay, so this is about the larger part.
    async fn given_back(&self, memory_bytes: u64) {
        let until = Instant::now() + GIVEN_BACK_WITHIN;
        let held = || self.remains.group.memory_bytes().unwrap_or(0);
        while held().saturating_sub(self.idle_bytes) > memory_bytes / 2 && Instant::now() < until {
            sleep(LOOK_EVERY).await;
        }
    }

    fn gone(&mut self, why: &str) -> EngineError {
        self.state = State::Gone;
        self.remains.group.kill();
        lost(why)
    }

    /// Sends an order and waits for its answer.
    async fn ask(&mut self, order: Vec<u8>, bytes_max: u64) -> Result<Answer, EngineError> {
        self.settle().await?;
        self.state = State::Owed;
        self.link.send(order);
        let answer = self.link.answer(bytes_max, Instant::now() + ANSWER_WITHIN).await;
        self.state = if answer.is_ok() { State::Ready } else { State::Gone };
        answer
    }

    async fn put(&mut self, file: &GuestFile, bytes_max: u64) -> Result<(), EngineError> {
        let path = file.path.as_str();
        let size = file.bytes.len() as u64;
        if size > bytes_max {
            let why = format!("has {size} bytes; at most {bytes_max} are allowed");
            return Err(EngineError::File { path: path.to_owned(), why });
        }
        let mut offset = 0;
        loop {
            let part = &file.bytes[offset..file.bytes.len().min(offset + CHUNK_BYTES)];
            let order = told(Order::Put, &json!({"path": path, "offset": offset}), part);
            if let Answer::Refused(why) = self.ask(order, 0).await? {
                return Err(EngineError::File { path: path.to_owned(), why });
            }
            offset += part.len();
            if offset >= file.bytes.len() {
                return Ok(());
            }
        }
    }

    fn session(&self) -> Result<(), EngineError> {
        match self.way {
            Way::Session => Ok(()),
            Way::Single => Err(unsupported("keep files of a slot without a session")),
        }
    }

    async fn order(&mut self, word: &str) -> Result<(), EngineError> {
        let (state, id): (PathBuf, String) = (self.remains.state.clone(), self.remains.id.clone());
        self.runsc.order(&state, &[word, &id]).await.map_err(lost)
    }
}

fn unsupported(what: &str) -> EngineError {
    EngineError::Unsupported { engine: ENGINE, what: what.to_owned() }
}

#[async_trait]
impl Slot for GvisorSlot {
    fn name(&self) -> &str {
        &self.remains.name
    }

    async fn run(
        &mut self,
        execution: &Execution,
        listener: &mut dyn Listener,
    ) -> Result<Outcome, EngineError> {
        check(execution, &self.limits)?;
        self.settle().await?;
        self.given_back(execution.limits.memory_bytes).await;
        let began = Instant::now();
        for file in &execution.files {
            self.put(file, execution.limits.file_bytes).await?;
        }
        self.calls = self.calls.wrapping_add(1);
        let number = self.calls;
        let mut abandon = Abandon { outbound: self.link.outbound(), number: Some(number) };
        self.state = State::Owed;
        self.link.send(order(execution, number));
        let (link, group, idle_bytes) = (&mut self.link, &self.remains.group, self.idle_bytes);
        let call = Call { link, group, execution, number, began, idle_bytes };
        let over = call.follow(listener).await;
        abandon.number = None;
        match over {
            Ok(over) if over.alive => {
                self.state = State::Ready;
                Ok(over.outcome)
            }
            Ok(over) => {
                self.gone("");
                Ok(over.outcome)
            }
            Err(error) => {
                self.gone("");
                Err(error)
            }
        }
    }

    async fn write(&mut self, file: &GuestFile) -> Result<(), EngineError> {
        self.session()?;
        self.put(file, self.limits.file_bytes).await
    }

    async fn read(&mut self, path: &GuestPath, bytes_max: u64) -> Result<GuestFile, EngineError> {
        self.session()?;
        let order = told(Order::Get, &json!({"path": path.as_str(), "bytes_max": bytes_max}), b"");
        match self.ask(order, bytes_max).await? {
            Answer::Done(_, bytes) => Ok(GuestFile { path: path.clone(), bytes }),
            Answer::Refused(why) => Err(EngineError::File { path: path.as_str().to_owned(), why }),
        }
    }

    async fn list(&mut self, entries_max: usize) -> Result<Vec<FileEntry>, EngineError> {
        self.session()?;
        let entries_max = entries_max.min(ENTRIES_MAX);
        let order = told(Order::List, &json!({"entries_max": entries_max}), b"");
        let told = match self.ask(order, 0).await? {
            Answer::Done(told, _) => told,
            Answer::Refused(why) => {
                return Err(EngineError::File { path: ".".to_owned(), why });
            }
        };
        let entries = told.get("entries").and_then(Value::as_array);
        let entries = entries.ok_or_else(|| lost("the agent told no entries"))?;
        Ok(entries.iter().take(entries_max).filter_map(entry_of).collect())
    }

    async fn pause(&mut self) -> Result<(), EngineError> {
        self.settle().await?;
        self.order("pause").await?;
        self.state = State::Paused;
        Ok(())
    }

    async fn resume(&mut self) -> Result<(), EngineError> {
        if self.state != State::Paused {
            return self.settle().await;
        }
        self.order("resume").await?;
        self.state = State::Ready;
        Ok(())
    }

    async fn usage(&mut self) -> Result<Usage, EngineError> {
        let memory_bytes = self.remains.group.memory_bytes();
        if self.state == State::Paused {
            return Ok(Usage { memory_bytes: memory_bytes.unwrap_or(0), processes: 0 });
        }
        let told = match self.ask(told(Order::Usage, &json!({}), b""), 0).await? {
            Answer::Done(told, _) => told,
            Answer::Refused(why) => return Err(lost(why)),
        };
        let number = |field: &str| told.get(field).and_then(Value::as_u64).unwrap_or(0);
        Ok(Usage {
            memory_bytes: memory_bytes.unwrap_or_else(|| number("resident")),
            processes: u32::try_from(number("processes")).unwrap_or(u32::MAX),
        })
    }

    async fn recycle(&mut self) -> Result<(), EngineError> {
        Err(unsupported("prove that a used slot is clean; close it"))
    }

    async fn close(self: Box<Self>) -> Result<(), EngineError> {
        let Self { link, mut remains, .. } = *self;
        remains.group.kill();
        link.end().await;
        let taken = tokio::task::spawn_blocking(move || remains.take_away()).await;
        match taken {
            Ok(Ok(())) => Ok(()),
            Ok(Err(what)) => Err(EngineError::Dirty { what }),
            Err(error) => Err(EngineError::Dirty { what: error.to_string() }),
        }
    }
}

/// An entry that the agent tells; a name that is no path of ours is left out.
fn entry_of(told: &Value) -> Option<FileEntry> {
    let [path, bytes, folder] = told.as_array()?.as_slice() else { return None };
    let path = GuestPath::new(path.as_str()?).ok()?;
    Some(FileEntry { path, bytes: bytes.as_u64()?, folder: folder.as_bool()? })
}
