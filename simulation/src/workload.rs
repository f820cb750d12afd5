//! The workloads of tier 1, by name.

use crate::outcome::Outcome;
use crate::quota::{self, Kind};
use crate::{gateway, gossip, identity, ingest, metered, prompts, reembed, register, tools};

/// What is simulated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Workload {
    /// One embedding node: batches, replicas that fail, and a charge for each request.
    Metered,
    /// Several nodes' quotas under every trouble there is.
    QuotaStorm,
    /// Leases that change hands all the time.
    LeaseThrash,
    /// One node after the other leaves in good order and comes back.
    RollingRestart,
    /// Nodes cut from each other and from the store.
    SplitBrain,
    /// A counter and a pointer, written through the retry loop by clients that die.
    Registers,
    /// Views of the members that spread as rumours, up to a thousand nodes: the plan, tried out.
    Gossip,
    /// Bulk ingest: workers, store and sink that fail, exactly one vector a chunk and version.
    Ingest,
    /// Chats through backends that fail, charged for what was produced.
    Gateway,
    /// Documents that change while versions of the model are built, switched and rolled back.
    Reembed,
    /// Virtual keys made, rotated and revoked through nodes in trouble.
    Identity,
    /// Prompts committed, promoted, watched and taken back through nodes in trouble.
    Prompts,
    /// Tools that a swarm of agents calls through nodes in trouble, done and charged once.
    Tools,
    /// Runs of agents through nodes in trouble: one journal, one end, nothing done twice.
    Agents,
}

impl Workload {
    pub const ALL: [Workload; 14] = [
        Workload::Metered,
        Workload::QuotaStorm,
        Workload::LeaseThrash,
        Workload::RollingRestart,
        Workload::SplitBrain,
        Workload::Registers,
        Workload::Gossip,
        Workload::Ingest,
        Workload::Reembed,
        Workload::Gateway,
        Workload::Identity,
        Workload::Prompts,
        Workload::Tools,
        Workload::Agents,
    ];

    /// The name in commands and reports.
    pub fn name(self) -> &'static str {
        match self {
            Workload::Metered => "metered",
            Workload::QuotaStorm => "quota-storm",
            Workload::LeaseThrash => "lease-thrash",
            Workload::RollingRestart => "rolling-restart",
            Workload::SplitBrain => "split-brain",
            Workload::Registers => "registers",
            Workload::Gossip => "gossip",
            Workload::Ingest => "ingest",
            Workload::Reembed => "reembed",
            Workload::Gateway => "gateway",
            Workload::Identity => "identity",
            Workload::Prompts => "prompts",
            Workload::Tools => "tools",
            Workload::Agents => "agents",
        }
    }

    pub fn named(name: &str) -> Option<Workload> {
        Workload::ALL.into_iter().find(|workload| workload.name() == name)
    }

    /// What must happen in some seed of a large run; otherwise the simulation tests less than
    /// it claims.
    pub fn sometimes(self) -> &'static [&'static str] {
        match self {
            Workload::Metered => metered::SOMETIMES,
            Workload::QuotaStorm => quota::sometimes(Kind::QuotaStorm),
            Workload::LeaseThrash => quota::sometimes(Kind::LeaseThrash),
            Workload::RollingRestart => quota::sometimes(Kind::RollingRestart),
            Workload::SplitBrain => quota::sometimes(Kind::SplitBrain),
            Workload::Registers => register::SOMETIMES,
            Workload::Gossip => gossip::SOMETIMES,
            Workload::Ingest => ingest::SOMETIMES,
            Workload::Reembed => reembed::SOMETIMES,
            Workload::Gateway => gateway::SOMETIMES,
            Workload::Identity => identity::SOMETIMES,
            Workload::Prompts => prompts::SOMETIMES,
            Workload::Tools => tools::SOMETIMES,
            Workload::Agents => tools::runs::SOMETIMES,
        }
    }

    pub(crate) fn run(self, seed: u64) -> Outcome {
        match self {
            Workload::Metered => metered::run(seed, None),
            Workload::QuotaStorm => quota::run(Kind::QuotaStorm, seed),
            Workload::LeaseThrash => quota::run(Kind::LeaseThrash, seed),
            Workload::RollingRestart => quota::run(Kind::RollingRestart, seed),
            Workload::SplitBrain => quota::run(Kind::SplitBrain, seed),
            Workload::Registers => register::run(seed, None),
            Workload::Gossip => gossip::run(seed),
            Workload::Ingest => ingest::run(seed),
            Workload::Reembed => reembed::run(seed),
            Workload::Gateway => gateway::run(seed),
            Workload::Identity => identity::run(seed),
            Workload::Prompts => prompts::run(seed),
            Workload::Tools => tools::run(seed),
            Workload::Agents => tools::runs::run(seed),
        }
    }
}
