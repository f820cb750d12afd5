//! The servers under test, each a process of its own.

use std::cell::Cell;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::Stdio;
use std::rc::Rc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};

use super::load::Load;
use super::texts::Workload;
use crate::config::{ConfigSource, Settings};
use crate::failure::Failure;

/// How long a server may take to load, in s.
const START_TIMEOUT_S: u64 = 300;

/// One running server; ended when dropped.
pub(super) struct Peer {
    pub(super) name: String,
    /// Whether it is this program.
    pub(super) ours: bool,
    pub(super) address: SocketAddr,
    pub(super) pid: u32,
    /// The number of the next request, so that no text is sent twice.
    pub(super) next: Rc<Cell<u64>>,
    _process: Child,
}

/// How to start a server.
struct Start {
    name: String,
    ours: bool,
    command: Command,
    address: SocketAddr,
}

impl Peer {
    /// This program as a server of its own, with the same settings but for the address, the
    /// store, which starts empty, the log, and `flags` on top.
    pub(crate) async fn headwater(
        settings: &Settings,
        source: &ConfigSource,
        name: &str,
        flags: &[String],
    ) -> Result<Peer, Failure> {
        let program = std::env::current_exe().map_err(Failure::broken)?;
        let address = free_address()?;
        let mut command = Command::new(program);
        // The environment's settings are inherited.
        if let Some(file) = &source.file {
            command.arg("--config").arg(file);
        }
        for flag in source.flags.iter().chain(flags) {
            command.arg("--set").arg(flag);
        }
        // All ahead of the subcommand: behind it, --set replaces what stands before.
        command.args(["--set", "storage.engine=memory", "--set", "log.level=error"]);
        // The baseline computes every text, and so does this one.
        command.args(["--set", "embedding.cache_bytes=0"]);
        command.arg("serve").arg("--listen").arg(address.to_string());
        let data_dir = crate::config::data_dir(settings)?;
        command.arg("--data-dir").arg(data_dir);
        let start = Start { name: name.to_owned(), ours: true, command, address };
        Peer::spawn(start, &settings.embedding.models[0].name).await
    }

    /// The same weights on onnxruntime, served by Python.
    pub(super) async fn onnxruntime(
        python: &Path,
        script: &Path,
        folder: &Path,
        threads: usize,
        model: &str,
    ) -> Result<Peer, Failure> {
        let address = free_address()?;
        let mut command = Command::new(python);
        command.arg(script).arg("--model").arg(folder);
        command.arg("--threads").arg(threads.to_string());
        command.arg("--serve").arg(address.port().to_string());
        let start = Start { name: "onnxruntime".to_owned(), ours: false, command, address };
        Peer::spawn(start, model).await
    }

    /// The same weights on Text Embeddings Inference with its onnxruntime backend. `script`
    /// writes the graph that it reads into `scratch` and tells where onnxruntime's library is,
    /// for a build that loads it when it runs.
    pub(super) async fn tei(
        program: &Path,
        python: &Path,
        script: &Path,
        folder: &Path,
        scratch: &Path,
        model: &str,
    ) -> Result<Peer, Failure> {
        let mut export = Command::new(python);
        export.arg(script).arg("--model").arg(folder).arg("--export").arg(scratch);
        let output = export.stdin(Stdio::null()).stderr(Stdio::inherit()).output().await;
        let output = output.map_err(|error| {
            Failure::broken(format!("cannot start {}: {error}", python.display()))
        })?;
        if !output.status.success() {
            return Err(Failure::broken(format!("the export for TEI ended: {}", output.status)));
        }
        let library = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        let address = free_address()?;
        let mut command = Command::new(program);
        if std::env::var_os("ORT_DYLIB_PATH").is_none() {
            command.env("ORT_DYLIB_PATH", library);
        }
        command.arg("--model-id").arg(scratch).args(["--pooling", "mean", "--dtype", "float32"]);
        command.args(["--hostname", "127.0.0.1", "--port"]).arg(address.port().to_string());
        command.args(["--prometheus-port", &free_address()?.port().to_string()]);
        command.args(["--max-client-batch-size", "64", "--max-concurrent-requests", "1024"]);
        command.args(["--auto-truncate", "true"]).env("RUST_LOG", "error");
        let start = Start { name: "TEI".to_owned(), ours: false, command, address };
        Peer::spawn(start, model).await
    }

    async fn spawn(start: Start, model: &str) -> Result<Peer, Failure> {
        let Start { name, ours, mut command, address } = start;
        command.stdin(Stdio::null()).stdout(Stdio::null()).kill_on_drop(true);
        let mut process = command
            .spawn()
            .map_err(|error| Failure::broken(format!("cannot start {name}: {error}")))?;
        let pid = process.id().unwrap_or(0);
        let next = Rc::new(Cell::new(0));
        let end = Instant::now() + Duration::from_secs(START_TIMEOUT_S);
        loop {
            if let Ok(Some(status)) = process.try_wait() {
                return Err(Failure::broken(format!("{name} ended at its start: {status}")));
            }
            if Instant::now() > end {
                return Err(Failure::broken(format!("{name} did not start in time")));
            }
            if TcpStream::connect(address).await.is_ok() && answers(address, model, &next).await {
                return Ok(Peer { name, ours, address, pid, next, _process: process });
            }
            sleep(Duration::from_millis(200)).await;
        }
    }
}

/// Whether the server embeds; also its warm-up.
async fn answers(address: SocketAddr, model: &str, next: &Rc<Cell<u64>>) -> bool {
    let workload = Workload::queries("warm-up", 1);
    let duration = Duration::from_secs(1);
    let load = Load { address, model, workload: &workload, duration, next };
    load.run(std::process::id()).await.is_ok()
}

pub(super) fn free_address() -> Result<SocketAddr, Failure> {
    let probe = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(Failure::broken)?;
    probe.local_addr().map_err(Failure::broken)
}

/// Processor time that a process and all its threads have used, in s; 0 when it is gone.
pub(super) fn cpu_seconds(pid: u32) -> f64 {
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else { return 0.0 };
    // Fields 14 and 15 of proc(5), counted after the command's closing bracket.
    let Some((_, rest)) = stat.rsplit_once(')') else { return 0.0 };
    let ticks =
        rest.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<f64>().ok());
    // SAFETY: sysconf reads a constant of the system and touches no memory of ours.
    let ticks_per_s = unsafe { libc::sysconf(libc::_SC_CLK_TCK) } as f64;
    ticks.sum::<f64>() / ticks_per_s
}
