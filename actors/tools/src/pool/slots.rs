//! The slots of a pool by state.

use std::collections::BTreeMap;

use super::{Counts, SlotId, Ticket};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum State {
    Starting,
    Idle,
    Running { tenant: String, ticket: Ticket, is_session: bool },
    Recycling,
    Closing,
}

#[derive(Debug, Clone)]
struct Slot {
    state: State,
    entered_ms: u64,
    created_ms: u64,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Slots {
    slots: BTreeMap<SlotId, Slot>,
    next: u64,
    counts: Counts,
    running: BTreeMap<Ticket, SlotId>,
    by_tenant: BTreeMap<String, u32>,
}

impl Slots {
    pub(super) fn len(&self) -> u32 {
        self.slots.len() as u32
    }

    pub(super) fn counts(&self) -> Counts {
        self.counts
    }

    pub(super) fn state(&self, slot: SlotId) -> Option<&State> {
        self.slots.get(&slot).map(|slot| &slot.state)
    }

    pub(super) fn entered_ms(&self, slot: SlotId) -> u64 {
        self.slots.get(&slot).map_or(0, |slot| slot.entered_ms)
    }

    pub(super) fn created_ms(&self, slot: SlotId) -> u64 {
        self.slots.get(&slot).map_or(0, |slot| slot.created_ms)
    }

    /// The slot that runs a ticket.
    pub(super) fn running(&self, ticket: Ticket) -> Option<SlotId> {
        self.running.get(&ticket).copied()
    }

    pub(super) fn running_of(&self, tenant: &str) -> u32 {
        self.by_tenant.get(tenant).copied().unwrap_or(0)
    }

    /// The slot to give next: always the first, so that the last ones become old and are closed.
    pub(super) fn idle(&self) -> Option<SlotId> {
        if self.counts.idle == 0 {
            return None;
        }
        self.slots.iter().find(|(_, slot)| slot.state == State::Idle).map(|(id, _)| *id)
    }

    pub(super) fn start(&mut self, now_ms: u64) -> SlotId {
        self.next += 1;
        let id = SlotId(self.next);
        let slot = Slot { state: State::Starting, entered_ms: now_ms, created_ms: now_ms };
        self.slots.insert(id, slot);
        self.counts.starting += 1;
        id
    }

    pub(super) fn enter(&mut self, id: SlotId, state: State, now_ms: u64) {
        let Some(slot) = self.slots.get_mut(&id) else { return };
        slot.entered_ms = now_ms;
        let before = std::mem::replace(&mut slot.state, state.clone());
        self.leave(&before);
        *self.count(&state) += 1;
        if let State::Running { tenant, ticket, .. } = state {
            self.running.insert(ticket, id);
            *self.by_tenant.entry(tenant).or_default() += 1;
        }
    }

    pub(super) fn remove(&mut self, id: SlotId) -> Option<State> {
        let state = self.slots.remove(&id)?.state;
        self.leave(&state);
        Some(state)
    }

    fn leave(&mut self, state: &State) {
        *self.count(state) -= 1;
        if let State::Running { tenant, ticket, .. } = state {
            self.running.remove(ticket);
            if let Some(running) = self.by_tenant.get_mut(tenant) {
                *running -= 1;
                if *running == 0 {
                    self.by_tenant.remove(tenant);
                }
            }
        }
    }

    fn count(&mut self, state: &State) -> &mut u32 {
        count_of(&mut self.counts, state)
    }

    /// When each slot in this state entered it.
    pub(super) fn since(&self, state: &State) -> impl Iterator<Item = u64> {
        let slots = self.slots.values().filter(move |slot| slot.state == *state);
        slots.map(|slot| slot.entered_ms)
    }

    /// Slots that have been in this state for so long.
    pub(super) fn entered_before(&self, state: &State, now_ms: u64, age_ms: u64) -> Vec<SlotId> {
        let is_old = |slot: &Slot| now_ms.saturating_sub(slot.entered_ms) >= age_ms;
        let slots = self.slots.iter().filter(|(_, slot)| slot.state == *state && is_old(slot));
        slots.map(|(id, _)| *id).collect()
    }

    pub(super) fn all_but_closing(&self) -> Vec<SlotId> {
        let slots = self.slots.iter().filter(|(_, slot)| slot.state != State::Closing);
        slots.map(|(id, _)| *id).collect()
    }

    /// What is counted is what there is.
    ///
    /// # Errors
    /// What is wrong.
    pub(super) fn check(&self) -> Result<(), String> {
        let (mut counts, mut running) = (Counts::default(), BTreeMap::new());
        let mut by_tenant: BTreeMap<String, u32> = BTreeMap::new();
        for (id, slot) in &self.slots {
            *count_of(&mut counts, &slot.state) += 1;
            if let State::Running { tenant, ticket, .. } = &slot.state {
                if let Some(other) = running.insert(*ticket, *id) {
                    return Err(format!("{ticket:?} runs in {other:?} and in {id:?}"));
                }
                *by_tenant.entry(tenant.clone()).or_default() += 1;
            }
        }
        if counts != self.counts {
            return Err(format!("there are {counts:?}, counted are {:?}", self.counts));
        }
        if running != self.running || by_tenant != self.by_tenant {
            return Err(format!("{running:?} of {by_tenant:?} run, and others are counted"));
        }
        Ok(())
    }

    pub(super) fn by_tenant(&self) -> &BTreeMap<String, u32> {
        &self.by_tenant
    }
}

fn count_of<'a>(counts: &'a mut Counts, state: &State) -> &'a mut u32 {
    match state {
        State::Starting => &mut counts.starting,
        State::Idle => &mut counts.idle,
        State::Running { .. } => &mut counts.running,
        State::Recycling => &mut counts.recycling,
        State::Closing => &mut counts.closing,
    }
}
