//! What a job counts. All counts of a partition are one row that grows by one atomic addition
//! in the transaction that ends a task, so they are exact after any crash.

/// One count, by its place in the row. New lanes go to the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(usize)]
pub enum Lane {
    /// Documents taken in.
    Staged,
    /// Bytes of text taken in.
    StagedBytes,
    /// Documents whose vectors are all written.
    Documents,
    /// Bytes of text of documents that have ended in any way.
    EndedBytes,
    /// Chunks of those documents.
    Chunks,
    /// Chunks whose text another chunk has, too.
    Duplicates,
    /// Chunks that resemble an earlier one.
    NearDuplicates,
    /// Tokens of the chunks that are no duplicates.
    Tokens,
    /// Vectors that those documents brought: one for each chunk that is no duplicate, and version.
    Vectors,
    /// Documents that became dead letters.
    Dead,
    /// Dead letters that were queued again.
    Revived,
    /// Documents that a later write of the same document replaced before they began.
    Superseded,
    /// Documents dropped because the job was cancelled.
    Dropped,
    /// Attempts that failed and were put off.
    Retries,
    /// Lines that hold no document.
    BadLines,
    /// Times that a document began, attempts after the first left out.
    Begun,
}

impl Lane {
    pub const COUNT: usize = 16;
}

const LANE_BYTES: usize = 8;

/// One value for each lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts([u64; Lane::COUNT]);

impl Counts {
    pub fn of(lane: Lane, value: u64) -> Counts {
        Counts::default().with(lane, value)
    }

    pub fn with(mut self, lane: Lane, value: u64) -> Counts {
        self.0[lane as usize] = value;
        self
    }

    pub fn get(&self, lane: Lane) -> u64 {
        self.0[lane as usize]
    }

    #[must_use]
    pub fn plus(&self, other: &Counts) -> Counts {
        let mut sum = *self;
        for (mine, more) in sum.0.iter_mut().zip(other.0) {
            *mine = mine.saturating_add(more);
        }
        sum
    }

    pub fn is_zero(&self) -> bool {
        *self == Counts::default()
    }

    /// Documents that have not ended: they wait or somebody works on them.
    pub fn waiting(&self) -> u64 {
        let began = self.get(Lane::Staged) + self.get(Lane::Revived);
        let ended = [Lane::Documents, Lane::Dead, Lane::Superseded, Lane::Dropped];
        began.saturating_sub(ended.into_iter().map(|lane| self.get(lane)).sum())
    }

    /// Documents that began and have not ended.
    pub fn running(&self) -> u64 {
        let ended = self.get(Lane::Documents) + self.get(Lane::Dead);
        self.get(Lane::Begun).saturating_sub(ended)
    }

    /// Dead letters of documents that were not queued again.
    pub fn dead(&self) -> u64 {
        self.get(Lane::Dead).saturating_sub(self.get(Lane::Revived))
    }

    pub fn waiting_bytes(&self) -> u64 {
        self.get(Lane::StagedBytes).saturating_sub(self.get(Lane::EndedBytes))
    }

    /// The operand of an atomic addition: 8 little-endian bytes a lane. As one number of the
    /// whole length no lane carries over into the next below 2^64 of it.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.0.iter().flat_map(|value| value.to_le_bytes()).collect()
    }

    /// Reads a row; lanes that it has not are 0.
    pub fn from_bytes(bytes: &[u8]) -> Counts {
        let mut counts = Counts::default();
        for (value, lane) in counts.0.iter_mut().zip(bytes.chunks_exact(LANE_BYTES)) {
            let mut digits = [0; LANE_BYTES];
            digits.copy_from_slice(lane);
            *value = u64::from_le_bytes(digits);
        }
        counts
    }
}

/// How fast a job goes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Progress {
    /// Documents a second since the job began, pauses left out.
    pub documents_per_s: f64,
    /// Tokens a second, likewise.
    pub tokens_per_s: f64,
    /// How long the waiting documents take at that rate, in ms; none before the first is done,
    /// and none while more may still come in.
    pub remaining_ms: Option<u64>,
}

/// `worked_ms` is the time since the job began less its pauses.
pub fn progress(counts: &Counts, worked_ms: u64, is_sealed: bool) -> Progress {
    let seconds = worked_ms.max(1) as f64 / 1000.0;
    let ended = counts.get(Lane::Staged).saturating_sub(counts.waiting());
    let documents_per_s = ended as f64 / seconds;
    let tokens_per_s = counts.get(Lane::Tokens) as f64 / seconds;
    let remaining_ms = (is_sealed && ended > 0)
        .then(|| (counts.waiting() as f64 * 1000.0 / documents_per_s).ceil() as u64);
    Progress { documents_per_s, tokens_per_s, remaining_ms }
}
