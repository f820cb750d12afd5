//! Clocks, chance, pauses and tasks for the shells: tokio's in a node, a world's in simulation.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;

use headwater_storage::Environment;

type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What a shell may ask of the world; cheap to clone.
#[derive(Clone)]
pub struct Runtime {
    environment: Environment,
    wall_ms: Arc<dyn Fn() -> u64 + Send + Sync>,
    spawn: Arc<dyn Fn(Task) + Send + Sync>,
}

impl Runtime {
    /// `environment` has the monotonic clock, pauses and chance; `wall_ms` reads ms since 1970;
    /// `spawn` starts a task.
    pub fn new(
        environment: Environment,
        wall_ms: impl Fn() -> u64 + Send + Sync + 'static,
        spawn: impl Fn(Task) + Send + Sync + 'static,
    ) -> Runtime {
        Runtime { environment, wall_ms: Arc::new(wall_ms), spawn: Arc::new(spawn) }
    }

    /// Tasks on the tokio runtime that the caller runs in.
    pub fn tokio(
        environment: Environment,
        wall_ms: impl Fn() -> u64 + Send + Sync + 'static,
    ) -> Runtime {
        let handle = tokio::runtime::Handle::current();
        Runtime::new(environment, wall_ms, move |task| {
            handle.spawn(task);
        })
    }

    pub fn environment(&self) -> &Environment {
        &self.environment
    }

    /// Monotonic, in ms.
    pub fn now_ms(&self) -> u64 {
        self.environment.now_ms()
    }

    /// Since 1970, in ms.
    pub fn wall_ms(&self) -> u64 {
        (self.wall_ms)()
    }

    /// 128 drawn bits.
    pub fn draw(&self) -> u128 {
        u128::from(self.environment.draw()) << 64 | u128::from(self.environment.draw())
    }

    pub async fn pause(&self, ms: u64) {
        self.environment.pause(ms).await;
    }

    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        (self.spawn)(Box::pin(task));
    }

    /// The future's output, or `None` when it takes longer than this.
    pub async fn within<T>(&self, ms: u64, future: impl Future<Output = T>) -> Option<T> {
        let mut future = pin!(future);
        let mut pause = self.environment.pause(ms);
        poll_fn(|context| match future.as_mut().poll(context) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending => pause.as_mut().poll(context).map(|()| None),
        })
        .await
    }
}
