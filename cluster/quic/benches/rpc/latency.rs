//! How long one call takes alone, and beside an upload to the same node.

use std::time::{Duration, Instant};

use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::caller::Caller;
use crate::{LONGEST, PAYLOAD_BYTES};

const CALLS_ALONE: usize = 2_000;
/// A call starts so often, whether or not the one before has its answer: callers that wait
/// would make most of their calls in the moments between two uploads.
const EVERY: Duration = Duration::from_millis(2);
const UPLOADS: usize = 200;
const UPLOAD_BYTES: usize = 12 << 20;

/// For each pair, measures the first alone and while the second uploads, and prints the table.
pub(crate) async fn print(pairs: &[(Caller, Caller)]) {
    println!();
    println!("1 KB echo every {} ms, alone and while {UPLOADS} uploads", EVERY.as_millis());
    println!("of {} MiB follow each other", UPLOAD_BYTES >> 20);
    println!("{:<62}{:>8}{:>10}{:>10}{:>14}", "", "calls", "p50 us", "p99 us", "upload MB/s");
    for (way, uploader) in pairs {
        let mut made = 0;
        let is_enough = || {
            made += 1;
            made > CALLS_ALONE
        };
        print_row(way.name(), calls_us(way, is_enough).await, "");
        let uploads = tokio::spawn(upload(uploader.clone()));
        let beside = calls_us(way, || uploads.is_finished()).await;
        let name = format!("{}; upload: {}", way.name(), uploader.name());
        print_row(&name, beside, &format!("{:.0}", uploads.await.unwrap()));
    }
}

fn print_row(name: &str, mut calls_us: Vec<f64>, upload: &str) {
    calls_us.sort_by(f64::total_cmp);
    let percentile = |percent: usize| calls_us[(calls_us.len() - 1) * percent / 100];
    let (p50, p99) = (percentile(50), percentile(99));
    println!("{name:<62}{:>8}{p50:>10.0}{p99:>10.0}{upload:>14}", calls_us.len());
}

/// Starts calls until it is told that they are enough.
async fn calls_us(way: &Caller, mut is_enough: impl FnMut() -> bool) -> Vec<f64> {
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut calls = Vec::new();
    while !is_enough() {
        ticks.tick().await;
        let way = way.clone();
        calls.push(tokio::spawn(async move {
            let start = Instant::now();
            timeout(LONGEST, way.call(0, vec![7; PAYLOAD_BYTES])).await.unwrap();
            start.elapsed().as_secs_f64() * 1e6
        }));
    }
    let mut all = Vec::new();
    for call in calls {
        all.push(call.await.unwrap());
    }
    all
}

/// Makes the uploads, each after the answer to the one before; returns the rate in MB/s.
async fn upload(way: Caller) -> f64 {
    let start = Instant::now();
    for _ in 0..UPLOADS {
        timeout(LONGEST, way.call(0, vec![7; UPLOAD_BYTES])).await.unwrap();
    }
    (UPLOADS * UPLOAD_BYTES) as f64 / 1e6 / start.elapsed().as_secs_f64()
}
