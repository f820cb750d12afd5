//! Mixed load: queries at a fixed rate alone, beside a bulk load, and the bulk load alone, in
//! turn in one run.

use std::time::Duration;

use serde_json::json;
use tokio::task::LocalSet;
use tokio::time::{Instant, sleep};

use super::bulk::{Bulk, knows_tier};
use super::load::Load;
use super::mixed_report::{Mixed, Round};
use super::peer::{Peer, cpu_seconds};
use super::queries::{Latencies, Queries};
use super::texts::Workload;
use crate::failure::Failure;
use crate::progress::Progress;

/// How long a load runs before it is measured.
const SETTLE: Duration = Duration::from_secs(2);
/// The share of what the server can do that the queries ask for, unless a rate is given.
const QUERY_SHARE: f64 = 0.4;
/// How the generator stands among processes: it is the clients of other machines, and must not
/// wait for the server's cores.
const GENERATOR_NICE: i32 = -10;

/// What to measure.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct MixedLoad {
    pub(super) phase: Duration,
    pub(super) rounds: u32,
    /// Queries per second; a share of the measured capacity when left out.
    pub(super) rate_per_s: Option<f64>,
    pub(super) bulk_clients: usize,
    pub(super) json: bool,
}

impl MixedLoad {
    /// Measures one server. Rounds change the order of their phases, so that what drifts on
    /// the machine meets each kind alike.
    ///
    /// # Errors
    /// When the server does not answer, or answers an error.
    pub(super) async fn run(&self, peer: &Peer, model: &str) -> Result<Mixed, Failure> {
        let favoured = favour_this_process();
        let workload = Workload::queries("capacity", 64);
        let load = Load {
            address: peer.address,
            model,
            workload: &workload,
            duration: self.phase.max(SETTLE),
            next: &peer.next,
        };
        let capacity_per_s = load.run(peer.pid).await?.requests_per_s;
        let rate_per_s = self.rate_per_s.unwrap_or(capacity_per_s * QUERY_SHARE);
        let local = LocalSet::new();
        let tier = local.run_until(knows_tier(peer.address, model)).await?;
        let phases = Phases { load: self, peer, model, rate_per_s, tier };
        let mut progress = Progress::start("mixed load", Some(u64::from(self.rounds) * 3), false);
        let mut rounds = Vec::new();
        for number in 0..self.rounds {
            let mut round = Round::default();
            let mut order = [Phase::Alone, Phase::Both, Phase::BulkAlone];
            if number % 2 == 1 {
                order.reverse();
            }
            for (place, phase) in order.into_iter().enumerate() {
                local.run_until(phases.measure(phase, &mut round)).await?;
                progress.at(u64::from(number) * 3 + place as u64 + 1, None);
            }
            if self.json {
                println!("{}", round.to_json(&peer.name));
            }
            rounds.push(round);
        }
        Ok(Mixed { peer: peer.name.clone(), capacity_per_s, rate_per_s, tier, favoured, rounds })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Alone,
    Both,
    BulkAlone,
}

/// What all phases of a server share.
struct Phases<'a> {
    load: &'a MixedLoad,
    peer: &'a Peer,
    model: &'a str,
    rate_per_s: f64,
    tier: bool,
}

impl Phases<'_> {
    async fn measure(&self, phase: Phase, round: &mut Round) -> Result<(), Failure> {
        match phase {
            Phase::Alone => {
                let started = Instant::now();
                let cpu_before_s = cpu_seconds(self.peer.pid);
                round.alone = self.queries().await?;
                let cpu_s = cpu_seconds(self.peer.pid) - cpu_before_s;
                round.alone_cores = cpu_s / started.elapsed().as_secs_f64();
            }
            Phase::Both => {
                let bulk = self.bulk();
                let (latencies, rate) = tokio::join!(self.queries(), self.bulk_rate(&bulk));
                round.refused += bulk.done.refused.get();
                bulk.stop().await?;
                (round.both, round.bulk_both_per_s) = (latencies?, rate);
            }
            Phase::BulkAlone => {
                let bulk = self.bulk();
                round.bulk_alone_per_s = self.bulk_rate(&bulk).await;
                round.refused += bulk.done.refused.get();
                bulk.stop().await?;
            }
        }
        Ok(())
    }

    async fn queries(&self) -> Result<Latencies, Failure> {
        let queries = Queries {
            address: self.peer.address,
            model: self.model,
            rate_per_s: self.rate_per_s,
            next: &self.peer.next,
        };
        queries.run(SETTLE, self.load.phase).await
    }

    fn bulk(&self) -> Bulk {
        let workload = Workload::batches("bulk", self.load.bulk_clients, 128);
        Bulk::start(self.peer.address, self.model, &workload, self.tier, &self.peer.next)
    }

    /// Tokens per second after the load has settled.
    async fn bulk_rate(&self, bulk: &Bulk) -> f64 {
        sleep(SETTLE).await;
        let (started, before) = (Instant::now(), bulk.done.tokens.get());
        sleep(self.load.phase).await;
        (bulk.done.tokens.get() - before) as f64 / started.elapsed().as_secs_f64()
    }
}

/// Whether the system let this process go before the servers'.
fn favour_this_process() -> bool {
    // SAFETY: changes a number of this process in the kernel and touches no memory of ours.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, GENERATOR_NICE) == 0 }
}

impl Round {
    fn to_json(&self, peer: &str) -> serde_json::Value {
        json!({
            "peer": peer,
            "alone_p50_ms": self.alone.at(0.5),
            "alone_p99_ms": self.alone.at(0.99),
            "both_p50_ms": self.both.at(0.5),
            "both_p99_ms": self.both.at(0.99),
            "queries": self.both.answered_ms.len(),
            "bulk_alone_tokens_per_s": self.bulk_alone_per_s,
            "bulk_both_tokens_per_s": self.bulk_both_per_s,
        })
    }
}
