//! One slot: a guest that is ready for the next call, and the files of a session.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use headwater_sandbox::{
    EngineError, Execution, FileEntry, GuestFile, GuestPath, Limits, Listener, Outcome, Slot,
    SlotSpec, Usage, Way,
};
use tokio::time::timeout;

use crate::engine::call::{Event, Order, Report, check, input};
use crate::engine::guest::{Control, Handle, spawn};
use crate::engine::template::Template;
use crate::engine::{Claim, Shared, unsupported};
use crate::guest::files::Files;

/// The longest that a guest may go on after it was told to stop.
const END_WITHIN: Duration = Duration::from_secs(10);
const ENTRIES_MAX: usize = 100_000;

enum State {
    /// No guest was started yet.
    Empty,
    /// A guest is on its way to its call.
    Starting(Handle),
    /// A guest waits for its call.
    Ready(Handle),
    /// A call was given up before its guest's end.
    Owed(Handle),
}

/// A slot of the WebAssembly engine.
pub(crate) struct WasmSlot {
    shared: Arc<Shared>,
    template: Arc<Template>,
    claim: Claim,
    limits: Limits,
    way: Way,
    files: Arc<Mutex<Files>>,
    state: State,
    is_paused: bool,
}

fn lost(why: impl Into<String>) -> EngineError {
    EngineError::Lost { why: why.into() }
}

fn now_ns() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

impl WasmSlot {
    pub(crate) fn new(
        shared: Arc<Shared>,
        template: Arc<Template>,
        claim: Claim,
        spec: &SlotSpec,
    ) -> Self {
        let files = Arc::new(Mutex::new(Files::new(&spec.limits)));
        let (limits, way, state) = (spec.limits, spec.way, State::Empty);
        Self { shared, template, claim, limits, way, files, state, is_paused: false }
    }

    fn files(&self) -> MutexGuard<'_, Files> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts the guest of the next call, which goes on by itself.
    fn begin(&mut self) -> Result<(), EngineError> {
        let started = spawn(&self.shared, &self.template, &self.limits);
        let busy = |error: std::io::Error| EngineError::Busy { why: format!("threads: {error}") };
        self.state = State::Starting(started.map_err(busy)?);
        Ok(())
    }

    /// Waits until a guest is ready for a call, and the one of a call that was given up is gone.
    pub(crate) async fn settle(&mut self) -> Result<(), EngineError> {
        if self.is_paused {
            return Err(unsupported("work while it is paused; resume it first"));
        }
        if let State::Owed(handle) = &mut self.state {
            gone(handle).await?;
            self.state = State::Empty;
            self.clean();
        }
        if let State::Empty = self.state {
            self.begin()?;
        }
        let start = Duration::from_millis(self.shared.settings.start_ms) + END_WITHIN;
        if let State::Starting(handle) = &mut self.state {
            let ready = timeout(start, ready(handle)).await;
            self.state = match (ready, std::mem::replace(&mut self.state, State::Empty)) {
                (Ok(Ok(())), State::Starting(handle)) => State::Ready(handle),
                (Ok(Err(error)), _) => return Err(error),
                _ => return Err(lost("a guest did not start, and did not end")),
            };
        }
        Ok(())
    }

    /// Takes away what a call leaves.
    fn clean(&mut self) {
        match self.way {
            Way::Single => self.files = Arc::new(Mutex::new(Files::new(&self.limits))),
            Way::Session => {
                let mut files = self.files();
                files.limit(&self.limits);
                files.empty_temporary(now_ns());
            }
        }
    }

    /// Follows a call to its end.
    async fn follow(
        &mut self,
        execution: &Execution,
        began: Instant,
        listener: &mut dyn Listener,
    ) -> Result<Outcome, EngineError> {
        let State::Owed(handle) = &mut self.state else {
            return Err(lost("no guest was ready"));
        };
        let longest = Duration::from_millis(execution.limits.wall_ms) + END_WITHIN;
        let until = tokio::time::Instant::from_std(began + longest);
        let mut output_bytes = 0;
        let report: Report = loop {
            match tokio::time::timeout_at(until, handle.events.recv()).await {
                Ok(Some(Event::Heard(channel, bytes))) => {
                    output_bytes += bytes.len() as u64;
                    listener.heard(channel, &bytes);
                }
                Ok(Some(Event::End(report))) => break report,
                Ok(Some(Event::Ready)) => {}
                Ok(Some(Event::Failed(why))) => return Err(lost(why)),
                Ok(None) => return Err(lost("the guest's thread ended")),
                Err(_) => return Err(lost("the guest did not end in its time")),
            }
        };
        let wall_us = micros(began.elapsed());
        self.state = State::Empty;
        let Report { ended, cpu_us, peak_bytes } = report;
        let ended = ended.ok_or_else(|| lost("the guest was given up"))?;
        let files = self.files().collect(&execution.collect, execution.limits.disk_bytes);
        self.clean();
        // The next call finds its guest started.
        self.begin()?;
        let memory_peak_bytes = peak_bytes;
        Ok(Outcome { ended, wall_us, cpu_us, memory_peak_bytes, output_bytes, files })
    }

