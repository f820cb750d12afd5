//! A session of an agent: what it may use up, what it has noted, what it has done.

mod budget;
mod parts;
mod scratchpad;
#[cfg(test)]
mod tests;
mod trace;

use std::collections::BTreeMap;

use crate::call::{Problem, Refusal, check_id};

pub use budget::SessionBudget;
pub use scratchpad::Scratchpad;
pub use trace::{Trace, TraceStep};

/// Whether it goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    Active,
    Paused { since_ms: u64 },
    Ended { why: String, at_ms: u64 },
}

/// What is held back for a call under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reservation {
    pub microdollars: u64,
    /// When nobody is believed to settle it any more.
    pub expires_ms: u64,
}

/// All of a session, for records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionParts {
    pub id: String,
    pub team: String,
    pub subject: String,
    pub agent: Option<String>,
    pub budget: SessionBudget,
    pub standing: Standing,
    pub created_ms: u64,
    /// When it was last used.
    pub touched_ms: u64,
    /// How long it has been paused so far, the present pause left out.
    pub paused_ms: u64,
    /// Calls that were settled.
    pub calls: u64,
    pub iterations: u64,
    pub spent_microdollars: u64,
    /// By how much calls and answers cost more than was reserved for them, beyond the cap.
    pub over_microdollars: u64,
    pub reservations: BTreeMap<String, Reservation>,
    pub scratchpad: BTreeMap<String, Vec<u8>>,
    pub trace: Vec<TraceStep>,
    pub trace_dropped: u64,
}

/// What is left of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Left {
    pub calls: u64,
    pub iterations: u64,
    pub microdollars: u64,
    pub wall_ms: u64,
    pub scratchpad_bytes: u64,
    pub scratchpad_keys: u64,
}

/// See the module. What is reserved and spent together never exceeds the cap; a call that costs
/// more than was reserved for it is counted whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    id: String,
    team: String,
    subject: String,
    agent: Option<String>,
    budget: SessionBudget,
    standing: Standing,
    created_ms: u64,
    touched_ms: u64,
    paused_ms: u64,
    calls: u64,
    iterations: u64,
    spent_microdollars: u64,
    over_microdollars: u64,
    reservations: BTreeMap<String, Reservation>,
    scratchpad: Scratchpad,
    trace: Trace,
}

impl Session {
    /// # Errors
    /// When the id or a limit is out of its range.
    pub fn new(
        id: &str,
        team: &str,
        subject: &str,
        agent: Option<&str>,
        budget: SessionBudget,
        now_ms: u64,
    ) -> Result<Session, Problem> {
        check_id("session", id)?;
        budget.check()?;
        Ok(Session {
            id: id.to_owned(),
            team: team.to_owned(),
            subject: subject.to_owned(),
            agent: agent.map(str::to_owned),
            budget,
            standing: Standing::Active,
            created_ms: now_ms,
            touched_ms: now_ms,
            paused_ms: 0,
            calls: 0,
            iterations: 0,
            spent_microdollars: 0,
            over_microdollars: 0,
            reservations: BTreeMap::new(),
            scratchpad: Scratchpad::default(),
            trace: Trace::default(),
        })
    }

    pub fn id(&self) -> &str {
        &self.id
    }

    pub fn team(&self) -> &str {
        &self.team
    }

    /// The key or the person that began it.
    pub fn subject(&self) -> &str {
        &self.subject
    }

    pub fn agent(&self) -> Option<&str> {
        self.agent.as_deref()
    }

    pub fn budget(&self) -> &SessionBudget {
        &self.budget
    }

    pub fn standing(&self) -> &Standing {
        &self.standing
    }

    pub fn trace(&self) -> &Trace {
        &self.trace
    }

    /// How long it has gone on, pauses left out, in ms.
    pub fn wall_ms(&self, now_ms: u64) -> u64 {
        let until_ms = match self.standing {
            Standing::Active => now_ms,
            Standing::Paused { since_ms } => since_ms,
            Standing::Ended { at_ms, .. } => at_ms,
        };
        until_ms.saturating_sub(self.created_ms).saturating_sub(self.paused_ms)
    }

