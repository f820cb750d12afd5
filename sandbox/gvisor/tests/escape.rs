//! The escape and abuse suite over gVisor, beside what it must not touch on this host.

use std::fs;
use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use headwater_sandbox::conformance::{Counts, Places, Report, Witness, run};
use headwater_sandbox::{Engine, Image};
use headwater_sandbox_gvisor::{GvisorEngine, Settings};
use patient::Patient;

#[path = "support/patient.rs"]
mod patient;
#[path = "support/root.rs"]
mod root;

/// Cases of many forks, page faults or files, which take a kernel in user space long.
const SLOW: &[&str] = &["deep_recursion", "many_small_files_are_held", "zombies_are_buried"];
/// Those that take it more than ten seconds.
const SLOWEST: &[&str] = &["many_small_files_are_held", "zombies_are_buried"];

const SECRET: &str = "nobody may read this";

/// Cases that end otherwise than the suite asks for, and how: no guest may make files without end,
/// but this kernel counts no files, so that it is the limit of memory that ends the call.
const OTHERWISE: &[(&str, &str)] = &[("many_small_files_are_held", "Memory, ")];

fn is_right(report: &Report) -> bool {
    let (name, seen) = (report.name.as_str(), report.seen.as_str());
    report.passed || OTHERWISE.iter().any(|(case, end)| *case == name && seen.starts_with(end))
}

struct Host {
    canary: PathBuf,
    state: PathBuf,
    places: Places,
    tcp: TcpListener,
    hidden: UnixListener,
    file: UnixListener,
}

impl Host {
    fn new(folder: &Path, state: &Path) -> Self {
        let canary = folder.join("canary");
        fs::write(&canary, SECRET).unwrap();
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        tcp.set_nonblocking(true).unwrap();
        let name = format!("headwater-gvisor-canary-{}", std::process::id());
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

    /// Processes whose command line names this engine's state, and the folders of its slots, each
    /// of which stands for the slot's cgroups: they are taken away before it.
    async fn counts(&mut self) -> Counts {
        let mark = self.state.display().to_string();
        let named = |entry: fs::DirEntry| {
            let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&line).contains(&mark)
        };
        let processes = fs::read_dir("/proc").unwrap().flatten();
        let processes = processes.map(named).filter(|seen| *seen).count();
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap().lines().count();
        let hosts = fs::read_dir(&self.state).unwrap().flatten();
        let slots = hosts.flat_map(|entry| fs::read_dir(entry.path().join("slots")).ok());
        Counts { processes, mounts, cgroups: slots.flatten().count() }
    }
}

async fn suite(engine: &GvisorEngine, image: &Image, host: &mut Host) {
    let probe = engine.probe(image).await.unwrap();
    println!("runsc {}, warnings {:?}", probe.version, probe.warnings);
    let only = std::env::var("HEADWATER_ESCAPE_ONLY").unwrap_or_default();
    let all = std::env::var_os("HEADWATER_ESCAPE_ALL").is_some();
    let left_out = if all { &[] } else { SLOWEST };
    let patient = Patient { engine, slow: SLOW, left_out };
    let mut reports = run(&patient, image, host, &only).await;
    reports.retain(|report| !left_out.contains(&report.name.as_str()));
    println!("left out without HEADWATER_ESCAPE_ALL: {left_out:?}");
    assert!(!reports.is_empty(), "no case ran");
    for report in &reports {
        let word = if is_right(report) { "ok" } else { "FAILED" };
        println!("{word:6} {}: {}", report.name, report.seen);
    }
    let failed: Vec<&str> = reports
        .iter()
        .filter(|report| !is_right(report))
        .map(|report| report.name.as_str())
        .collect();
    assert!(failed.is_empty(), "{} of {} failed: {failed:?}", failed.len(), reports.len());
}

/// All cases but the two of [`SLOWEST`]; those too with `HEADWATER_ESCAPE_ALL=1`, and with
/// `HEADWATER_ESCAPE_ONLY=word` only cases whose names hold the word.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_escapes() {
    if let Some(why) = root::missing() {
        println!("skipped: {why}");
        return;
    }
    let image =
        root::image(&Path::new(env!("CARGO_TARGET_TMPDIR")).join("gvisor-images"), &["json"]);
    let (folder, state) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let settings = Settings { start_ms: 60_000, ..Settings::new(state.path()) };
    let engine = GvisorEngine::new(settings).unwrap();
    let mut host = Host::new(folder.path(), state.path());
    suite(&engine, &image, &mut host).await;
}
