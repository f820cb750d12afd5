//! Calls a second and CPU time a call with many calls in flight.

use std::time::{Duration, Instant};

use tokio::time::timeout;

use crate::caller::Caller;
use crate::process::cpu_seconds;
use crate::{LONGEST, PAYLOAD_BYTES};

const IN_FLIGHT: u16 = 64;
const ROUNDS: usize = 5;

/// One way in one round.
#[derive(Clone, Copy)]
struct Figures {
    calls_per_second: f64,
    client_us: f64,
    server_us: f64,
}

/// Measures all ways in turn and prints the table; the first is the reference.
pub(crate) async fn print(ways: &[Caller], round: Duration, server: u32) {
    let mut rounds = Vec::new();
    // The first round only warms up.
    for _ in 0..=ROUNDS {
        let mut row = Vec::new();
        for way in ways {
            row.push(timeout(LONGEST + round, figures(way, round, server)).await.unwrap());
        }
        rounds.push(row);
    }
    rounds.remove(0);
    println!(
        "1 KB echo between two processes, {IN_FLIGHT} in flight, {ROUNDS} rounds of {round:?} each;"
    );
    println!("medians, ratios to tcp in the same round, CPU in us a call");
    println!(
        "{:<28}{:>10}{:>8}{:>13}{:>12}{:>8}{:>8}",
        "", "calls/s", "ratio", "CPU, client", "CPU, server", "both", "ratio"
    );
    for (index, way) in ways.iter().enumerate() {
        let median = |figure: fn(&Figures, &Figures) -> f64| {
            let mut all: Vec<f64> = rounds.iter().map(|row| figure(&row[index], &row[0])).collect();
            all.sort_by(f64::total_cmp);
            all[ROUNDS / 2]
        };
        println!(
            "{:<28}{:>10.0}{:>8.2}{:>13.2}{:>12.2}{:>8.2}{:>8.2}",
            way.name(),
            median(|way, _| way.calls_per_second),
            median(|way, tcp| way.calls_per_second / tcp.calls_per_second),
            median(|way, _| way.client_us),
            median(|way, _| way.server_us),
            median(|way, _| way.client_us + way.server_us),
            median(|way, tcp| (way.client_us + way.server_us) / (tcp.client_us + tcp.server_us)),
        );
    }
}

/// Makes calls for so long, in as many tasks as may be in flight.
async fn figures(way: &Caller, round: Duration, server: u32) -> Figures {
    let client = std::process::id();
    let (client_before, server_before) = (cpu_seconds(client), cpu_seconds(server));
    let start = Instant::now();
    let mut tasks = Vec::new();
    for task in 0..IN_FLIGHT {
        let way = way.clone();
        tasks.push(tokio::spawn(async move {
            let mut calls = 0_u64;
            while start.elapsed() < round {
                way.call(task, vec![7; PAYLOAD_BYTES]).await;
                calls += 1;
            }
            calls
        }));
    }
    let mut calls = 0;
    for task in tasks {
        calls += task.await.unwrap();
    }
    let (calls, seconds) = (calls as f64, start.elapsed().as_secs_f64());
    Figures {
        calls_per_second: calls / seconds,
        client_us: (cpu_seconds(client) - client_before) * 1e6 / calls,
        server_us: (cpu_seconds(server) - server_before) * 1e6 / calls,
    }
}
