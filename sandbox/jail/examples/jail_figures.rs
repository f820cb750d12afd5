//! Measures the jail beside the plain interpreter in one run: `figures <folder of images> <image>`.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use headwater_sandbox::{
    Channel, Ended, Engine, Execution, ImageName, Limits, Slot, SlotSpec, Way,
};
use headwater_sandbox_images::open;
use headwater_sandbox_jail::{Jail, JailSettings};

const PLAIN: usize = 40;
const COLD: usize = 20;
const WARM: usize = 400;
/// How long a slot rests before a call, as it mostly does in use.
const REST: Duration = Duration::from_millis(60);

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn execution(source: &str) -> Execution {
    Execution::new(source, Limits::SMALL)
}

fn spec(image: &headwater_sandbox::Image, number: usize) -> SlotSpec {
    SlotSpec {
        name: format!("figures-{}-{number}", std::process::id()),
        image: image.clone(),
        limits: Limits::SMALL,
        way: Way::Single,
        way_out: None,
    }
}

/// Median and 99th percentile, in milliseconds.
fn told(mut times: Vec<f64>) -> (f64, f64) {
    times.sort_by(f64::total_cmp);
    (times[times.len() / 2], times[times.len() * 99 / 100])
}

fn plain() -> Result<(f64, f64)> {
    let mut times = Vec::new();
    for _ in 0..PLAIN {
        let began = Instant::now();
        let mut command = Command::new("/usr/bin/python3");
        command.args(["-I", "-S", "-c", "print('hi')"]).stdout(Stdio::piped());
        let output = command.output()?;
        times.push(began.elapsed().as_secs_f64() * 1e3);
        if output.stdout != b"hi\n" {
            return Err("the plain interpreter did not answer".into());
        }
    }
    Ok(told(times))
}

async fn call(slot: &mut dyn Slot, source: &str) -> Result<f64> {
    let mut heard = Vec::new();
    let mut listener = |_: Channel, bytes: &[u8]| heard.extend_from_slice(bytes);
    let began = Instant::now();
    let outcome = slot.run(&execution(source), &mut listener).await?;
    let took_ms = began.elapsed().as_secs_f64() * 1e3;
    if outcome.ended != Ended::Exit(0) {
        let text = String::from_utf8_lossy(&heard).into_owned();
        return Err(format!("{:?}: {text}", outcome.ended).into());
    }
    Ok(took_ms)
}

async fn measure(folder: &Path, name: &str) -> Result<()> {
    let (image, _) = open(folder, &ImageName::new(name)?)?;
    let state = tempfile::tempdir()?;
    let program = std::env::current_exe()?;
    let launcher = program.parent().and_then(Path::parent).map(|path| path.join("headwater-jail"));
    let launcher = launcher.ok_or("no folder of programs")?;
    let settings = JailSettings::new(vec![launcher.into_os_string()], state.path().to_path_buf());
    let jail = Jail::new(settings)?;
    let probe = jail.probe(&image).await?;
    println!("probe: {probe:?}");

    let (base, base_99) = plain()?;
    let (mut starts, mut closes) = (Vec::new(), Vec::new());
    for number in 0..COLD {
        let began = Instant::now();
        let mut slot = jail.start(spec(&image, number)).await?;
        starts.push(began.elapsed().as_secs_f64() * 1e3);
        call(slot.as_mut(), "print('hi')").await?;
        let began = Instant::now();
        slot.close().await?;
        closes.push(began.elapsed().as_secs_f64() * 1e3);
    }
    let mut slot = jail.start(spec(&image, COLD)).await?;
    let memory = slot.usage().await?;
    let (mut warm, mut busy, mut recycles) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..WARM {
        tokio::time::sleep(REST).await;
        warm.push(call(slot.as_mut(), "print('hi')").await?);
        busy.push(call(slot.as_mut(), "print('hi')").await?);
        let began = Instant::now();
        slot.recycle().await?;
        recycles.push(began.elapsed().as_secs_f64() * 1e3);
    }
    let after = slot.usage().await?;
    slot.close().await?;
    println!("plain python3 -I -S -c: p50 {base:.2} ms, p99 {base_99:.2} ms");
    for (what, times) in [
        ("slot start", starts),
        ("warm call, 60 ms after another", warm),
        ("call right behind another", busy),
        ("recycle", recycles),
        ("close", closes),
    ] {
        let (half, most) = told(times);
        println!("{what}: p50 {half:.2} ms ({:.2} of plain), p99 {most:.2} ms", half / base);
    }
    println!(
        "memory a slot: {} bytes, after {} calls {}",
        memory.memory_bytes,
        WARM * 2,
        after.memory_bytes
    );
    Ok(())
}

#[tokio::main]
async fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let (Some(folder), Some(name)) = (arguments.next(), arguments.next()) else {
        return Err("give a folder of images and an image's name".into());
    };
    measure(&PathBuf::from(folder), &name).await
}
