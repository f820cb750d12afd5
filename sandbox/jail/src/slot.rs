//! A slot of the jail.

use std::fs;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use headwater_sandbox::{
    EngineError, Execution, FileEntry, GuestFile, GuestPath, Limits, Listener, Outcome, Slot,
    SlotSpec, Usage, Way,
};

use crate::NAME;
use crate::call::{Place, Reply, lost};
use crate::control::{CLEAN, Message, SPARE};
use crate::start::Parts;
use crate::wire::Request;

/// How long a group may take to stand still.
const FREEZE: Duration = Duration::from_secs(5);
/// How long the zygote may take to look around, or to make what the next call needs.
const CLEAN_WAIT: Duration = Duration::from_secs(10);
/// How much more memory than at first the zygote may hold: pages that its forks made it copy.
const GROWTH_BYTES: u64 = 8 << 20;
/// The most entries of a list.
const ENTRIES_MAX: usize = 100_000;

pub(crate) struct JailSlot {
    parts: Parts,
    limits: Limits,
    /// The limits that the group has now.
    set: Limits,
    way: Way,
    open: Option<u64>,
    next: u64,
    memory_kills: u64,
    is_paused: bool,
    /// Of the zygote, before any call.
    first_held_bytes: u64,
    first_mounts: usize,
}

impl JailSlot {
    pub(crate) fn new(parts: Parts, spec: &SlotSpec) -> Self {
        let group = &parts.group;
        let memory_kills = group.memory_kills().unwrap_or_default();
        let first_held_bytes = group.held_bytes().unwrap_or_default();
        let first_mounts = mounts(&parts).unwrap_or_default();
        Self {
            parts,
            limits: spec.limits,
            set: spec.limits,
            way: spec.way,
            open: None,
            next: 0,
            memory_kills,
            is_paused: false,
            first_held_bytes,
            first_mounts,
        }
    }

    fn place(&mut self) -> Result<Place<'_>, EngineError> {
        if self.is_paused {
            return Err(unsupported("work while it is paused; resume it first"));
        }
        let control = self.parts.control.as_ref().ok_or_else(|| lost("it was closed"))?;
        Ok(Place {
            control,
            group: &self.parts.group,
            open: &mut self.open,
            next: &mut self.next,
            memory_kills: &mut self.memory_kills,
        })
    }

    /// Asks for the next call's processes, ahead of it; nobody waits for them here.
    pub(crate) async fn spare(&mut self) -> Result<u64, EngineError> {
        let place = self.place()?;
        *place.next += 1;
        let call = *place.next;
        place.control.send(Message::new(SPARE, call), &[]).await.map_err(lost)?;
        Ok(call)
    }

    /// Files and folders of a session, without a guest.
    async fn files(
        &mut self,
        request: Request<'_>,
        files: &[GuestFile],
        bytes_max: u64,
    ) -> Result<Reply, EngineError> {
        if self.way != Way::Session {
            return Err(unsupported("keep files in a slot without a session"));
        }
        let disk_bytes = self.limits.disk_bytes;
        self.place()?.files(&Request { disk_bytes, ..request }, files, bytes_max).await
    }

    async fn freeze(&mut self, freeze: bool) -> Result<(), EngineError> {
        let group = &self.parts.group;
        if !group.can_freeze() {
            return Err(unsupported("pause where no cgroup can be made"));
        }
        let told = |error: std::io::Error| lost(format!("it cannot be paused or resumed: {error}"));
        group.ask_freeze(freeze).map_err(told)?;
        let deadline = Instant::now() + FREEZE;
        while group.is_frozen() != freeze {
            if Instant::now() >= deadline {
                return Err(lost("it does not stand still"));
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
            // A process that was just made may have escaped the first word.
            group.ask_freeze(freeze).map_err(told)?;
        }
        self.is_paused = freeze;
        Ok(())
    }
}

fn unsupported(what: &str) -> EngineError {
    EngineError::Unsupported { engine: NAME, what: what.to_owned() }
}

/// How many mounts the zygote sees.
fn mounts(parts: &Parts) -> Option<usize> {
    let path = format!("/proc/{}/mountinfo", parts.zygote?);
    fs::read_to_string(path).ok().map(|text| text.lines().count())
}

/// Processes of the slot, by its group, or by the kernel's list of the zygote's children.
fn processes(parts: &Parts) -> Option<Vec<i32>> {
    if let Some(processes) = parts.group.processes() {
        return Some(processes);
    }
    let zygote = parts.zygote?;
    let children = fs::read_to_string(format!("/proc/{zygote}/task/{zygote}/children")).ok()?;
    let children = children.split_whitespace().filter_map(|child| child.parse().ok());
    Some([zygote.as_raw()].into_iter().chain(children).collect())
}

