//! Figures of the engine beside plain runsc in the same run: cold, warm, memory.

use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use headwater_sandbox::{Channel, Engine, Execution, Limits, Slot, SlotSpec, Way};
use headwater_sandbox_gvisor::{GvisorEngine, Settings};

#[path = "../tests/support/root.rs"]
mod root;

const COLD_ROUNDS: usize = 9;
const WARM_ROUNDS: usize = 100;
const FLAGS: [&str; 4] =
    ["--platform=ptrace", "--network=none", "--ignore-cgroups", "--overlay2=none"];

#[tokio::main]
async fn main() {
    if let Some(why) = root::missing() {
        println!("skipped: {why}");
        return;
    }
    let folder = std::env::temp_dir().join("headwater-gvisor-figures");
    std::fs::create_dir_all(&folder).unwrap();
    let image = root::image(&folder, &[]);
    let state = tempfile::tempdir_in(&folder).unwrap();
    let engine = GvisorEngine::new(Settings::new(state.path())).unwrap();
    println!("runsc {:?}", engine.probe(&image).await.unwrap());
    let plain = Plain::new(&image.root);
    let (mut cold, mut cold_plain, mut cold_closed) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..COLD_ROUNDS {
        cold_plain.push(plain.run(&format!("cold-{round}")));
        let began = Instant::now();
        let mut slot = engine.start(spec(&format!("cold-{round}"), &image)).await.unwrap();
        call(&mut slot).await;
        cold.push(began.elapsed());
        let began = Instant::now();
        slot.close().await.unwrap();
        cold_closed.push(began.elapsed());
    }
    show("cold, start and first call", &mut cold);
    show("cold, plain `runsc run` of python3 -I", &mut cold_plain);
    show("close", &mut cold_closed);
    let mut slot = engine.start(spec("warm", &image)).await.unwrap();
    let idle = slot.usage().await.unwrap().memory_bytes;
    let running = plain.begin("warm");
    let (mut warm, mut rested, mut exec) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..WARM_ROUNDS {
        warm.push(call(&mut slot).await);
        tokio::time::sleep(Duration::from_millis(60)).await;
        rested.push(call(&mut slot).await);
        if round % 5 == 0 {
            exec.push(plain.exec("warm"));
        }
    }
    plain.end("warm", running);
    slot.close().await.unwrap();
    show("warm, straight after another", &mut warm);
    show("warm, 60 ms after another", &mut rested);
    show("warm, plain `runsc exec` of python3 -I", &mut exec);
    println!("memory of an idle slot: {:.1} MiB", idle as f64 / f64::from(1 << 20));
    println!("cold against plain: {:.2} x", ratio(&cold, &cold_plain));
    println!("warm against plain exec: {:.2} x", ratio(&rested, &exec));
}

fn spec(name: &str, image: &headwater_sandbox::Image) -> SlotSpec {
    let (name, image) = (name.to_owned(), image.clone());
    SlotSpec { name, image, limits: Limits::SMALL, way: Way::Single, way_out: None }
}

async fn call(slot: &mut Box<dyn Slot>) -> Duration {
    let execution = Execution::new("print(1)", Limits::SMALL);
    let began = Instant::now();
    let mut heard = Vec::new();
    let mut listen = |_: Channel, bytes: &[u8]| heard.extend_from_slice(bytes);
    slot.run(&execution, &mut listen).await.unwrap();
    assert_eq!(heard, b"1\n");
    began.elapsed()
}

/// Containers without the engine: the same root, a bundle with nothing of ours in it.
struct Plain {
    folder: tempfile::TempDir,
}

impl Plain {
    fn new(root: &Path) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let words = [
            ("once", vec!["/usr/bin/python3", "-I", "-c", "print(1)"]),
            ("stay", vec!["/usr/bin/python3", "-I", "-c", "import time; time.sleep(600)"]),
        ];
        for (name, args) in words {
            let config = serde_json::json!({
                "ociVersion": "1.0.2",
                "process": {"user": {"uid": 0, "gid": 0}, "args": args, "cwd": "/", "env": ["PATH=/usr/bin"]},
                "root": {"path": root, "readonly": true},
                "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"}],
            });
            std::fs::create_dir(folder.path().join(name)).unwrap();
            std::fs::write(folder.path().join(name).join("config.json"), config.to_string())
                .unwrap();
        }
        Self { folder }
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new("/usr/bin/runsc");
        command.arg("--root").arg(self.folder.path().join("state")).args(FLAGS).args(words);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    fn run(&self, id: &str) -> Duration {
        let bundle = self.folder.path().join("once").display().to_string();
        answered(self.command(&["run", "--bundle", &bundle, id]))
    }

    fn begin(&self, id: &str) -> std::process::Child {
        let bundle = self.folder.path().join("stay").display().to_string();
        let child = self.command(&["run", "--bundle", &bundle, id]).spawn().unwrap();
        std::thread::sleep(Duration::from_secs(2));
        child
    }

    fn exec(&self, id: &str) -> Duration {
        let words = ["exec", id, "/usr/bin/python3", "-I", "-c", "print(1)"];
        answered(self.command(&words))
    }

    fn end(&self, id: &str, mut child: std::process::Child) {
        self.command(&["kill", id, "KILL"]).status().unwrap();
        child.wait().unwrap();
    }
}

/// From a command's start to its guest's answer: its end comes later, as a close does.
fn answered(mut command: Command) -> Duration {
    let began = Instant::now();
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut answer = [0; 2];
    child.stdout.take().unwrap().read_exact(&mut answer).unwrap();
    let took = began.elapsed();
    assert_eq!(&answer, b"1\n");
    child.wait().unwrap();
    took
}

fn quantile(times: &mut [Duration], part: f64) -> f64 {
    times.sort_unstable();
    let index = ((times.len() - 1) as f64 * part).round() as usize;
    times[index].as_secs_f64() * 1e3
}

fn ratio(ours: &[Duration], theirs: &[Duration]) -> f64 {
    quantile(&mut ours.to_vec(), 0.5) / quantile(&mut theirs.to_vec(), 0.5)
}

fn show(name: &str, times: &mut [Duration]) {
    let (count, least) = (times.len(), quantile(times, 0.0));
    let (middle, late) = (quantile(times, 0.5), quantile(times, 0.99));
    println!("{name}: least {least:.1}, p50 {middle:.1}, p99 {late:.1} ms ({count})");
}
