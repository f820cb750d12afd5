//! Quota decisions without a clock, chance or I/O: what a tenant may still use, who holds which
//! part of it, and what stands in the ledger.
//!
//! A tenant has one owner in the cluster. The owner takes a part of the limits out of the shared
//! counters, writes that down, and hands it to an edge as an [`Allowance`]. The edge
//! ([`EdgeBook`]) reserves from its allowance without asking anybody, settles what was really
//! used, and reports it; what it does not use goes back. Counters rise before a part is handed
//! out, so what is admitted in a window never exceeds the limit by more than the parts that were
//! handed out in the window before and are still valid, and what was admitted in an outage under
//! a budget of its own ([`GrantSettings::outage_share_percent`]).

mod admission;
mod amounts;
mod budgets;
mod edge;
mod edge_slot;
mod ledger;
mod limits;
pub mod mutants;
mod notice;
mod outbox;
mod owner;
mod subject;
#[cfg(test)]
mod tests;
mod waiting;

pub use admission::{Admission, Clocks, EdgeEffect, EdgeSettings, Refusal, Reservation, TicketId};
pub use amounts::{Amounts, Unit};
pub use edge::EdgeBook;
pub use ledger::{
    Allowance, AllowanceId, AllowanceRecord, AllowanceReturn, Ask, Books, CounterKey, Entry,
    EntryId, Exhausted, GrantSettings, Standing, apply_return, charge, grant,
};
pub use limits::{Limit, LimitProblem, Limits, Window, date_of_day};
pub use notice::{Notice, NoticeKey, Thresholds, reached};
pub use outbox::Report;
pub use owner::{Answer, Operation, Outcome, Owner, OwnerEffect, OwnerProblem, OwnerSettings};
pub use subject::{Payer, Subject};
