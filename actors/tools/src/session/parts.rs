//! A session as its parts, for records, and what must hold of them.

use super::{Scratchpad, Session, SessionParts, Trace};
use crate::call::{Problem, check_id};

impl Session {
    /// All of it, as [`Session::from_parts`] takes it.
    pub fn parts(&self) -> SessionParts {
        SessionParts {
            id: self.id.clone(),
            team: self.team.clone(),
            subject: self.subject.clone(),
            agent: self.agent.clone(),
            budget: self.budget.clone(),
            standing: self.standing.clone(),
            created_ms: self.created_ms,
            touched_ms: self.touched_ms,
            paused_ms: self.paused_ms,
            calls: self.calls,
            iterations: self.iterations,
            spent_microdollars: self.spent_microdollars,
            over_microdollars: self.over_microdollars,
            reservations: self.reservations.clone(),
            scratchpad: self.scratchpad.values().clone(),
            trace: self.trace.steps().cloned().collect(),
            trace_dropped: self.trace.dropped(),
        }
    }

    /// # Errors
    /// When the parts are not those of a session.
    pub fn from_parts(parts: SessionParts) -> Result<Session, Problem> {
        check_id("session", &parts.id)?;
        parts.budget.check()?;
        let session = Session {
            id: parts.id,
            team: parts.team,
            subject: parts.subject,
            agent: parts.agent,
            budget: parts.budget,
            standing: parts.standing,
            created_ms: parts.created_ms,
            touched_ms: parts.touched_ms,
            paused_ms: parts.paused_ms,
            calls: parts.calls,
            iterations: parts.iterations,
            spent_microdollars: parts.spent_microdollars,
            over_microdollars: parts.over_microdollars,
            reservations: parts.reservations,
            scratchpad: Scratchpad::new(parts.scratchpad),
            trace: Trace::new(parts.trace, parts.trace_dropped),
        };
        session.check().map_err(|problem| Problem::new("session", problem))?;
        Ok(session)
    }

    /// What must hold at any time.
    ///
    /// # Errors
    /// What does not.
    pub fn check(&self) -> Result<(), String> {
        let budget = &self.budget;
        let money = self.spent_microdollars.saturating_add(self.reserved_microdollars());
        let cap = budget.microdollars_max.saturating_add(self.over_microdollars);
        for (what, value, most) in [
            ("calls", self.calls + self.reservations.len() as u64, budget.calls_max),
            ("iterations", self.iterations, budget.iterations_max),
            ("microdollars", money, cap),
            ("scratchpad bytes", self.scratchpad.bytes(), budget.scratchpad_bytes),
            ("scratchpad keys", self.scratchpad.keys(), budget.scratchpad_keys),
            ("trace steps", self.trace.steps().count() as u64, budget.trace_steps),
        ] {
            if value > most {
                return Err(format!("{what} are {value}, {most} allowed"));
            }
        }
        let counted = Scratchpad::new(self.scratchpad.values().clone());
        if counted != self.scratchpad {
            return Err(format!("scratchpad bytes are {}", counted.bytes()));
        }
        Ok(())
    }
}
