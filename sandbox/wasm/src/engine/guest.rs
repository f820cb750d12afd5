//! One guest: an instance on a thread of its own, from its start to the end of its one call.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use headwater_sandbox::{Ended, Limits};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use wasmtime::{Memory, ResourceLimiter, Trap};

use crate::engine::Shared;
use crate::engine::call::{Event, Order, Report};
use crate::engine::settings::{TABLE_ELEMENTS_MAX, THREAD_STACK_BYTES};
use crate::engine::template::Template;
use crate::guest::clock::thread_cpu_ns;
use crate::guest::files::Files;
use crate::guest::root::Root;
use crate::guest::wasi::{Stop, Voice, Wasi};

/// What a guest runs when it has its call: `boot.py` left this in every interpreter.
const CALL: &str = "import _headwater; _headwater.run()";
/// The first argument that the module takes for its own name.
const OWN_NAME: &str = "/usr/local/bin/python.wasm";
const ENVIRONMENT: [&str; 3] = ["HOME=/work", "LANG=C.UTF-8", "PATH=/usr/local/bin:/usr/bin:/bin"];
/// What a guest may tell on its streams before its call, in bytes: why it did not start.
const WORDS_BYTES_MAX: u64 = 4_096;
/// The least memory that a guest may have until its call, in bytes: its interpreter needs 40 MiB.
const START_BYTES: u64 = 192 << 20;
/// A guest with less than a whole processor may run this long before it is held back.
const BURST_NS: u64 = 20_000_000;

/// What the slot and its guest share.
#[derive(Default)]
pub(crate) struct Control {
    given_up: AtomicBool,
    asleep: Mutex<()>,
    changed: Condvar,
    /// The guest's memory, in bytes.
    pub(crate) memory_bytes: AtomicU64,
}

impl Control {
    pub(crate) fn give_up(&self) {
        self.given_up.store(true, Ordering::Release);
        drop(self.asleep.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.notify_all();
    }

    fn is_given_up(&self) -> bool {
        self.given_up.load(Ordering::Acquire)
    }

    /// Sleeps until the time is over or nobody waits for the guest any more.
    fn sleep(&self, time: Duration) {
        let asleep = self.asleep.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.changed.wait_timeout_while(asleep, time, |()| !self.is_given_up()));
    }
}

/// A guest from outside: dropping it ends it.
pub(crate) struct Handle {
    /// Without a sender a guest that waits for its call ends.
    pub(crate) orders: Option<Sender<Order>>,
    pub(crate) events: UnboundedReceiver<Event>,
    pub(crate) control: Arc<Control>,
}

impl Handle {
    /// Tells the guest to end, wherever it is: it looks at this at every tick, when it sleeps, and
    /// when it waits for its call.
    pub(crate) fn give_up(&mut self) {
        self.orders = None;
        self.control.give_up();
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.give_up();
    }
}

/// Times that a guest is held to.
struct Times {
    began: Instant,
    until: Instant,
    cpu_began_ns: u64,
    cpu_ns_max: u64,
    cpu_milli: u64,
}

/// A guest from inside: what its functions and limits work on.
pub(crate) struct Guest {
    pub(crate) wasi: Wasi,
    pub(crate) memory: Option<Memory>,
    control: Arc<Control>,
    times: Times,
    memory_bytes_max: u64,
    memory_bytes: u64,
    peak_bytes: u64,
    was_short: bool,
}

impl Guest {
    /// A guest that has no call yet and may run for so long without one.
    pub(crate) fn new(
        root: &Arc<Root>,
        control: Arc<Control>,
        voice: Voice,
        limits: &Limits,
        start_ms: u64,
    ) -> Self {
        let mut wasi = Wasi::new(Arc::clone(root), Files::new(limits), voice);
        wasi.arguments = vec![OWN_NAME.as_bytes().to_vec()];
        wasi.environment = ENVIRONMENT.map(|pair| pair.as_bytes().to_vec()).to_vec();
        wasi.output_left = WORDS_BYTES_MAX;
        let began = Instant::now();
        let times = Times {
            began,
            until: began + Duration::from_millis(start_ms),
            cpu_began_ns: 0,
            cpu_ns_max: u64::MAX,
            cpu_milli: 1_000,
        };
        Self {
            wasi,
            memory: None,
            control,
            times,
            memory_bytes_max: limits.memory_bytes.max(START_BYTES),
            memory_bytes: 0,
            peak_bytes: 0,
            was_short: false,
        }
    }

    fn end_of_times(&self) -> Result<(), Stop> {
        if self.control.is_given_up() {
            return Err(Stop::Abandoned);
        }
        if Instant::now() >= self.times.until {
            return Err(Stop::Limit(Ended::WallTime));
        }
        Ok(())
    }

    /// Looks at the limits of time; in between the guest runs without a look.
    pub(crate) fn tick(&self) -> Result<(), Stop> {
        self.end_of_times()?;
        let used_ns = thread_cpu_ns().saturating_sub(self.times.cpu_began_ns);
        if used_ns > self.times.cpu_ns_max {
            return Err(Stop::Limit(Ended::CpuTime));
        }
        let passed_ns = self.times.began.elapsed().as_nanos() as u64;
        let share_ns = passed_ns / 1_000 * self.times.cpu_milli + BURST_NS;
        if self.times.cpu_milli < 1_000 && used_ns > share_ns {
            self.stand((used_ns - share_ns) * 1_000 / self.times.cpu_milli.max(1))?;
        }
        Ok(())
    }

