//! One call of a slot: what goes to its keeper, what comes from it, and who is stopped when.

mod keeper;
mod pump;

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use headwater_sandbox::{Ended, EngineError, Execution, GuestFile, Limits, Listener, Outcome};
use nix::fcntl::OFlag;
use nix::libc;
use nix::unistd::pipe2;
use tokio::net::UnixStream;
use tokio::net::unix::pipe::{Receiver, Sender};

use crate::cgroup::Group;
use crate::control::{CALL, Control, DONE, FAILED, KILL, Message, UNBEGUN};
use crate::wire::{Answer, Program, Request};

pub(crate) use keeper::{Keeper, Reply};
use pump::Pump;

/// How long a keeper may take to answer after its guest was stopped.
const STOP: Duration = Duration::from_secs(2);
/// How long a killed keeper's processes may take to be gone.
const GONE: Duration = Duration::from_secs(10);
/// How long a call without a guest (a file to write or read) may take.
const FILES: Duration = Duration::from_secs(60);

/// What a call needs of its slot.
pub(crate) struct Place<'a> {
    pub(crate) control: &'a Control,
    pub(crate) group: &'a Group,
    /// The call that was begun last, until its end was heard.
    pub(crate) open: &'a mut Option<u64>,
    pub(crate) next: &'a mut u64,
    pub(crate) memory_kills: &'a mut u64,
}

pub(crate) fn lost(why: impl ToString) -> EngineError {
    EngineError::Lost { why: why.to_string() }
}

pub(crate) fn short(error: io::Error) -> EngineError {
    EngineError::Busy { why: error.to_string() }
}

impl Place<'_> {
    /// Waits for the end of a call that nobody waits for any more.
    pub(crate) async fn settle(&mut self) -> Result<(), EngineError> {
        let Some(call) = *self.open else { return Ok(()) };
        // Its keeper has heard that its socket was closed; this is for one that does not hear.
        let soon = self.control.await_kind(DONE, call, STOP).await;
        if soon.is_err() {
            self.control.send(Message::new(KILL, call), &[]).await.map_err(lost)?;
            self.control.await_kind(DONE, call, GONE).await.map_err(lost)?;
        }
        *self.open = None;
        Ok(())
    }

    /// Hands a call's descriptors to the zygote.
    async fn begin(&mut self, handles: &[&OwnedFd]) -> Result<u64, EngineError> {
        *self.next += 1;
        let call = *self.next;
        let numbers: Vec<i32> = handles.iter().map(|handle| handle.as_raw_fd()).collect();
        *self.open = Some(call);
        self.control.send(Message::new(CALL, call), &numbers).await.map_err(lost)?;
        Ok(call)
    }

    /// Until every process of the call is gone.
    async fn ended(&mut self, call: u64) -> Result<Message, EngineError> {
        loop {
            let (message, _) =
                self.control.receive().await.map_err(|error| match error.kind() {
                    io::ErrorKind::UnexpectedEof => lost("its interpreter ended"),
                    _ => lost(error),
                })?;
            if message.call == call && (message.kind == DONE || message.kind == FAILED) {
                *self.open = None;
                return Ok(message);
            }
        }
    }

    /// A call without a guest.
    pub(crate) async fn files(
        &mut self,
        request: &Request<'_>,
        files: &[GuestFile],
        bytes_max: u64,
    ) -> Result<Reply, EngineError> {
        self.settle().await?;
        let (ours, theirs) = sockets().map_err(short)?;
        let call = self.begin(&[&theirs]).await?;
        drop(theirs);
        let mut keeper = Keeper::new(ours);
        let work = async {
            keeper.ask(request, &[], files).await?;
            keeper.answer(bytes_max).await
        };
        let reply = tokio::time::timeout(FILES, work).await;
        drop(keeper);
        let Ok(reply) = reply else {
            self.settle().await?;
            return Err(lost("a file took too long"));
        };
        let end = self.ended(call).await?;
        if end.kind == FAILED {
            return Err(short(io::Error::from_raw_os_error(end.value as i32)));
        }
        let reply = reply.map_err(lost)?;
        refused(&reply.answer)?;
        Ok(reply)
    }

    /// A call with a guest, to the end of its last process; its keeper may still be going.
    pub(crate) async fn run(
        &mut self,
        execution: &Execution,
        slot: &Limits,
        listener: &mut dyn Listener,
    ) -> Result<Outcome, EngineError> {
        self.settle().await?;
        let began = Instant::now();
        // The second keeper where the first one was killed before it handed the program on.
        for is_last in [false, true] {
            let outcome = self.attempt(execution, slot, listener, began, is_last).await?;
            if let Some(outcome) = outcome {
                return Ok(outcome);
            }
        }
        Err(lost("the call's keeper ended before its program began"))
    }

    /// None where nothing of the program has run, and another keeper may run it.
    async fn attempt(
        &mut self,
        execution: &Execution,
        slot: &Limits,
        listener: &mut dyn Listener,
        began: Instant,
        is_last: bool,
    ) -> Result<Option<Outcome>, EngineError> {
        let limits = &execution.limits;
        let (keeper, theirs) = sockets().map_err(short)?;
        let (input, guest_input) = input_pipe().map_err(short)?;
        let (output, guest_output) = output_pipe().map_err(short)?;
        let (errors, guest_errors) = output_pipe().map_err(short)?;
        let call = self.begin(&[&theirs, &guest_input, &guest_output, &guest_errors]).await?;
        drop((theirs, guest_input, guest_output, guest_errors));
        // The guest has no program yet: what was killed before is none of this call's.
        self.group.forget_peak();
        self.note_memory_kills();
        let program = program_of(execution, self.group.memory.is_none());
        let program = serde_json::to_vec(&program).map_err(lost)?;
        let request = request_of(execution, slot, program.len());
        let mut pump = Pump::new(keeper, input, output, errors, limits, self.group);
        let asked = (&request, program.as_slice());
        let done = pump.run(asked, execution, began, self, call, listener).await?;
        pump.drain(listener).await;
        let wall_us = began.elapsed().as_micros() as u64;
        let status = done.map_or(0, |done| done.value);
        let is_unheard = !matches!(pump.reply, Some(Ok(_))) && pump.stopped.is_none();
        if is_unheard && status == UNBEGUN && !is_last && !self.killed_by_memory() {
            return Ok(None);
        }
        let reply = match pump.reply.take() {
            Some(Ok(reply)) => reply,
            Some(Err(error)) if pump.stopped.is_none() && !self.killed_by_memory() => {
                return Err(lost(format!("the call's keeper ended ({error}, {status})")));
            }
            None if pump.stopped.is_none() && !self.killed_by_memory() => {
                return Err(lost(format!("the call's keeper ended ({status})")));
            }
            _ => Reply {
                answer: Answer { status: Some(libc::SIGKILL), killed: true, ..Answer::default() },
                files: Vec::new(),
            },
        };
        refused(&reply.answer)?;
        let is_memory = self.killed_by_memory();
        let ended = ended_of(&reply.answer, pump.stopped, is_memory, limits);
        Ok(Some(Outcome {
            ended,
            wall_us,
            cpu_us: reply.answer.cpu_us,
            memory_peak_bytes: self.group.peak().unwrap_or(reply.answer.rss),
            output_bytes: pump.heard_bytes(),
            files: files_of(reply, execution),
        }))
    }

    fn killed_by_memory(&self) -> bool {
        self.group.memory_kills().is_some_and(|kills| kills > *self.memory_kills)
    }

    fn note_memory_kills(&mut self) {
        if let Some(kills) = self.group.memory_kills() {
            *self.memory_kills = kills;
        }
    }
}

