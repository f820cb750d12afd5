//! The clock that the shells read.

use std::time::Duration;

use tokio::time::Instant;

/// A monotonic clock in milliseconds from its own start. It follows tokio's time, so a
/// test that pauses tokio pauses it too.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    origin: Instant,
}

impl Clock {
    /// A clock that reads 0 now.
    pub fn start() -> Self {
        Clock { origin: Instant::now() }
    }

    /// Milliseconds since the clock's start.
    pub fn now_ms(self) -> u64 {
        self.origin.elapsed().as_millis() as u64
    }

    /// How long until the clock reads `at_ms`; zero when that has passed.
    pub fn until(self, at_ms: u64) -> Duration {
        (self.origin + Duration::from_millis(at_ms)).saturating_duration_since(Instant::now())
    }
}
