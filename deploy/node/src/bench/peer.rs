//! The servers under test, each a process of its own.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::Stdio;
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
    pub(super) name: &'static str,
    pub(super) address: SocketAddr,
    pub(super) pid: u32,
    _process: Child,
}

impl Peer {
    /// This program as a server of its own, with the same settings but for the address, the
    /// store, which starts empty, and the log.
    pub(super) async fn headwater(
        settings: &Settings,
        source: &ConfigSource,
        model: &str,
    ) -> Result<Peer, Failure> {
        let program = std::env::current_exe().map_err(Failure::broken)?;
        let address = free_address()?;
        let mut command = Command::new(program);
        // The environment's settings are inherited.
        if let Some(file) = &source.file {
            command.arg("--config").arg(file);
        }
        for flag in &source.flags {
            command.arg("--set").arg(flag);
        }
        // All ahead of the subcommand: behind it, --set replaces what stands before.
        command.args(["--set", "storage.engine=memory", "--set", "log.level=error"]);
        // The baseline computes every text, and so does this one.
        command.args(["--set", "embedding.cache_bytes=0"]);
        command.arg("serve").arg("--listen").arg(address.to_string());
        let data_dir = crate::config::data_dir(settings)?;
        command.arg("--data-dir").arg(data_dir);
        Peer::spawn("headwater", command, address, model).await
    }

    /// The same weights on onnxruntime, served by Python.
    pub(super) async fn baseline(
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
        Peer::spawn("onnxruntime", command, address, model).await
    }

    async fn spawn(
        name: &'static str,
        mut command: Command,
        address: SocketAddr,
        model: &str,
    ) -> Result<Peer, Failure> {
        command.stdin(Stdio::null()).stdout(Stdio::null()).kill_on_drop(true);
        let mut process = command
            .spawn()
            .map_err(|error| Failure::broken(format!("cannot start {name}: {error}")))?;
        let pid = process.id().unwrap_or(0);
        let end = Instant::now() + Duration::from_secs(START_TIMEOUT_S);
        loop {
            if let Ok(Some(status)) = process.try_wait() {
                return Err(Failure::broken(format!("{name} ended at its start: {status}")));
            }
            if Instant::now() > end {
                return Err(Failure::broken(format!("{name} did not start in time")));
            }
            if TcpStream::connect(address).await.is_ok() && answers(address, model).await {
                return Ok(Peer { name, address, pid, _process: process });
            }
            sleep(Duration::from_millis(200)).await;
        }
    }
}

/// Whether the server embeds; also its warm-up.
async fn answers(address: SocketAddr, model: &str) -> bool {
    let workloads = Workload::all();
    let Some(workload) = workloads.first() else { return false };
    let duration = Duration::from_secs(1);
    Load { address, model, workload, duration }.run(std::process::id()).await.is_ok()
}

fn free_address() -> Result<SocketAddr, Failure> {
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
