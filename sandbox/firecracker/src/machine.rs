//! One machine's process: the jailer starts it in a root of its own, and becomes it.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use async_trait::async_trait;
use headwater_sandbox::EngineError;
use headwater_sandbox_agent::{Complaints, Machine, lost};
use tokio::net::UnixStream;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::api::{Api, SOCKET, VSOCK};
use crate::cgroup::Share;
use crate::host::Host;
use crate::programs::Programs;
use crate::remains::Remains;
use crate::settings::Settings;
use crate::vsock::{comes_later, connect, dial};

const IDS: u64 = 1 << 16;
const OPEN_FILES_MAX: u32 = 1_024;
const LOOK_EVERY: Duration = Duration::from_millis(2);
const ENDED_WITHIN: Duration = Duration::from_millis(500);
const WORDS_WITHIN: Duration = Duration::from_millis(50);
const STILL_WITHIN: Duration = Duration::from_secs(5);

/// What a process may do beside its cgroup.
pub(crate) struct Bounds {
    pub(crate) share: Share,
    /// The largest file that it may write, in bytes.
    pub(crate) file_bytes: u64,
}

/// A machine's process. Dropping it kills the machine and takes away what it held.
pub(crate) struct Vm {
    child: Child,
    complaints: Complaints,
    remains: Remains,
}

/// Puts a file of the host into a machine's root, by a second name where that can be.
pub(crate) fn lend(file: &Path, root: &Path, name: &str) -> io::Result<()> {
    let target = root.join(name);
    match fs::hard_link(file, &target) {
        Err(error) if error.kind() == io::ErrorKind::CrossesDevices => copy(file, &target),
        linked => linked,
    }
}

/// A copy that every user may read and nobody writes.
pub(crate) fn copy(file: &Path, target: &Path) -> io::Result<()> {
    fs::copy(file, target)?;
    fs::set_permissions(target, fs::Permissions::from_mode(0o444))
}

/// The user and group of a machine: most likely those of no other one.
fn user_of(settings: &Settings, id: &str) -> u32 {
    let mut hasher = DefaultHasher::new();
    id.hash(&mut hasher);
    settings.first_id.saturating_add((hasher.finish() % IDS) as u32)
}

/// The jailer's command; its own words end at `--`.
fn command(
    host: &Host,
    settings: &Settings,
    programs: &Programs,
    id: &str,
    bounds: &Bounds,
) -> Command {
    let user = user_of(settings, id).to_string();
    let mut command = Command::new(&settings.jailer);
    command.args(["--id", id, "--uid", &user, "--gid", &user]);
    command.arg("--exec-file").arg(&programs.firecracker);
    command.arg("--chroot-base-dir").arg(host.machines());
    if let Some(netns) = &settings.netns {
        command.arg("--netns").arg(netns);
    }
    command.args(host.cgroups.arguments(&bounds.share));
    for limit in [format!("fsize={}", bounds.file_bytes), format!("no-file={OPEN_FILES_MAX}")] {
        command.args(["--resource-limit", &limit]);
    }
    command.args(["--", "--api-sock", SOCKET, "--level", "Error"]);
    command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.kill_on_drop(true);
    command
}

impl Vm {
    /// Starts the process over a root that holds what it needs, and waits for its interface.
    pub(crate) async fn start(
        host: &Host,
        settings: &Settings,
        programs: &Programs,
        remains: Remains,
        bounds: &Bounds,
        until: Instant,
    ) -> Result<(Self, Api), String> {
        let child = command(host, settings, programs, &remains.id, bounds).spawn();
        let child = child.map_err(|error| format!("the jailer: {error}"))?;
        let mut vm = Self { child, complaints: Complaints::default(), remains };
        if let Some(output) = vm.child.stdout.take() {
            vm.complaints.keep(output);
        }
        if let Some(errors) = vm.child.stderr.take() {
            vm.complaints.keep(errors);
        }
        let root = vm.remains.root();
        let stream = vm.unless_ended(first_stream(&root, until)).await?;
        let mut api = Api::new(stream, until).await?;
        // It answers, and is one that nobody has used.
        let state = vm.unless_ended(api.state()).await?;
        match state.as_str() {
            "Not started" => Ok((vm, api)),
            _ => Err(format!("the process is {state} before it is told anything")),
        }
    }