    fn reserved_microdollars(&self) -> u64 {
        let sum = |sum: u64, one: &Reservation| sum.saturating_add(one.microdollars);
        self.reservations.values().fold(0, sum)
    }

    /// What is left, what is reserved taken off.
    pub fn left(&self, now_ms: u64) -> Left {
        let budget = &self.budget;
        let calls = self.calls + self.reservations.len() as u64;
        let money = self.spent_microdollars.saturating_add(self.reserved_microdollars());
        Left {
            calls: budget.calls_max.saturating_sub(calls),
            iterations: budget.iterations_max.saturating_sub(self.iterations),
            microdollars: budget.microdollars_max.saturating_sub(money),
            wall_ms: budget.wall_ms_max.saturating_sub(self.wall_ms(now_ms)),
            scratchpad_bytes: budget.scratchpad_bytes.saturating_sub(self.scratchpad.bytes()),
            scratchpad_keys: budget.scratchpad_keys.saturating_sub(self.scratchpad.keys()),
        }
    }

    /// Holds back a call and its estimate. The same call may reserve again, after its node died;
    /// then it has what it had. `expires_ms`: when it is charged if nobody has settled it.
    ///
    /// # Errors
    /// When the session does not go on, or too little is left; nothing has changed then.
    pub fn reserve(
        &mut self,
        call: &str,
        microdollars: u64,
        expires_ms: u64,
        now_ms: u64,
    ) -> Result<(), Refusal> {
        self.check_active(now_ms)?;
        if let Some(held) = self.reservations.get_mut(call) {
            held.expires_ms = held.expires_ms.max(expires_ms);
            return Ok(());
        }
        let (left, budget) = (self.left(now_ms), self.budget.clone());
        self.check_left("wall_ms_max", budget.wall_ms_max, left.wall_ms, 1)?;
        self.check_left("calls_max", budget.calls_max, left.calls, 1)?;
        let (limit, left) = (budget.microdollars_max, left.microdollars);
        self.check_left("microdollars_max", limit, left, microdollars)?;
        self.reservations.insert(call.to_owned(), Reservation { microdollars, expires_ms });
        self.touched_ms = self.touched_ms.max(now_ms);
        Ok(())
    }

    /// Takes what a call really cost, also of a session that has ended meanwhile. A call that is
    /// not reserved (any more) changes nothing: it was settled before, and so this is false.
    pub fn settle(&mut self, call: &str, microdollars: u64, now_ms: u64) -> bool {
        if self.reservations.remove(call).is_none() {
            return false;
        }
        self.calls += 1;
        self.spend(microdollars, now_ms);
        true
    }

    /// Takes what something other than a call has cost, such as a model's answer; it may be more
    /// than is left, and no call is let through then that costs anything.
    pub fn spend(&mut self, microdollars: u64, now_ms: u64) {
        self.spent_microdollars = self.spent_microdollars.saturating_add(microdollars);
        let whole = self.spent_microdollars.saturating_add(self.reserved_microdollars());
        let over = whole.saturating_sub(self.budget.microdollars_max);
        self.over_microdollars = self.over_microdollars.max(over);
        self.touched_ms = self.touched_ms.max(now_ms);
    }

    /// Gives back what was held for a call that was refused. False where nothing was held.
    pub fn refund(&mut self, call: &str) -> bool {
        self.reservations.remove(call).is_some()
    }

    /// Counts a round of the model.
    ///
    /// # Errors
    /// As [`Session::reserve`].
    pub fn iterate(&mut self, now_ms: u64) -> Result<(), Refusal> {
        self.check_active(now_ms)?;
        let (left, budget) = (self.left(now_ms), self.budget.clone());
        self.check_left("wall_ms_max", budget.wall_ms_max, left.wall_ms, 1)?;
        self.check_left("iterations_max", budget.iterations_max, left.iterations, 1)?;
        self.iterations += 1;
        self.touched_ms = self.touched_ms.max(now_ms);
        Ok(())
    }

