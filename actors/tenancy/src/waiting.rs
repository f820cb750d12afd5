//! What becomes of the requests that wait: admitted, refused, or admitted in an outage.

use crate::admission::{Admission, Clocks, EdgeEffect, EdgeSettings, Refusal, Reservation};
use crate::amounts::{Amounts, Unit};
use crate::edge_slot::{Slot, UsedUp, Waiting};
use crate::ledger::{EntryId, Exhausted};
use crate::limits::Window;
use crate::mutants::{Mutant, planted};

pub(crate) fn overloaded(settings: &EdgeSettings) -> Admission {
    Admission::Refused(Refusal::Overloaded { retry_after_ms: settings.retry_ms })
}

pub(crate) fn refusal(used_up: &UsedUp, tenant: &str, now_ms: u64) -> Refusal {
    let retry_after_ms = used_up.resets_ms.saturating_sub(now_ms);
    let (tenant, exhausted) = (tenant.to_owned(), used_up.exhausted.clone());
    Refusal::UsedUp { tenant, exhausted, retry_after_ms }
}

pub(crate) fn admit_waiting(
    slot: &mut Slot,
    tenant: &str,
    model: &str,
    now_ms: u64,
    draw: &mut dyn FnMut() -> u128,
    effects: &mut Vec<EdgeEffect>,
) {
    while let Some(Waiting { ticket, estimate }) = slot.waiting.pop_front() {
        let Some(allowance) = slot.take(estimate, now_ms) else {
            slot.waiting.push_front(Waiting { ticket, estimate });
            return;
        };
        let reservation = Reservation {
            tenant: tenant.to_owned(),
            model: model.to_owned(),
            estimate,
            allowance: Some(allowance),
            entry: EntryId(draw()),
        };
        effects.push(EdgeEffect::Admit { ticket, reservation });
    }
}

/// Refuses whoever needs more than is left; the others may ask again.
pub(crate) fn refuse_waiting(
    slot: &mut Slot,
    used_up: &UsedUp,
    tenant: &str,
    now_ms: u64,
    effects: &mut Vec<EdgeEffect>,
) {
    let Exhausted { limit, remaining, .. } = &used_up.exhausted;
    let is_over = |next: &Waiting| next.estimate.get(limit.unit) > *remaining;
    for next in slot.waiting.iter().filter(|next| is_over(next)) {
        let refusal = refusal(used_up, tenant, now_ms);
        effects.push(EdgeEffect::Refuse { ticket: next.ticket, refusal });
    }
    slot.waiting.retain(|next| !is_over(next));
}

/// Whether the edge may admit this by itself, now that nobody answers.
pub(crate) fn admit_in_outage(
    slot: &mut Slot,
    settings: &EdgeSettings,
    at: Clocks,
    estimate: Amounts,
) -> Result<(), Refusal> {
    let since_ms = slot.silent_since_ms.unwrap_or(at.now_ms);
    let over = at.now_ms.saturating_sub(since_ms) >= settings.outage_ms;
    if over && !planted(Mutant::OutageForever) {
        return Err(Refusal::Unanswered { retry_after_ms: settings.retry_ms });
    }
    let minute = Window::Minute.index(at.wall_ms);
    slot.take_in_outage(estimate, minute, settings.outage_fallback).map_err(|_: Unit| {
        let retry_after_ms = Window::Minute.end_ms(minute).saturating_sub(at.wall_ms);
        Refusal::Unanswered { retry_after_ms }
    })
}

pub(crate) fn decide_in_outage(
    slot: &mut Slot,
    settings: &EdgeSettings,
    at: Clocks,
    tenant: &str,
    model: &str,
    draw: &mut dyn FnMut() -> u128,
    effects: &mut Vec<EdgeEffect>,
) {
    while let Some(Waiting { ticket, estimate }) = slot.waiting.pop_front() {
        match admit_in_outage(slot, settings, at, estimate) {
            Ok(()) => {
                let (tenant, model) = (tenant.to_owned(), model.to_owned());
                let entry = EntryId(draw());
                let reservation = Reservation { tenant, model, estimate, allowance: None, entry };
                effects.push(EdgeEffect::Admit { ticket, reservation });
            }
            Err(refusal) => effects.push(EdgeEffect::Refuse { ticket, refusal }),
        }
    }
}
