//! Finds a tenant's owner and asks it, following it when it moved.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use headwater_cluster::NodeId;
use headwater_tenancy::{Operation, Outcome, OwnerProblem};

use super::messages::TenancyError;
use super::transaction::tenant_key;
use super::wire::{Question, Reply, decode_reply, encode_question};
use crate::caller::{CallError, Caller, Service};
use crate::cluster::Members;

/// Pause before the owner is looked for anew, in ms.
const LOOK_AGAIN_MS: u64 = 50;
/// Most tenants whose owner is remembered.
const KNOWN_MAX: usize = 100_000;
/// Longest wait for one node's answer, in ms.
const CALL_MS: u64 = 2_500;

/// Where the tenants' owners were met last.
pub(super) struct Routes {
    caller: Caller,
    members: Members,
    known: Mutex<BTreeMap<String, NodeId>>,
}

impl Routes {
    pub(super) fn new(caller: Caller, members: Members) -> Routes {
        Routes { caller, members, known: Mutex::default() }
    }

    /// Asks the tenant's owner, wherever it is by now, for at most so long.
    ///
    /// # Errors
    /// [`TenancyError`]. The operation may have been done all the same; its ids make a
    /// repetition harmless.
    pub(super) async fn ask(
        &self,
        tenant: &str,
        operation: Operation,
        patience_ms: u64,
    ) -> Result<Outcome, TenancyError> {
        let runtime = self.caller.runtime();
        let deadline_ms = runtime.now_ms().saturating_add(patience_ms);
        let question = encode_question(tenant, &Question::Do(operation));
        let question = question.map_err(|_| TenancyError::StoreDown)?;
        let mut overloaded = false;
        let mut avoid: Option<NodeId> = None;
        loop {
            let left_ms = deadline_ms.saturating_sub(runtime.now_ms());
            if left_ms == 0 {
                return Err(match overloaded {
                    true => TenancyError::Overloaded,
                    false => TenancyError::NoOwner { waited_ms: patience_ms },
                });
            }
            let node = self.node_for(tenant, avoid.take());
            let call_ms = left_ms.min(CALL_MS);
            let answer = self.caller.call(&node, Service::Tenancy, question.clone(), call_ms).await;
            overloaded = false;
            let pause_ms = match answer.map(|bytes| decode_reply(&bytes)) {
                Ok(Ok(Reply::Answered(Ok(outcome)))) => {
                    self.remember(tenant, node);
                    return Ok(outcome);
                }
                Ok(Ok(Reply::Answered(Err(OwnerProblem::StoreDown)))) => {
                    return Err(TenancyError::StoreDown);
                }
                Ok(Ok(Reply::Answered(Err(OwnerProblem::Overloaded))))
                | Err(CallError::Overloaded { .. }) => {
                    overloaded = true;
                    LOOK_AGAIN_MS
                }
                Ok(Ok(Reply::Moved { to, remaining_ms })) => {
                    let reachable = to != node && self.members.is_reachable(&to);
                    if reachable {
                        self.remember(tenant, to);
                        1
                    } else {
                        // Its lease runs out, or it comes back; the node that said so claims
                        // the tenant then.
                        self.remember(tenant, node);
                        remaining_ms.clamp(1, LOOK_AGAIN_MS)
                    }
                }
                Ok(Ok(Reply::Answered(Err(OwnerProblem::NotOwner)) | Reply::Unreadable))
                | Ok(Err(_)) => {
                    self.lock().remove(tenant);
                    LOOK_AGAIN_MS
                }
                Err(CallError::NotSent { .. } | CallError::Unanswered { .. }) => {
                    self.lock().remove(tenant);
                    avoid = Some(node);
                    LOOK_AGAIN_MS
                }
            };
            runtime.pause(pause_ms.min(left_ms)).await;
        }
    }

    /// Notes where a tenant's owner was met. The notes only save questions, so when there are too
    /// many they are all thrown away.
    fn remember(&self, tenant: &str, node: NodeId) {
        let mut known = self.lock();
        if known.len() >= KNOWN_MAX && !known.contains_key(tenant) {
            known.clear();
        }
        known.insert(tenant.to_owned(), node);
    }

    /// Where the owner was met last, else the best place, else this node itself.
    fn node_for(&self, tenant: &str, avoid: Option<NodeId>) -> NodeId {
        let known = self.lock().get(tenant).cloned();
        if let Some(known) = known.filter(|node| self.members.is_reachable(node)) {
            return known;
        }
        let best = self.members.candidates(&tenant_key(tenant), 2);
        let other = best.iter().find(|node| Some(*node) != avoid.as_ref());
        other.or(best.first()).cloned().unwrap_or_else(|| self.caller.node().clone())
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, NodeId>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
