//! Documents that one worker has under way, polled together in its own task: dropping the window
//! stops all of them at once.

use std::collections::BTreeSet;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use super::holds::Held;
use crate::runtime::Runtime;

/// How often a window looks whether its hold still stands, in ms.
const LOOK_MS: u64 = 50;

type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What happened first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event<T> {
    /// The hold is lost, or its time is over: nothing may go on.
    Lost,
    /// Some document has ended.
    Ended,
    Other(T),
}

/// See the module.
pub(super) struct Window {
    held: Held,
    runtime: Runtime,
    keeping: Work,
    running: Vec<(u64, Work)>,
}

impl Window {
    pub(super) fn new(held: &Held, runtime: &Runtime) -> Window {
        let keeping = Box::pin(held.clone().keep());
        Window { held: held.clone(), runtime: runtime.clone(), keeping, running: Vec::new() }
    }

    pub(super) fn add(&mut self, line: u64, work: impl Future<Output = ()> + Send + 'static) {
        self.running.push((line, Box::pin(work)));
    }

    pub(super) fn len(&self) -> usize {
        self.running.len()
    }

    pub(super) fn lines(&self) -> BTreeSet<u64> {
        self.running.iter().map(|(line, _)| *line).collect()
    }

    /// Lets the documents and the renewal of the hold go on until one of them, or `other`, ends.
    pub(super) async fn drive<T>(&mut self, other: impl Future<Output = T>) -> Event<T> {
        let mut other = pin!(other);
        let runtime = self.runtime.clone();
        let mut look = runtime.environment().pause(LOOK_MS);
        poll_fn(|context| {
            // Before any step, so that a process that stood still takes none too many.
            if !self.held.stands() || self.keeping.as_mut().poll(context).is_ready() {
                return Poll::Ready(Event::Lost);
            }
            while look.as_mut().poll(context).is_ready() {
                look = runtime.environment().pause(LOOK_MS);
            }
            if self.step(context) {
                return Poll::Ready(Event::Ended);
            }
            other.as_mut().poll(context).map(Event::Other)
        })
        .await
    }

    /// Whether any document has ended.
    fn step(&mut self, context: &mut Context<'_>) -> bool {
        let before = self.running.len();
        self.running.retain_mut(|(_, work)| work.as_mut().poll(context).is_pending());
        self.running.len() < before
    }
}
