//! A thread that interrupts guests in turns, so that each looks at its limits.

use std::io;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use wasmtime::Engine;

/// How often a running guest looks at its limits.
const TICK: Duration = Duration::from_millis(5);

#[derive(Default)]
struct State {
    running: usize,
    over: bool,
}

#[derive(Default)]
struct Inner {
    state: Mutex<State>,
    changed: Condvar,
}

/// Ticks while a guest runs, and ends when it is dropped.
pub(crate) struct Ticker {
    inner: Arc<Inner>,
}

/// A guest that runs.
pub(crate) struct Running {
    inner: Arc<Inner>,
}

impl Ticker {
    pub(crate) fn start(engine: &Engine) -> io::Result<Self> {
        let inner = Arc::new(Inner::default());
        let (own, engine) = (Arc::clone(&inner), engine.weak());
        thread::Builder::new().name("wasm-ticker".to_owned()).spawn(move || {
            while own.wait() {
                thread::sleep(TICK);
                match engine.upgrade() {
                    Some(engine) => engine.increment_epoch(),
                    None => return,
                }
            }
        })?;
        Ok(Self { inner })
    }

    pub(crate) fn running(&self) -> Running {
        self.inner.change(|state| state.running += 1);
        Running { inner: Arc::clone(&self.inner) }
    }
}

impl Inner {
    fn change(&self, how: impl FnOnce(&mut State)) {
        how(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.notify_all();
    }

    /// Waits until a guest runs; false when there is nothing more to tick for.
    fn wait(&self) -> bool {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let idle = |state: &mut State| state.running == 0 && !state.over;
        let state = self.changed.wait_while(state, idle);
        !state.unwrap_or_else(PoisonError::into_inner).over
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.inner.change(|state| state.running = state.running.saturating_sub(1));
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.inner.change(|state| state.over = true);
    }
}
