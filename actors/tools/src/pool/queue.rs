//! Calls that wait for a slot: the oldest of each tenant first, the tenants by turns.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::Ticket;

/// A call that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Waiting {
    pub(super) tenant: String,
    pub(super) ticket: Ticket,
    pub(super) is_session: bool,
    pub(super) deadline_ms: u64,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Queue {
    by_tenant: BTreeMap<String, VecDeque<Waiting>>,
    /// Tenants with calls that wait; whoever is first has the next turn.
    turns: VecDeque<String>,
    tickets: BTreeSet<Ticket>,
}

impl Queue {
    pub(super) fn len(&self) -> usize {
        self.tickets.len()
    }

    pub(super) fn len_of(&self, tenant: &str) -> usize {
        self.by_tenant.get(tenant).map_or(0, VecDeque::len)
    }

    pub(super) fn holds(&self, ticket: Ticket) -> bool {
        self.tickets.contains(&ticket)
    }

    pub(super) fn push(&mut self, waiting: Waiting) {
        self.tickets.insert(waiting.ticket);
        let tenant = waiting.tenant.clone();
        let of_tenant = self.by_tenant.entry(tenant.clone()).or_default();
        if of_tenant.is_empty() {
            self.turns.push_back(tenant);
        }
        of_tenant.push_back(waiting);
    }

    /// The next call of a tenant that may run one more.
    pub(super) fn next(&mut self, may_run: impl Fn(&str) -> bool) -> Option<Waiting> {
        let turn = self.turns.iter().position(|tenant| may_run(tenant))?;
        let tenant = self.turns.remove(turn)?;
        let of_tenant = self.by_tenant.get_mut(&tenant)?;
        let next = of_tenant.pop_front()?;
        if of_tenant.is_empty() {
            self.by_tenant.remove(&tenant);
        } else {
            self.turns.push_back(tenant);
        }
        self.tickets.remove(&next.ticket);
        Some(next)
    }

    /// Calls that could run if there were slots enough.
    pub(super) fn ready(&self, room: impl Fn(&str) -> u32) -> u32 {
        let of_tenants = self.by_tenant.iter();
        of_tenants.map(|(tenant, calls)| room(tenant).min(calls.len() as u32)).sum()
    }

    pub(super) fn remove(&mut self, ticket: Ticket) -> bool {
        self.tickets.contains(&ticket) && !self.take_where(|call| call.ticket == ticket).is_empty()
    }

    pub(super) fn take_overdue(&mut self, now_ms: u64) -> Vec<Waiting> {
        self.take_where(|call| call.deadline_ms <= now_ms)
    }

    pub(super) fn drain(&mut self) -> Vec<Waiting> {
        self.take_where(|_| true)
    }

    pub(super) fn deadlines(&self) -> impl Iterator<Item = u64> {
        self.by_tenant.values().flatten().map(|call| call.deadline_ms)
    }

    fn take_where(&mut self, is_wanted: impl Fn(&Waiting) -> bool) -> Vec<Waiting> {
        let mut taken = Vec::new();
        for calls in self.by_tenant.values_mut() {
            if !calls.iter().any(&is_wanted) {
                continue;
            }
            let (out, kept) = std::mem::take(calls).into_iter().partition(&is_wanted);
            *calls = kept;
            taken.extend::<VecDeque<Waiting>>(out);
        }
        if !taken.is_empty() {
            self.by_tenant.retain(|_, calls| !calls.is_empty());
            self.turns.retain(|tenant| self.by_tenant.contains_key(tenant));
            for call in &taken {
                self.tickets.remove(&call.ticket);
            }
        }
        taken
    }

    /// # Errors
    /// What is wrong with it.
    pub(super) fn check(&self) -> Result<(), String> {
        let calls: Vec<Ticket> =
            self.by_tenant.values().flatten().map(|call| call.ticket).collect();
        let unique: BTreeSet<Ticket> = calls.iter().copied().collect();
        if unique.len() != calls.len() || unique != self.tickets {
            return Err(format!("the queue holds {calls:?} and counts {:?}", self.tickets));
        }
        let turns: BTreeSet<&String> = self.turns.iter().collect();
        let tenants: BTreeSet<&String> = self.by_tenant.keys().collect();
        if turns.len() != self.turns.len() || turns != tenants {
            return Err(format!("tenants {tenants:?} wait and {:?} have turns", self.turns));
        }
        let misplaced = |(tenant, calls): (&String, &VecDeque<Waiting>)| {
            calls.is_empty() || calls.iter().any(|call| call.tenant != *tenant)
        };
        if self.by_tenant.iter().any(misplaced) {
            return Err("a call waits under another tenant, or a tenant without calls".to_owned());
        }
        Ok(())
    }

    pub(super) fn tenants(&self) -> impl Iterator<Item = &String> {
        self.by_tenant.keys()
    }
}
