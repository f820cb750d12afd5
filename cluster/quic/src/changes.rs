//! The queue of link changes: bounded by the number of nodes, however slow its reader is.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::{Mutex, MutexGuard, PoisonError};

use headwater_cluster::{Incarnation, LinkChange, NodeId};
use tokio::sync::Notify;

#[derive(Default)]
pub(crate) struct Changes {
    waiting: Mutex<(VecDeque<LinkChange>, bool)>,
    changed: Notify,
}

impl Changes {
    pub(crate) fn up(&self, node: NodeId, incarnation: Incarnation, version: u16) {
        self.lock().0.push_back(LinkChange::Up { node, incarnation, version });
        self.changed.notify_waiters();
    }

    /// An `Up` that nobody read yet and its `Down` cancel out: at most two changes wait per node.
    pub(crate) fn down(&self, node: NodeId, incarnation: Incarnation, why: String) {
        let mut waiting = self.lock();
        let unread = waiting
            .0
            .iter()
            .rposition(|change| matches!(change, LinkChange::Up { node: up, .. } if *up == node));
        match unread {
            Some(index) => drop(waiting.0.remove(index)),
            None => waiting.0.push_back(LinkChange::Down { node, incarnation, why }),
        }
        drop(waiting);
        self.changed.notify_waiters();
    }

    /// No further change comes.
    pub(crate) fn close(&self) {
        self.lock().1 = true;
        self.changed.notify_waiters();
    }

    /// The next change; `None` after the last one.
    pub(crate) async fn next(&self) -> Option<LinkChange> {
        loop {
            // Enabled before the look, so that no change slips in between.
            let mut changed = pin!(self.changed.notified());
            changed.as_mut().enable();
            {
                let mut waiting = self.lock();
                if let Some(change) = waiting.0.pop_front() {
                    return Some(change);
                }
                if waiting.1 {
                    return None;
                }
            }
            changed.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, (VecDeque<LinkChange>, bool)> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
