//! What must hold of a pool at any time, checked in tests and in the simulation alike.

use super::{Pool, PoolSettings};

impl Pool {
    /// # Errors
    /// What does not hold.
    pub fn check(&self) -> Result<(), String> {
        self.slots.check()?;
        self.queue.check()?;
        let PoolSettings { slots_max, queue_max, tenant_queue_max, tenant_running_max, .. } =
            self.settings;
        let counts = self.counts();
        if self.slots.len() > slots_max {
            return Err(format!("{} slots, {slots_max} allowed", self.slots.len()));
        }
        if counts.waiting > queue_max {
            return Err(format!("{} calls wait, {queue_max} allowed", counts.waiting));
        }
        for (tenant, running) in self.slots.by_tenant() {
            if *running > tenant_running_max {
                return Err(format!("{tenant} has {running} slots, {tenant_running_max} allowed"));
            }
        }
        for tenant in self.queue.tenants() {
            let waiting = self.queue.len_of(tenant);
            if waiting > tenant_queue_max as usize {
                return Err(format!(
                    "{waiting} calls of {tenant} wait, {tenant_queue_max} allowed"
                ));
            }
            let may_run = self.slots.running_of(tenant) < tenant_running_max;
            if counts.idle > 0 && may_run {
                return Err(format!("{tenant} waits while {} slots are idle", counts.idle));
            }
        }
        if !self.has_lease && (counts.is_live() || counts.waiting > 0) {
            return Err(format!("without the lease there are {counts:?}"));
        }
        Ok(())
    }
}
