//! What one slot may use, and one call in it.

/// The limits of a slot and of each call in it. The defaults are those of the small tier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// All memory of the guest's processes and of its files in memory, in bytes.
    pub memory_bytes: u64,
    /// Share of processors, in thousandths of one.
    pub cpu_milli: u32,
    /// Processes and threads at once.
    pub processes: u32,
    /// Open files of one process.
    pub open_files: u32,
    /// The largest file that the guest may write, in bytes.
    pub file_bytes: u64,
    /// All files that the guest writes, in bytes.
    pub disk_bytes: u64,
    /// Standard output and standard error together, in bytes. What is more ends the call.
    pub output_bytes: u64,
    /// From the start of a call to its end, in milliseconds.
    pub wall_ms: u64,
    /// Processor time of a call, in milliseconds.
    pub cpu_ms: u64,
}

impl Limits {
    const MIB: u64 = 1 << 20;

    /// The small tier: 512 MiB, one processor, ten seconds.
    pub const SMALL: Self = Self {
        memory_bytes: 512 * Self::MIB,
        cpu_milli: 1_000,
        processes: 64,
        open_files: 256,
        file_bytes: 64 * Self::MIB,
        disk_bytes: 128 * Self::MIB,
        output_bytes: Self::MIB,
        wall_ms: 10_000,
        cpu_ms: 10_000,
    };

    /// The large tier: 4 GiB, two processors, ten minutes.
    pub const LARGE: Self = Self {
        memory_bytes: 4_096 * Self::MIB,
        cpu_milli: 2_000,
        processes: 256,
        open_files: 1_024,
        file_bytes: 1_024 * Self::MIB,
        disk_bytes: 1_024 * Self::MIB,
        output_bytes: 8 * Self::MIB,
        wall_ms: 600_000,
        cpu_ms: 600_000,
    };

    /// Whether an engine can hold a guest to these limits.
    ///
    /// # Errors
    /// The first field that is out of its range.
    pub fn check(&self) -> Result<(), LimitError> {
        let rows: [(&'static str, u64, u64, u64); 9] = [
            ("memory_bytes", self.memory_bytes, 32 * Self::MIB, 1 << 40),
            ("cpu_milli", u64::from(self.cpu_milli), 10, 256_000),
            ("processes", u64::from(self.processes), 1, 32_768),
            ("open_files", u64::from(self.open_files), 16, 65_536),
            ("file_bytes", self.file_bytes, 1, 1 << 40),
            ("disk_bytes", self.disk_bytes, Self::MIB, 1 << 40),
            ("output_bytes", self.output_bytes, 1_024, 1 << 30),
            ("wall_ms", self.wall_ms, 1, 3_600_000),
            ("cpu_ms", self.cpu_ms, 1, 3_600_000),
        ];
        for (field, value, least, most) in rows {
            if value < least || value > most {
                return Err(LimitError { field, value, least, most });
            }
        }
        Ok(())
    }

    /// Whether a call stays within its slot: it may have less, never more.
    ///
    /// # Errors
    /// The first field that is out of its range, or above the slot's.
    pub fn check_within(&self, slot: &Self) -> Result<(), LimitError> {
        self.check()?;
        let rows: [(&'static str, u64, u64); 9] = [
            ("memory_bytes", self.memory_bytes, slot.memory_bytes),
            ("cpu_milli", self.cpu_milli.into(), slot.cpu_milli.into()),
            ("processes", self.processes.into(), slot.processes.into()),
            ("open_files", self.open_files.into(), slot.open_files.into()),
            ("file_bytes", self.file_bytes, slot.file_bytes),
            ("disk_bytes", self.disk_bytes, slot.disk_bytes),
            ("output_bytes", self.output_bytes, slot.output_bytes),
            ("wall_ms", self.wall_ms, slot.wall_ms),
            ("cpu_ms", self.cpu_ms, slot.cpu_ms),
        ];
        match rows.into_iter().find(|(_, value, most)| value > most) {
            Some((field, value, most)) => Err(LimitError { field, value, least: 1, most }),
            None => Ok(()),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self::SMALL
    }
}

/// A limit that no engine takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{field} is {value}; choose a number from {least} to {most}")]
pub struct LimitError {
    pub field: &'static str,
    pub value: u64,
    pub least: u64,
    pub most: u64,
}
