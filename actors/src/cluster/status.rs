//! What an operator sees of the cluster from one node.

use headwater_storage::StoreError;
use headwater_storage::retry::Retry;

use super::members::{MemberView, Members};
use super::records::{LeaseRow, all_leases};
use crate::runtime::Runtime;

/// The cluster as one node sees it; cheap to clone.
#[derive(Clone)]
pub struct ClusterHandle {
    members: Members,
    retry: Retry,
    runtime: Runtime,
}

/// A lease that runs, by the clock of the node that was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunningLease {
    pub row: LeaseRow,
    /// Ms until it ends unless it is renewed.
    pub remaining_ms: u64,
}

impl ClusterHandle {
    pub fn new(members: Members, retry: Retry, runtime: Runtime) -> ClusterHandle {
        ClusterHandle { members, retry, runtime }
    }

    /// Every member that this node knows of, in order of name.
    pub fn members(&self) -> Vec<MemberView> {
        self.members.view()
    }

    /// The leases that run now, by key.
    ///
    /// # Errors
    /// The store's.
    pub async fn leases(&self) -> Result<Vec<RunningLease>, StoreError> {
        let rows = all_leases(&self.retry).await?;
        let now_ms = self.runtime.wall_ms();
        let running = |row: LeaseRow| {
            let remaining_ms = row.expires_ms.saturating_sub(now_ms);
            (remaining_ms > 0).then_some(RunningLease { row, remaining_ms })
        };
        Ok(rows.into_iter().filter_map(running).collect())
    }

    /// The store, for what is only read.
    pub fn store(&self) -> &Retry {
        &self.retry
    }
}
