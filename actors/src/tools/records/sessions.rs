//! Rows of sessions: all but the scratchpad and the trace, which have rows of their own.

use std::collections::BTreeMap;

use headwater_storage::StoreError;
use headwater_tools::session::{Reservation, Session, SessionBudget, SessionParts, Standing};
use serde::{Deserialize, Serialize};

use super::corrupt;

/// A step as the loop watch remembers it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(in crate::tools) struct SeenRow {
    pub(in crate::tools) tool: String,
    pub(in crate::tools) arguments: String,
    pub(in crate::tools) result: String,
    #[serde(default)]
    pub(in crate::tools) is_polling: bool,
}

/// A session, but its scratchpad and its trace, which have rows of their own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(in crate::tools) struct SessionRow {
    subject: String,
    agent: Option<String>,
    budget: [u64; 9],
    standing: StandingRow,
    created_ms: u64,
    touched_ms: u64,
    paused_ms: u64,
    calls: u64,
    iterations: u64,
    spent_microdollars: u64,
    over_microdollars: u64,
    reservations: BTreeMap<String, (u64, u64)>,
    /// Steps that were ever noted.
    pub(in crate::tools) steps: u64,
    /// The last calls, the oldest first.
    pub(in crate::tools) seen: Vec<SeenRow>,
    /// Set when the last calls were a loop.
    pub(in crate::tools) looped: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum StandingRow {
    Active,
    Paused { since_ms: u64 },
    Ended { why: String, at_ms: u64 },
}

/// A session, and what the shell keeps beside it.
#[derive(Debug, Clone)]
pub(in crate::tools) struct Held {
    pub(in crate::tools) session: Session,
    pub(in crate::tools) steps: u64,
    pub(in crate::tools) seen: Vec<SeenRow>,
    pub(in crate::tools) looped: Option<String>,
}

impl Held {
    pub(in crate::tools) fn new(session: Session) -> Held {
        Held { session, steps: 0, seen: Vec::new(), looped: None }
    }

    pub(in crate::tools) fn row(&self) -> SessionRow {
        let parts = self.session.parts();
        let SessionBudget {
            calls_max,
            iterations_max,
            microdollars_max,
            wall_ms_max,
            scratchpad_bytes,
            scratchpad_keys,
            trace_steps,
            idle_ttl_ms,
            ttl_ms,
        } = parts.budget;
        let held = |(id, one): (String, Reservation)| (id, (one.microdollars, one.expires_ms));
        SessionRow {
            subject: parts.subject,
            agent: parts.agent,
            budget: [
                calls_max,
                iterations_max,
                microdollars_max,
                wall_ms_max,
                scratchpad_bytes,
                scratchpad_keys,
                trace_steps,
                idle_ttl_ms,
                ttl_ms,
            ],
            standing: match parts.standing {
                Standing::Active => StandingRow::Active,
                Standing::Paused { since_ms } => StandingRow::Paused { since_ms },
                Standing::Ended { why, at_ms } => StandingRow::Ended { why, at_ms },
            },
            created_ms: parts.created_ms,
            touched_ms: parts.touched_ms,
            paused_ms: parts.paused_ms,
            calls: parts.calls,
            iterations: parts.iterations,
            spent_microdollars: parts.spent_microdollars,
            over_microdollars: parts.over_microdollars,
            reservations: parts.reservations.into_iter().map(held).collect(),
            steps: self.steps,
            seen: self.seen.clone(),
            looped: self.looped.clone(),
        }
    }

    /// `scratchpad` is empty unless it is asked about.
    pub(in crate::tools) fn of(
        team: &str,
        id: &str,
        row: SessionRow,
        scratchpad: BTreeMap<String, Vec<u8>>,
    ) -> Result<Held, StoreError> {
        let [
            calls_max,
            iterations_max,
            microdollars_max,
            wall_ms_max,
            scratchpad_bytes,
            scratchpad_keys,
            trace_steps,
            idle_ttl_ms,
            ttl_ms,
        ] = row.budget;
        let held =
            |(id, (microdollars, expires_ms))| (id, Reservation { microdollars, expires_ms });
        let session = Session::from_parts(SessionParts {
            id: id.to_owned(),
            team: team.to_owned(),
            subject: row.subject,
            agent: row.agent,
            budget: SessionBudget {
                calls_max,
                iterations_max,
                microdollars_max,
                wall_ms_max,
                scratchpad_bytes,
                scratchpad_keys,
                trace_steps,
                idle_ttl_ms,
                ttl_ms,
            },
            standing: match row.standing {
                StandingRow::Active => Standing::Active,
                StandingRow::Paused { since_ms } => Standing::Paused { since_ms },
                StandingRow::Ended { why, at_ms } => Standing::Ended { why, at_ms },
            },
            created_ms: row.created_ms,
            touched_ms: row.touched_ms,
            paused_ms: row.paused_ms,
            calls: row.calls,
            iterations: row.iterations,
            spent_microdollars: row.spent_microdollars,
            over_microdollars: row.over_microdollars,
            reservations: row.reservations.into_iter().map(held).collect(),
            scratchpad,
            trace: Vec::new(),
            trace_dropped: 0,
        });
        let session = session.map_err(|problem| corrupt(&problem))?;
        Ok(Held { session, steps: row.steps, seen: row.seen, looped: row.looped })
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(in crate::tools) struct StepRow {
    pub(in crate::tools) at_ms: u64,
    pub(in crate::tools) kind: String,
    pub(in crate::tools) call: Option<String>,
    pub(in crate::tools) tool: Option<String>,
    pub(in crate::tools) text: String,
    pub(in crate::tools) duration_ms: u64,
    pub(in crate::tools) microdollars: u64,
}
