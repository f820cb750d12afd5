//! Who holds a partition: a lease with an epoch, which every write of the holder proves.

/// A partition's holder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    /// Unique for each time that a worker took a partition.
    pub worker: u128,
    /// Rises by one with every holder; the fencing token.
    pub epoch: u64,
    /// When another may take it, in ms of the wall clock; 0 when it was given back.
    pub expires_ms: u64,
}

impl Hold {
    pub fn runs(&self, now_ms: u64) -> bool {
        now_ms < self.expires_ms
    }
}

/// Why a partition cannot be had now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HoldProblem {
    /// Another worker holds it.
    Held,
    /// As many workers as the job allows work on it.
    Cap,
}

/// The epoch under which a worker gets a partition.
///
/// # Errors
/// See [`HoldProblem`].
pub fn claim(
    holds: impl IntoIterator<Item = (u16, Hold)>,
    partition: u16,
    workers_max: u32,
    now_ms: u64,
) -> Result<u64, HoldProblem> {
    let mut epoch = 1;
    let mut running = 0u32;
    for (place, hold) in holds {
        let runs = hold.runs(now_ms);
        if place == partition {
            if runs {
                return Err(HoldProblem::Held);
            }
            epoch = hold.epoch + 1;
        }
        running += u32::from(runs);
    }
    if running >= workers_max { Err(HoldProblem::Cap) } else { Ok(epoch) }
}

/// A partition to claim: the first free one with work, looked for from `start` on, so that
/// workers which start at different places do not meet.
pub fn next_partition(
    with_work: &[u16],
    holds: &[(u16, Hold)],
    start: u16,
    now_ms: u64,
) -> Option<u16> {
    let free = |partition: &&u16| {
        !holds.iter().any(|(place, hold)| place == *partition && hold.runs(now_ms))
    };
    let behind = with_work.iter().filter(|partition| **partition >= start);
    let before = with_work.iter().filter(|partition| **partition < start);
    behind.chain(before).find(free).copied()
}
