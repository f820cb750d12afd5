//! How a call ended, and what it used.

use crate::path::GuestPath;

/// How a program ended. A limit is told before a signal: what the limit killed was killed by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// The program ended by itself, with this status.
    Exit(i32),
    /// A signal that no limit of ours sent.
    Signal(i32),
    /// [`Limits::wall_ms`](crate::Limits::wall_ms) were over.
    WallTime,
    /// [`Limits::cpu_ms`](crate::Limits::cpu_ms) were used.
    CpuTime,
    /// [`Limits::memory_bytes`](crate::Limits::memory_bytes) were used, and the guest was killed.
    Memory,
    /// More than [`Limits::output_bytes`](crate::Limits::output_bytes) were written.
    Output,
    /// The program asked its kernel for what no guest may ask for.
    Violation,
}

/// A call's end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    pub ended: Ended,
    /// From the call's start to the end of its last process, in microseconds.
    pub wall_us: u64,
    /// Processor time of all its processes, in microseconds.
    pub cpu_us: u64,
    /// The most memory at once, in bytes; 0 where the engine cannot tell.
    pub memory_peak_bytes: u64,
    /// Bytes of standard output and standard error that were heard.
    pub output_bytes: u64,
    /// The files that were asked for and were there.
    pub files: Vec<GuestFile>,
}

/// A file that goes into a guest or comes out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuestFile {
    pub path: GuestPath,
    pub bytes: Vec<u8>,
}

/// A file in the guest's working folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileEntry {
    pub path: GuestPath,
    pub bytes: u64,
    pub folder: bool,
}

/// What a slot holds now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    pub memory_bytes: u64,
    pub processes: u32,
}
