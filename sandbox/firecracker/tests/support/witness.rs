//! What lies on the host for attackers to reach for, what engines' machines hold, and the suite's run.

use std::fs;
use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use headwater_sandbox::Image;
use headwater_sandbox::conformance::{Counts, Places, Witness, run};
use headwater_sandbox_firecracker::FirecrackerEngine;

const SECRET: &str = "nobody may read this";

pub(crate) struct Host {
    canary: PathBuf,
    state: PathBuf,
    places: Places,
    tcp: TcpListener,
    hidden: UnixListener,
    file: UnixListener,
}

impl Host {
    pub(crate) fn new(folder: &Path, state: &Path) -> Self {
        let canary = folder.join("canary");
        fs::write(&canary, SECRET).unwrap();
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        tcp.set_nonblocking(true).unwrap();
        let name = format!("headwater-firecracker-canary-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let hidden = UnixListener::bind_addr(&address).unwrap();
        hidden.set_nonblocking(true).unwrap();
        let path = folder.join("canary.sock");
        let file = UnixListener::bind(&path).unwrap();
        file.set_nonblocking(true).unwrap();
        let places = Places {
            canary: canary.display().to_string(),
            port: tcp.local_addr().unwrap().port(),
            abstract_socket: name,
            socket: path.display().to_string(),
        };
        Self { canary, state: state.to_path_buf(), places, tcp, hidden, file }
    }
}

#[async_trait]
impl Witness for Host {
    fn places(&self) -> Places {
        self.places.clone()
    }

    async fn faults(&mut self) -> Vec<String> {
        let mut faults = Vec::new();
        if self.tcp.accept().is_ok() {
            faults.push("a TCP connection came".to_owned());
        }
        if self.hidden.accept().is_ok() || self.file.accept().is_ok() {
            faults.push("a connection to a Unix socket came".to_owned());
        }
        if fs::read_to_string(&self.canary).unwrap_or_default() != SECRET {
            faults.push("the canary was changed".to_owned());
        }
        faults
    }

    /// Processes that carry an id of this engine's machines, and the folders of machines, each of
    /// which stands for the machine's cgroups: they are taken away before it.
    async fn counts(&mut self) -> Counts {
        let inside = |folder: PathBuf| fs::read_dir(folder).into_iter().flatten().flatten();
        let hosts: Vec<fs::DirEntry> = inside(self.state.clone()).collect();
        let tags = hosts.iter().map(|host| host.file_name().to_string_lossy().into_owned());
        let tags: Vec<String> = tags.filter(|tag| tag.starts_with("headwater-fc-")).collect();
        let named = |entry: fs::DirEntry| {
            let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line).into_owned();
            tags.iter().any(|tag| line.contains(tag.as_str()))
        };
        let processes = inside(PathBuf::from("/proc")).map(named).filter(|seen| *seen).count();
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap().lines().count();
        let programs = hosts.iter().flat_map(|host| inside(host.path().join("machines")));
        let machines = programs.flat_map(|program| inside(program.path())).count();
        Counts { processes, mounts, cgroups: machines }
    }
}

/// Runs all cases, or with `HEADWATER_ESCAPE_ONLY=word` those whose names hold the word.
pub(crate) async fn suite(engine: &FirecrackerEngine, image: &Image, host: &mut Host) {
    let only = std::env::var("HEADWATER_ESCAPE_ONLY").unwrap_or_default();
    let reports = run(engine, image, host, &only).await;
    assert!(!reports.is_empty(), "no case ran");
    for report in &reports {
        let word = if report.passed { "ok" } else { "FAILED" };
        println!("{word:6} {}: {}", report.name, report.seen);
    }
    let failed = reports.iter().filter(|report| !report.passed);
    let failed: Vec<&str> = failed.map(|report| report.name.as_str()).collect();
    assert!(failed.is_empty(), "{} of {} failed: {failed:?}", failed.len(), reports.len());
}
