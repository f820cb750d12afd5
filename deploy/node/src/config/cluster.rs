//! Settings of the cluster and of quotas.

use std::net::SocketAddr;
use std::path::PathBuf;

use headwater_cluster::NodeId;
use serde::Deserialize;

use super::{Engine, Nonsense, Settings};

/// A lost node's tenants have no owner for so long.
const LEASE_MS_MAX: u64 = 60 * 60 * 1000;
const IDLE_MS_MAX: u64 = 10 * 60 * 1000;
/// New limits count only once the allowances from before have ended.
const ALLOWANCE_MS_MAX: u64 = 60 * 1000;

fn is_host_and_port(address: &str) -> bool {
    let parts = address.rsplit_once(':');
    parts.is_some_and(|(host, port)| {
        !host.is_empty() && port.parse().is_ok_and(|port: u16| port > 0)
    })
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ClusterSettings {
    /// UDP address for the other nodes; with it this node is one of a cluster, without it alone.
    pub listen: Option<SocketAddr>,
    /// This node's name, unique in the cluster and kept over restarts.
    pub node: String,
    /// The cluster's id, as in the certificates.
    pub id: String,
    /// Host and port that others dial; the bound address without it.
    pub advertise: Option<String>,
    /// Host and port of nodes to join.
    pub seeds: Vec<String>,
    /// Folder with ca.pem, node.pem, node.key and control.secret, as `headwater cluster issue`
    /// makes it; `cluster` in the data folder by default.
    pub identity_dir: Option<PathBuf>,
    /// This node's weight when tenants are placed; its number of cores without it. 0: none.
    pub capacity: Option<u32>,
    /// How long ownership lasts without being renewed, in ms.
    pub lease_ms: u64,
    /// By how much two nodes' clocks may differ, in ms.
    pub max_skew_ms: u64,
    /// After how long a silent node counts as lost, in ms.
    pub idle_timeout_ms: u64,
}

impl Default for ClusterSettings {
    fn default() -> Self {
        ClusterSettings {
            listen: None,
            node: "local".to_owned(),
            id: "headwater".to_owned(),
            advertise: None,
            seeds: Vec::new(),
            identity_dir: None,
            capacity: None,
            lease_ms: 3_000,
            max_skew_ms: 500,
            idle_timeout_ms: 2_000,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TenancySection {
    /// Longest time for which an edge holds a part of a tenant's limits, in ms.
    pub allowance_ms: u64,
    /// How long an edge admits by itself when a tenant's owner is silent, in ms; 0 never.
    pub outage_ms: u64,
    /// How much it may admit so in a minute, in percent of the tenant's limits of a minute.
    pub outage_share_percent: u64,
}

impl Default for TenancySection {
    fn default() -> Self {
        TenancySection { allowance_ms: 2_000, outage_ms: 30_000, outage_share_percent: 10 }
    }
}

fn fail(key: &str, problem: &str) -> Result<(), Nonsense> {
    let key = key.split('.').map(str::to_owned).collect();
    Err(Nonsense { key, problem: problem.to_owned() })
}

impl Settings {
    /// Checks the settings of cluster and quotas, then what they mean together with the store's.
    pub(super) fn check_cluster(&self) -> Result<(), Nonsense> {
        self.check_cluster_names()?;
        self.check_cluster_numbers()?;
        self.check_shared_store()
    }

    fn check_cluster_names(&self) -> Result<(), Nonsense> {
        let cluster = &self.cluster;
        let names = [
            ("cluster.node", Some(&cluster.node)),
            ("cluster.id", Some(&cluster.id)),
            ("storage.node", self.storage.node.as_ref()),
        ];
        for (key, name) in names {
            let Some(name) = name else { continue };
            if let Err(problem) = NodeId::new(name.as_str()) {
                return fail(key, &format!("is '{name}': {problem}"));
            }
        }
        let seeds = cluster.seeds.iter().enumerate();
        let seeds = seeds.map(|(place, seed)| (format!("cluster.seeds.{place}"), seed));
        let advertise = cluster.advertise.iter().map(|own| ("cluster.advertise".to_owned(), own));
        for (key, address) in seeds.chain(advertise) {
            if !is_host_and_port(address) {
                return fail(&key, &format!("is '{address}'; write host:port"));
            }
        }
        Ok(())
    }

    fn check_cluster_numbers(&self) -> Result<(), Nonsense> {
        let cluster = &self.cluster;
        let times = [
            ("cluster.lease_ms", cluster.lease_ms, 100..=LEASE_MS_MAX),
            ("cluster.idle_timeout_ms", cluster.idle_timeout_ms, 100..=IDLE_MS_MAX),
            ("tenancy.allowance_ms", self.tenancy.allowance_ms, 1..=ALLOWANCE_MS_MAX),
        ];
        for (key, given_ms, allowed) in times {
            if !allowed.contains(&given_ms) {
                let (least, most) = allowed.into_inner();
                return fail(key, &format!("is {given_ms}; it must be {least} to {most}"));
            }
        }
        if cluster.max_skew_ms.saturating_mul(2) >= cluster.lease_ms {
            return fail(
                "cluster.lease_ms",
                "must be more than twice cluster.max_skew_ms, or nobody owns anything for long",
            );
        }
        if self.tenancy.outage_share_percent > 100 {
            return fail("tenancy.outage_share_percent", "must be 0 to 100");
        }
        Ok(())
    }

    fn check_shared_store(&self) -> Result<(), Nonsense> {
        let (cluster, storage) = (&self.cluster, &self.storage);
        if cluster.listen.is_none() {
            if storage.serve {
                return fail("storage.serve", "needs cluster.listen: there is no other node");
            }
            if storage.engine == Engine::Cluster {
                return fail("storage.engine", "is cluster; set cluster.listen and storage.node");
            }
            return Ok(());
        }
        match storage.engine {
            Engine::Cluster if storage.node.is_none() => {
                fail("storage.node", "is not set; name the node that has storage.serve = true")
            }
            Engine::Cluster if storage.serve => {
                fail("storage.serve", "is for the node that has the store, not for its users")
            }
            Engine::Cluster if storage.node.as_ref() == Some(&cluster.node) => {
                fail("storage.node", "is this node; name the node that has storage.serve = true")
            }
            Engine::Embedded | Engine::Memory if !storage.serve => fail(
                "storage.engine",
                "keeps this node's state to itself, but the nodes of a cluster share one store: \
                 use fdb, or storage.serve = true on one node and engine = \"cluster\" with \
                 storage.node on the others",
            ),
            _ => Ok(()),
        }
    }
}
