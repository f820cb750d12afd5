//! The order of one document's writes over all jobs: one at a time, and the latest wins.

/// What a task should do that wants to begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    Run,
    /// A later write of the document waits or is done: this one has nothing to do any more.
    Superseded,
    /// Another write of the document began and has not ended.
    Wait,
}

/// A document's row while writes of it are pending. Without a pending write there is no row: the
/// order of writes that have ended does not matter any more.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Turns<T> {
    /// The number of the latest write, from 1 on.
    pub latest: u64,
    /// Writes that have not ended, dead letters counted: each may run yet.
    pub pending: u64,
    /// The write that began and has not ended. It stays when its worker dies: whoever takes the
    /// task over ends it.
    pub running: Option<T>,
}

impl<T: PartialEq> Turns<T> {
    /// One more write; its number.
    pub fn add(&mut self) -> u64 {
        self.latest += 1;
        self.pending += 1;
        self.latest
    }

    /// Whether the write with this number may begin.
    pub fn turn(&self, number: u64, task: &T) -> Turn {
        match &self.running {
            Some(running) if running == task => Turn::Run,
            Some(_) => Turn::Wait,
            None if number < self.latest => Turn::Superseded,
            None => Turn::Run,
        }
    }

    pub fn begin(&mut self, task: T) {
        self.running = Some(task);
    }

    /// The write stops running, and may run again later.
    pub fn stop(&mut self, task: &T) {
        if self.running.as_ref() == Some(task) {
            self.running = None;
        }
    }

    /// The write has ended; false when no other is pending, and the row can go.
    pub fn end(&mut self, task: &T) -> bool {
        self.stop(task);
        self.pending = self.pending.saturating_sub(1);
        self.pending > 0
    }
}