    /// Notes a step in the trace.
    pub fn note(&mut self, step: TraceStep) {
        self.trace.push(step, self.budget.trace_steps);
    }

    /// Ends it when its time is over, and charges calls that nobody has settled in time with their
    /// estimate; their ids are told.
    pub fn tick(&mut self, now_ms: u64) -> Vec<String> {
        let overdue = self.reservations.iter().filter(|(_, held)| now_ms >= held.expires_ms);
        let overdue: Vec<(String, u64)> =
            overdue.map(|(call, held)| (call.clone(), held.microdollars)).collect();
        for (call, microdollars) in &overdue {
            let touched_ms = self.touched_ms;
            self.settle(call, *microdollars, touched_ms);
        }
        if let Some(why) = self.why_over(now_ms) {
            self.standing = Standing::Ended { why, at_ms: now_ms };
        }
        overdue.into_iter().map(|(call, _)| call).collect()
    }

    fn why_over(&self, now_ms: u64) -> Option<String> {
        let SessionBudget { idle_ttl_ms, ttl_ms, .. } = self.budget;
        if matches!(self.standing, Standing::Ended { .. }) {
            return None;
        }
        if now_ms >= self.created_ms.saturating_add(ttl_ms) {
            return Some(format!("it was {ttl_ms} ms old"));
        }
        let is_idle = self.standing == Standing::Active && self.reservations.is_empty();
        if is_idle && now_ms >= self.touched_ms.saturating_add(idle_ttl_ms) {
            return Some(format!("it was not used for {idle_ttl_ms} ms"));
        }
        None
    }

    /// Stands still: no call is let through, and neither its wall time nor its idle time goes on.
    /// Calls under way end as they do.
    ///
    /// # Errors
    /// When it has ended.
    pub fn pause(&mut self, now_ms: u64) -> Result<(), Refusal> {
        self.tick(now_ms);
        match self.standing {
            Standing::Active => {
                self.standing = Standing::Paused { since_ms: now_ms };
                Ok(())
            }
            Standing::Paused { .. } => Ok(()),
            Standing::Ended { .. } => Err(self.ended()),
        }
    }

    /// # Errors
    /// When it has ended.
    pub fn resume(&mut self, now_ms: u64) -> Result<(), Refusal> {
        self.tick(now_ms);
        match self.standing {
            Standing::Active => Ok(()),
            Standing::Paused { since_ms } => {
                let paused_ms = now_ms.saturating_sub(since_ms);
                self.paused_ms = self.paused_ms.saturating_add(paused_ms);
                self.standing = Standing::Active;
                self.touched_ms = self.touched_ms.max(now_ms);
                Ok(())
            }
            Standing::Ended { .. } => Err(self.ended()),
        }
    }

    /// Ends it. True when that is new.
    pub fn end(&mut self, why: &str, now_ms: u64) -> bool {
        if matches!(self.standing, Standing::Ended { .. }) {
            return false;
        }
        self.standing = Standing::Ended { why: why.to_owned(), at_ms: now_ms };
        true
    }

    fn check_active(&mut self, now_ms: u64) -> Result<(), Refusal> {
        self.tick(now_ms);
        match self.standing {
            Standing::Active => Ok(()),
            Standing::Paused { .. } => Err(Refusal::SessionPaused { session: self.id.clone() }),
            Standing::Ended { .. } => Err(self.ended()),
        }
    }

    fn ended(&self) -> Refusal {
        let why = match &self.standing {
            Standing::Ended { why, .. } => why.clone(),
            Standing::Active | Standing::Paused { .. } => String::new(),
        };
        Refusal::SessionEnded { session: self.id.clone(), why }
    }

    fn check_left(
        &self,
        what: &'static str,
        limit: u64,
        left: u64,
        wanted: u64,
    ) -> Result<(), Refusal> {
        if wanted <= left {
            return Ok(());
        }
        Err(Refusal::SessionBudget { session: self.id.clone(), what, limit, left, wanted })
    }
}
