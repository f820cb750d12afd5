//! Who gets a sandbox slot, and how many there are: one pool for each engine, image and tier.
//!
//! The pool decides alone; whoever runs it does what the effects say and tells what came of it.
//! A slot that ran a tenant's code is closed, or proved clean by its engine, before anybody has it
//! again. Without the lease of the pool nothing is started or given.

mod backoff;
mod invariants;
mod nouns;
mod queue;
mod slots;
#[cfg(test)]
mod tests;
mod watch;

use crate::call::Problem;

pub use nouns::{Counts, Effect, Event, PoolSettings, Reason, SlotId, Ticket};
pub use watch::Watch;

use backoff::Backoff;
use queue::{Queue, Waiting};
use slots::{Slots, State};

/// How long to wait for the owner of a pool to be another node, in ms.
const MOVED_MS: u64 = 1_000;
const RETRY_MS_MIN: u64 = 100;
const RETRY_MS_MAX: u64 = 60_000;

/// See the module.
#[derive(Debug, Clone)]
pub struct Pool {
    settings: PoolSettings,
    has_lease: bool,
    slots: Slots,
    queue: Queue,
    backoff: Backoff,
    /// How long runs take, a moving mean.
    run_ms: u64,
}

impl Pool {
    /// A pool without a lease.
    ///
    /// # Errors
    /// When a setting is out of its range.
    pub fn new(settings: PoolSettings) -> Result<Pool, Problem> {
        settings.check()?;
        Ok(Pool {
            has_lease: false,
            slots: Slots::default(),
            queue: Queue::default(),
            backoff: Backoff::default(),
            run_ms: RETRY_MS_MIN,
            settings,
        })
    }

    pub fn settings(&self) -> &PoolSettings {
        &self.settings
    }

    pub fn has_lease(&self) -> bool {
        self.has_lease
    }

    /// How many slots are in which state, and how many calls wait.
    pub fn counts(&self) -> Counts {
        Counts { waiting: self.queue.len() as u32, ..self.slots.counts() }
    }

    /// Takes what has happened. What comes too late to matter changes nothing.
    pub fn take(&mut self, event: Event, now_ms: u64) -> Vec<Effect> {
        let mut effects = Vec::new();
        match event {
            Event::Wanted { tenant, ticket, is_session, deadline_ms } => {
                let waiting = Waiting { tenant, ticket, is_session, deadline_ms };
                self.want(waiting, now_ms, &mut effects);
            }
            Event::Gone { ticket } => {
                if !self.queue.remove(ticket)
                    && let Some(slot) = self.slots.running(ticket)
                {
                    self.close(slot, now_ms, &mut effects);
                }
            }
            Event::Started { slot } => match self.slots.state(slot) {
                Some(State::Starting) => self.slots.enter(slot, State::Idle, now_ms),
                // Nobody asked for it.
                None => effects.push(Effect::Close { slot }),
                Some(_) => {}
            },
            Event::Ended { slot, is_clean } => self.end(slot, is_clean, now_ms, &mut effects),
            Event::Recycled { slot, is_clean } => {
                if self.slots.state(slot) == Some(&State::Recycling) {
                    if is_clean {
                        self.slots.enter(slot, State::Idle, now_ms);
                    } else {
                        self.close(slot, now_ms, &mut effects);
                    }
                }
            }
            Event::StartFailed { slot } | Event::Closed { slot } => self.closed(slot, now_ms),
            Event::LostLease => self.lose(now_ms, &mut effects),
            Event::GotLease => self.has_lease = true,
            Event::Tick => {}
        }
        self.go_on(now_ms, &mut effects);
        effects
    }

    /// When [`Event::Tick`] has something to do, if nothing else happens before.
    pub fn wake_ms(&self) -> Option<u64> {
        if !self.has_lease {
            return None;
        }
        let PoolSettings { start_ms, idle_ms, warm_min, .. } = self.settings;
        let counts = self.slots.counts();
        let starts = self.slots.since(&State::Starting).map(|since| since.saturating_add(start_ms));
        let idles = self.slots.since(&State::Idle).map(|since| since.saturating_add(idle_ms));
        let idles = idles.filter(|_| counts.idle > warm_min);
        // While one starts, its end says more than the clock.
        let is_blocked = counts.starting == 0 && self.wanted() > 0;
        let blocked = self.backoff.until_ms().filter(|_| is_blocked);
        starts.chain(idles).chain(blocked).chain(self.queue.deadlines()).min()
    }

    fn want(&mut self, waiting: Waiting, now_ms: u64, effects: &mut Vec<Effect>) {
        let ticket = waiting.ticket;
        if self.queue.holds(ticket) || self.slots.running(ticket).is_some() {
            return;
        }
        match self.why_not(&waiting, now_ms) {
            Some((reason, retry_after_ms)) => {
                effects.push(Effect::Refuse { ticket, reason, retry_after_ms });
            }
            None => self.queue.push(waiting),
        }
    }

    fn why_not(&self, waiting: &Waiting, now_ms: u64) -> Option<(Reason, u64)> {
        let PoolSettings { queue_max, tenant_queue_max, tenant_running_max, .. } = self.settings;
        if !self.has_lease {
            return Some((Reason::Moved, MOVED_MS));
        }
        if waiting.deadline_ms <= now_ms {
            return Some((Reason::Deadline, 0));
        }
        let counts = self.slots.counts();
        let running = self.slots.running_of(&waiting.tenant);
        if counts.idle > 0 && running < tenant_running_max {
            return None;
        }
        let until_ms = self.backoff.until_ms().unwrap_or(0);
        if !counts.is_live() && until_ms >= waiting.deadline_ms {
            return Some((Reason::StartsFail, until_ms.saturating_sub(now_ms)));
        }
        if self.queue.len_of(&waiting.tenant) >= tenant_queue_max as usize {
            return Some((Reason::TenantQueue, self.retry_after_ms(running.max(1))));
        }
        if self.queue.len() >= queue_max as usize {
            return Some((Reason::Queue, self.retry_after_ms(counts.running.max(1))));
        }
        None
    }

