//! An edge's book: reserves locally, asks the owner when an allowance runs short, settles, and
//! admits within a bound when nobody answers.

use std::collections::BTreeMap;

use crate::admission::{Admission, Clocks, EdgeEffect, EdgeSettings, Reservation, TicketId};
use crate::amounts::Amounts;
use crate::budgets::Budgets;
use crate::edge_slot::{Asking, Live, Slot, UsedUp, Waiting};
use crate::ledger::{Allowance, AllowanceId, Ask, Entry, EntryId, Exhausted, Standing};
use crate::mutants::{Mutant, planted};
use crate::outbox::Outbox;
use crate::waiting::{
    admit_in_outage, admit_waiting, decide_in_outage, overloaded, refusal, refuse_waiting,
};

#[derive(Debug, Default)]
struct Tenant {
    slots: BTreeMap<String, Slot>,
    outbox: Outbox,
}

/// See the module.
pub struct EdgeBook {
    node: String,
    settings: EdgeSettings,
    tenants: BTreeMap<String, Tenant>,
    /// Outlive the tenants: one that is idle may come back in an outage.
    budgets: Budgets,
    /// The next report's.
    next_number: u64,
}

impl EdgeBook {
    /// A book for the edge on this node.
    pub fn new(node: &str, settings: EdgeSettings) -> EdgeBook {
        let (node, budgets) = (node.to_owned(), Budgets::default());
        EdgeBook { node, settings, tenants: BTreeMap::new(), budgets, next_number: 0 }
    }

    /// Reserves the estimate, at once where an allowance covers it. `draw` gives unique numbers.
    #[allow(clippy::too_many_arguments, reason = "one call of the hot path, no struct to build")]
    pub fn reserve(
        &mut self,
        at: Clocks,
        tenant: &str,
        model: &str,
        estimate: Amounts,
        ticket: TicketId,
        draw: &mut dyn FnMut() -> u128,
        effects: &mut Vec<EdgeEffect>,
    ) -> Admission {
        if !self.tenants.get(tenant).is_some_and(|tenant| tenant.slots.contains_key(model)) {
            let slots = &mut self.tenants.entry(tenant.to_owned()).or_default().slots;
            slots.insert(model.to_owned(), Slot::new(self.budgets.of(tenant, model)));
        }
        let settings = self.settings;
        let Some(entry) = self.tenants.get_mut(tenant) else { return overloaded(&settings) };
        let full = entry.outbox.entries() >= settings.entries_max;
        let Some(slot) = entry.slots.get_mut(model) else { return overloaded(&settings) };
        if full {
            return overloaded(&settings);
        }
        // Those who wait came first.
        if slot.waiting.is_empty()
            && let Some(allowance) = slot.take(estimate, at.now_ms)
        {
            return Admission::Reserved(Reservation {
                tenant: tenant.to_owned(),
                model: model.to_owned(),
                estimate,
                allowance: Some(allowance),
                entry: EntryId(draw()),
            });
        }
        if let Some(used_up) = slot.known_used_up(estimate, at.now_ms) {
            return Admission::Refused(refusal(used_up, tenant, at.now_ms));
        }
        if slot.silent_since_ms.is_some() {
            let outcome = admit_in_outage(slot, &settings, at, estimate);
            self.pump(at, tenant, model, draw, effects);
            return match outcome {
                Ok(()) => Admission::Reserved(Reservation {
                    tenant: tenant.to_owned(),
                    model: model.to_owned(),
                    estimate,
                    allowance: None,
                    entry: EntryId(draw()),
                }),
                Err(refusal) => Admission::Refused(refusal),
            };
        }
        if slot.waiting.len() >= settings.waiting_max {
            return overloaded(&settings);
        }
        slot.waiting.push_back(Waiting { ticket, estimate });
        self.pump(at, tenant, model, draw, effects);
        Admission::Waiting
    }

    /// How the limits of this tenant and model stand, as far as this edge knows.
    pub fn standing(&self, now_ms: u64, tenant: &str, model: &str) -> Vec<Standing> {
        let slot = self.tenants.get(tenant).and_then(|tenant| tenant.slots.get(model));
        slot.map(|slot| slot.standing(now_ms)).unwrap_or_default()
    }