/// A refused file, or a keeper that failed.
fn refused(answer: &Answer) -> Result<(), EngineError> {
    if let Some(fault) = &answer.fault {
        return Err(lost(format!("the call's keeper failed: {fault}")));
    }
    match (&answer.file, &answer.why) {
        (Some(path), Some(why)) => Err(EngineError::File { path: path.clone(), why: why.clone() }),
        _ => Ok(()),
    }
}

fn ended_of(answer: &Answer, stopped: Option<Ended>, is_memory: bool, limits: &Limits) -> Ended {
    let status = answer.status.unwrap_or_default();
    let signal = status & 0x7f;
    let is_over = answer.cpu_us >= limits.cpu_ms * 1_000;
    match stopped {
        // More output than allowed stays more, however the program ended then.
        Some(Ended::Output) => return Ended::Output,
        Some(reason) if answer.killed => return reason,
        _ => {}
    }
    match signal {
        0 => Ended::Exit(status >> 8 & 0xff),
        libc::SIGKILL if is_memory => Ended::Memory,
        libc::SIGXCPU => Ended::CpuTime,
        libc::SIGKILL if is_over => Ended::CpuTime,
        libc::SIGSYS => Ended::Violation,
        signal => Ended::Signal(signal),
    }
}

fn files_of(reply: Reply, execution: &Execution) -> Vec<GuestFile> {
    let named = reply.files.into_iter().filter_map(|(index, bytes)| {
        execution.collect.get(index).map(|path| GuestFile { path: path.clone(), bytes })
    });
    named.collect()
}

fn request_of<'a>(execution: &'a Execution, slot: &Limits, program: usize) -> Request<'a> {
    Request {
        kind: "run",
        program,
        files: execution.files.iter().map(|file| (file.path.as_str(), file.bytes.len())).collect(),
        collect: execution.collect.iter().map(|path| path.as_str()).collect(),
        collect_bytes: slot.disk_bytes,
        most: 0,
        disk_bytes: execution.limits.disk_bytes,
    }
}

/// What every guest has, then what its call says.
fn program_of(execution: &Execution, is_alone: bool) -> Program<'_> {
    let limits = &execution.limits;
    let mut environment = vec![("PATH", "/usr/bin"), ("HOME", "/work"), ("LANG", "C.UTF-8")];
    let given = execution.environment.iter();
    environment.extend(given.map(|(name, value)| (name.as_str(), value.as_str())));
    Program {
        source: &execution.source,
        arguments: &execution.arguments,
        environment,
        file_bytes: limits.file_bytes,
        address_bytes: if is_alone { limits.memory_bytes } else { 0 },
        processes: limits.processes,
        open_files: limits.open_files,
        cpu_s: limits.cpu_ms.div_ceil(1_000),
    }
}

fn sockets() -> io::Result<(UnixStream, OwnedFd)> {
    let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
    ours.set_nonblocking(true)?;
    Ok((UnixStream::from_std(ours)?, OwnedFd::from(theirs)))
}

fn input_pipe() -> io::Result<(Sender, OwnedFd)> {
    let (read, write) = pipe2(OFlag::O_CLOEXEC)?;
    Ok((Sender::from_owned_fd(write)?, read))
}

fn output_pipe() -> io::Result<(Receiver, OwnedFd)> {
    let (read, write) = pipe2(OFlag::O_CLOEXEC)?;
    Ok((Receiver::from_owned_fd(read)?, write))
}
