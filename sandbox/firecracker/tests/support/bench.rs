//! An engine over doubles of `firecracker` and `jailer`, which run the real agent.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use headwater_sandbox::{Channel, Execution, Image, Limits, Outcome, Slot, SlotSpec, Way};
use headwater_sandbox_firecracker::{FirecrackerEngine, Settings};
use headwater_sandbox_images::Recipe;
use tempfile::TempDir;

pub(crate) struct Bench {
    pub(crate) engine: FirecrackerEngine,
    pub(crate) settings: Settings,
    pub(crate) folder: TempDir,
}

/// Why nothing can be tested here; `None` where it can.
fn missing() -> Option<String> {
    // SAFETY: the call asks for a number and touches no memory.
    if unsafe { libc::geteuid() } != 0 {
        return Some("the agent's namespaces need root".to_owned());
    }
    let python = Recipe::new(headwater_sandbox::ImageName::new("guest").unwrap()).python;
    if !python.exists() {
        return Some(format!("{} is not installed", python.display()));
    }
    let spaces = ["--pid", "--mount", "--net", "--ipc", "--uts", "--fork", "true"];
    let runs = |program: &str, words: &[&str]| {
        let mut command = Command::new(program);
        command.args(words).env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        let told = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
        told.is_ok_and(|status| status.success())
    };
    let rows: [(&str, &[&str]); 4] = [
        ("unshare", &spaces),
        ("setpriv", &["--version"]),
        ("mkfs.ext4", &["-V"]),
        ("debugfs", &["-V"]),
    ];
    let lacking = rows.into_iter().find(|(program, words)| !runs(program, words));
    lacking.map(|(program, _)| format!("{program} does not work here"))
}

/// Puts a program into a folder by another process: one that this process has open for writing while
/// another test starts a child could not be started.
fn install(folder: &Path, from: &str, name: &str) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support").join(from);
    let path = folder.join(name);
    let made = Command::new("install").args(["-m", "755"]).args([&source, &path]).status().unwrap();
    assert!(made.success());
    path
}

fn kept(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::create_dir_all(&folder).unwrap();
    folder
}

/// An engine whose machines do wrong in these ways, which the double of `firecracker` explains; as
/// JSON without its braces.
pub(crate) fn bench(ways: &str) -> Option<Bench> {
    if let Some(why) = missing() {
        println!("skipped: {why}");
        return None;
    }
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let trees = kept("firecracker-trees");
    let more = if ways.is_empty() { "" } else { ", " };
    let kernel = format!("\x7fELF{{\"trees\": \"{}\"{more}{ways}}}", trees.display());
    fs::write(at("vmlinux"), kernel).unwrap();
    fs::write(at("kvm"), "").unwrap();
    let settings = Settings {
        firecracker: install(folder.path(), "firecracker.py", "firecracker"),
        jailer: install(folder.path(), "jailer.py", "jailer"),
        kernel: at("vmlinux"),
        kvm: at("kvm"),
        drives_folder: kept("firecracker-drives"),
        boot_ms: 120_000,
        start_ms: 60_000,
        ..Settings::new(at("state"))
    };
    let engine = FirecrackerEngine::new(settings.clone()).unwrap();
    Some(Bench { engine, settings, folder })
}

impl Bench {
    /// Another engine of the same host, with other settings.
    pub(crate) fn with(&self, change: impl FnOnce(&mut Settings)) -> FirecrackerEngine {
        let mut settings = self.settings.clone();
        change(&mut settings);
        FirecrackerEngine::new(settings).unwrap()
    }

    /// Roots of machines that are there.
    pub(crate) fn roots(&self) -> Vec<PathBuf> {
        let inside = |folder: PathBuf| fs::read_dir(folder).into_iter().flatten().flatten();
        let owns = inside(self.folder.path().join("state"));
        let programs = owns.flat_map(|own| inside(own.path().join("machines")));
        let machines = programs.flat_map(|program| inside(program.path()));
        machines.map(|machine| machine.path().join("root")).collect()
    }

    /// Processes that stand in a machine's root or were started for one.
    pub(crate) fn processes(&self) -> Vec<i32> {
        let state = self.folder.path().join("state");
        let tag = |entry: &fs::DirEntry| {
            let cwd = fs::read_link(entry.path().join("cwd")).unwrap_or_default();
            cwd.starts_with(&state)
        };
        let entries = fs::read_dir("/proc").unwrap().flatten().filter(tag);
        entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
    }

    /// Waits until nothing of any machine is there.
    pub(crate) async fn is_empty(&self) {
        for _ in 0..1_200 {
            if self.roots().is_empty() && self.processes().is_empty() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        panic!("still there: {:?}, {:?}", self.roots(), self.processes());
    }
}

/// The first process of the guest in a machine's root: the agent.
pub(crate) fn agent_of(root: &Path) -> i32 {
    let machine: i32 = fs::read_to_string(root.join("firecracker.pid")).unwrap().parse().unwrap();
    let child = |process: i32| {
        let tasks = fs::read_dir(format!("/proc/{process}/task")).unwrap().flatten();
        let lists = tasks.map(|task| fs::read_to_string(task.path().join("children")).unwrap());
        let first = |list: String| list.split_whitespace().next()?.parse().ok();
        lists.filter_map(first).next().unwrap()
    };
    // The machine's child is `unshare`, and the agent is the child of that.
    child(child(machine))
}

pub(crate) fn signal(process: i32, signal: i32) {
    // SAFETY: a signal to a process that this test has started; no memory is touched.
    assert_eq!(unsafe { libc::kill(process, signal) }, 0);
}

pub(crate) fn guest_image() -> Image {
    crate::image::image(&kept("firecracker-images"))
}

pub(crate) fn spec(name: &str, way: Way) -> SlotSpec {
    // The machine of a test may be busy: limits of time are set by the tests that are about them.
    let limits = Limits { wall_ms: 120_000, cpu_ms: 60_000, ..Limits::SMALL };
    SlotSpec { name: name.to_owned(), image: guest_image(), limits, way, way_out: None }
}

pub(crate) fn execution(source: &str) -> Execution {
    Execution::new(source, Limits { wall_ms: 60_000, cpu_ms: 30_000, ..Limits::SMALL })
}

pub(crate) async fn run(
    slot: &mut Box<dyn Slot>,
    execution: &Execution,
) -> (Outcome, String, String) {
    let (mut output, mut errors) = (Vec::new(), Vec::new());
    let mut listen = |channel: Channel, bytes: &[u8]| match channel {
        Channel::Output => output.extend_from_slice(bytes),
        Channel::Error => errors.extend_from_slice(bytes),
    };
    let outcome = slot.run(execution, &mut listen).await.unwrap();
    (outcome, String::from_utf8(output).unwrap(), String::from_utf8(errors).unwrap())
}
