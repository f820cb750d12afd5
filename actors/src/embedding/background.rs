//! Threads for bulk work, which the operating system runs only while nothing else wants the
//! processor.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;

use tokio::sync::oneshot;

/// Most threads that read bulk texts: tokenizers are far faster than encoders.
const THREADS_MAX: usize = 4;

type Task = Box<dyn FnOnce() + Send>;

/// Runs small pieces of bulk work off the async threads; cheap to clone. Its threads end with
/// the last clone.
#[derive(Clone)]
pub(super) struct Background {
    tasks: mpsc::Sender<Task>,
}

impl Background {
    /// # Errors
    /// When the operating system gives no thread.
    pub(super) fn start() -> std::io::Result<Self> {
        let (tasks, inbox) = mpsc::channel::<Task>();
        let inbox = Arc::new(Mutex::new(inbox));
        let cores = thread::available_parallelism().map_or(1, usize::from);
        for number in 0..cores.min(THREADS_MAX) {
            let inbox = Arc::clone(&inbox);
            thread::Builder::new().name(format!("bulk-{number}")).spawn(move || {
                lower_priority();
                loop {
                    let next = inbox.lock().unwrap_or_else(PoisonError::into_inner).recv();
                    let Ok(task) = next else { return };
                    // A panic costs the task its answer, and nobody the thread.
                    let _ = catch_unwind(AssertUnwindSafe(task));
                }
            })?;
        }
        Ok(Background { tasks })
    }

    /// What the work returned; none when it panicked.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        let task = Box::new(move || {
            let _ = reply.send(work());
        });
        self.tasks.send(task).ok()?;
        answer.await.ok()
    }
}

/// From now on this thread, and those that it starts, run only on time that no other thread
/// wants, and make way at once when one does: Linux' `SCHED_IDLE`, see sched(7). It cannot be
/// taken back without privileges. Other systems have no such class; there nothing changes.
pub(super) fn lower_priority() {
    #[cfg(target_os = "linux")]
    {
        // SAFETY: the structure is plain numbers, 0 (the one priority of this class) allowed for
        // each; it lives through the call, and process 0 is the calling thread.
        let outcome = unsafe {
            let parameter: libc::sched_param = std::mem::zeroed();
            libc::sched_setscheduler(0, libc::SCHED_IDLE, &parameter)
        };
        if outcome != 0 {
            let error = std::io::Error::last_os_error();
            tracing::warn!(%error, "bulk work runs at the priority of queries");
        }
    }
}