    /// A step of the machine, or why its process ended before that.
    pub(crate) async fn unless_ended<T>(
        &mut self,
        step: impl Future<Output = Result<T, String>>,
    ) -> Result<T, String> {
        let ended = tokio::select! {
            biased;
            done = step => return match done {
                Ok(done) => Ok(done),
                Err(why) => Err(self.with_words(why).await),
            },
            status = self.child.wait() => status,
        };
        let ended = ended.map_or_else(|error| error.to_string(), |status| status.to_string());
        Err(self.ended(&ended).await)
    }

    async fn ended(&self, status: &str) -> String {
        // What it said last may still be on its way.
        sleep(WORDS_WITHIN).await;
        format!("its process ended with {status}: {}", self.complaints.last_words())
    }

    /// What went wrong, and with it the end of the process where it has ended too.
    async fn with_words(&mut self, why: String) -> String {
        match timeout(ENDED_WITHIN, self.child.wait()).await {
            Ok(Ok(status)) => format!("{why}; {}", self.ended(&status.to_string()).await),
            _ => why,
        }
    }

    /// A stream to the agent, as soon as it listens.
    pub(crate) async fn agent(&mut self, until: Instant) -> Result<UnixStream, String> {
        let root = self.remains.root();
        self.unless_ended(connect(&root, VSOCK, until)).await
    }

    pub(crate) fn name(&self) -> &str {
        &self.remains.name
    }

    fn signal(&self, signal: i32) {
        if let Some(process) = self.child.id() {
            // SAFETY: a signal to a child that was not waited for; no memory is touched.
            unsafe { libc::kill(process.cast_signed(), signal) };
        }
    }

    /// Stops all threads of the process, or lets them run.
    pub(crate) async fn stand_still(&self, still: bool) -> Result<(), EngineError> {
        let Some(process) = self.child.id() else { return Err(lost("its process ended")) };
        self.signal(if still { libc::SIGSTOP } else { libc::SIGCONT });
        let until = Instant::now() + STILL_WITHIN;
        while is_stopped(process) != Some(still) {
            if Instant::now() > until {
                return Err(lost("its process neither stops nor runs"));
            }
            sleep(LOOK_EVERY).await;
        }
        Ok(())
    }

    /// Kills the process, waits for its end, and hands over what is left of it.
    pub(crate) async fn end(mut self) -> Remains {
        self.kill();
        drop(timeout(Duration::from_secs(2), self.child.wait()).await);
        self.remains
    }
}

async fn first_stream(root: &Path, until: Instant) -> Result<UnixStream, String> {
    loop {
        match dial(root, SOCKET).await {
            Ok(stream) => return Ok(stream),
            Err(error) if comes_later(&error) => {}
            Err(error) => return Err(format!("its interface: {error}")),
        }
        if timeout_at(until, sleep(LOOK_EVERY)).await.is_err() {
            return Err("its interface does not come".to_owned());
        }
    }
}

/// Whether a process is stopped; `None` when it is gone.
fn is_stopped(process: u32) -> Option<bool> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    let (_, rest) = stat.rsplit_once(") ")?;
    Some(rest.starts_with('T'))
}

#[async_trait]
impl Machine for Vm {
    /// Memory that a guest has used once stays with its machine: only the guest knows what is free.
    fn held_bytes(&self) -> Option<u64> {
        None
    }

    fn memory_kills(&self) -> u64 {
        self.remains.group.memory_kills()
    }

    fn kill(&self) {
        self.signal(libc::SIGKILL);
        self.remains.group.kill();
    }

    async fn lost(&mut self, error: &io::Error) -> EngineError {
        if error.kind() == io::ErrorKind::InvalidData {
            return lost(error.to_string());
        }
        lost(self.with_words(format!("the stream to the guest ended ({error})")).await)
    }
}

#[cfg(test)]
mod tests;
