//! A reserved share of a team's limits, and of those of its project and user, from its admission
//! to its settlement.

use headwater_tenancy::{Amounts, Payer, Refusal, Reservation, Standing, Unit};

use super::handle::TenancyHandle;
use crate::mutants::{Mutant, planted};

/// A reserved share of the limits of everyone who pays. Dropped without being settled it is given
/// back, and nothing is charged, unless the work has begun.
pub struct Share {
    handle: TenancyHandle,
    /// Of the team, then of the project and the user that have limits.
    reservations: Vec<Reservation>,
    begun: bool,
}

impl Share {
    fn new(handle: TenancyHandle, reservation: Reservation) -> Share {
        Share { handle, reservations: vec![reservation], begun: false }
    }

    /// Another pays, too.
    fn add(&mut self, reservation: Reservation) {
        self.reservations.push(reservation);
    }

    /// Forgets what was reserved.
    fn lose(mut self) {
        self.reservations.clear();
    }

    /// Whether it was admitted in an outage, without the word of some owner.
    pub fn is_unverified(&self) -> bool {
        self.reservations.iter().any(Reservation::is_unverified)
    }

    /// Who pays, and whether without their owner's word.
    pub fn payers(&self) -> impl Iterator<Item = (&str, bool)> {
        self.reservations.iter().map(|held| (held.tenant.as_str(), held.is_unverified()))
    }

    /// How the tightest limits that it was taken from stand now, as far as this node knows.
    pub fn standing(&self) -> Vec<Standing> {
        let of = |held: &Reservation| self.handle.standing(&held.tenant, &held.model);
        let all: Vec<Standing> = self.reservations.iter().flat_map(of).collect();
        let tightest = |unit: Unit| {
            let of_unit = all.iter().filter(|standing| standing.unit == unit);
            of_unit.min_by_key(|standing| (standing.remaining, standing.amount)).copied()
        };
        Unit::ALL.into_iter().filter_map(tightest).collect()
    }

    /// The work begins. From now on a share that is dropped is charged whole: its client left, and
    /// what was done for it until then is not known.
    pub fn begin(&mut self) {
        self.begun = true;
    }

    /// The work that had begun came to nothing, and may begin elsewhere: dropped now, the share
    /// goes back.
    pub fn stop(&mut self) {
        self.begun = false;
    }

    /// Gives the share back: the work came to nothing through no fault of the client.
    pub fn give_back(mut self) {
        self.begun = false;
    }

    /// Charges everyone what was really used, and waits until that is written down: at most
    /// `written_ms`, and not at all in an outage.
    pub async fn settle(mut self, used: Amounts) {
        let handle = self.handle.clone();
        let mut unwritten = Vec::new();
        for (place, reservation) in std::mem::take(&mut self.reservations).iter().enumerate() {
            if place > 0 && planted(Mutant::TeamAloneSettles) {
                handle.refund(reservation);
                continue;
            }
            unwritten.extend(handle.charge(reservation, used));
        }
        if planted(Mutant::SettleDoesNotWait) {
            return;
        }
        handle.wait_until_written(unwritten).await;
    }
}

impl TenancyHandle {
    /// Reserves the estimate from the payer's team, and from the project and the user that have
    /// limits: of all of them or of none. At once where this edge holds allowances that cover it,
    /// else after asking their owners.
    ///
    /// # Errors
    /// [`Refusal`], with the time after which to try again.
    pub async fn reserve<'a>(
        &self,
        payer: impl Into<Payer<'a>>,
        model: &str,
        estimate: Amounts,
    ) -> Result<Share, Refusal> {
        let outcome = self.reserve_all(payer.into(), model, estimate).await;
        self.metrics().admission(match &outcome {
            Ok(share) if share.is_unverified() => "unverified",
            Ok(_) => "admitted",
            Err(Refusal::UsedUp { .. }) => "used_up",
            Err(Refusal::Unanswered { .. }) => "unanswered",
            Err(Refusal::Overloaded { .. }) => "overloaded",
        });
        outcome
    }

    /// Has other books pay for the share, too.
    ///
    /// # Errors
    /// [`Refusal`]; the share stays as it was.
    pub async fn reserve_also(
        &self,
        share: &mut Share,
        subject: &str,
        model: &str,
        estimate: Amounts,
    ) -> Result<(), Refusal> {
        let reservation = self.reserve_from(subject, model, estimate).await?;
        share.add(reservation);
        Ok(())
    }

    async fn reserve_all(
        &self,
        payer: Payer<'_>,
        model: &str,
        estimate: Amounts,
    ) -> Result<Share, Refusal> {
        let first = self.reserve_from(payer.team, model, estimate).await?;
        let mut share = Share::new(self.clone(), first);
        for name in self.limited().of(&payer) {
            // A share that is dropped, by a refusal here or by whoever waits, goes back.
            match self.reserve_from(&name, model, estimate).await {
                Ok(reservation) => share.add(reservation),
                Err(refusal) if planted(Mutant::RefusalKeepsShares) => {
                    share.lose();
                    return Err(refusal);
                }
                Err(refusal) => return Err(refusal),
            }
        }
        Ok(share)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        for reservation in &self.reservations {
            if self.begun {
                // Nobody waits until it is written down.
                drop(self.handle.charge(reservation, reservation.estimate));
            } else if !planted(Mutant::LeaverKeepsShare) {
                self.handle.refund(reservation);
            }
        }
    }
}
