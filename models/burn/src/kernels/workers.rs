//! Who does the parts of one step: the calling thread, or the encoder's own pool; and where
//! it waits for more urgent work.

use std::ops::Range;

use headwater_models::Pace;
use rayon::iter::{IntoParallelIterator, ParallelIterator};

/// Operations between two calls of the pace. At 50 G/s, slower than any chip of these days,
/// about a millisecond.
pub(crate) const STEP: usize = 50_000_000;

/// Operations below which a second thread costs more than it gives.
const SHARED: usize = 2_000_000;

/// The threads of one step.
#[derive(Clone, Copy)]
pub(crate) struct Workers<'a> {
    /// More than one only inside the pool whose threads these are.
    pub(crate) threads: usize,
    pub(crate) pace: Option<&'a Pace>,
}

impl Workers<'_> {
    /// Calls `work` with ranges that together are `0..count`, on several threads where it
    /// pays; `operations` are those of one of them. Waits for the pace before each.
    pub(crate) fn each(&self, count: usize, operations: usize, work: impl Fn(Range<usize>) + Sync) {
        let threads = if operations * count < SHARED { 1 } else { self.threads };
        let part = (STEP / operations.max(1)).clamp(1, count.div_ceil(threads).max(1));
        let one = |index: usize| {
            self.wait();
            work(index * part..count.min((index + 1) * part));
        };
        let parts = count.div_ceil(part);
        if threads == 1 {
            (0..parts).for_each(one);
        } else {
            (0..parts).into_par_iter().for_each(one);
        }
    }

    /// Lets more urgent work go first.
    pub(crate) fn wait(&self) {
        if let Some(pace) = self.pace {
            pace();
        }
    }
}
