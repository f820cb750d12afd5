//! The guests' drive: an ext4 file system made of an image and the agent, without mounting anything.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};

use headwater_sandbox::{EngineError, Image};
use headwater_sandbox_agent::{PROGRAM, last_words};

use crate::api::INIT;
use crate::unable;

/// How the agent begins in a machine.
const BEGIN: &str = include_str!("guest/begin.py");
const MAKE: &str = "mkfs.ext4";
const CHANGE: &str = "debugfs";
const BLOCK_BYTES: u64 = 4_096;
/// Beside the image's files: the agent, folders, the file system's own blocks.
const SPARE_BYTES: u64 = 16 << 20;
const INODE_BYTES: u64 = 256;

static MAKINGS: AtomicU64 = AtomicU64::new(0);

/// Whether the programs that make a drive are there.
pub(crate) fn check() -> Result<(), EngineError> {
    for program in [MAKE, CHANGE] {
        let told = command(program).arg("-V").output();
        if !told.is_ok_and(|told| told.status.success()) {
            let why = format!("{program}, which makes the guests' drive, does not start");
            return Err(unable(why, "install e2fsprogs"));
        }
    }
    Ok(())
}

/// The agent as the guest's kernel starts it: a script of the image's own interpreter.
pub(crate) fn agent(image: &Image) -> String {
    // A list of modules' names is written in Python as in JSON.
    let preload = serde_json::json!(image.preload);
    format!("#!{} -IBXutf8\n{PROGRAM}{BEGIN}serve({preload})\n", image.python)
}

/// The drive of an image in `folder`, made there where it is missing; blocks for seconds then. Two
/// processes may make one at a time: each puts the same there.
///
/// # Errors
/// [`EngineError::Unable`] tells which program failed, and how.
pub(crate) fn make(image: &Image, folder: &Path) -> Result<PathBuf, EngineError> {
    let agent = agent(image);
    let mut hasher = DefaultHasher::new();
    (&image.digest, &image.root, &agent).hash(&mut hasher);
    let drive = folder.join(format!("{}-{:016x}.ext4", image.name, hasher.finish()));
    if drive.exists() {
        return Ok(drive);
    }
    check()?;
    let number = MAKINGS.fetch_add(1, Ordering::Relaxed);
    let making = folder.join(format!("making-{}-{number}", std::process::id()));
    let script = making.with_extension("agent");
    let made = fs::create_dir_all(folder)
        .and_then(|()| fs::write(&script, &agent))
        .map_err(|error| format!("{}: {error}", folder.display()))
        .and_then(|()| fill(image, &making, &script, &agent))
        .and_then(|()| fs::rename(&making, &drive).map_err(|error| error.to_string()));
    for rest in [&making, &script] {
        drop(fs::remove_file(rest));
    }
    made.map(|()| drive).map_err(|why| {
        let why = format!("the drive of image {}: {why}", image.name);
        unable(why, "see that the drives' folder has room, and that the image is whole")
    })
}

fn fill(image: &Image, drive: &Path, script: &Path, agent: &str) -> Result<(), String> {
    let told = |error: io::Error| format!("the image's files: {error}");
    let (bytes, files) = weigh(&image.root).map_err(told)?;
    let inodes = files + files / 8 + 256;
    let kib = (bytes + bytes / 16 + inodes * INODE_BYTES + SPARE_BYTES) / 1_024;
    let mut make = command(MAKE);
    make.args(["-q", "-F", "-m", "0", "-b", "4096", "-I", "256", "-L", "guest"]);
    make.args(["-O", "^has_journal", "-E", "root_owner=0:0,lazy_itable_init=0"]);
    make.args(["-N", &inodes.to_string(), "-d"]).arg(&image.root);
    run(make.arg(drive).arg(format!("{kib}k")))?;
    let (folder, name) = INIT.rsplit_once('/').unwrap_or_default();
    // A path with a quotation mark would end the word: it is refused below, where the agent lacks.
    let orders = [
        format!("mkdir {folder}"),
        format!("cd {folder}"),
        format!("write \"{}\" {name}", script.display()),
        format!("set_inode_field {name} mode 0100755"),
        format!("set_inode_field {name} uid 0"),
        format!("set_inode_field {name} gid 0"),
    ];
    let list = script.with_extension("orders");
    fs::write(&list, orders.join("\n")).map_err(|error| error.to_string())?;
    let changed = run(command(CHANGE).args(["-w", "-f"]).arg(&list).arg(drive));
    drop(fs::remove_file(&list));
    changed?;
    // It tells success whatever happened.
    if read(drive, INIT)? != agent.as_bytes() {
        return Err(format!("it does not hold {INIT} as it was written"));
    }
    fs::set_permissions(drive, fs::Permissions::from_mode(0o444)).map_err(|e| e.to_string())
}

/// A file of a drive.
pub(crate) fn read(drive: &Path, path: &str) -> Result<Vec<u8>, String> {
    run(command(CHANGE).arg("-R").arg(format!("cat {path}")).arg(drive))
}

/// How many bytes of blocks the files below a folder take, and how many files there are.
fn weigh(folder: &Path) -> io::Result<(u64, u64)> {
    let (mut bytes, mut files) = (BLOCK_BYTES, 1);
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        let (more_bytes, more_files) = if kind.is_dir() {
            weigh(&entry.path())?
        } else {
            (entry.metadata()?.len().next_multiple_of(BLOCK_BYTES) + BLOCK_BYTES, 1)
        };
        (bytes, files) = (bytes + more_bytes, files + more_files);
    }
    Ok((bytes, files))
}

/// Debian keeps these programs where not every user looks.
fn command(program: &str) -> Command {
    let mut command = Command::new(program);
    command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").stdin(Stdio::null());
    command
}

fn run(command: &mut Command) -> Result<Vec<u8>, String> {
    let name = command.get_program().to_string_lossy().into_owned();
    match command.output() {
        Ok(told) if told.status.success() => Ok(told.stdout),
        Ok(told) => Err(format!("{name}: {}", last_words(&told.stderr))),
        Err(error) => Err(format!("{name}: {error}")),
    }
}

#[cfg(test)]
mod tests;
