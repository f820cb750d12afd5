//! Quotas: the edge's handle, the owners of tenants, and their rows in the store.

mod actor;
mod handle;
mod inspect;
mod limited;
mod messages;
mod metrics;
mod notices;
mod owner;
mod owners;
mod records;
mod routes;
mod share;
#[cfg(test)]
pub(crate) mod tests;
mod told;
mod transaction;
mod wire;

pub use handle::{TenancyHandle, TenancySettings};
pub use inspect::{RowKey, RowValue, row_key, row_value};
pub use messages::TenancyError;
pub use metrics::TenancyMetrics;
pub(crate) use notices::pending_key;
pub use notices::{
    About, EventTold, LimitTold, Messenger, NoticeHook, NoticeMetrics, NoticeSettings, Notices,
    PendingNotice, pending_id,
};
pub use owners::{OwnerHost, Owners, OwnersSettings};
pub use records::{LedgerRow, ledger_rows, usage_rows};
pub use share::Share;
pub use transaction::tenant_key;

/// The pure service's nouns that a caller of the handle meets.
pub use headwater_tenancy::{
    Amounts, Books, CounterKey, EdgeSettings, Exhausted, GrantSettings, Limit, LimitProblem,
    Limits, OwnerSettings, Payer, Refusal, Standing, Subject, Thresholds, Unit, Window,
    date_of_day,
};
