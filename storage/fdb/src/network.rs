//! FoundationDB's network thread: one per process, from the first use to the exit.
//!
//! The client library can be set up once per process and never again, so the thread is
//! started by the first store and serves all of them. It must have stopped before the
//! library's own destructors run, and a static is never dropped; therefore a handler of
//! `atexit` stops it. A process that is killed or aborts needs no stop.

use std::sync::{Mutex, OnceLock, PoisonError};

use foundationdb::FdbError;
use foundationdb::api::{FdbApiBuilder, NetworkAutoStop};
use headwater_storage::StoreError;

static START: OnceLock<Result<(), FdbError>> = OnceLock::new();
static RUNNING: Mutex<Option<NetworkAutoStop>> = Mutex::new(None);

/// Starts the network thread where it does not run yet.
///
/// # Errors
/// [`StoreError::Usage`] when the client library cannot be set up, then and ever after.
pub(crate) fn start() -> Result<(), StoreError> {
    START.get_or_init(boot).map_err(|error| {
        StoreError::Usage(format!(
            "FoundationDB's client library does not start (error {}, {}); install libfdb_c 7.3 \
             and restart",
            error.code(),
            error.message()
        ))
    })
}

fn boot() -> Result<(), FdbError> {
    let builder = FdbApiBuilder::default().build()?;
    // SAFETY: the guard is dropped before the program exits, by `stop`.
    let running = unsafe { builder.boot()? };
    *RUNNING.lock().unwrap_or_else(PoisonError::into_inner) = Some(running);
    // SAFETY: `stop` takes nothing, returns nothing and does not unwind: a panic in it aborts.
    // It fails only without memory; then the thread runs until the process is gone.
    unsafe { libc::atexit(stop) };
    Ok(())
}

extern "C" fn stop() {
    drop(RUNNING.lock().unwrap_or_else(PoisonError::into_inner).take());
}
