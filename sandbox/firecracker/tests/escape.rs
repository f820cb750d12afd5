//! The escape and abuse suite over real machines, beside what it must not touch on this host.

use std::fs;
use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use headwater_sandbox::conformance::{Counts, Places, Witness, run};
use headwater_sandbox::{Engine, EngineError, Image};
use headwater_sandbox_firecracker::{FirecrackerEngine, Settings};

#[path = "support/image.rs"]
mod image;

const SECRET: &str = "nobody may read this";

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

/// Programs and kernel as the environment names them, or where releases put them.
fn settings(state: &Path) -> Settings {
    let mut settings = Settings { boot_ms: 60_000, ..Settings::new(state) };
    let rows = [
        ("HEADWATER_FIRECRACKER", &mut settings.firecracker),
        ("HEADWATER_JAILER", &mut settings.jailer),
        ("HEADWATER_GUEST_KERNEL", &mut settings.kernel),
    ];
    for (name, path) in rows {
        if let Some(value) = std::env::var_os(name) {
            *path = PathBuf::from(value);
        }
    }
    settings
}

async fn suite(engine: &FirecrackerEngine, image: &Image, host: &mut Host) {
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

/// All cases where a machine boots, with `HEADWATER_ESCAPE_ONLY=word` only those whose names hold the
/// word; where none does, the probe's reason.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_escapes() {
    let image = image::image(&Path::new(env!("CARGO_TARGET_TMPDIR")).join("firecracker-images"));
    let (folder, state) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let engine = FirecrackerEngine::new(settings(state.path())).unwrap();
    match engine.probe(&image).await {
        Ok(probe) => println!("firecracker {}, warnings {:?}", probe.version, probe.warnings),
        Err(error @ EngineError::Unable { .. }) => return println!("skipped: {error}"),
        Err(error) => panic!("{error}"),
    }
    let mut host = Host::new(folder.path(), state.path());
    suite(&engine, &image, &mut host).await;
}
