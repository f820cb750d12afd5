//! What a request asks of an edge's book, what it gets, and what the shell is to do.

use crate::amounts::Amounts;
use crate::ledger::{AllowanceId, Ask, EntryId, Exhausted};
use crate::outbox::Report;

/// Names a waiting request to the shell; unique among those that wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TicketId(pub u64);

/// What an edge does by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EdgeSettings {
    /// How long an edge admits by itself when nobody answers, in ms.
    pub outage_ms: u64,
    /// What it may admit in such a minute for a tenant whose limits it never met.
    pub outage_fallback: Amounts,
    /// Most requests that wait for one tenant and model.
    pub waiting_max: usize,
    /// Most entries of one tenant that wait to be written down.
    pub entries_max: usize,
    /// Most entries in one report.
    pub report_entries: usize,
    /// Pause after an ask or a report that failed, in ms.
    pub retry_ms: u64,
    /// How long a limit is believed to be used up before the owner is asked again, in ms.
    pub used_up_ms: u64,
}

impl Default for EdgeSettings {
    fn default() -> Self {
        EdgeSettings {
            outage_ms: 30_000,
            outage_fallback: Amounts { requests: 10, tokens: 10_000, micro_usd: 10_000 },
            waiting_max: 1024,
            entries_max: 100_000,
            report_entries: 256,
            retry_ms: 200,
            used_up_ms: 200,
        }
    }
}

/// Both clocks, read together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clocks {
    /// Monotonic, in ms.
    pub now_ms: u64,
    /// Since 1970, in ms.
    pub wall_ms: u64,
}

/// A request's share, to be settled once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reservation {
    pub tenant: String,
    pub model: String,
    pub estimate: Amounts,
    /// The allowance that covers it; none in an outage.
    pub allowance: Option<AllowanceId>,
    pub entry: EntryId,
}

impl Reservation {
    /// Whether it was admitted in an outage, without anybody's word.
    pub fn is_unverified(&self) -> bool {
        self.allowance.is_none()
    }
}

/// Why a request is not admitted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// A limit of this tenant is used up until its window ends.
    UsedUp { tenant: String, exhausted: Exhausted, retry_after_ms: u64 },
    /// The owner has not answered for longer than the edge may admit by itself, or the budget
    /// for that is used up.
    Unanswered { retry_after_ms: u64 },
    /// Too much waits here already.
    Overloaded { retry_after_ms: u64 },
}

/// The answer to a request for a share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Admission {
    Reserved(Reservation),
    /// An effect with the ticket follows.
    Waiting,
    Refused(Refusal),
}

/// What the shell is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EdgeEffect {
    /// Ask the tenant's owner; tell [`crate::EdgeBook::answered`].
    Ask {
        tenant: String,
        ask: Ask,
    },
    /// Send the tenant's owner a report; tell [`crate::EdgeBook::reported`].
    Report {
        tenant: String,
        report: Report,
    },
    Admit {
        ticket: TicketId,
        reservation: Reservation,
    },
    Refuse {
        ticket: TicketId,
        refusal: Refusal,
    },
    /// These entries are written down.
    Written {
        entries: Vec<EntryId>,
    },
    /// From now on this tenant is admitted without the owner's word, or no longer.
    Outage {
        tenant: String,
        model: String,
        began: bool,
    },
}
