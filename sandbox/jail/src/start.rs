//! Starts a slot, and takes away all of it whatever happens on the way.

use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use headwater_sandbox::{EngineError, SlotSpec, Way};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::NAME;
use crate::cgroup::Group;
use crate::control::{Control, READY, WAYS};
use crate::engine::Host;
use crate::relay::Relay;
use crate::wire::{Agent, Calls, Launch};

/// What a started slot is made of. Dropped, it kills and removes in a thread of its own.
pub(crate) struct Parts {
    pub(crate) name: String,
    pub(crate) host: Arc<Host>,
    pub(crate) group: Group,
    pub(crate) control: Option<Control>,
    pub(crate) zygote: Option<Pid>,
    pub(crate) launcher: Option<Child>,
    pub(crate) relay: Option<Relay>,
    is_removed: bool,
}

impl Parts {
    /// Kills all processes at once; nothing is waited for.
    fn kill(&mut self) {
        self.control = None;
        self.relay = None;
        let _ = self.group.ask_freeze(false);
        if let Some(zygote) = self.zygote.take() {
            let _ = kill(zygote, Signal::SIGKILL);
        }
        if let Some(launcher) = &mut self.launcher {
            let _ = launcher.start_kill();
        }
    }

    /// Kills, waits and removes; what stays is told.
    pub(crate) async fn remove(mut self) -> Result<(), EngineError> {
        self.kill();
        if let Some(mut launcher) = self.launcher.take() {
            let ended = tokio::time::timeout(Duration::from_secs(5), launcher.wait()).await;
            if ended.is_err() {
                return Err(EngineError::Dirty { what: "its launcher does not end".to_owned() });
            }
        }
        let group = self.group.clone();
        let removed = tokio::task::spawn_blocking(move || group.remove()).await;
        let removed = removed.unwrap_or_else(|error| Err(error.to_string()));
        self.is_removed = true;
        self.host.registry.release(&self.name, removed.is_ok());
        removed.map_err(|what| EngineError::Dirty { what })
    }
}

impl Drop for Parts {
    fn drop(&mut self) {
        if self.is_removed {
            return;
        }
        self.kill();
        let (host, name, group) =
            (Arc::clone(&self.host), std::mem::take(&mut self.name), self.group.clone());
        // Removing waits for the processes' ends, and nobody may wait in a drop.
        let remove = move || {
            let is_gone = group.remove().is_ok();
            host.registry.release(&name, is_gone);
        };
        let _ = std::thread::Builder::new().name("jail-remove".to_owned()).spawn(remove);
    }
}

/// Why a slot did not start, as the caller should take it.
fn unable(why: String) -> EngineError {
    let is_namespace = why.contains("namespaces") || why.contains("uid_map");
    let mend = if is_namespace {
        "let this user make user namespaces (sysctl user.max_user_namespaces above 0, \
         kernel.unprivileged_userns_clone=1, kernel.apparmor_restrict_unprivileged_userns=0), or \
         start the service as root"
    } else if why.contains("proc") {
        "give the service's container an unmasked /proc"
    } else {
        "look at the image and at the jail's settings, then probe again"
    };
    EngineError::Unable { engine: NAME, why, mend: mend.to_owned() }
}

fn short(error: &io::Error) -> EngineError {
    EngineError::Busy { why: error.to_string() }
}

pub(crate) fn agent(host: &Host, spec: &SlotSpec) -> Result<Agent, EngineError> {
    let filter =
        crate::filter::filter(spec.way_out.is_some()).map_err(|error| unable(error.to_string()))?;
    Ok(Agent {
        calls: Calls::here(),
        owner: host.is_root.then_some(crate::launcher::GUEST_ID),
        filter: filter.iter().map(|byte| format!("{byte:02x}")).collect(),
        session: spec.way == Way::Session,
        way_out: spec.way_out.is_some(),
        proc: true,
        landlock: host.landlock,
        disk_bytes: spec.limits.disk_bytes,
        inodes: (spec.limits.disk_bytes / 2_048).clamp(1_024, 1 << 16),
        preload: spec.image.preload.clone(),
    })
}

