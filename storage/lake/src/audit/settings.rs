//! Where the lake is, and how much of it is kept for how long.

use std::path::PathBuf;

/// What goes ahead of the lake on this node's disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpillSettings {
    /// A folder of this process alone.
    pub folder: PathBuf,
    /// Most bytes that may wait for the lake.
    pub limit_bytes: u64,
    /// A segment so long is sealed.
    pub segment_bytes: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParquetAuditSettings {
    /// `file:///folder/` or `s3://bucket/prefix/`.
    pub location: String,
    /// The store's settings, by the names of their environment variables.
    pub options: Vec<(String, String)>,
    pub spill: SpillSettings,
    /// How long what was said is kept, in days.
    pub content_days: u64,
    /// How long all else is kept, in days; what is flagged stays.
    pub metadata_days: u64,
    /// Longest time for one answer of the store, in ms.
    pub timeout_ms: u64,
    /// A file that was replaced stays so long for whoever still reads it, in ms.
    pub grace_ms: u64,
    /// Files are put together up to this size, in bytes.
    pub file_bytes: u64,
    /// Threads for questions, files and the spill.
    pub threads: usize,
}

impl ParquetAuditSettings {
    /// The usual settings of a lake at this place.
    pub fn new(location: impl Into<String>, spill: impl Into<PathBuf>) -> ParquetAuditSettings {
        ParquetAuditSettings {
            location: location.into(),
            options: Vec::new(),
            spill: SpillSettings {
                folder: spill.into(),
                limit_bytes: 1 << 30,
                segment_bytes: 4 << 20,
            },
            content_days: 7,
            metadata_days: 90,
            timeout_ms: 20_000,
            grace_ms: 300_000,
            file_bytes: 64 << 20,
            threads: 1,
        }
    }
}
