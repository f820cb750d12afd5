//! An edge's book played by hand, in short words.

use super::{amounts, limit};
use crate::{
    Admission, Allowance, Amounts, Ask, Clocks, EdgeBook, EdgeEffect, EdgeSettings, Exhausted,
    Refusal, Report, Reservation, TicketId, Unit, Window,
};

pub(super) const TENANT: &str = "acme";
/// A minute of UTC begins here.
pub(super) const WALL_MS: u64 = 1_709_208_000_000;

pub(super) struct Hand {
    pub(super) book: EdgeBook,
    pub(super) at: Clocks,
    ids: u128,
    tickets: u64,
}

/// Tokens for one request; money is not counted.
pub(super) fn tokens(tokens: u64) -> Amounts {
    amounts(1, tokens, 0)
}

/// Enough requests, and so many tokens.
pub(super) fn allowance(ask: &Ask, tokens: u64) -> Allowance {
    Allowance {
        id: ask.id,
        amounts: amounts(100, tokens, Amounts::UNLIMITED),
        valid_ms: 2_000,
        outage_budget: amounts(3, 30, Amounts::UNLIMITED),
        revision: 1,
        standing: Vec::new(),
    }
}

pub(super) fn used_up(remaining: u64, resets_in_ms: u64) -> Exhausted {
    let limit = limit(None, Unit::Tokens, Window::Minute, 100);
    Exhausted { limit, remaining, resets_in_ms }
}

impl Hand {
    pub(super) fn new(settings: EdgeSettings) -> Hand {
        let at = Clocks { now_ms: 5_000, wall_ms: WALL_MS };
        Hand { book: EdgeBook::new("edge-1", settings), at, ids: 0, tickets: 0 }
    }

    /// A book that holds so many tokens for the model "large".
    pub(super) fn holding(held: u64, settings: EdgeSettings) -> Hand {
        let mut hand = Hand::new(settings);
        let ask = hand.asks("large", 1);
        let effects = hand.grants(&ask, held);
        assert!(matches!(effects[..], [EdgeEffect::Admit { .. }]), "{effects:?}");
        let EdgeEffect::Admit { reservation, .. } = &effects[0] else { unreachable!("it is") };
        assert_eq!(hand.settle(reservation, None), []);
        hand
    }

    pub(super) fn pass(&mut self, by_ms: u64) {
        self.at.now_ms += by_ms;
        self.at.wall_ms += by_ms;
    }

    pub(super) fn reserve(&mut self, model: &str, need: u64) -> (Admission, Vec<EdgeEffect>) {
        self.reserve_of(TENANT, model, need)
    }

    pub(super) fn reserve_of(
        &mut self,
        tenant: &str,
        model: &str,
        need: u64,
    ) -> (Admission, Vec<EdgeEffect>) {
        self.tickets += 1;
        let (ticket, mut effects) = (TicketId(self.tickets), Vec::new());
        let ids = &mut self.ids;
        let mut draw = || next(ids);
        let need = tokens(need);
        let admission =
            self.book.reserve(self.at, tenant, model, need, ticket, &mut draw, &mut effects);
        (admission, effects)
    }

    /// Admitted at once, with nothing more to do.
    pub(super) fn reserves(&mut self, model: &str, need: u64) -> Reservation {
        match self.reserve(model, need) {
            (Admission::Reserved(reservation), effects) if effects.is_empty() => reservation,
            other => panic!("{other:?}"),
        }
    }

    /// Waits, and nothing is asked.
    pub(super) fn waits(&mut self, model: &str, need: u64) -> TicketId {
        assert_eq!(self.reserve(model, need), (Admission::Waiting, Vec::new()));
        TicketId(self.tickets)
    }

    /// Waits, and the owner is asked.
    pub(super) fn asks(&mut self, model: &str, need: u64) -> Ask {
        match self.reserve(model, need) {
            (Admission::Waiting, effects) => only_ask(effects),
            other => panic!("{other:?}"),
        }
    }

    /// Refused at once.
    pub(super) fn refuses(&mut self, model: &str, need: u64) -> Refusal {
        match self.reserve(model, need) {
            (Admission::Refused(refusal), effects) if effects.is_empty() => refusal,
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn grants(&mut self, ask: &Ask, held: u64) -> Vec<EdgeEffect> {
        self.answered(ask, Some(Ok(allowance(ask, held))))
    }

    pub(super) fn answered(
        &mut self,
        ask: &Ask,
        answer: Option<Result<Allowance, Exhausted>>,
    ) -> Vec<EdgeEffect> {
        let (ids, mut effects) = (&mut self.ids, Vec::new());
        let mut draw = || next(ids);
        self.book.answered(self.at, TENANT, ask, answer, &mut draw, &mut effects);
        effects
    }

    pub(super) fn settle(
        &mut self,
        reservation: &Reservation,
        used: Option<u64>,
    ) -> Vec<EdgeEffect> {
        let mut effects = Vec::new();
        self.book.settle(self.at, reservation, used.map(tokens), &mut effects);
        effects
    }

    pub(super) fn reported(&mut self, report: &Report, written: bool) -> Vec<EdgeEffect> {
        let mut effects = Vec::new();
        self.book.reported(self.at.now_ms, TENANT, report.number, written, &mut effects);
        effects
    }

    pub(super) fn wake(&mut self) -> (Option<u64>, Vec<EdgeEffect>) {
        let (ids, mut effects) = (&mut self.ids, Vec::new());
        let mut draw = || next(ids);
        let due_ms = self.book.wake(self.at, &mut draw, &mut effects);
        (due_ms, effects)
    }
}

fn next(ids: &mut u128) -> u128 {
    *ids += 1;
    *ids
}

/// The one ask, and nothing else.
pub(super) fn only_ask(effects: Vec<EdgeEffect>) -> Ask {
    match <[EdgeEffect; 1]>::try_from(effects) {
        Ok([EdgeEffect::Ask { ask, .. }]) => ask,
        other => panic!("{other:?}"),
    }
}

/// The one report, and nothing else.
pub(super) fn only_report(effects: Vec<EdgeEffect>) -> Report {
    match <[EdgeEffect; 1]>::try_from(effects) {
        Ok([EdgeEffect::Report { report, .. }]) => report,
        other => panic!("{other:?}"),
    }
}

/// The tickets admitted and those refused, in their order.
pub(super) fn outcomes(effects: &[EdgeEffect]) -> (Vec<TicketId>, Vec<TicketId>) {
    let (mut admitted, mut refused) = (Vec::new(), Vec::new());
    for effect in effects {
        match effect {
            EdgeEffect::Admit { ticket, .. } => admitted.push(*ticket),
            EdgeEffect::Refuse { ticket, .. } => refused.push(*ticket),
            _ => {}
        }
    }
    (admitted, refused)
}
