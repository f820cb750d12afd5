//! The sandbox's process, and the frames that go to its agent and come from it.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use headwater_sandbox::{EngineError, WayOut};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::{Instant, timeout, timeout_at};

use crate::cgroup::Group;
use crate::relay::Relays;
use crate::runsc::last_words;
use crate::wire::{Frame, Frames, Kind};

const COMPLAINT_BYTES: usize = 4_096;

/// One sandbox. Dropping it kills the process of runsc, and runsc's sandbox dies with that.
pub(crate) struct Link {
    child: Child,
    frames: Frames<ChildStdout>,
    outbound: UnboundedSender<Vec<u8>>,
    complaints: Arc<Mutex<Vec<u8>>>,
    relays: Relays,
}

impl Link {
    /// Starts the process inside of a cgroup.
    pub(crate) fn start(
        mut command: Command,
        group: &Group,
        way_out: Option<WayOut>,
    ) -> io::Result<Self> {
        let mut doors = Vec::new();
        for folder in group.folders() {
            doors.push(OpenOptions::new().write(true).open(folder.join("cgroup.procs"))?);
        }
        let enter = move || doors.iter_mut().try_for_each(|door| door.write_all(b"0"));
        // SAFETY: between fork and exec the closure only writes to open files, which takes no lock
        // and no memory.
        unsafe { command.pre_exec(enter) };
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.kill_on_drop(true).spawn()?;
        let missing = || io::Error::other("a pipe to runsc is missing");
        let input = child.stdin.take().ok_or_else(missing)?;
        let output = child.stdout.take().ok_or_else(missing)?;
        let errors = child.stderr.take().ok_or_else(missing)?;
        let (outbound, waiting) = unbounded_channel();
        tokio::spawn(write_frames(input, waiting));
        let complaints = Arc::default();
        tokio::spawn(keep_complaints(errors, Arc::clone(&complaints)));
        let relays = Relays::new(way_out, outbound.clone());
        Ok(Self { child, frames: Frames::new(output), outbound, complaints, relays })
    }

    /// A sender of frames, for what happens when a call is given up.
    pub(crate) fn outbound(&self) -> UnboundedSender<Vec<u8>> {
        self.outbound.clone()
    }

    /// What waits here is bounded by what a call may carry, and by the windows of the way out.
    pub(crate) fn send(&self, frame: Vec<u8>) {
        // A process that is gone is told by the next read.
        drop(self.outbound.send(frame));
    }

    /// The next frame that is not the way out's. May be given up at any point.
    pub(crate) async fn next(&mut self) -> io::Result<Frame> {
        loop {
            let frame = self.frames.next().await?;
            match frame.kind {
                Kind::Open | Kind::Data | Kind::Credit | Kind::Close => self.relays.heard(frame),
                _ => return Ok(frame),
            }
        }
    }

    /// What the agent answers to one order, with the parts of a file before it.
    pub(crate) async fn answer(
        &mut self,
        bytes_max: u64,
        until: Instant,
    ) -> Result<Answer, EngineError> {
        let mut bytes = Vec::new();
        loop {
            let frame = match timeout_at(until, self.next()).await {
                Ok(Ok(frame)) => frame,
                Ok(Err(error)) => return Err(self.lost(&error).await),
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

    /// Why the sandbox is gone, with its last words.
    pub(crate) async fn lost(&mut self, error: &io::Error) -> EngineError {
        if error.kind() != io::ErrorKind::UnexpectedEof {
            return lost(error.to_string());
        }
        let ended = match timeout(Duration::from_millis(500), self.child.wait()).await {
            Ok(Ok(status)) => format!("runsc ended with {status}"),
            _ => "the sandbox closed its output".to_owned(),
        };
        let words = self.complaints.lock().unwrap_or_else(PoisonError::into_inner).clone();
        lost(format!("{ended}: {}", last_words(&words)))
    }

    /// Kills the process and waits for its end.
    pub(crate) async fn end(mut self) {
        drop(self.child.start_kill());
        drop(timeout(Duration::from_secs(2), self.child.wait()).await);
    }
}

/// How the agent answers an order.
pub(crate) enum Answer {
    Done(Value, Vec<u8>),
    Refused(String),
}

pub(crate) fn lost(why: impl Into<String>) -> EngineError {
    EngineError::Lost { why: why.into() }
}

/// A text that the agent tells, bounded.
pub(crate) fn text_of(told: &Value, field: &str) -> String {
    let text = told.get(field).and_then(Value::as_str).unwrap_or_default();
    text.chars().filter(|letter| !letter.is_control()).take(300).collect()
}

async fn write_frames(mut input: ChildStdin, mut waiting: UnboundedReceiver<Vec<u8>>) {
    while let Some(frame) = waiting.recv().await {
        if input.write_all(&frame).await.is_err() {
            return;
        }
    }
}

/// Keeps the end of what runsc complains about.
async fn keep_complaints(mut errors: ChildStderr, kept: Arc<Mutex<Vec<u8>>>) {
    let mut piece = [0; 1_024];
    while let Ok(count @ 1..) = errors.read(&mut piece).await {
        let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.extend_from_slice(&piece[..count]);
        let more = kept.len().saturating_sub(COMPLAINT_BYTES);
        kept.drain(..more);
    }
}
