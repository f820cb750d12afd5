//! Where received envelopes wait, bounded in number and in bytes; a full inbox stops the lanes.

use std::sync::Arc;

use headwater_cluster::Envelope;
use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore, mpsc, watch};

/// Payload bytes that may wait, whatever the number of envelopes.
const BYTES_MAX: u32 = 64 << 20;

type Waiting = (Envelope, OwnedSemaphorePermit);

pub(crate) struct Inbox {
    sender: mpsc::Sender<Waiting>,
    receiver: Mutex<mpsc::Receiver<Waiting>>,
    bytes: Arc<Semaphore>,
}

impl Inbox {
    pub(crate) fn new(envelopes: usize) -> Inbox {
        let (sender, receiver) = mpsc::channel(envelopes);
        let bytes = Arc::new(Semaphore::new(BYTES_MAX as usize));
        Inbox { sender, receiver: Mutex::new(receiver), bytes }
    }

    /// Waits for room, then adds the envelope.
    pub(crate) async fn push(&self, envelope: Envelope) {
        let permits = permits(&envelope);
        // Neither is ever closed while the inbox lives.
        if let Ok(permit) = Arc::clone(&self.bytes).acquire_many_owned(permits).await {
            let _ = self.sender.send((envelope, permit)).await;
        }
    }

    /// Adds the envelope if there is room; gives it back otherwise.
    pub(crate) fn try_push(&self, envelope: Envelope) -> Result<(), Envelope> {
        let permits = permits(&envelope);
        let Ok(permit) = Arc::clone(&self.bytes).try_acquire_many_owned(permits) else {
            return Err(envelope);
        };
        self.sender.try_send((envelope, permit)).map_err(|error| error.into_inner().0)
    }

    /// The next envelope; `None` when none waits and the node has been closed.
    pub(crate) async fn pop(&self, closed: &watch::Sender<bool>) -> Option<Envelope> {
        next(&self.receiver, closed).await.map(|(envelope, _)| envelope)
    }
}

/// What waits next in a queue; `None` when nothing does and the node has been closed.
pub(crate) async fn next<T>(
    receiver: &Mutex<mpsc::Receiver<T>>,
    closed: &watch::Sender<bool>,
) -> Option<T> {
    let mut receiver = receiver.lock().await;
    match receiver.try_recv() {
        Ok(waiting) => return Some(waiting),
        Err(TryRecvError::Disconnected) => return None,
        Err(TryRecvError::Empty) => {}
    }
    tokio::select! {
        biased;
        waiting = receiver.recv() => waiting,
        () = is_set(closed.subscribe()) => None,
    }
}

/// Waits until the flag is set.
pub(crate) async fn is_set(mut flag: watch::Receiver<bool>) {
    // An error says that the flag's owner is gone, which ends the waiting too.
    let _ = flag.wait_for(|is_set| *is_set).await;
}

fn permits(envelope: &Envelope) -> u32 {
    u32::try_from(envelope.payload.len()).unwrap_or(u32::MAX).min(BYTES_MAX)
}
