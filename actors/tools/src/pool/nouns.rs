//! What a pool is told in: settings, what happens, what is to be done.

use crate::call::Problem;

/// A slot, by its number in the life of its pool. No number is used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct SlotId(pub u64);

/// One call that wants a slot. No ticket is used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(pub u64);

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolSettings {
    /// Slots that wait for calls, as far as `slots_max` leaves room.
    pub warm_min: u32,
    /// All slots, those that close included.
    pub slots_max: u32,
    /// Calls that wait.
    pub queue_max: u32,
    pub tenant_queue_max: u32,
    pub tenant_running_max: u32,
    /// Another slot is started for so many calls that wait.
    pub waiting_per_start: u32,
    /// Slots that start at once.
    pub starts_max: u32,
    /// A start that takes longer has failed, in ms.
    pub start_ms: u64,
    /// A slot beyond the warm minimum that had nothing to do for so long is closed, in ms.
    pub idle_ms: u64,
    /// A slot that dies younger than this, before it was given, counts as a start that failed.
    pub young_ms: u64,
    /// How long nothing is started after a start that failed; twice as long after each further
    /// one, up to `backoff_max_ms`.
    pub backoff_base_ms: u64,
    pub backoff_max_ms: u64,
    /// The engine can prove a used slot clean.
    pub recycles: bool,
}

impl Default for PoolSettings {
    fn default() -> Self {
        PoolSettings {
            warm_min: 2,
            slots_max: 32,
            queue_max: 256,
            tenant_queue_max: 64,
            tenant_running_max: 16,
            waiting_per_start: 1,
            starts_max: 4,
            start_ms: 30_000,
            idle_ms: 60_000,
            young_ms: 1_000,
            backoff_base_ms: 200,
            backoff_max_ms: 60_000,
            recycles: false,
        }
    }
}

impl PoolSettings {
    /// # Errors
    /// When a setting is out of its range.
    pub fn check(&self) -> Result<(), Problem> {
        const DAY_MS: u64 = 86_400_000;
        const MOST: u64 = 100_000;
        for (field, value, least, most) in [
            ("slots_max", u64::from(self.slots_max), 1, MOST),
            ("warm_min", u64::from(self.warm_min), 0, u64::from(self.slots_max)),
            ("queue_max", u64::from(self.queue_max), 0, MOST),
            ("tenant_queue_max", u64::from(self.tenant_queue_max), 0, MOST),
            ("tenant_running_max", u64::from(self.tenant_running_max), 1, MOST),
            ("waiting_per_start", u64::from(self.waiting_per_start), 1, MOST),
            ("starts_max", u64::from(self.starts_max), 1, MOST),
            ("start_ms", self.start_ms, 1, DAY_MS),
            ("idle_ms", self.idle_ms, 1, DAY_MS),
            ("young_ms", self.young_ms, 0, DAY_MS),
            ("backoff_base_ms", self.backoff_base_ms, 1, DAY_MS),
            ("backoff_max_ms", self.backoff_max_ms, self.backoff_base_ms, DAY_MS),
        ] {
            if !(least..=most).contains(&value) {
                return Err(Problem::new(field, format!("is {value}; must be {least} to {most}")));
            }
        }
        Ok(())
    }
}

/// What happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    Wanted {
        tenant: String,
        ticket: Ticket,
        /// The slot keeps files from call to call: it is closed at its end.
        is_session: bool,
        deadline_ms: u64,
    },
    /// Nobody waits for it any more, or it is to be stopped.
    Gone {
        ticket: Ticket,
    },
    Started {
        slot: SlotId,
    },
    /// Nothing of the slot is left.
    StartFailed {
        slot: SlotId,
    },
    /// The call is over; clean: it ended as a program ends, and the slot still answers.
    Ended {
        slot: SlotId,
        is_clean: bool,
    },
    /// The engine has proved the slot clean, or could not.
    Recycled {
        slot: SlotId,
        is_clean: bool,
    },
    /// Nothing of the slot is left: it was closed, or died.
    Closed {
        slot: SlotId,
    },
    LostLease,
    GotLease,
    Tick,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Told of by [`Event::Started`] or [`Event::StartFailed`].
    Start { slot: SlotId },
    /// The answer to a ticket. Told of by [`Event::Ended`].
    Give { slot: SlotId, ticket: Ticket },
    /// Told of by [`Event::Recycled`].
    Recycle { slot: SlotId },
    /// Ends the slot, whatever it does, its start included. Told of by [`Event::Closed`].
    Close { slot: SlotId },
    /// The answer to a ticket. 0 where trying again does not help.
    Refuse { ticket: Ticket, reason: Reason, retry_after_ms: u64 },
}

/// Why a ticket gets no slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// Too many calls wait.
    Queue,
    /// Too many calls of this tenant wait.
    TenantQueue,
    /// It waited until its deadline.
    Deadline,
    /// No slot starts, and none will before the deadline.
    StartsFail,
    /// Another node has the pool.
    Moved,
}

impl Reason {
    pub fn name(self) -> &'static str {
        match self {
            Reason::Queue => "queue",
            Reason::TenantQueue => "tenant_queue",
            Reason::Deadline => "deadline",
            Reason::StartsFail => "starts_fail",
            Reason::Moved => "moved",
        }
    }
}

/// Slots by state, and calls that wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    pub starting: u32,
    pub idle: u32,
    pub running: u32,
    pub recycling: u32,
    pub closing: u32,
    pub waiting: u32,
}

impl Counts {
    /// Whether there is a slot that serves, or soon will.
    pub fn is_live(&self) -> bool {
        self.starting + self.idle + self.running + self.recycling > 0
    }
}
