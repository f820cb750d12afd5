//! The escape and abuse suite over the WebAssembly engine, beside what it must not touch on this host.

use std::fs;
use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use headwater_sandbox::conformance::{Counts, Places, Report, Witness, run};
use headwater_sandbox::{Engine, Image, Limits, SlotSpec, Way};
use headwater_sandbox_wasm::{Settings, WasmEngine};

#[path = "support/module.rs"]
mod module;

const SECRET: &str = "nobody may read this";

/// What stands in the way of a case, as its report tells it, and why it is no hole.
struct Exception {
    case: &'static str,
    words: &'static str,
    why: &'static str,
}

/// Cases whose programs ask for what this guest does not have. Each must still be needed: one whose
/// case passes, or ends in other words, fails the suite.
const EXCEPTIONS: &[Exception] = &[
    Exception {
        case: "limits_cannot_rise",
        words: "Unsupported platform for standard library module 'resource'",
        why: "the interpreter is built without the module: it has no kernel whose limits to raise",
    },
    Exception {
        case: "plain_programs",
        words: "the output of threads",
        why: "preview 1 has no threads, and Python says so",
    },
];

/// What the suite says of a case: the word, and whether it is as it must be.
fn judge(report: &Report) -> (&'static str, bool) {
    let exception = EXCEPTIONS.iter().find(|exception| exception.case == report.name);
    match exception {
        None if report.passed => ("ok", true),
        None => ("FAILED", false),
        Some(_) if report.passed => ("NEEDLESS", false),
        Some(exception) if report.seen.contains(exception.words) => {
            println!("an exception, since {}:", exception.why);
            ("excepted", true)
        }
        Some(_) => ("FAILED", false),
    }
}

struct Host {
    canary: PathBuf,
    places: Places,
    tcp: TcpListener,
    hidden: UnixListener,
    file: UnixListener,
}

impl Host {
    fn new(folder: &Path) -> Self {
        let canary = folder.join("canary");
        fs::write(&canary, SECRET).unwrap();
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        tcp.set_nonblocking(true).unwrap();
        let name = format!("headwater-wasm-canary-{}", std::process::id());
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
        Self { canary, places, tcp, hidden, file }
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

    /// Guests are threads, so what a slot takes of the host is told by their number; there is
    /// neither a cgroup nor a mount of any.
    async fn counts(&mut self) -> Counts {
        // A thread is seen for a moment after its guest's end; the next one is there before it.
        let mut processes = guests();
        for _ in 0..10 {
            tokio::time::sleep(Duration::from_millis(5)).await;
            processes = processes.min(guests());
        }
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap().lines().count();
        Counts { processes, mounts, cgroups: 0 }
    }
}

/// How many threads of guests this process has.
fn guests() -> usize {
    let tasks = fs::read_dir("/proc/self/task").unwrap().flatten();
    let names = tasks.filter_map(|task| fs::read_to_string(task.path().join("comm")).ok());
    names.filter(|name| name.trim() == "wasm-guest").count()
}

/// The witness is no witness if it does not see a slot that is there.
async fn sees_a_slot(engine: &WasmEngine, image: &Image, host: &mut Host) {
    let before = host.counts().await;
    let (name, image) = ("seen".to_owned(), image.clone());
    let (limits, way) = (Limits::SMALL, Way::Single);
    let spec = SlotSpec { name, image, limits, way, way_out: None };
    let slot = engine.start(spec).await.unwrap();
    assert_eq!(host.counts().await.processes, before.processes + 1);
    slot.close().await.unwrap();
    assert_eq!(host.counts().await, before);
}

async fn suite(engine: &WasmEngine, image: &Image, host: &mut Host) {
    let probe = engine.probe(image).await.unwrap();
    println!("{}, warnings {:?}", probe.version, probe.warnings);
    let only = std::env::var("HEADWATER_ESCAPE_ONLY").unwrap_or_default();
    let reports = run(engine, image, host, &only).await;
    assert!(!reports.is_empty(), "no case ran");
    let mut failed = Vec::new();
    for report in &reports {
        let (word, is_right) = judge(report);
        println!("{word:8} {}: {}", report.name, report.seen);
        if !is_right {
            failed.push(report.name.as_str());
        }
    }
    assert!(failed.is_empty(), "{} of {} failed: {failed:?}", failed.len(), reports.len());
    let ran = |name: &str| reports.iter().any(|report| report.name == name);
    let gone: Vec<&str> = EXCEPTIONS.iter().map(|one| one.case).filter(|case| !ran(case)).collect();
    assert!(!only.is_empty() || gone.is_empty(), "the suite has no such cases: {gone:?}");
}

/// All cases; with `HEADWATER_ESCAPE_ONLY=word` only those whose names hold the word.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_escapes() {
    let source = match module::source() {
        Ok(source) => source,
        Err(why) => return println!("skipped: {why}"),
    };
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("wasm-images");
    let image = module::image(&folder, &source);
    let own = tempfile::tempdir().unwrap();
    let engine = WasmEngine::new(Settings::default()).unwrap();
    engine.prepare(&image).await.unwrap();
    let mut host = Host::new(own.path());
    sees_a_slot(&engine, &image, &mut host).await;
    suite(&engine, &image, &mut host).await;
}
