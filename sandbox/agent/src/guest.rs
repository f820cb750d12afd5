//! The host's side of one slot whose guest has an agent: orders, answers, and what was given up.

use std::io;
use std::time::Duration;

use async_trait::async_trait;
use headwater_sandbox::{
    EngineError, Execution, FileEntry, GuestFile, GuestPath, Limits, Listener, Outcome, Usage, Way,
};
use serde_json::{Value, json};
use tokio::sync::mpsc::UnboundedSender;
use tokio::time::{Instant, sleep, timeout_at};

use crate::call::{Call, check, order};
use crate::link::Link;
use crate::wire::{CHUNK_BYTES, Kind, Order, frame, told};

/// The longest that a small order may take, and the end of a call that was given up.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// The longest that a call waits for the memory of the one before.
const GIVEN_BACK_WITHIN: Duration = Duration::from_secs(1);
const LOOK_EVERY: Duration = Duration::from_millis(5);
const ENTRIES_MAX: usize = 100_000;

/// What runs a guest, seen from the host.
#[async_trait]
pub trait Machine: Send + Sync {
    /// What the guest's processes hold, in bytes; `None` where only the guest can tell.
    fn held_bytes(&self) -> Option<u64>;

    /// How often the host has killed in it for want of memory.
    fn memory_kills(&self) -> u64;

    /// Kills the guest with all that is in it.
    fn kill(&self);

    /// Why the stream to the agent ended so.
    async fn lost(&mut self, error: &io::Error) -> EngineError;
}

/// How an agent answers an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    Done(Value, Vec<u8>),
    Refused(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Ready,
    /// An order was given up before its answer came.
    Owed,
    Paused,
    Gone,
}

/// One guest of one tenant.
pub struct Guest<M> {
    engine: &'static str,
    pub machine: M,
    link: Link,
    limits: Limits,
    way: Way,
    /// What the guest held before its first call, in bytes.
    idle_bytes: u64,
    state: State,
    calls: u32,
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

impl<M: Machine> Guest<M> {
    /// A guest whose agent has not greeted yet.
    pub fn new(engine: &'static str, machine: M, link: Link, limits: Limits, way: Way) -> Self {
        Self { engine, machine, link, limits, way, idle_bytes: 0, state: State::Ready, calls: 0 }
    }

    /// Waits for the agent's first word.
    ///
    /// # Errors
    /// What came in its place.
    pub async fn greeted(&mut self, until: Instant) -> Result<(), String> {
        match timeout_at(until, self.link.next()).await {
            Ok(Ok(frame)) if frame.kind == Kind::Hello => {
                self.idle_bytes = self.machine.held_bytes().unwrap_or(0);
                Ok(())
            }
            Ok(Ok(_)) => Err("the agent did not greet".to_owned()),
            Ok(Err(error)) => Err(self.machine.lost(&error).await.to_string()),
            Err(_) => Err("the agent did not greet in time".to_owned()),
        }
    }

    /// Takes the guest apart.
    pub fn into_machine(self) -> M {
        self.machine
    }

