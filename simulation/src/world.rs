//! The world: virtual time, chance, and a scheduler that picks the next task by lot.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Wake, Waker};

use headwater_storage::Environment;
use rand_pcg::Pcg64Mcg;
use rand_pcg::rand_core::{Rng, SeedableRng};

type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A run that polls more often than this runs in circles.
const MOST_POLLS: u64 = 5_000_000;

/// Tasks that freeze and die together, as those of one process do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Group(u64);

impl Group {
    /// The world's own tasks: they neither freeze nor die.
    pub(crate) const WORLD: Group = Group(0);
}

/// How a run of the world ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// No task waits for anything that could still happen.
    Quiet,
    /// The virtual time was up.
    OutOfTime,
    /// The tasks kept each other busy without end.
    Endless,
}

/// A handle on the world; cheap to clone.
#[derive(Clone)]
pub(crate) struct World {
    state: Arc<Mutex<State>>,
}

struct State {
    now_ms: u64,
    chance: Pcg64Mcg,
    timers: BTreeMap<(u64, u64), Waker>,
    next_number: u64,
    ready: Vec<u64>,
    spawned: Vec<(u64, Group, Task)>,
    next_group: u64,
    dead: BTreeSet<Group>,
    /// Groups whose tasks are to be dropped.
    dying: BTreeSet<Group>,
    frozen: BTreeSet<Group>,
    /// Groups that freeze before time goes on.
    freezing: BTreeSet<Group>,
    /// Tasks of frozen groups that would be ready.
    held: Vec<u64>,
    trace: Vec<String>,
    counts: BTreeMap<&'static str, u64>,
    violations: Vec<String>,
}

/// A task under way.
struct Running {
    group: Group,
    task: Task,
    waker: Waker,
}

type Tasks = BTreeMap<u64, Running>;