    /// How long it takes until so many slots have run what waits.
    fn retry_after_ms(&self, slots: u32) -> u64 {
        let waiting = self.queue.len() as u64 + 1;
        let all_ms = self.run_ms.saturating_mul(waiting) / u64::from(slots.max(1));
        all_ms.clamp(RETRY_MS_MIN, RETRY_MS_MAX)
    }

    fn end(&mut self, slot: SlotId, is_clean: bool, now_ms: u64, effects: &mut Vec<Effect>) {
        let Some(State::Running { is_session, .. }) = self.slots.state(slot) else { return };
        let may_recycle = is_clean && self.settings.recycles && !is_session;
        let took_ms = now_ms.saturating_sub(self.slots.entered_ms(slot));
        self.run_ms = (self.run_ms.saturating_mul(7).saturating_add(took_ms)) / 8;
        if is_clean {
            self.backoff.succeed();
        }
        if may_recycle {
            self.slots.enter(slot, State::Recycling, now_ms);
            effects.push(Effect::Recycle { slot });
        } else {
            self.close(slot, now_ms, effects);
        }
    }

    /// A slot is away, because it was told to, or by itself.
    fn closed(&mut self, slot: SlotId, now_ms: u64) {
        let age_ms = now_ms.saturating_sub(self.slots.created_ms(slot));
        match self.slots.remove(slot) {
            Some(State::Starting) => self.backoff.fail(&self.settings, now_ms),
            Some(State::Idle) if age_ms < self.settings.young_ms => {
                self.backoff.fail(&self.settings, now_ms);
            }
            // One that dies under a tenant's code says nothing about the pool.
            _ => {}
        }
    }

    fn close(&mut self, slot: SlotId, now_ms: u64, effects: &mut Vec<Effect>) {
        self.slots.enter(slot, State::Closing, now_ms);
        effects.push(Effect::Close { slot });
    }

    fn lose(&mut self, now_ms: u64, effects: &mut Vec<Effect>) {
        self.has_lease = false;
        for waiting in self.queue.drain() {
            let (ticket, reason) = (waiting.ticket, Reason::Moved);
            effects.push(Effect::Refuse { ticket, reason, retry_after_ms: MOVED_MS });
        }
        for slot in self.slots.all_but_closing() {
            self.close(slot, now_ms, effects);
        }
    }

    fn go_on(&mut self, now_ms: u64, effects: &mut Vec<Effect>) {
        for waiting in self.queue.take_overdue(now_ms) {
            let (ticket, reason) = (waiting.ticket, Reason::Deadline);
            effects.push(Effect::Refuse { ticket, reason, retry_after_ms: 0 });
        }
        if !self.has_lease {
            return;
        }
        self.give(now_ms, effects);
        for slot in self.slots.entered_before(&State::Starting, now_ms, self.settings.start_ms) {
            self.backoff.fail(&self.settings, now_ms);
            self.close(slot, now_ms, effects);
        }
        let old = self.slots.entered_before(&State::Idle, now_ms, self.settings.idle_ms);
        // The newest first, so that the oldest ones stay and the pool has few slots to look at.
        for slot in old.into_iter().rev() {
            if self.slots.counts().idle > self.settings.warm_min {
                self.close(slot, now_ms, effects);
            }
        }
        self.give_up(now_ms, effects);
        let starting = self.slots.counts().starting;
        let may_start = self.backoff.may_start(now_ms, starting, self.settings.starts_max);
        for _ in 0..self.wanted().min(may_start) {
            effects.push(Effect::Start { slot: self.slots.start(now_ms) });
        }
    }

    fn give(&mut self, now_ms: u64, effects: &mut Vec<Effect>) {
        while let Some(slot) = self.slots.idle() {
            let most = self.settings.tenant_running_max;
            let slots = &self.slots;
            let next = self.queue.next(|tenant| slots.running_of(tenant) < most);
            let Some(Waiting { tenant, ticket, is_session, .. }) = next else { return };
            self.slots.enter(slot, State::Running { tenant, ticket, is_session }, now_ms);
            effects.push(Effect::Give { slot, ticket });
        }
    }

    /// Refuses at once what no slot can be there for in time.
    fn give_up(&mut self, now_ms: u64, effects: &mut Vec<Effect>) {
        let Some(until_ms) = self.backoff.until_ms().filter(|until_ms| *until_ms > now_ms) else {
            return;
        };
        if self.slots.counts().is_live() {
            return;
        }
        for waiting in self.queue.take_overdue(until_ms) {
            let (ticket, reason) = (waiting.ticket, Reason::StartsFail);
            let retry_after_ms = until_ms - now_ms;
            effects.push(Effect::Refuse { ticket, reason, retry_after_ms });
        }
    }

    /// Slots that shall be started, as far as there is room: the warm minimum, and a share of those
    /// that wait and may run.
    fn wanted(&self) -> u32 {
        let PoolSettings { warm_min, slots_max, waiting_per_start, .. } = self.settings;
        let counts = self.slots.counts();
        let most = self.settings.tenant_running_max;
        let waiting = self.queue.ready(|tenant| most - self.slots.running_of(tenant).min(most));
        let needed = waiting.div_ceil(waiting_per_start).saturating_add(warm_min);
        let coming = counts.idle + counts.starting + counts.recycling;
        needed.saturating_sub(coming).min(slots_max.saturating_sub(self.slots.len()))
    }
}
