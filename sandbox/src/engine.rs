//! The two traits: an engine makes slots, a slot runs calls.

use std::path::PathBuf;

use async_trait::async_trait;

use crate::error::EngineError;
use crate::execution::{Execution, Listener};
use crate::image::Image;
use crate::isolation::Isolation;
use crate::limits::Limits;
use crate::outcome::{FileEntry, GuestFile, Outcome, Usage};
use crate::path::GuestPath;

/// What an engine can do; a caller that needs more is told so before a slot is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Abilities {
    /// The engine's name, such as `jail`.
    pub name: &'static str,
    pub isolation: Isolation,
    /// A used slot can be proved clean and serve another tenant.
    pub recycles: bool,
    /// A slot can keep its files between calls.
    pub sessions: bool,
    /// A slot can stand still without processor time.
    pub pauses: bool,
    /// Guests can have a way out through a proxy.
    pub egress: bool,
    /// Packages with native code run.
    pub native_packages: bool,
}

/// What a probe has seen: a guest ran here and was held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// The version of what runs the guest, as it tells it.
    pub version: String,
    /// From nothing to the first byte of the guest's output, in microseconds.
    pub cold_us: u64,
    /// What holds less than it could on this host, such as a missing memory cgroup.
    pub warnings: Vec<String>,
}

/// How long a slot's files live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Each call finds an empty working folder.
    Single,
    /// Files of the working folder stay from call to call, until the slot is closed.
    Session,
}

/// The only way out of a slot: two sockets of a proxy on the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WayOut {
    /// A Unix stream socket that takes connections of an HTTP proxy (absolute URLs and `CONNECT`).
    /// The guest reaches it as `127.0.0.1:3128`.
    pub proxy: PathBuf,
    /// A Unix stream socket that takes DNS messages, each behind its length as two bytes, the
    /// higher one first (RFC 1035, 4.2.2). The guest reaches it as its name server.
    pub names: PathBuf,
}

/// A slot to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlotSpec {
    /// Unique among the slots of this host; letters, digits and `-`. Cgroups and folders carry it.
    pub name: String,
    pub image: Image,
    pub limits: Limits,
    pub way: Way,
    /// No network at all where it is absent.
    pub way_out: Option<WayOut>,
}

/// What a sweep found of processes that are gone, and took away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Swept {
    pub processes: u32,
    pub mounts: u32,
    pub cgroups: u32,
    pub folders: u32,
}

/// Makes slots. Shared by all tasks; every call may be made at any time.
#[async_trait]
pub trait Engine: Send + Sync {
    fn abilities(&self) -> Abilities;

    /// Runs a guest and sees that it is held. Never answers from the presence of a file or device.
    ///
    /// # Errors
    /// [`EngineError::Unable`] with the reason, and with what would mend it.
    async fn probe(&self, image: &Image) -> Result<Probe, EngineError>;

    /// Makes ready what slots of this image share (compiled code, a snapshot); may take minutes.
    ///
    /// # Errors
    /// As [`Engine::start`].
    async fn prepare(&self, image: &Image) -> Result<(), EngineError>;

    /// A clean, warm slot: its interpreter has started and answered. When the future is dropped or
    /// fails, nothing of the slot stays.
    ///
    /// # Errors
    /// [`EngineError::Unable`], [`EngineError::Unsupported`], [`EngineError::Busy`].
    async fn start(&self, spec: SlotSpec) -> Result<Box<dyn Slot>, EngineError>;

    /// Takes away what slots of earlier processes of this host's service left: processes, mounts,
    /// cgroups, folders. Slots of this process are left alone.
    ///
    /// # Errors
    /// [`EngineError::Dirty`] names what could not be taken away.
    async fn sweep(&self) -> Result<Swept, EngineError>;
}

/// One place where one tenant's code runs, a call at a time.
///
/// A slot that is dropped kills its guest; what else it held is left to [`Slot::close`] or the next
/// [`Engine::sweep`].
#[async_trait]
pub trait Slot: Send {
    fn name(&self) -> &str;

    /// Runs the code to its end, or to the end of a limit; the guest's processes of this call are
    /// all gone when it returns. When the future is dropped they are killed.
    ///
    /// # Errors
    /// [`EngineError::Lost`] when the slot broke; [`EngineError::File`] when a file of the call
    /// could not be put in; [`EngineError::Limit`].
    async fn run(
        &mut self,
        execution: &Execution,
        listener: &mut dyn Listener,
    ) -> Result<Outcome, EngineError>;

    /// Writes a file of a session's working folder; its folders are made.
    ///
    /// # Errors
    /// [`EngineError::File`], [`EngineError::Lost`]; [`EngineError::Unsupported`] for a slot
    /// without a session. The same of the next two.
    async fn write(&mut self, file: &GuestFile) -> Result<(), EngineError>;

    /// A file of a session's working folder, of at most `bytes_max` bytes.
    ///
    /// # Errors
    /// As [`Slot::write`].
    async fn read(&mut self, path: &GuestPath, bytes_max: u64) -> Result<GuestFile, EngineError>;

    /// The first `entries_max` files and folders of a session's working folder, by their paths.
    ///
    /// # Errors
    /// As [`Slot::write`].
    async fn list(&mut self, entries_max: usize) -> Result<Vec<FileEntry>, EngineError>;

    /// Takes all processor time away, until [`Slot::resume`].
    ///
    /// # Errors
    /// [`EngineError::Unsupported`], [`EngineError::Lost`].
    async fn pause(&mut self) -> Result<(), EngineError>;

    /// # Errors
    /// As [`Slot::pause`].
    async fn resume(&mut self) -> Result<(), EngineError>;

    /// # Errors
    /// [`EngineError::Lost`].
    async fn usage(&mut self) -> Result<Usage, EngineError>;

    /// Proves that nothing of the calls so far is left: after it, another tenant may have the slot.
    ///
    /// # Errors
    /// [`EngineError::Unsupported`] where slots are only used once, [`EngineError::Dirty`] when
    /// something is left; close the slot then.
    async fn recycle(&mut self) -> Result<(), EngineError>;

    /// Ends the slot and takes away all that it held.
    ///
    /// # Errors
    /// [`EngineError::Dirty`] names what stayed; the next sweep tries again.
    async fn close(self: Box<Self>) -> Result<(), EngineError>;
}
