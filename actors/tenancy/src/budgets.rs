//! What an edge may admit in an outage, by tenant and model, remembered while nothing else is.

use std::collections::{BTreeMap, VecDeque};

use crate::amounts::Amounts;

/// Most budgets that are remembered; the first that was learned goes first.
const BUDGETS_MAX: usize = 65_536;

#[derive(Debug, Default)]
pub(crate) struct Budgets {
    known: BTreeMap<String, BTreeMap<String, Amounts>>,
    /// In the order of learning.
    order: VecDeque<(String, String)>,
}

impl Budgets {
    /// The last allowance for this tenant and model said so.
    pub(crate) fn learn(&mut self, tenant: &str, model: &str, budget: Amounts) {
        let known = self.known.get_mut(tenant).and_then(|models| models.get_mut(model));
        if let Some(known) = known {
            *known = budget;
            return;
        }
        if self.order.len() >= BUDGETS_MAX
            && let Some((tenant, model)) = self.order.pop_front()
        {
            self.forget(&tenant, &model);
        }
        self.known.entry(tenant.to_owned()).or_default().insert(model.to_owned(), budget);
        self.order.push_back((tenant.to_owned(), model.to_owned()));
    }

    pub(crate) fn of(&self, tenant: &str, model: &str) -> Option<Amounts> {
        self.known.get(tenant)?.get(model).copied()
    }

    fn forget(&mut self, tenant: &str, model: &str) {
        let Some(models) = self.known.get_mut(tenant) else { return };
        models.remove(model);
        if models.is_empty() {
            self.known.remove(tenant);
        }
    }
}
