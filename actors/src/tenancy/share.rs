//! A reserved share of a tenant's limits, from its admission to its settlement.

use headwater_tenancy::{Amounts, Reservation, Standing};

use super::handle::TenancyHandle;
use crate::mutants::{Mutant, planted};

/// A reserved share of a tenant's limits. Dropped without being settled it is given back, and
/// nothing is charged, unless the work has begun.
pub struct Share {
    handle: TenancyHandle,
    reservation: Option<Reservation>,
    begun: bool,
}

impl Share {
    pub(super) fn new(handle: TenancyHandle, reservation: Reservation) -> Share {
        Share { handle, reservation: Some(reservation), begun: false }
    }

    /// Whether it was admitted in an outage, without the owner's word.
    pub fn is_unverified(&self) -> bool {
        self.reservation.as_ref().is_some_and(Reservation::is_unverified)
    }

    /// How the limits that it was taken from stand now, as far as this node knows.
    pub fn standing(&self) -> Vec<Standing> {
        let of = |held: &Reservation| self.handle.standing(&held.tenant, &held.model);
        self.reservation.as_ref().map(of).unwrap_or_default()
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

    /// Charges what was really used, and waits until that is written down: at most
    /// `written_ms`, and not at all in an outage.
    pub async fn settle(mut self, used: Amounts) {
        let Some(reservation) = self.reservation.take() else { return };
        let handle = self.handle.clone();
        let Some(written) = handle.charge(&reservation, used) else { return };
        if planted(Mutant::SettleDoesNotWait) {
            return;
        }
        handle.wait_until_written(written).await;
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let Some(reservation) = self.reservation.take() else { return };
        if self.begun {
            // Nobody waits until it is written down.
            drop(self.handle.charge(&reservation, reservation.estimate));
        } else if !planted(Mutant::LeaverKeepsShare) {
            self.handle.refund(&reservation);
        }
    }
}
