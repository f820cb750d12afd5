//! Replies that are waited for, by the call's number.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use tokio::sync::oneshot;

#[derive(Clone, Default)]
pub(crate) struct Pending {
    calls: Arc<Mutex<HashMap<u64, oneshot::Sender<Vec<u8>>>>>,
    next: Arc<AtomicU64>,
}

impl Pending {
    /// A new call's number and its reply.
    pub(crate) fn call(&self) -> (u64, oneshot::Receiver<Vec<u8>>) {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (sender, receiver) = oneshot::channel();
        self.calls.lock().unwrap().insert(id, sender);
        (id, receiver)
    }

    pub(crate) fn reply(&self, id: u64, payload: Vec<u8>) {
        let waiting = self.calls.lock().unwrap().remove(&id).unwrap();
        // A caller that has given up after `LONGEST` takes none.
        let _ = waiting.send(payload);
    }
}
