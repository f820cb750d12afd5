//! Time and chance, which the port has not: they come in from the node or the simulator.

use std::pin::Pin;
use std::sync::Arc;

/// A pause that somebody else's clock ends.
pub type Pause = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What an engine and the retry loop may ask of the world; cheap to clone.
#[derive(Clone)]
pub struct Environment {
    now_ms: Arc<dyn Fn() -> u64 + Send + Sync>,
    pause: Arc<dyn Fn(u64) -> Pause + Send + Sync>,
    draw: Arc<dyn Fn() -> u64 + Send + Sync>,
}

impl Environment {
    /// `now_ms` is a monotonic clock in ms, `pause` makes a future that ends after so many
    /// ms of that clock, `draw` gives evenly spread 64-bit numbers.
    pub fn new(
        now_ms: impl Fn() -> u64 + Send + Sync + 'static,
        pause: impl Fn(u64) -> Pause + Send + Sync + 'static,
        draw: impl Fn() -> u64 + Send + Sync + 'static,
    ) -> Self {
        Environment { now_ms: Arc::new(now_ms), pause: Arc::new(pause), draw: Arc::new(draw) }
    }

    pub fn now_ms(&self) -> u64 {
        (self.now_ms)()
    }

    pub fn pause(&self, ms: u64) -> Pause {
        (self.pause)(ms)
    }

    pub fn draw(&self) -> u64 {
        (self.draw)()
    }
}
