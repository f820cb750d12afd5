//! Snapshots: a machine is booted once for an image and a size, and stopped when its agent is warm.

use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, lchown};
use std::path::{Path, PathBuf};
use std::time::Duration;

use headwater_sandbox::{EngineError, Image};
use headwater_sandbox_agent::{Frames, Kind};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::{Instant, sleep, timeout_at};

use crate::api::{DRIVE, KERNEL, MEMORY, STATE, Size, deadline};
use crate::cgroup::Share;
use crate::host::Host;
use crate::machine::{Bounds, Vm, copy, lend};
use crate::programs::Programs;
use crate::settings::Settings;
use crate::{drive, unable};

/// What a machine's process needs beside the guest's memory, in bytes.
const PROCESS_BYTES: u64 = 64 << 20;
/// After the stream to the agent is closed: packets about that must not be under way in the snapshot,
/// or restored guests of some versions never send again (firecracker issue 5969).
const QUIET: Duration = Duration::from_millis(100);

/// The files that a slot's machine is restored of.
pub(crate) struct Snapshot {
    folder: PathBuf,
    drive: PathBuf,
}

/// Bounds of a machine of this size.
pub(crate) fn bounds(size: Size, cpu_milli: Option<u32>, file_bytes: u64) -> Bounds {
    let memory_bytes = (size.memory_mib << 20) + PROCESS_BYTES;
    Bounds { share: Share { memory_bytes, vcpus: size.vcpus, cpu_milli }, file_bytes }
}

impl Snapshot {
    /// Boots, warms, stops and saves one machine; takes seconds.
    ///
    /// # Errors
    /// [`EngineError::Unable`] tells the step that failed.
    pub(crate) async fn make(
        host: &Host,
        settings: &Settings,
        programs: &Programs,
        image: &Image,
        size: Size,
    ) -> Result<Self, EngineError> {
        let (own, folder) = (image.clone(), settings.drives_folder.clone());
        let made = tokio::task::spawn_blocking(move || drive::make(&own, &folder)).await;
        let drive = made.map_err(|error| unable(error.to_string(), "try again"))??;
        let snapshot = boot(host, settings, programs, &drive, size).await.map_err(|why| {
            let why = format!("no guest booted of image {}: {why}", image.name);
            let mend = "see that KVM is the processor's own here (an emulation, or a nested one that \
                        is switched off, hangs), that the kernel fits this Firecracker, and that \
                        boot_ms is enough";
            unable(why, mend)
        })?;
        Ok(Self { folder: snapshot, drive })
    }

    /// Puts the files into the root of a machine.
    pub(crate) fn lend_to(&self, root: &Path) -> io::Result<()> {
        lend(&self.folder.join(STATE), root, STATE)?;
        lend(&self.folder.join(MEMORY), root, MEMORY)?;
        lend(&self.drive, root, DRIVE)
    }
}

async fn boot(
    host: &Host,
    settings: &Settings,
    programs: &Programs,
    drive: &Path,
    size: Size,
) -> Result<PathBuf, String> {
    let remains = host.claim(None, &programs.name).map_err(|error| error.to_string())?;
    let root = remains.root();
    copy(&settings.kernel, &root.join(KERNEL)).map_err(|error| format!("the kernel: {error}"))?;
    lend(drive, &root, DRIVE).map_err(|error| format!("the drive: {error}"))?;
    let until = deadline(settings.boot_ms);
    let file_bytes = (size.memory_mib << 20) + PROCESS_BYTES;
    let bounds = bounds(size, None, file_bytes);
    let (mut vm, mut api) = Vm::start(host, settings, programs, remains, &bounds, until).await?;
    vm.unless_ended(api.boot(size, settings)).await?;
    let stream = vm.agent(until).await?;
    vm.unless_ended(greet_and_leave(stream, until)).await?;
    sleep(QUIET).await;
    vm.unless_ended(api.save()).await?;
    let remains = vm.end().await;
    let told = |error: io::Error| format!("the snapshot's files: {error}");
    let folder = host.snapshot().map_err(told)?;
    for name in [STATE, MEMORY] {
        keep(&root.join(name), &folder.join(name)).map_err(told)?;
    }
    let taken = tokio::task::spawn_blocking(move || remains.take_away()).await;
    taken.map_err(|error| error.to_string())??;
    Ok(folder)
}

/// Hears the agent's first word, and closes the stream to its end.
async fn greet_and_leave(stream: UnixStream, until: Instant) -> Result<(), String> {
    let (reader, mut writer) = stream.into_split();
    let mut frames = Frames::new(reader);
    let first = timeout_at(until, frames.next()).await;
    match first.map_err(|_| "the agent did not greet in time".to_owned())? {
        Ok(frame) if frame.kind == Kind::Hello => {}
        Ok(_) => return Err("the agent did not greet".to_owned()),
        Err(error) => return Err(format!("the agent did not greet: {error}")),
    }
    writer.shutdown().await.map_err(|error| error.to_string())?;
    let mut reader = frames.into_reader();
    let end = timeout_at(until, reader.read_u8()).await;
    match end.map_err(|_| "the agent did not let its host go".to_owned())? {
        Err(_) => Ok(()),
        Ok(_) => Err("the agent said more than its greeting".to_owned()),
    }
}

/// Takes a file of a machine's root: it is the service's from here on, and read by all machines.
fn keep(from: &Path, to: &Path) -> io::Result<()> {
    if !from.symlink_metadata()?.is_file() {
        return Err(io::Error::other(format!("{} is no file", from.display())));
    }
    fs::rename(from, to)?;
    lchown(to, Some(0), Some(0))?;
    fs::set_permissions(to, fs::Permissions::from_mode(0o444))
}
