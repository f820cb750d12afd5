//! Figures of the engine beside plain python3 in the same run: cold, warm, memory.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use headwater_sandbox::{Channel, Engine, Execution, Limits, Slot, SlotSpec, Way};
use headwater_sandbox_wasm::{Settings, WasmEngine};

#[path = "../tests/support/module.rs"]
mod module;

const COLD_ROUNDS: usize = 30;
const WARM_ROUNDS: usize = 200;
const SLOTS: usize = 20;
const PYTHON: &str = "/usr/bin/python3";

#[tokio::main]
async fn main() {
    let source = match module::source() {
        Ok(source) => source,
        Err(why) => return println!("skipped: {why}"),
    };
    let folder = std::env::temp_dir().join("headwater-wasm-figures");
    let image = module::image(&folder, &source);
    let engine = WasmEngine::new(Settings::default()).unwrap();
    let began = Instant::now();
    engine.prepare(&image).await.unwrap();
    println!("prepare, compiled before or not: {:.2} s", began.elapsed().as_secs_f64());
    let again = WasmEngine::new(Settings::default()).unwrap();
    let began = Instant::now();
    again.prepare(&image).await.unwrap();
    println!("prepare, from the cache: {:.2} s", began.elapsed().as_secs_f64());
    drop(again);
    println!("{:?}", engine.probe(&image).await.unwrap());
    let python = [PathBuf::from(PYTHON), PathBuf::from("python3")];
    let python = python.into_iter().find(|path| Command::new(path).arg("-V").output().is_ok());
    let python = python.expect("there is no python3 to compare with");
    let (mut cold, mut warm, mut rested) = (Vec::new(), Vec::new(), Vec::new());
    let (mut plain, mut numpy) = (Vec::new(), Vec::new());
    for round in 0..COLD_ROUNDS {
        let began = Instant::now();
        let mut slot = engine.start(spec(&format!("cold-{round}"), &image)).await.unwrap();
        call(&mut slot, "print(1)").await;
        cold.push(began.elapsed());
        slot.close().await.unwrap();
    }
    let mut slot = engine.start(spec("warm", &image)).await.unwrap();
    for round in 0..WARM_ROUNDS {
        warm.push(call(&mut slot, "print(1)").await);
        tokio::time::sleep(Duration::from_millis(60)).await;
        rested.push(call(&mut slot, "print(1)").await);
        tokio::time::sleep(Duration::from_millis(60)).await;
        plain.push(native(&python));
        if round % 20 == 0 {
            numpy.push(call(&mut slot, "import numpy; print(numpy.ones(1, int)[0])").await);
        }
    }
    show("cold, start and first call", &mut cold);
    show("warm, straight after another", &mut warm);
    show("warm, 60 ms after another", &mut rested);
    show("warm, and numpy imported", &mut numpy);
    show("plain `python3 -I -c`", &mut plain);
    println!("cold against plain: {:.2} x", ratio(&cold, &plain));
    println!("warm straight after another against plain: {:.2} x", ratio(&warm, &plain));
    println!("warm against plain: {:.2} x", ratio(&rested, &plain));
    slot.close().await.unwrap();
    let before = memory();
    let mut slots = Vec::new();
    for number in 0..SLOTS {
        slots.push(engine.start(spec(&format!("idle-{number}"), &image)).await.unwrap());
    }
    println!("memory of an idle slot: {:.1} MiB", (memory() - before) / SLOTS as f64);
    for slot in slots {
        slot.close().await.unwrap();
    }
}

fn spec(name: &str, image: &headwater_sandbox::Image) -> SlotSpec {
    let (name, image) = (name.to_owned(), image.clone());
    SlotSpec { name, image, limits: Limits::SMALL, way: Way::Single, way_out: None }
}

async fn call(slot: &mut Box<dyn Slot>, source: &str) -> Duration {
    let execution = Execution {
        source: source.to_owned(),
        arguments: Vec::new(),
        environment: Vec::new(),
        input: Vec::new(),
        files: Vec::new(),
        collect: Vec::new(),
        limits: Limits::SMALL,
    };
    let began = Instant::now();
    let mut heard = Vec::new();
    let mut listen = |_: Channel, bytes: &[u8]| heard.extend_from_slice(bytes);
    slot.run(&execution, &mut listen).await.unwrap();
    assert_eq!(heard, b"1\n");
    began.elapsed()
}

fn native(python: &Path) -> Duration {
    let began = Instant::now();
    let output = Command::new(python).args(["-I", "-c", "print(1)"]).stderr(Stdio::null()).output();
    assert_eq!(output.unwrap().stdout, b"1\n");
    began.elapsed()
}

/// Memory that is this process's alone, in MiB.
fn memory() -> f64 {
    let text = std::fs::read_to_string("/proc/self/smaps_rollup").unwrap();
    let rows = text.lines().filter(|line| line.starts_with("Private_"));
    let numbers = rows.filter_map(|line| line.split_whitespace().nth(1)?.parse::<f64>().ok());
    numbers.sum::<f64>() / 1_024.0
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