struct TaskWaker {
    task: u64,
    world: World,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        let mut state = self.world.lock();
        if !state.ready.contains(&self.task) {
            state.ready.push(self.task);
        }
    }
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let state = State {
            now_ms: 0,
            chance: Pcg64Mcg::seed_from_u64(seed),
            timers: BTreeMap::new(),
            next_number: 0,
            ready: Vec::new(),
            spawned: Vec::new(),
            next_group: 1,
            dead: BTreeSet::new(),
            dying: BTreeSet::new(),
            frozen: BTreeSet::new(),
            freezing: BTreeSet::new(),
            held: Vec::new(),
            trace: Vec::new(),
            counts: BTreeMap::new(),
            violations: Vec::new(),
        };
        World { state: Arc::new(Mutex::new(state)) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|held| held.into_inner())
    }

    pub(crate) fn now_ms(&self) -> u64 {
        self.lock().now_ms
    }

    /// A drawn 64-bit number.
    pub(crate) fn draw(&self) -> u64 {
        self.lock().chance.next_u64()
    }

    /// A drawn number from `first` up to and including `last`.
    pub(crate) fn between(&self, first: u64, last: u64) -> u64 {
        first + self.draw() % (last - first + 1)
    }

    pub(crate) fn percent(&self, share: u64) -> bool {
        self.draw() % 100 < share
    }

    /// Notes what happened; two runs of a seed must note the same.
    pub(crate) fn note(&self, what: impl Display) {
        let mut state = self.lock();
        let line = format!("{:>8} {what}", state.now_ms);
        state.trace.push(line);
    }

    /// Counts an event that a large run must have seen.
    pub(crate) fn count(&self, what: &'static str) {
        *self.lock().counts.entry(what).or_default() += 1;
    }

    /// Notes that an invariant does not hold.
    pub(crate) fn violated(&self, invariant: &str, seen: impl Display) {
        let text = format!("{invariant}: {seen}");
        self.note(format_args!("VIOLATED {text}"));
        self.lock().violations.push(text);
    }

    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.spawn_in(Group::WORLD, task);
    }

    /// Starts a task of a group; of a dead one it is dropped at once.
    pub(crate) fn spawn_in(&self, group: Group, task: impl Future<Output = ()> + Send + 'static) {
        let task: Task = Box::pin(task);
        let mut state = self.lock();
        if state.dead.contains(&group) {
            // What a dropped task drops may come back here.
            drop(state);
            drop(task);
            return;
        }
        let number = state.next_number;
        state.next_number += 1;
        state.spawned.push((number, group, task));
    }

    pub(crate) fn new_group(&self) -> Group {
        let mut state = self.lock();
        state.next_group += 1;
        Group(state.next_group - 1)
    }

    /// Ends a group as `kill -9` does: none of its tasks takes a further step.
    pub(crate) fn kill(&self, group: Group) {
        let mut state = self.lock();
        state.dead.insert(group);
        state.dying.insert(group);
    }

    /// From the end of this instant on the group's tasks take no step, until [`World::thaw`].
    pub(crate) fn freeze(&self, group: Group) {
        self.lock().freezing.insert(group);
    }

    pub(crate) fn thaw(&self, group: Group) {
        let mut state = self.lock();
        state.freezing.remove(&group);
        state.frozen.remove(&group);
        let held = std::mem::take(&mut state.held);
        state.ready.extend(held);
    }

    /// Ends after so many virtual ms.
    pub(crate) fn sleep(&self, ms: u64) -> Sleep {
        let at_ms = self.now_ms().saturating_add(ms);
        Sleep { world: self.clone(), at_ms, number: None }
    }

    /// The future's output, or `None` when it takes longer than this.
    pub(crate) async fn within<T>(&self, ms: u64, future: impl Future<Output = T>) -> Option<T> {
        let mut future = std::pin::pin!(future);
        let mut sleep = std::pin::pin!(self.sleep(ms));
        std::future::poll_fn(|context| match future.as_mut().poll(context) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending => sleep.as_mut().poll(context).map(|()| None),
        })
        .await
    }

    /// This world's time and chance, as the store takes them.
    pub(crate) fn environment(&self) -> Environment {
        let (clock, pause, draw) = (self.clone(), self.clone(), self.clone());
        Environment::new(
            move || clock.now_ms(),
            move |ms| Box::pin(pause.sleep(ms)),
            move || draw.draw(),
        )
    }

    /// Runs all tasks until nothing can happen any more or the time is up.
    pub(crate) fn run(&self, until_ms: u64) -> End {
        self.run_watched(until_ms, || {})
    }

    /// As [`World::run`]; `at_rest` is called whenever nothing more happens at an instant.
    pub(crate) fn run_watched(&self, until_ms: u64, mut at_rest: impl FnMut()) -> End {
        let mut tasks = Tasks::new();
        for _ in 0..MOST_POLLS {
            self.bury(&mut tasks);
            self.adopt(&mut tasks);
            if let Some(number) = self.pick() {
                self.poll(&mut tasks, number);
                continue;
            }
            at_rest();
            let mut state = self.lock();
            let freezing = std::mem::take(&mut state.freezing);
            state.frozen.extend(freezing);
            let Some(((at_ms, _), waker)) = state.timers.pop_first() else {
                return End::Quiet;
            };
            if at_ms > until_ms {
                return End::OutOfTime;
            }
            state.now_ms = state.now_ms.max(at_ms);
            drop(state);
            waker.wake();
        }
        End::Endless
    }

    fn poll(&self, tasks: &mut Tasks, number: u64) {
        let Some(running) = tasks.get_mut(&number) else { return };
        {
            let mut state = self.lock();
            if state.frozen.contains(&running.group) {
                if !state.held.contains(&number) {
                    state.held.push(number);
                }
                return;
            }
        }
        let Running { task, waker, .. } = running;
        if task.as_mut().poll(&mut Context::from_waker(waker)).is_ready() {
            tasks.remove(&number);
        }
    }

    fn adopt(&self, tasks: &mut Tasks) {
        let spawned = {
            let mut state = self.lock();
            if state.spawned.is_empty() {
                return;
            }
            let spawned = std::mem::take(&mut state.spawned);
            state.ready.extend(spawned.iter().map(|(number, ..)| *number));
            spawned
        };
        for (number, group, task) in spawned {
            let waker = Waker::from(Arc::new(TaskWaker { task: number, world: self.clone() }));
            tasks.insert(number, Running { group, task, waker });
        }
    }

    /// Drops the tasks of groups that died.
    fn bury(&self, tasks: &mut Tasks) {
        let dying = std::mem::take(&mut self.lock().dying);
        if dying.is_empty() {
            return;
        }
        // What those drop may spawn and wake, so the lock is not held.
        self.adopt(tasks);
        let dead: Vec<Running> = tasks
            .extract_if(.., |_, running| dying.contains(&running.group))
            .map(|(_, running)| running)
            .collect();
        drop(dead);
    }

    /// Takes one of the ready tasks by lot.
    fn pick(&self) -> Option<u64> {
        let mut state = self.lock();
        if state.ready.is_empty() {
            return None;
        }
        let place = state.chance.next_u64() as usize % state.ready.len();
        Some(state.ready.swap_remove(place))
    }

    /// Drops what still waits, so that a world whose handles live on holds nothing.
    pub(crate) fn clear(&self) {
        let mut state = self.lock();
        let spawned = std::mem::take(&mut state.spawned);
        let timers = std::mem::take(&mut state.timers);
        drop(state);
        drop((spawned, timers));
    }

    /// What was noted, counted and found broken.
    pub(crate) fn take_notes(&self) -> (Vec<String>, BTreeMap<&'static str, u64>, Vec<String>) {
        let mut state = self.lock();
        let trace = std::mem::take(&mut state.trace);
        let counts = std::mem::take(&mut state.counts);
        (trace, counts, std::mem::take(&mut state.violations))
    }
}

/// See [`World::sleep`].
pub(crate) struct Sleep {
    world: World,
    at_ms: u64,
    number: Option<u64>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let world = self.world.clone();
        let mut state = world.lock();
        if state.now_ms >= self.at_ms {
            return Poll::Ready(());
        }
        let number = *self.number.get_or_insert(state.next_number);
        state.next_number = state.next_number.max(number + 1);
        state.timers.insert((self.at_ms, number), context.waker().clone());
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            self.world.lock().timers.remove(&(self.at_ms, number));
        }
    }
}
