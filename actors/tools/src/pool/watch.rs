//! A witness of what a pool does: it knows only what went in and came out.

use std::collections::BTreeMap;

use super::{Effect, Event, PoolSettings, SlotId, Ticket};

#[derive(Debug, Clone, PartialEq, Eq)]
enum Seen {
    Starting,
    /// Nothing of a tenant is in it.
    Clean,
    Runs(Ticket),
    /// It ran a session, or something that may have left traces.
    Used {
        may_recycle: bool,
    },
    Recycling,
    Closing,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Asked {
    Open { is_session: bool, tenant: String },
    Answered,
    Left,
}

/// See the module. It finds a ticket that is answered twice, a slot that two have, one that is
/// given with something of another tenant in it, and anything done without the lease.
#[derive(Debug, Clone)]
pub struct Watch {
    settings: PoolSettings,
    has_lease: bool,
    slots: BTreeMap<SlotId, Seen>,
    /// Who runs what, by ticket.
    runs: BTreeMap<Ticket, (String, bool)>,
    tickets: BTreeMap<Ticket, Asked>,
}

impl Watch {
    pub fn new(settings: PoolSettings) -> Watch {
        Watch {
            settings,
            has_lease: false,
            slots: BTreeMap::new(),
            runs: BTreeMap::new(),
            tickets: BTreeMap::new(),
        }
    }

    /// Sees an event, and what the pool made of it.
    ///
    /// # Errors
    /// What must not be.
    pub fn see(&mut self, event: &Event, effects: &[Effect]) -> Result<(), String> {
        self.hear(event);
        for effect in effects {
            self.see_effect(effect).map_err(|what| format!("{what}, after {event:?}"))?;
        }
        let most = self.settings.slots_max as usize;
        if self.slots.len() > most {
            return Err(format!("{} slots, {most} allowed, after {event:?}", self.slots.len()));
        }
        Ok(())
    }

    /// Tickets without an answer whose clients still wait.
    pub fn open(&self) -> Vec<Ticket> {
        let open = self.tickets.iter().filter(|(_, asked)| matches!(asked, Asked::Open { .. }));
        open.map(|(ticket, _)| *ticket).collect()
    }

    fn hear(&mut self, event: &Event) {
        match event {
            Event::Wanted { tenant, ticket, is_session, .. } => {
                let asked = Asked::Open { is_session: *is_session, tenant: tenant.clone() };
                self.tickets.entry(*ticket).or_insert(asked);
            }
            Event::Gone { ticket } => {
                if let Some(asked @ Asked::Open { .. }) = self.tickets.get_mut(ticket) {
                    *asked = Asked::Left;
                }
            }
            Event::Started { slot } => {
                if let Some(seen @ Seen::Starting) = self.slots.get_mut(slot) {
                    *seen = Seen::Clean;
                }
            }
            Event::Ended { slot, is_clean } => {
                if let Some(Seen::Runs(ticket)) = self.slots.get(slot).cloned() {
                    let is_session = self.runs.remove(&ticket).is_none_or(|(_, session)| session);
                    let may_recycle = *is_clean && !is_session && self.settings.recycles;
                    self.slots.insert(*slot, Seen::Used { may_recycle });
                }
            }
            Event::Recycled { slot, is_clean } => {
                if let Some(seen @ Seen::Recycling) = self.slots.get_mut(slot) {
                    *seen = if *is_clean { Seen::Clean } else { Seen::Used { may_recycle: false } };
                }
            }
            Event::StartFailed { slot } | Event::Closed { slot } => {
                if let Some(Seen::Runs(ticket)) = self.slots.remove(slot) {
                    self.runs.remove(&ticket);
                }
            }
            Event::LostLease => self.has_lease = false,
            Event::GotLease => self.has_lease = true,
            Event::Tick => {}
        }
    }

    fn see_effect(&mut self, effect: &Effect) -> Result<(), String> {
        match effect {
            Effect::Start { slot } => {
                self.need_lease(effect)?;
                match self.slots.insert(*slot, Seen::Starting) {
                    Some(before) => Err(format!("{slot:?} is started and was {before:?}")),
                    None => Ok(()),
                }
            }
            Effect::Give { slot, ticket } => {
                self.need_lease(effect)?;
                let (tenant, is_session) = self.answer(*ticket)?;
                let running = self.runs.values().filter(|(other, _)| *other == tenant).count();
                if running >= self.settings.tenant_running_max as usize {
                    return Err(format!("{tenant} is given one more than its {running} slots"));
                }
                self.runs.insert(*ticket, (tenant, is_session));
                match self.slots.insert(*slot, Seen::Runs(*ticket)) {
                    Some(Seen::Clean) => Ok(()),
                    before => Err(format!("{slot:?} is given and was {before:?}")),
                }
            }
            Effect::Recycle { slot } => match self.slots.insert(*slot, Seen::Recycling) {
                Some(Seen::Used { may_recycle: true }) => Ok(()),
                before => Err(format!("{slot:?} is recycled and was {before:?}")),
            },
            Effect::Close { slot } => match self.slots.get_mut(slot) {
                Some(Seen::Closing) => Err(format!("{slot:?} is closed twice")),
                Some(seen) => {
                    if let Seen::Runs(ticket) = std::mem::replace(seen, Seen::Closing) {
                        self.runs.remove(&ticket);
                    }
                    Ok(())
                }
                None => Ok(()),
            },
            Effect::Refuse { ticket, .. } => self.answer(*ticket).map(|_| ()),
        }
    }

    fn need_lease(&self, effect: &Effect) -> Result<(), String> {
        if self.has_lease { Ok(()) } else { Err(format!("{effect:?} without the lease")) }
    }

    fn answer(&mut self, ticket: Ticket) -> Result<(String, bool), String> {
        match self.tickets.insert(ticket, Asked::Answered) {
            Some(Asked::Open { is_session, tenant }) => Ok((tenant, is_session)),
            before => Err(format!("{ticket:?} is answered and was {before:?}")),
        }
    }
}
