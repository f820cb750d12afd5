//! Measures the engine beside the plain interpreter in one run: `figures <folder of images> <image>`.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use headwater_sandbox::{
    Channel, Ended, Engine, Execution, Image, ImageName, Limits, Slot, SlotSpec, Way,
};
use headwater_sandbox_images::open;
use headwater_sandbox_wasm::{Settings, WasmEngine};

const COLD: usize = 40;
const WARM: usize = 200;
const NUMPY: usize = 20;
const LOOPS: usize = 10;
const SLOTS: usize = 20;
/// Long enough for the next guest to stand ready.
const REST: Duration = Duration::from_millis(60);
const HELLO: &str = "print('hi')";
const ADD_UP: &str = "n = 0\nfor i in range(1000000): n += i * i % 7\nprint('hi')\n";

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

#[tokio::main]
async fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let (Some(folder), Some(name)) = (arguments.next(), arguments.next()) else {
        return Err("give a folder of images and the name of an image".into());
    };
    let (image, _) = open(Path::new(&folder), &ImageName::new(name)?)?;
    for word in ["compiled before or not", "from the folder of compiled code"] {
        let began = Instant::now();
        WasmEngine::new(Settings::default())?.prepare(&image).await?;
        println!("prepare, {word}: {:.2} s", began.elapsed().as_secs_f64());
    }
    let engine = WasmEngine::new(Settings::default())?;
    println!("{:?}", engine.probe(&image).await?);
    let mut slot = engine.start(spec("warm", &image)).await?;
    let mut times = [const { Vec::new() }; 6];
    for round in 0..WARM {
        tokio::time::sleep(REST).await;
        times[0].push(call(slot.as_mut(), HELLO).await?);
        times[1].push(call(slot.as_mut(), HELLO).await?);
        tokio::time::sleep(REST).await;
        times[2].push(plain(HELLO)?);
        if round % (WARM / NUMPY) == 0 {
            times[3].push(call(slot.as_mut(), "import numpy; print('hi')").await?);
        }
        if round % (WARM / LOOPS) == 0 {
            times[4].push(call(slot.as_mut(), ADD_UP).await?);
            times[5].push(plain(ADD_UP)?);
        }
    }
    slot.close().await?;
    let [rested, close, plain, numpy, loops, plain_loops] = times;
    show("warm, 60 ms after another", rested);
    show("warm, straight after another", close);
    show("warm, and numpy imported", numpy);
    show("plain `python3 -I -S -c`", plain);
    show("a million rounds of a loop", loops);
    show("the same, plain", plain_loops);
    starts(&engine, &image).await?;
    idle(&engine, &image).await
}

fn spec(name: &str, image: &Image) -> SlotSpec {
    let (name, image) = (name.to_owned(), image.clone());
    SlotSpec { name, image, limits: Limits::SMALL, way: Way::Single, way_out: None }
}

/// Slots from nothing to ready, and to the end of their first call.
async fn starts(engine: &WasmEngine, image: &Image) -> Result<()> {
    let (mut ready, mut cold) = (Vec::new(), Vec::new());
    for round in 0..COLD {
        let began = Instant::now();
        let mut slot = engine.start(spec(&format!("cold-{round}"), image)).await?;
        ready.push(began.elapsed());
        call(slot.as_mut(), HELLO).await?;
        cold.push(began.elapsed());
        slot.close().await?;
    }
    show("a slot's start", ready);
    show("a slot's start and first call", cold);
    Ok(())
}

/// Memory of slots that wait for their calls.
async fn idle(engine: &WasmEngine, image: &Image) -> Result<()> {
    let before = memory()?;
    let mut slots = Vec::new();
    for number in 0..SLOTS {
        slots.push(engine.start(spec(&format!("idle-{number}"), image)).await?);
    }
    println!("memory of an idle slot: {:.1} MiB", (memory()? - before) / SLOTS as f64);
    for slot in slots {
        slot.close().await?;
    }
    println!("memory of the process without slots: {:.1} MiB", memory()?);
    Ok(())
}

async fn call(slot: &mut dyn Slot, source: &str) -> Result<Duration> {
    let execution = Execution::new(source, Limits::SMALL);
    let mut heard = Vec::new();
    let mut listener = |_: Channel, bytes: &[u8]| heard.extend_from_slice(bytes);
    let began = Instant::now();
    let outcome = slot.run(&execution, &mut listener).await?;
    let took = began.elapsed();
    match outcome.ended {
        Ended::Exit(0) if heard == b"hi\n" => Ok(took),
        ended => Err(format!("{ended:?}: {}", String::from_utf8_lossy(&heard)).into()),
    }
}

fn plain(source: &str) -> Result<Duration> {
    let began = Instant::now();
    let mut command = Command::new("/usr/bin/python3");
    let output = command.args(["-I", "-S", "-c", source]).stdout(Stdio::piped()).output()?;
    let took = began.elapsed();
    if output.stdout == b"hi\n" { Ok(took) } else { Err("plain python3 did not answer".into()) }
}

/// Memory that is this process's alone, in MiB.
fn memory() -> Result<f64> {
    let text = std::fs::read_to_string("/proc/self/smaps_rollup")?;
    let rows = text.lines().filter(|line| line.starts_with("Private_"));
    let numbers = rows.filter_map(|line| line.split_whitespace().nth(1)?.parse::<f64>().ok());
    Ok(numbers.sum::<f64>() / 1_024.0)
}

fn show(name: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let ms = |percent: usize| times[(times.len() - 1) * percent / 100].as_secs_f64() * 1e3;
    let (least, middle, late) = (ms(0), ms(50), ms(99));
    println!("{name}: least {least:.1}, p50 {middle:.1}, p99 {late:.1} ms ({})", times.len());
}
