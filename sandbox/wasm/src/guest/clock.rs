//! The clocks that a guest may read, rounded to what programs need.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::guest::errno::Errno;

/// No clock tells less than this, in nanoseconds: programs measure milliseconds, and finer ones
/// help who measures caches.
pub(crate) const STEP_NS: u64 = 10_000;

#[derive(Debug)]
pub(crate) struct Clock {
    began: Instant,
}

impl Clock {
    pub(crate) fn new() -> Self {
        Self { began: Instant::now() }
    }

    /// Nanoseconds since 1970.
    pub(crate) fn now_ns(&self) -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        round(since.map_or(0, |since| since.as_nanos()))
    }

    /// Nanoseconds since the guest's start.
    pub(crate) fn since_ns(&self) -> u64 {
        round(self.began.elapsed().as_nanos())
    }

    /// A clock by its number in preview 1: real time, monotonic, two of processor time.
    pub(crate) fn read(&self, number: u32) -> Result<u64, Errno> {
        match number {
            0 => Ok(self.now_ns()),
            1 => Ok(self.since_ns()),
            2 | 3 => Ok(round(u128::from(thread_cpu_ns()))),
            _ => Err(Errno::Invalid),
        }
    }
}

fn round(nanoseconds: u128) -> u64 {
    u64::try_from(nanoseconds).map_or(u64::MAX, |ns| ns - ns % STEP_NS)
}

/// The processor time of this thread, in nanoseconds.
pub(crate) fn thread_cpu_ns() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call writes one timespec, which lies here.
    let result = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    if result != 0 {
        return 0;
    }
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    seconds * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or(0)
}
