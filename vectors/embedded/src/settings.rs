//! What may be chosen about the sink.

/// Settings of the embedded sink.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EmbeddedVectorsSettings {
    /// Up to so many records a space is searched exactly, one vector after the other; above, by
    /// a graph of its vectors, when the crate was built with `usearch` and runs on tokio.
    pub exact_records_max: usize,
    /// Memory that the indexes of all spaces take together, in bytes and roughly. Beyond it the
    /// index whose last search is the longest ago goes; a space that is larger alone is refused.
    pub memory_bytes_max: usize,
    /// From so many records on an i8 space is calibrated by them; until then its vectors are kept
    /// in f32.
    pub calibration_records: usize,
    /// One commit in so many, drawn by lot, sets a mark in the space's log; at least 1.
    pub commits_per_mark: u64,
    /// The log is dropped behind so many marks, at least 1. A node that has fallen behind further
    /// reads the space anew.
    pub marks_kept: usize,
}

impl Default for EmbeddedVectorsSettings {
    fn default() -> Self {
        EmbeddedVectorsSettings {
            exact_records_max: 20_000,
            memory_bytes_max: 4 << 30,
            calibration_records: 1_000,
            commits_per_mark: 256,
            marks_kept: 32,
        }
    }
}