    /// A waiting request goes away.
    pub fn give_up(&mut self, tenant: &str, model: &str, ticket: TicketId) {
        if let Some(slot) = self.slot(tenant, model) {
            slot.waiting.retain(|waiting| waiting.ticket != ticket);
        }
    }

    /// Ends a reservation with what was really used; `None` when nothing was, and nothing is to
    /// be charged.
    pub fn settle(
        &mut self,
        at: Clocks,
        reservation: &Reservation,
        used: Option<Amounts>,
        effects: &mut Vec<EdgeEffect>,
    ) {
        let Reservation { tenant, model, allowance, entry: id, .. } = reservation;
        let spent = used.unwrap_or_default();
        let above = match self.slot(tenant, model) {
            Some(slot) => slot.settle(reservation, spent),
            None => spent.minus(reservation.estimate),
        };
        let unverified = reservation.is_unverified();
        let uncovered = if unverified { spent } else { above };
        let outbox = &mut self.tenants.entry(tenant.clone()).or_default().outbox;
        if used.is_some() {
            outbox.push(Entry {
                id: *id,
                model: model.clone(),
                used: spent,
                uncovered,
                unverified: unverified && !planted(Mutant::OutageUnmarked),
                allowance: *allowance,
                at_ms: at.wall_ms,
            });
        }
        self.collect(at.now_ms, tenant, effects);
    }

    /// The owner's answer to an ask, or that there is none.
    pub fn answered(
        &mut self,
        at: Clocks,
        tenant: &str,
        ask: &Ask,
        answer: Option<Result<Allowance, Exhausted>>,
        draw: &mut dyn FnMut() -> u128,
        effects: &mut Vec<EdgeEffect>,
    ) {
        let (settings, model) = (self.settings, ask.model.clone());
        let Some(slot) = self.slot(tenant, &model) else { return };
        let Some(Asking { asked_ms, .. }) = slot.asking.take_if(|asking| asking.id == ask.id)
        else {
            return;
        };
        if answer.is_some() && slot.silent_since_ms.take().is_some() {
            let (tenant, model) = (tenant.to_owned(), model.clone());
            effects.push(EdgeEffect::Outage { tenant, model, began: false });
        }
        match answer {
            Some(Ok(allowance)) => {
                slot.retire();
                let budget = allowance.outage_budget;
                slot.outage_budget = Some(budget);
                (slot.standing, slot.standing_ms) = (allowance.standing.clone(), at.now_ms);
                slot.live = Some(Live::new(&allowance, asked_ms));
                (slot.used_up, slot.recent, slot.ask_again_ms) = (None, Amounts::ZERO, 0);
                admit_waiting(slot, tenant, &model, at.now_ms, draw, effects);
                self.budgets.learn(tenant, &model, budget);
            }
            Some(Err(exhausted)) => {
                let resets_ms = at.now_ms.saturating_add(exhausted.resets_in_ms);
                let until_ms = at.now_ms.saturating_add(settings.used_up_ms).min(resets_ms);
                let used_up = UsedUp { exhausted, until_ms, resets_ms };
                refuse_waiting(slot, &used_up, tenant, at.now_ms, effects);
                slot.used_up = Some(used_up);
            }
            None => {
                slot.ask_again_ms = at.now_ms.saturating_add(settings.retry_ms);
                if slot.silent_since_ms.is_none() {
                    slot.silent_since_ms = Some(at.now_ms);
                    let (tenant, model) = (tenant.to_owned(), model.clone());
                    effects.push(EdgeEffect::Outage { tenant, model, began: true });
                }
                decide_in_outage(slot, &settings, at, tenant, &model, draw, effects);
            }
        }
        self.collect(at.now_ms, tenant, effects);
        self.pump(at, tenant, &model, draw, effects);
    }

    /// Whether a report was written down. Without a word it is sent again.
    pub fn reported(
        &mut self,
        now_ms: u64,
        tenant: &str,
        number: u64,
        written: bool,
        effects: &mut Vec<EdgeEffect>,
    ) {
        let again_ms = now_ms.saturating_add(self.settings.retry_ms);
        let Some(entry) = self.tenants.get_mut(tenant) else { return };
        if written {
            let entries = entry.outbox.written(number);
            effects.push(EdgeEffect::Written { entries });
        } else {
            entry.outbox.failed(number, again_ms);
        }
        self.collect(now_ms, tenant, effects);
    }