/// Starts a slot: its zygote has imported all modules and waits.
pub(crate) async fn start(host: &Arc<Host>, spec: &SlotSpec) -> Result<Parts, EngineError> {
    let launch = Launch {
        name: spec.name.clone(),
        root: spec.image.root.clone(),
        python: spec.image.python.clone(),
        first_id: host.is_root.then(|| host.first_id(&spec.name)),
        cgroups: Vec::new(),
        way_out: spec.way_out.is_some(),
        agent: agent(host, spec)?,
    };
    if !spec.image.root.join("work").is_dir() {
        let why = format!("image {} has no root at {:?}", spec.image.name, spec.image.root);
        return Err(unable(why));
    }
    match host.registry.take(&spec.name) {
        Ok(true) => {}
        Ok(false) => {
            let what = format!("make two slots named {}", spec.name);
            return Err(EngineError::Unsupported { engine: NAME, what });
        }
        Err(error) => return Err(short(&error)),
    }
    let group = Group::named(&host.parents, &host.registry.group_name(&spec.name));
    let mut parts = Parts {
        name: spec.name.clone(),
        host: Arc::clone(host),
        group,
        control: None,
        zygote: None,
        launcher: None,
        relay: None,
        is_removed: false,
    };
    let started = begin(&mut parts, spec, launch);
    let limit = Duration::from_millis(host.settings.start_ms);
    let result = match tokio::time::timeout(limit, started).await {
        Ok(result) => result,
        Err(_) => Err(EngineError::Busy {
            why: format!("the slot was not ready within {} ms", limit.as_millis()),
        }),
    };
    match result {
        Ok(()) => Ok(parts),
        Err(error) => {
            // The first error is the one to tell; a rest is found by the next sweep.
            let _ = parts.remove().await;
            Err(error)
        }
    }
}

async fn begin(parts: &mut Parts, spec: &SlotSpec, mut launch: Launch) -> Result<(), EngineError> {
    let (group, limits) = (parts.group.clone(), spec.limits);
    launch.cgroups.clone_from(&group.folders);
    let made = tokio::task::spawn_blocking(move || group.make(&limits)).await;
    made.map_err(io::Error::other).and_then(|made| made).map_err(|error| short(&error))?;
    let (ours, theirs) = UnixStream::pair().map_err(|error| short(&error))?;
    let told = serde_json::to_string(&launch).map_err(|error| unable(error.to_string()))?;
    let mut words = parts.host.settings.launcher.iter();
    let Some(program) = words.next() else {
        return Err(unable("the setting `launcher` is empty".to_owned()));
    };
    let mut command = Command::new(program);
    command.args(words).arg(told).env_clear().current_dir("/");
    command.stdin(Stdio::from(OwnedFd::from(theirs)));
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut launcher = command.spawn().map_err(|error| {
        unable(format!("the launcher {} does not start ({error})", program.display()))
    })?;
    // The command holds the other side; with it open the end of the slot would not be seen.
    drop(command);
    let process = launcher.id().unwrap_or_default();
    let (output, errors) = (launcher.stdout.take(), launcher.stderr.take());
    parts.launcher = Some(launcher);
    parts.host.registry.note(&parts.name, process).map_err(|error| short(&error))?;
    let control = Control::new(ours).map_err(|error| short(&error))?;
    let waited = match output {
        Some(output) => wait_ready(parts, spec, &control, output).await,
        None => Err(io::ErrorKind::BrokenPipe.into()),
    };
    parts.control = Some(control);
    match waited {
        Ok(()) => Ok(()),
        Err(error) => {
            parts.kill();
            Err(unable(why_of(errors, &error).await))
        }
    }
}

async fn wait_ready(
    parts: &mut Parts,
    spec: &SlotSpec,
    control: &Control,
    output: tokio::process::ChildStdout,
) -> io::Result<()> {
    let mut line = String::new();
    BufReader::new(output.take(32)).read_line(&mut line).await?;
    let zygote: i32 = line.trim().parse().map_err(io::Error::other)?;
    parts.zygote = Some(Pid::from_raw(zygote));
    loop {
        let (message, handles) = control.receive().await?;
        match (message.kind, &spec.way_out) {
            (READY, _) => return Ok(()),
            (WAYS, Some(way_out)) => parts.relay = Some(Relay::start(handles, way_out)?),
            _ => return Err(io::Error::other("the slot told what was not asked")),
        }
    }
}

/// What launcher and interpreter had to say, the last lines of it.
async fn why_of(errors: Option<tokio::process::ChildStderr>, error: &io::Error) -> String {
    let mut text = Vec::new();
    if let Some(errors) = errors {
        let read = errors.take(1 << 16);
        tokio::pin!(read);
        let _ = tokio::time::timeout(Duration::from_secs(1), read.read_to_end(&mut text)).await;
    }
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let last = lines[lines.len().saturating_sub(3)..].join(" | ");
    if last.is_empty() { format!("the slot ended while it started ({error})") } else { last }
}

/// The version of landlock's interface that this kernel has; 0 where it has none.
pub(crate) fn landlock_version() -> i64 {
    use nix::libc;
    // SAFETY: with this flag the call takes no data and only tells a number.
    let version = unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, 0, 0_usize, 1_u32) };
    version.max(0)
}

/// Whether a slot's launcher still runs under that id.
pub(crate) fn is_launcher_of(process: i32, slot: &str) -> bool {
    let mut text = Vec::new();
    let opened = std::fs::File::open(format!("/proc/{process}/cmdline"));
    let read = opened.and_then(|file| file.take(1 << 17).read_to_end(&mut text));
    let wanted = format!("\"name\":\"{slot}\"");
    read.is_ok() && String::from_utf8_lossy(&text).contains(&wanted)
}
