//! Settings of the cluster and of quotas.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::Deserialize;

use super::{Engine, Nonsense, Settings};

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

impl Settings {
    /// Checks what the cluster's settings mean together with the store's.
    pub(super) fn check_cluster(&self) -> Result<(), Nonsense> {
        let fail = |key: &str, problem: &str| {
            let key = key.split('.').map(str::to_owned).collect();
            Err(Nonsense { key, problem: problem.to_owned() })
        };
        let (cluster, storage) = (&self.cluster, &self.storage);
        if let Err(problem) = headwater_cluster::NodeId::new(&cluster.node) {
            return fail("cluster.node", &format!("is '{}': {problem}", cluster.node));
        }
        if cluster.max_skew_ms.saturating_mul(2) >= cluster.lease_ms {
            return fail(
                "cluster.lease_ms",
                "must be more than twice cluster.max_skew_ms, or nobody owns anything for long",
            );
        }
        if self.tenancy.allowance_ms == 0 {
            return fail("tenancy.allowance_ms", "is 0; it must be at least 1");
        }
        if self.tenancy.outage_share_percent > 100 {
            return fail("tenancy.outage_share_percent", "must be 0 to 100");
        }
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
