//! What the engine needs of the host before it starts anything: two programs, a device, a kernel.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use headwater_sandbox::EngineError;
use headwater_sandbox_agent::last_words;
use tokio::process::Command;
use tokio::time::timeout;

use crate::settings::Settings;
use crate::{drive, unable};

/// The first version whose machines tell their kernel that they were restored (VMGenID).
const OLDEST: (u32, u32) = (1, 8);
const TOLD_WITHIN: Duration = Duration::from_secs(10);
const RELEASE: &str = "install firecracker and jailer of one release and set their paths";

/// Programs that told their versions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Programs {
    /// Behind all links, as the jailer sees it: the folder of machines has its file's name.
    pub(crate) firecracker: PathBuf,
    pub(crate) name: String,
    pub(crate) version: String,
}

impl Programs {
    /// Looks for all that a machine needs.
    ///
    /// # Errors
    /// [`EngineError::Unable`] names the first thing that lacks.
    pub(crate) async fn find(settings: &Settings) -> Result<Self, EngineError> {
        let firecracker = fs::canonicalize(&settings.firecracker).map_err(|error| {
            let shown = settings.firecracker.display();
            unable(format!("there is no firecracker at {shown}: {error}"), RELEASE)
        })?;
        let version = version_of(&firecracker, "Firecracker v").await?;
        if numbers_of(&version).is_none_or(|numbers| numbers < OLDEST) {
            let (major, minor) = OLDEST;
            let why = format!("firecracker is of version {version}, which is too old");
            return Err(unable(why, format!("install version {major}.{minor} or later")));
        }
        let jailer = version_of(&settings.jailer, "Jailer v").await?;
        if jailer != version {
            let why = format!("firecracker is of version {version}, the jailer of {jailer}");
            return Err(unable(why, RELEASE));
        }
        check_kvm(&settings.kvm)?;
        check_kernel(&settings.kernel)?;
        drive::check()?;
        // SAFETY: the call asks for a number and touches no memory.
        if unsafe { libc::geteuid() } != 0 {
            let why = "the jailer needs root, and this service has another user";
            return Err(unable(why, "start the service as root, or choose another engine"));
        }
        let name = firecracker.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Self { firecracker, name, version })
    }
}

async fn version_of(program: &Path, before: &str) -> Result<String, EngineError> {
    let shown = program.display();
    let mut command = Command::new(program);
    command.arg("--version").stdin(Stdio::null()).kill_on_drop(true);
    let told = match timeout(TOLD_WITHIN, command.output()).await {
        Ok(Ok(told)) => told,
        Ok(Err(error)) => return Err(unable(format!("{shown} does not start: {error}"), RELEASE)),
        Err(_) => return Err(unable(format!("{shown} does not tell its version"), RELEASE)),
    };
    let text = String::from_utf8_lossy(&told.stdout);
    let version = text.lines().find_map(|line| line.strip_prefix(before));
    version.map(|version| version.trim().to_owned()).ok_or_else(|| {
        let words = last_words(&[told.stdout.clone(), told.stderr.clone()].concat());
        unable(format!("{shown} tells no line `{before}...`: {words}"), RELEASE)
    })
}

fn numbers_of(version: &str) -> Option<(u32, u32)> {
    let mut parts = version.split('.').map(|part| part.parse().ok());
    Some((parts.next()??, parts.next()??))
}

fn check_kvm(kvm: &Path) -> Result<(), EngineError> {
    let shown = kvm.display();
    let error = match OpenOptions::new().read(true).write(true).open(kvm) {
        Ok(_) => return Ok(()),
        Err(error) => error,
    };
    if error.kind() == io::ErrorKind::NotFound {
        let mend = "load the module kvm_intel or kvm_amd; in a virtual machine, let its host nest \
                    virtualisation; in a container, hand the device in";
        return Err(unable(format!("the host has no {shown}"), mend));
    }
    let mend = format!(
        "let this service's user read and write {shown}, as members of the group \
                        kvm may"
    );
    Err(unable(format!("{shown} does not open for this service: {error}"), mend))
}

/// Whether a file begins as a kernel that Firecracker boots.
fn check_kernel(kernel: &Path) -> Result<(), EngineError> {
    const BYTES: usize = 0x210;
    let shown = kernel.display();
    let mend = "set the path of a guest kernel: a `vmlinux` or `Image` built with one of the \
                configurations in Firecracker's repository, `resources/guest_configs`";
    let mut head = Vec::new();
    let read = File::open(kernel).and_then(|file| file.take(BYTES as u64).read_to_end(&mut head));
    if let Err(error) = read {
        return Err(unable(format!("the guest kernel {shown} cannot be read: {error}"), mend));
    }
    let elf = head.starts_with(b"\x7fELF");
    let image = head.get(0x38..0x3c) == Some(b"ARM\x64");
    let compressed = head.get(0x202..0x206) == Some(b"HdrS");
    if elf || image || compressed {
        return Ok(());
    }
    Err(unable(format!("{shown} is no kernel: it begins otherwise"), mend))
}

#[cfg(test)]
mod tests;