    /// Stands still for some nanoseconds, at most to the end of the call's time.
    pub(crate) fn stand(&self, for_ns: u64) -> Result<(), Stop> {
        let left = self.times.until.saturating_duration_since(Instant::now());
        self.control.sleep(left.min(Duration::from_nanos(for_ns)));
        self.end_of_times()
    }

    /// Takes the guest's call: from now on the call's limits hold.
    fn take(&mut self, order: Order) {
        let limits = order.limits;
        self.times = Times {
            began: order.began,
            until: order.began + Duration::from_millis(limits.wall_ms),
            cpu_began_ns: thread_cpu_ns(),
            cpu_ns_max: limits.cpu_ms * 1_000_000,
            cpu_milli: u64::from(limits.cpu_milli),
        };
        self.memory_bytes_max = limits.memory_bytes;
        self.peak_bytes = self.memory_bytes;
        self.wasi.adopt(order.files);
        self.wasi.input = (order.input, 0);
        self.wasi.output_left = limits.output_bytes;
        // The three streams, and what the interpreter itself has open.
        self.wasi.open_files_max = limits.open_files as usize + 5;
        self.share_memory();
    }

    /// Files lie in memory too: they get what the guest's own memory leaves.
    fn share_memory(&self) {
        let left = self.memory_bytes_max.saturating_sub(self.memory_bytes);
        self.wasi.files().memory_bytes_max = left;
    }

    fn report(&self, ended: Option<Ended>) -> Report {
        let used_ns = thread_cpu_ns().saturating_sub(self.times.cpu_began_ns);
        let peak_bytes = self.peak_bytes + self.wasi.files().used_bytes();
        Report { ended, cpu_us: used_ns / 1_000, peak_bytes }
    }
}

impl ResourceLimiter for Guest {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        // A guest has a memory, and a heap for what its exceptions carry.
        let bytes = self.memory_bytes.saturating_add(desired.saturating_sub(current) as u64);
        let used = bytes.saturating_add(self.wasi.files().used_bytes());
        if used > self.memory_bytes_max {
            self.was_short = true;
            return Ok(false);
        }
        self.memory_bytes = bytes;
        self.peak_bytes = self.peak_bytes.max(bytes);
        self.control.memory_bytes.store(self.memory_bytes, Ordering::Relaxed);
        self.share_memory();
        Ok(true)
    }

    fn table_growing(
        &mut self,
        _current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        Ok(desired <= TABLE_ELEMENTS_MAX)
    }
}

/// Starts a guest. It tells [`Event::Ready`] when it waits for its call.
pub(crate) fn spawn(
    shared: &Arc<Shared>,
    template: &Arc<Template>,
    limits: &Limits,
) -> std::io::Result<Handle> {
    let ((orders, inbox), (events, outbox)) = (channel(), unbounded_channel());
    let control = Arc::new(Control::default());
    let voice_events = events.clone();
    let voice = Box::new(move |channel, bytes: &[u8]| {
        drop(voice_events.send(Event::Heard(channel, bytes.to_vec())));
    });
    let root = &template.compiled.root;
    let guest = Guest::new(root, Arc::clone(&control), voice, limits, shared.settings.start_ms);
    let (shared, template) = (Arc::clone(shared), Arc::clone(template));
    let life = move || {
        // What the guest has open is closed, and its memory free, before anybody hears of its end.
        let last = live(&shared, &template, guest, &inbox, &events);
        drop(events.send(last));
    };
    let thread = thread::Builder::new().name("wasm-guest".to_owned());
    thread.stack_size(THREAD_STACK_BYTES).spawn(life)?;
    Ok(Handle { orders: Some(orders), events: outbox, control })
}

/// The whole life of a guest, and what is told of its end.
fn live(
    shared: &Shared,
    template: &Template,
    guest: Guest,
    orders: &Receiver<Order>,
    events: &UnboundedSender<Event>,
) -> Event {
    let mut interpreter = match template.interpreter(shared, guest) {
        Ok(interpreter) => interpreter,
        Err(error) => return Event::Failed(format!("{error:#}")),
    };
    drop(events.send(Event::Ready));
    let Ok(order) = orders.recv() else {
        return Event::End(interpreter.store.data().report(None));
    };
    interpreter.store.data_mut().take(order);
    let status = interpreter.run(shared, CALL);
    let guest = interpreter.store.data();
    Event::End(guest.report(ended(guest, status)))
}

/// How a program ended; nothing where nobody asks any more.
fn ended(guest: &Guest, status: wasmtime::Result<u32>) -> Option<Ended> {
    let error = match status {
        Ok(status) => return Some(Ended::Exit((status & 0xff).cast_signed())),
        Err(error) => error,
    };
    if let Some(stop) = error.downcast_ref::<Stop>() {
        return match *stop {
            Stop::Exit(status) => Some(Ended::Exit(status.cast_signed())),
            Stop::Limit(limit) => Some(limit),
            Stop::Abandoned => None,
        };
    }
    if guest.was_short {
        return Some(Ended::Memory);
    }
    Some(Ended::Signal(match error.downcast_ref::<Trap>() {
        Some(Trap::StackOverflow | Trap::MemoryOutOfBounds | Trap::NullReference) => libc::SIGSEGV,
        Some(Trap::IntegerDivisionByZero | Trap::IntegerOverflow) => libc::SIGFPE,
        Some(Trap::IndirectCallToNull | Trap::BadSignature | Trap::TableOutOfBounds) => {
            libc::SIGILL
        }
        // What C calls `abort`.
        _ => libc::SIGABRT,
    }))
}
