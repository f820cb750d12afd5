//! `headwater bench gateway`: what a request costs on its way to a model, beside nginx.
//!
//! The model is a server in this process that answers at once. It is asked directly, through nginx
//! as a plain proxy, and through headwater with all that it does for a request: the token, the
//! quota, the cache's lookup, the price, the audit.

mod load;
mod peers;
mod upstream;

use std::fmt::Write;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::config::Settings;
use crate::failure::Failure;
use crate::progress::Progress;
use load::{Figures, Load};
use peers::Peer;

#[derive(Debug, Args)]
pub struct GatewayFlags {
    /// Length of one measurement, in seconds.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// How often the servers take turns at each load.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// nginx; the one of the PATH or of /usr/sbin without it, none where there is none.
    #[arg(long, value_name = "FILE")]
    nginx: Option<PathBuf>,
    /// Requests before the memory is read a second time, to see whether it grows; 0 for none.
    #[arg(long, default_value_t = 0)]
    soak: u64,
}

/// Clients, and whether answers are streamed.
const LOADS: &[(&str, usize, bool)] = &[
    ("whole, 1 client", 1, false),
    ("whole, 32 clients", 32, false),
    ("stream of 20 parts, 1 client", 1, true),
    ("stream of 20 parts, 32 clients", 32, true),
];

pub(super) async fn run(flags: &GatewayFlags, settings: &Settings) -> Result<(), Failure> {
    let upstream = upstream::start().await?;
    let folder = crate::config::data_dir(settings)?.join("bench-gateway");
    let mut peers = vec![Peer::direct(upstream)];
    let nginx = flags.nginx.clone().or_else(|| super::on_path("nginx"));
    let nginx = nginx.or_else(|| Some(PathBuf::from("/usr/sbin/nginx")).filter(|one| one.exists()));
    match nginx {
        Some(program) => peers.push(Peer::nginx(&program, &folder, upstream).await?),
        None => eprintln!("no nginx found; headwater is compared with the direct way alone"),
    }
    peers.push(Peer::headwater(&folder, upstream).await?);
    let duration = Duration::from_secs(flags.seconds);
    let steps = (LOADS.len() * peers.len()) as u64 * u64::from(flags.rounds);
    let mut progress = Progress::start("measuring", Some(steps), false);
    let mut step = 0;
    let mut text = String::from(
        "| load | way | req/s | p50 ms | p99 ms | first part p50 ms | CPU µs/req | MiB |\n\
         | --- | --- | --: | --: | --: | --: | --: | --: |\n",
    );
    for (name, clients, stream) in LOADS {
        let mut taken: Vec<Vec<Figures>> = peers.iter().map(|_| Vec::new()).collect();
        for _ in 0..flags.rounds {
            for (peer, figures) in peers.iter().zip(&mut taken) {
                let load = Load { peer, clients: *clients, stream: *stream };
                figures.push(load.run(duration).await?);
                step += 1;
                progress.at(step, Some(steps));
            }
        }
        table(&mut text, name, &peers, &taken);
    }
    drop(progress);
    print!("{text}");
    soak(flags, &peers).await
}

fn table(text: &mut String, load: &str, peers: &[Peer], taken: &[Vec<Figures>]) {
    let medians: Vec<Figures> = taken.iter().map(|rounds| Figures::median(rounds)).collect();
    for (peer, seen) in peers.iter().zip(&medians) {
        let Figures { requests_per_s, p50_ms, p99_ms, first_ms, cpu_us, rss_mib } = seen;
        let _ = writeln!(
            text,
            "| {load} | {} | {requests_per_s:.0} | {p50_ms:.3} | {p99_ms:.3} | {first_ms:.3} | \
             {cpu_us:.0} | {rss_mib:.0} |",
            peer.name
        );
    }
    if let [direct, nginx, headwater] = medians.as_slice() {
        let times = |ours: f64, theirs: f64| ours / theirs.max(1e-6);
        let _ = writeln!(
            text,
            "| {load} | headwater : nginx | {:.2} × | added {:.2} × |  | added {:.2} × | {:.2} × |  |",
            times(headwater.requests_per_s, nginx.requests_per_s),
            times(headwater.p50_ms - direct.p50_ms, nginx.p50_ms - direct.p50_ms),
            times(headwater.first_ms - direct.first_ms, nginx.first_ms - direct.first_ms),
            times(headwater.cpu_us, nginx.cpu_us),
        );
    }
}

/// Whether headwater's memory grows with the requests that it has seen.
async fn soak(flags: &GatewayFlags, peers: &[Peer]) -> Result<(), Failure> {
    let Some(headwater) = peers.last().filter(|_| flags.soak > 0) else { return Ok(()) };
    let load = Load { peer: headwater, clients: 32, stream: false };
    let (mut seen, before) = (0, headwater.rss_mib());
    while seen < flags.soak {
        let figures = load.run(Duration::from_secs(5)).await?;
        seen += (figures.requests_per_s * 5.0) as u64;
    }
    println!("{seen} requests more: {before:.0} MiB before, {:.0} MiB after", headwater.rss_mib());
    Ok(())
}
