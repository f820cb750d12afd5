//! What a grant has used: bytes, requests, connections.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::grant::GrantLimits;
use crate::refusal::Refusal;

/// Requests of the last minute: a bucket that fills evenly.
struct Bucket {
    per_minute: f64,
    left: f64,
    at: Instant,
}

impl Bucket {
    fn new(per_minute: u32) -> Mutex<Self> {
        let per_minute = f64::from(per_minute);
        Mutex::new(Self { per_minute, left: per_minute, at: Instant::now() })
    }

    fn take(bucket: &Mutex<Self>) -> Result<(), Refusal> {
        let mut bucket = bucket.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let filled = now.duration_since(bucket.at).as_secs_f64() * bucket.per_minute / 60.0;
        bucket.left = (bucket.left + filled).min(bucket.per_minute);
        bucket.at = now;
        if bucket.left < 1.0 {
            return Err(Refusal::Rate);
        }
        bucket.left -= 1.0;
        Ok(())
    }
}

/// The use of one grant, shared by all its connections.
pub(crate) struct Meter {
    bytes_out_left: AtomicU64,
    bytes_in_left: AtomicU64,
    requests: Mutex<Bucket>,
    names: Mutex<Bucket>,
    connections: Arc<Semaphore>,
    name_connections: Arc<Semaphore>,
}

/// Which way bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flow {
    Out,
    In,
}

impl Meter {
    pub(crate) fn new(limits: GrantLimits) -> Self {
        let connections = limits.connections as usize;
        Self {
            bytes_out_left: AtomicU64::new(limits.bytes_out),
            bytes_in_left: AtomicU64::new(limits.bytes_in),
            requests: Bucket::new(limits.requests_per_minute),
            names: Bucket::new(limits.requests_per_minute),
            connections: Arc::new(Semaphore::new(connections)),
            name_connections: Arc::new(Semaphore::new(connections)),
        }
    }

    pub(crate) fn request(&self) -> Result<(), Refusal> {
        Bucket::take(&self.requests)
    }

    pub(crate) fn name(&self) -> Result<(), Refusal> {
        Bucket::take(&self.names)
    }

    pub(crate) fn connection(&self) -> Result<OwnedSemaphorePermit, Refusal> {
        Arc::clone(&self.connections).try_acquire_owned().map_err(|_| Refusal::Connections)
    }

    pub(crate) fn name_connection(&self) -> Result<OwnedSemaphorePermit, Refusal> {
        Arc::clone(&self.name_connections).try_acquire_owned().map_err(|_| Refusal::Connections)
    }

    /// Takes bytes of the grant before they pass; none pass where they are more than is left.
    pub(crate) fn bytes(&self, flow: Flow, bytes: usize) -> Result<(), Refusal> {
        let (left, refusal) = match flow {
            Flow::Out => (&self.bytes_out_left, Refusal::BytesOut),
            Flow::In => (&self.bytes_in_left, Refusal::BytesIn),
        };
        let take = |left: u64| left.checked_sub(bytes as u64);
        match left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take) {
            Ok(_) => Ok(()),
            Err(_) => {
                // What is too much once stays too much: small pieces must not pass behind it.
                left.store(0, Ordering::Relaxed);
                Err(refusal)
            }
        }
    }
}
