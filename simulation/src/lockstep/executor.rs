//! Runs the store's futures in the coordinator, on the run's own clock.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use headwater_storage::Environment;

use super::chance::Chance;

type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The tasks of one run. Which of the ready ones goes next is drawn.
pub(super) struct Executor {
    clock: Clock,
    chance: Chance,
    tasks: BTreeMap<u64, Task>,
    spawned: u64,
}

/// The run's time, as its futures see it; cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Clock(Arc<Mutex<Timers>>);

#[derive(Default)]
struct Timers {
    now_ms: u64,
    numbered: u64,
    waiting: BTreeMap<(u64, u64), Waker>,
    ready: Vec<u64>,
}

struct TaskWaker {
    task: u64,
    clock: Clock,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        let mut timers = self.clock.lock();
        if !timers.ready.contains(&self.task) {
            timers.ready.push(self.task);
        }
    }
}

impl Executor {
    pub(super) fn new(seed: u64) -> Executor {
        let chance = Chance::of(seed, "order of the store's tasks");
        Executor { clock: Clock::default(), chance, tasks: BTreeMap::new(), spawned: 0 }
    }

    pub(super) fn clock(&self) -> Clock {
        self.clock.clone()
    }

    pub(super) fn spawn(&mut self, task: impl Future<Output = ()> + Send + 'static) {
        self.spawned += 1;
        self.tasks.insert(self.spawned, Box::pin(task));
        self.clock.lock().ready.push(self.spawned);
    }

    /// Runs every task that can go on at this time.
    pub(super) fn run(&mut self, now_ms: u64) {
        self.clock.advance(now_ms);
        while let Some(number) = self.pick() {
            let Some(task) = self.tasks.get_mut(&number) else { continue };
            let waker = TaskWaker { task: number, clock: self.clock.clone() };
            let waker = Waker::from(Arc::new(waker));
            if task.as_mut().poll(&mut Context::from_waker(&waker)).is_ready() {
                self.tasks.remove(&number);
            }
        }
    }

    fn pick(&mut self) -> Option<u64> {
        let mut timers = self.clock.lock();
        if timers.ready.is_empty() {
            return None;
        }
        let place = self.chance.place(timers.ready.len());
        Some(timers.ready.swap_remove(place))
    }
}

impl Clock {
    fn lock(&self) -> MutexGuard<'_, Timers> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn now_ms(&self) -> u64 {
        self.lock().now_ms
    }

    fn advance(&self, now_ms: u64) {
        let mut timers = self.lock();
        timers.now_ms = now_ms;
        let later = timers.waiting.split_off(&(now_ms + 1, 0));
        let due = std::mem::replace(&mut timers.waiting, later);
        drop(timers);
        due.into_values().for_each(Waker::wake);
    }

    /// This clock and a stream of chance, as the store takes them.
    pub(super) fn environment(&self, chance: Chance) -> Environment {
        let (clock, pauses, chance) = (self.clone(), self.clone(), Mutex::new(chance));
        Environment::new(
            move || clock.now_ms(),
            move |ms| Box::pin(pauses.pause(ms)),
            move || chance.lock().unwrap_or_else(PoisonError::into_inner).draw(),
        )
    }

    fn pause(&self, ms: u64) -> Pause {
        Pause { clock: self.clone(), at_ms: self.now_ms().saturating_add(ms), number: None }
    }
}

struct Pause {
    clock: Clock,
    at_ms: u64,
    number: Option<u64>,
}

impl Future for Pause {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let clock = self.clock.clone();
        let mut timers = clock.lock();
        if timers.now_ms >= self.at_ms {
            return Poll::Ready(());
        }
        timers.numbered += 1;
        let number = *self.number.get_or_insert(timers.numbered);
        timers.waiting.insert((self.at_ms, number), context.waker().clone());
        Poll::Pending
    }
}

impl Drop for Pause {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            self.clock.lock().waiting.remove(&(self.at_ms, number));
        }
    }
}
