//! What the owners of tenants hear, and how it fails.

use headwater_tenancy::{Answer, Operation, Outcome, OwnerProblem};
use tokio::sync::oneshot;

/// To a tenant's owner.
pub(super) enum OwnerMessage {
    Take(Operation, oneshot::Sender<Answer>),
    /// What the transaction under way came to.
    Committed(Result<Vec<Outcome>, OwnerProblem>),
    /// The lease is lost or given away.
    Resign,
}

impl ractor::Message for OwnerMessage {}

/// Why an operator's question about a tenant has no answer, by what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TenancyError {
    #[error("no owner of the tenant was found in {waited_ms} ms; try again")]
    NoOwner { waited_ms: u64 },
    #[error("the store does not answer; try again later")]
    StoreDown,
    #[error("the tenant's owner has too much to do; try again later")]
    Overloaded,
}