    /// Does what is due by now, and says when to come again; monotonic ms.
    pub fn wake(
        &mut self,
        at: Clocks,
        draw: &mut dyn FnMut() -> u128,
        effects: &mut Vec<EdgeEffect>,
    ) -> Option<u64> {
        let names: Vec<String> = self.tenants.keys().cloned().collect();
        let mut next_ms: Option<u64> = None;
        for name in names {
            self.collect(at.now_ms, &name, effects);
            let Some(tenant) = self.tenants.get(&name) else { continue };
            let models: Vec<String> = tenant.slots.keys().cloned().collect();
            for model in &models {
                self.pump(at, &name, model, draw, effects);
            }
            let Some(tenant) = self.tenants.get_mut(&name) else { continue };
            tenant.slots.retain(|_, slot| !slot.is_idle(at));
            let slots = tenant.slots.values().filter_map(|slot| slot.due_ms(at));
            let due_ms = slots.chain(tenant.outbox.due_ms()).min();
            next_ms = [next_ms, due_ms].into_iter().flatten().min();
            if tenant.slots.is_empty() && tenant.outbox.is_empty() {
                self.tenants.remove(&name);
            }
        }
        next_ms
    }

    /// Gives every allowance back as soon as no request runs on it: this node leaves.
    pub fn retire_all(&mut self, now_ms: u64, effects: &mut Vec<EdgeEffect>) {
        let names: Vec<String> = self.tenants.keys().cloned().collect();
        for name in names {
            if let Some(tenant) = self.tenants.get_mut(&name) {
                tenant.slots.values_mut().for_each(Slot::retire);
            }
            self.collect(now_ms, &name, effects);
        }
    }

    /// Tenants that are remembered; `wake` forgets those with nothing left to do.
    pub fn tenants(&self) -> usize {
        self.tenants.len()
    }

    /// Entries that are not yet written down.
    pub fn unwritten(&self) -> usize {
        self.tenants.values().map(|tenant| tenant.outbox.entries()).sum()
    }

    /// Reservations under allowances that were not settled yet.
    pub fn open(&self) -> usize {
        let slots = self.tenants.values().flat_map(|tenant| tenant.slots.values());
        slots.map(Slot::open).sum()
    }

    /// Whether nothing has to be told to any owner.
    pub fn is_told(&self) -> bool {
        self.tenants.values().all(|tenant| tenant.outbox.is_empty())
    }

    fn slot(&mut self, tenant: &str, model: &str) -> Option<&mut Slot> {
        self.tenants.get_mut(tenant)?.slots.get_mut(model)
    }

    /// Moves what can go back into the outbox and sends the next report.
    fn collect(&mut self, now_ms: u64, tenant: &str, effects: &mut Vec<EdgeEffect>) {
        let most = self.settings.report_entries;
        let Some(entry) = self.tenants.get_mut(tenant) else { return };
        for slot in entry.slots.values_mut() {
            for given_back in slot.returns(now_ms) {
                entry.outbox.give_back(given_back);
            }
        }
        if let Some(report) = entry.outbox.next(now_ms, most, &mut self.next_number) {
            effects.push(EdgeEffect::Report { tenant: tenant.to_owned(), report });
        }
    }

    /// Asks the owner when somebody waits, or an outage is to be ended, and no ask is under way.
    fn pump(
        &mut self,
        at: Clocks,
        tenant: &str,
        model: &str,
        draw: &mut dyn FnMut() -> u128,
        effects: &mut Vec<EdgeEffect>,
    ) {
        let edge = self.node.clone();
        let Some(slot) = self.slot(tenant, model) else { return };
        if slot.asking.is_some() || at.now_ms < slot.ask_again_ms {
            return;
        }
        let probe = slot.silent_since_ms.map(|_| (Amounts::ZERO, slot.recent));
        let Some((need, want)) = slot.need_and_want().or(probe) else { return };
        let id = AllowanceId(draw());
        slot.asking = Some(Asking { id, asked_ms: at.now_ms });
        let ask = Ask { id, edge, model: model.to_owned(), need, want };
        effects.push(EdgeEffect::Ask { tenant: tenant.to_owned(), ask });
    }
}