    /// Sees that the agent listens, and waits for the end of what was given up.
    ///
    /// # Errors
    /// [`EngineError::Lost`], and [`EngineError::Unsupported`] while it is paused.
    pub async fn settle(&mut self) -> Result<(), EngineError> {
        match self.state {
            State::Ready => return Ok(()),
            State::Paused => {
                return Err(self.unsupported("work while it is paused; resume it first"));
            }
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
                    return Err(self.machine.lost(&error).await);
                }
                Err(_) => return Err(self.gone("a call that was given up did not end")),
            }
        }
        self.state = State::Ready;
        Ok(())
    }

    /// Waits for the memory of the call before: a guest's kernel may give it back a moment after the
    /// end of its processes. Files of a session stay, so this is about the larger part.
    async fn given_back(&self, memory_bytes: u64) {
        let until = Instant::now() + GIVEN_BACK_WITHIN;
        let held = || self.machine.held_bytes().unwrap_or(0);
        while held().saturating_sub(self.idle_bytes) > memory_bytes / 2 && Instant::now() < until {
            sleep(LOOK_EVERY).await;
        }
    }

    fn gone(&mut self, why: &str) -> EngineError {
        self.state = State::Gone;
        self.machine.kill();
        lost(why)
    }

    /// Sends an order and waits for its answer, with the parts of a file before it.
    ///
    /// # Errors
    /// [`EngineError::Lost`] when the answer does not come, or is none.
    pub async fn ask(&mut self, order: Vec<u8>, bytes_max: u64) -> Result<Answer, EngineError> {
        self.settle().await?;
        self.state = State::Owed;
        self.link.send(order);
        let answer = self.answer(bytes_max, Instant::now() + ANSWER_WITHIN).await;
        self.state = if answer.is_ok() { State::Ready } else { State::Gone };
        answer
    }

    async fn answer(&mut self, bytes_max: u64, until: Instant) -> Result<Answer, EngineError> {
        let mut bytes = Vec::new();
        loop {
            let frame = match timeout_at(until, self.link.next()).await {
                Ok(Ok(frame)) => frame,
                Ok(Err(error)) => return Err(self.machine.lost(&error).await),
                Err(_) => return Err(lost("the agent did not answer")),
            };
            let (told, part) = frame.told().map_err(|error| lost(error.to_string()))?;
            match frame.kind {
                Kind::File => bytes.extend_from_slice(part),
                Kind::Done => return Ok(Answer::Done(told, bytes)),
                Kind::Refused => return Ok(Answer::Refused(text_of(&told, "why"))),
                _ => return Err(lost("the agent answered something else")),
            }
            if bytes.len() as u64 > bytes_max {
                return Err(lost("the agent sent more than it was asked for"));
            }
        }
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

    /// As [`Slot::run`](headwater_sandbox::Slot::run).
    ///
    /// # Errors
    /// The same. The next ones too are as the slot's.
    pub async fn run(
        &mut self,
        execution: &Execution,
        listener: &mut dyn Listener,
    ) -> Result<Outcome, EngineError> {
        check(self.engine, execution, &self.limits)?;
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
        let (link, machine, idle_bytes) = (&mut self.link, &mut self.machine, self.idle_bytes);
        let call = Call { link, machine, execution, number, began, idle_bytes };
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

    /// # Errors
    /// As the slot's.
    pub async fn write(&mut self, file: &GuestFile) -> Result<(), EngineError> {
        self.session()?;
        self.put(file, self.limits.file_bytes).await
    }

    /// # Errors
    /// As the slot's.
    pub async fn read(
        &mut self,
        path: &GuestPath,
        bytes_max: u64,
    ) -> Result<GuestFile, EngineError> {
        self.session()?;
        let order = told(Order::Get, &json!({"path": path.as_str(), "bytes_max": bytes_max}), b"");
        match self.ask(order, bytes_max).await? {
            Answer::Done(_, bytes) => Ok(GuestFile { path: path.clone(), bytes }),
            Answer::Refused(why) => Err(EngineError::File { path: path.as_str().to_owned(), why }),
        }
    }

    /// # Errors
    /// As the slot's.
    pub async fn list(&mut self, entries_max: usize) -> Result<Vec<FileEntry>, EngineError> {
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

    /// # Errors
    /// As the slot's.
    pub async fn usage(&mut self) -> Result<Usage, EngineError> {
        let memory_bytes = self.machine.held_bytes();
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

    /// Whether the machine stands still.
    pub fn is_paused(&self) -> bool {
        self.state == State::Paused
    }

    /// Tells that the machine stands still now, or runs again; call [`Guest::settle`] before the
    /// first.
    pub fn set_paused(&mut self, paused: bool) {
        self.state = if paused { State::Paused } else { State::Ready };
    }

    fn session(&self) -> Result<(), EngineError> {
        match self.way {
            Way::Session => Ok(()),
            Way::Single => Err(self.unsupported("keep files of a slot without a session")),
        }
    }

    /// An error that tells what this engine does not do.
    pub fn unsupported(&self, what: &str) -> EngineError {
        EngineError::Unsupported { engine: self.engine, what: what.to_owned() }
    }
}

/// An entry that the agent tells; a name that is no path of ours is left out.
fn entry_of(told: &Value) -> Option<FileEntry> {
    let [path, bytes, folder] = told.as_array()?.as_slice() else { return None };
    let path = GuestPath::new(path.as_str()?).ok()?;
    Some(FileEntry { path, bytes: bytes.as_u64()?, folder: folder.as_bool()? })
}

/// A slot that is gone, and why.
pub fn lost(why: impl Into<String>) -> EngineError {
    EngineError::Lost { why: why.into() }
}

/// A text that the agent tells, bounded.
pub(crate) fn text_of(told: &Value, field: &str) -> String {
    let text = told.get(field).and_then(Value::as_str).unwrap_or_default();
    text.chars().filter(|letter| !letter.is_control()).take(300).collect()
}