fn check_environment(execution: &Execution) -> Result<(), EngineError> {
    for (name, value) in &execution.environment {
        if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
            let what = format!(
                "take the environment variable {name:?}; leave out `=` and NUL, and name it"
            );
            return Err(EngineError::Unsupported { engine: NAME, what });
        }
    }
    Ok(())
}

#[async_trait]
impl Slot for JailSlot {
    fn name(&self) -> &str {
        &self.parts.name
    }

    async fn run(
        &mut self,
        execution: &Execution,
        listener: &mut dyn Listener,
    ) -> Result<Outcome, EngineError> {
        execution.limits.check_within(&self.limits)?;
        check_environment(execution)?;
        if execution.limits != self.set {
            let told = |error: std::io::Error| EngineError::Busy { why: error.to_string() };
            self.parts.group.limit(&execution.limits).map_err(told)?;
            self.set = execution.limits;
        }
        let slot = self.limits;
        self.place()?.run(execution, &slot, listener).await
    }

    async fn write(&mut self, file: &GuestFile) -> Result<(), EngineError> {
        let files = vec![(file.path.as_str(), file.bytes.len())];
        let request = Request { kind: "write", files, ..Request::default() };
        self.files(request, std::slice::from_ref(file), 0).await.map(drop)
    }

    async fn read(&mut self, path: &GuestPath, bytes_max: u64) -> Result<GuestFile, EngineError> {
        let collect = vec![path.as_str()];
        let request = Request { kind: "read", collect, most: bytes_max, ..Request::default() };
        let mut reply = self.files(request, &[], bytes_max).await?;
        let (_, bytes) = reply.files.pop().ok_or_else(|| lost("no file was answered"))?;
        Ok(GuestFile { path: path.clone(), bytes })
    }

    async fn list(&mut self, entries_max: usize) -> Result<Vec<FileEntry>, EngineError> {
        let most = entries_max.min(ENTRIES_MAX) as u64;
        let request = Request { kind: "list", most, ..Request::default() };
        let reply = self.files(request, &[], 0).await?;
        let entries = reply.answer.entries.into_iter().filter_map(|(path, bytes, folder)| {
            // A name that no path of ours can have cannot be asked for either.
            GuestPath::new(path).ok().map(|path| FileEntry { path, bytes, folder })
        });
        Ok(entries.collect())
    }

    async fn pause(&mut self) -> Result<(), EngineError> {
        self.place()?.settle().await?;
        self.freeze(true).await
    }

    async fn resume(&mut self) -> Result<(), EngineError> {
        self.freeze(false).await
    }

    async fn usage(&mut self) -> Result<Usage, EngineError> {
        if !self.is_paused {
            // What is still going is not what the slot holds; what waits for the next call is.
            self.place()?.settle().await?;
            let call = self.spare().await?;
            let control = self.place()?.control;
            control.await_kind(SPARE, call, CLEAN_WAIT).await.map_err(lost)?;
        }
        let processes = processes(&self.parts).ok_or_else(|| lost("its processes are gone"))?;
        let memory_bytes = self.parts.group.held_bytes().unwrap_or_default();
        Ok(Usage { memory_bytes, processes: processes.len() as u32 })
    }

    async fn recycle(&mut self) -> Result<(), EngineError> {
        let mut place = self.place()?;
        place.settle().await?;
        *place.next += 1;
        let call = *place.next;
        place.control.send(Message::new(CLEAN, call), &[]).await.map_err(lost)?;
        let answer = place.control.await_kind(CLEAN, call, CLEAN_WAIT).await.map_err(lost)?;
        let dirty = |what: String| Err(EngineError::Dirty { what });
        match answer.value {
            0 => {}
            1 => return dirty("a process".to_owned()),
            _ => return dirty("files".to_owned()),
        }
        let processes = processes(&self.parts).ok_or_else(|| lost("its processes are gone"))?;
        if processes != [self.parts.zygote.map_or(0, nix::unistd::Pid::as_raw)] {
            return dirty(format!("{} processes", processes.len()));
        }
        let mounts = mounts(&self.parts);
        if mounts != Some(self.first_mounts) {
            return dirty(format!("{mounts:?} mounts instead of {}", self.first_mounts));
        }
        let held = self.parts.group.held_bytes().unwrap_or_default();
        if held > self.first_held_bytes + GROWTH_BYTES {
            return dirty(format!("{} bytes of memory", held - self.first_held_bytes));
        }
        self.spare().await.map(drop)
    }

    async fn close(self: Box<Self>) -> Result<(), EngineError> {
        self.parts.remove().await
    }
}
