//! The network between clients and node: messages may be lost, late, doubled and overtaken.

use tokio::sync::mpsc::UnboundedSender;

use crate::faults::{Faults, Kind};
use crate::world::World;

/// Longest ordinary way, in ms.
const WAY_MS: u64 = 3;
/// Longest way of a late message, in ms.
const LATE_MS: u64 = 9_000;

#[derive(Clone)]
pub(crate) struct Network {
    world: World,
    faults: Faults,
}

impl Network {
    pub(crate) fn new(world: &World, faults: &Faults) -> Self {
        Network { world: world.clone(), faults: faults.clone() }
    }

    /// Sends a message on its way. A receiver that is gone loses it, as on a real network.
    pub(crate) fn send<T: Clone + Send + 'static>(&self, to: &UnboundedSender<T>, message: T) {
        if self.faults.strike(Kind::MessageLost) {
            return;
        }
        let copies = if self.faults.strike(Kind::MessageTwice) { 2 } else { 1 };
        for _ in 0..copies {
            let late = self.faults.strike(Kind::MessageLate);
            let way_ms = self.world.between(0, if late { LATE_MS } else { WAY_MS });
            let (to, message, sleep) = (to.clone(), message.clone(), self.world.sleep(way_ms));
            self.world.spawn(async move {
                sleep.await;
                let _ = to.send(message);
            });
        }
    }
}
