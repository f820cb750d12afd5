//! Echo calls of 1 KB between two processes: plain TCP, lanes, streams, and `ractor_cluster`.
//!
//! This process measures; it starts its own program again as the server, because ractor's
//! registries are statics of a process. The rounds of all ways take turns, so that noise hits
//! them alike. TCP is one connection with length-prefixed frames, pipelined, written in batches
//! and without TLS; QUIC encrypts, and `ractor_cluster` runs over the control stream of the same
//! pair of nodes. No way sets a deadline for a call.
//! `SECONDS=10 cargo bench -p headwater-cluster-quic --bench rpc` makes the rounds longer.

mod actor;
mod caller;
mod latency;
mod pending;
mod process;
mod quic;
mod server;
mod tcp;
mod throughput;

use std::path::Path;
use std::time::Duration;

use headwater_cluster_quic::authority;
use tokio::runtime::{Builder, Runtime};

use crate::caller::Caller;
use crate::process::ServerProcess;

const PAYLOAD_BYTES: usize = 1_024;
/// Nothing that is measured at once takes so long; a lost reply shows as this.
const LONGEST: Duration = Duration::from_secs(120);

fn main() {
    let mut arguments = std::env::args().skip(1);
    match (arguments.next().as_deref(), arguments.next()) {
        (Some(server::ROLE), Some(folder)) => server::run(Path::new(&folder)),
        _ => measure(),
    }
}

fn measure() {
    let seconds = std::env::var("SECONDS").ok().and_then(|seconds| seconds.parse().ok());
    let round = Duration::from_secs(seconds.unwrap_or(2));
    let folder = tempfile::tempdir().unwrap();
    authority::create("bench", folder.path()).unwrap();
    quic::issue(folder.path(), quic::CLIENT);
    quic::issue(folder.path(), quic::SERVER);
    let server = ServerProcess::start(folder.path());
    runtime().block_on(async {
        let tcp = Caller::Tcp(tcp::Caller::connect(server.tcp).await);
        let (transport, controls) =
            quic::start(folder.path(), quic::CLIENT, vec![server.quic.to_string()]).await;
        let actor = Caller::Actor(actor::Caller::find(controls).await);
        let lane = Caller::Lane(quic::LaneCaller::new(transport.clone()));
        let stream = Caller::Stream(quic::StreamCaller::new(transport));
        let ways = [tcp.clone(), lane.clone(), stream.clone(), actor.clone()];
        throughput::print(&ways, round, server.id()).await;
        let uploads = [(tcp.clone(), tcp), (lane, stream), (actor.clone(), actor)];
        latency::print(&uploads).await;
    });
}

/// Each process has one.
fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}