    fn session(&self) -> Result<(), EngineError> {
        match self.way {
            Way::Session => Ok(()),
            Way::Single => Err(unsupported("keep files of a slot without a session")),
        }
    }
}

/// Waits until a guest says that it waits for its call.
async fn ready(handle: &mut Handle) -> Result<(), EngineError> {
    match handle.events.recv().await {
        Some(Event::Ready) => Ok(()),
        Some(Event::Failed(why)) => Err(EngineError::Busy { why }),
        Some(Event::Heard(..) | Event::End(_)) | None => Err(lost("a guest ended before its call")),
    }
}

/// Waits for a guest's end.
async fn gone(handle: &mut Handle) -> Result<(), EngineError> {
    handle.give_up();
    let end = async {
        loop {
            match handle.events.recv().await {
                Some(Event::End(_) | Event::Failed(_)) | None => return,
                Some(_) => {}
            }
        }
    };
    timeout(END_WITHIN, end).await.map_err(|_| lost("a guest that was given up did not end"))
}

/// Gives a call up when its future is dropped.
struct Abandon(Option<Arc<Control>>);

impl Drop for Abandon {
    fn drop(&mut self) {
        if let Some(control) = &self.0 {
            control.give_up();
        }
    }
}

#[async_trait]
impl Slot for WasmSlot {
    fn name(&self) -> &str {
        self.claim.name()
    }

    async fn run(
        &mut self,
        execution: &Execution,
        listener: &mut dyn Listener,
    ) -> Result<Outcome, EngineError> {
        check(execution, &self.limits)?;
        self.settle().await?;
        let began = Instant::now();
        {
            let mut files = self.files();
            files.limit(&execution.limits);
            let put = execution.files.iter().try_for_each(|file| files.put(file, now_ns()));
            if let Err(error) = put {
                drop(files);
                self.clean();
                return Err(error);
            }
        }
        let State::Ready(handle) = std::mem::replace(&mut self.state, State::Empty) else {
            return Err(lost("no guest was ready"));
        };
        let (files, limits) = (Arc::clone(&self.files), execution.limits);
        let order = Order { input: input(execution), files, limits, began };
        let sent = handle.orders.as_ref().map(|orders| orders.send(order));
        let mut abandon = Abandon(Some(Arc::clone(&handle.control)));
        self.state = State::Owed(handle);
        if !matches!(sent, Some(Ok(()))) {
            return Err(lost("the guest that was ready is gone"));
        }
        let outcome = self.follow(execution, began, listener).await;
        abandon.0 = None;
        outcome
    }

    async fn write(&mut self, file: &GuestFile) -> Result<(), EngineError> {
        self.session()?;
        self.settle().await?;
        self.files().put(file, now_ns())
    }

    async fn read(&mut self, path: &GuestPath, bytes_max: u64) -> Result<GuestFile, EngineError> {
        self.session()?;
        self.settle().await?;
        self.files().get(path, bytes_max)
    }

    async fn list(&mut self, entries_max: usize) -> Result<Vec<FileEntry>, EngineError> {
        self.session()?;
        self.settle().await?;
        Ok(self.files().list(entries_max.min(ENTRIES_MAX)))
    }

    /// A guest that waits for its call takes no processor time.
    async fn pause(&mut self) -> Result<(), EngineError> {
        if !self.is_paused {
            self.settle().await?;
            self.is_paused = true;
        }
        Ok(())
    }

    async fn resume(&mut self) -> Result<(), EngineError> {
        self.is_paused = false;
        self.settle().await
    }

    async fn usage(&mut self) -> Result<Usage, EngineError> {
        if !self.is_paused {
            self.settle().await?;
        }
        let State::Ready(handle) = &self.state else { return Err(lost("no guest is ready")) };
        let guest_bytes = handle.control.memory_bytes.load(Ordering::Relaxed);
        Ok(Usage { memory_bytes: guest_bytes + self.files().used_bytes(), processes: 0 })
    }

    /// No call has a guest that had one before, so the files are all that can be left.
    async fn recycle(&mut self) -> Result<(), EngineError> {
        self.is_paused = false;
        self.settle().await?;
        self.files = Arc::new(Mutex::new(Files::new(&self.limits)));
        Ok(())
    }

    async fn close(mut self: Box<Self>) -> Result<(), EngineError> {
        let dirty = |error: EngineError| EngineError::Dirty { what: error.to_string() };
        match &mut self.state {
            State::Empty => Ok(()),
            State::Starting(handle) | State::Ready(handle) | State::Owed(handle) => {
                gone(handle).await.map_err(dirty)
            }
        }
    }
}
