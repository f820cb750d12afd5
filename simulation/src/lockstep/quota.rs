//! Quotas on the real node: leases, owners as actors, views over `ractor_cluster`, and the edge's
//! handle, while clients at every node use up tenants' limits.

mod checks;
mod clients;
mod node;
mod story;

use serde::Deserialize;

use super::workload::WorkloadKind;

pub(super) const KIND: WorkloadKind = WorkloadKind {
    name: "quota",
    clients: |parameters| Ok(Box::new(clients::QuotaClients::new(Parameters::read(parameters)?))),
    program: |parameters| {
        let parameters = Parameters::read(parameters)?;
        Ok(Box::new(node::QuotaNode { parameters }))
    },
};

/// The only model that the clients name.
const MODEL: &str = "model";

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Parameters {
    tenants: usize,
    /// Each tenant's limit of tokens in a minute.
    tokens_per_minute: u64,
    /// Longest time between two requests of the clients together.
    interval_ms: u64,
    lease_ms: u64,
    max_skew_ms: u64,
    outage_share_percent: u64,
}

impl Parameters {
    fn read(table: &toml::Table) -> Result<Parameters, String> {
        table.clone().try_into().map_err(|error| error.to_string())
    }
}

impl Default for Parameters {
    fn default() -> Parameters {
        Parameters {
            tenants: 3,
            tokens_per_minute: 2_000,
            interval_ms: 20,
            lease_ms: 3_000,
            max_skew_ms: 500,
            outage_share_percent: 10,
        }
    }
}

fn tenant(number: usize) -> String {
    format!("t{number}")
}
