//! A tool's own quotas: what all callers of one team may use of it together. They are limits of a
//! project of the team's books, which the tool's definition sets.

use std::sync::PoisonError;

use headwater_tenancy::{Limit, Limits, Unit, Window};
use headwater_tools::call::Refusal;

use super::handle::ToolsHandle;
use super::ready::Ready;

/// Limits that this node has set; the books keep them.
const REMEMBERED: usize = 10_000;

impl ToolsHandle {
    /// The name of the books that count the tool's own quotas for the caller's team, once the
    /// limits stand in them; none where the tool has no quotas.
    pub(super) async fn quota_of(&self, ready: &Ready) -> Result<Option<String>, Refusal> {
        let quotas = ready.definition.quotas;
        let limit = |unit: Unit, window: Window, amount: Option<u64>| {
            amount.map(|amount| Limit { unit, window, model: None, amount })
        };
        let limits: Vec<Limit> = [
            limit(Unit::Requests, Window::Minute, quotas.calls_per_minute),
            limit(Unit::MicroUsd, Window::Day, quotas.microdollars_per_day),
        ]
        .into_iter()
        .flatten()
        .collect();
        if limits.is_empty() {
            return Ok(None);
        }
        let subject = format!("{}/tool.{}", ready.key.team, ready.definition.name);
        let wanted = (subject.clone(), limits.clone());
        let is_set = {
            let set = self.shared.quotas.lock().unwrap_or_else(PoisonError::into_inner);
            set.get(&subject) == Some(&limits)
        };
        if is_set {
            return Ok(Some(subject));
        }
        let asked = self.shared.tenancy.look(&subject).await;
        let stands = asked.is_ok_and(|books| books.limits.limits == limits);
        if !stands {
            let set = self.shared.tenancy.set_limits(&subject, Limits { revision: 0, limits });
            set.await.map_err(|_| Refusal::StorageDown { retry_after_ms: 1_000 })?;
        }
        let mut set = self.shared.quotas.lock().unwrap_or_else(PoisonError::into_inner);
        if set.len() >= REMEMBERED {
            set.clear();
        }
        set.insert(wanted.0, wanted.1);
        Ok(Some(subject))
    }
}
