//! Approvals: calls that wait until somebody has allowed them.

use headwater_storage::tuple::{self, Element};
use headwater_storage::{RangeRead, StoreError};
use headwater_tools::confirmation::{Approval, Approver};

use super::handle::ToolsHandle;
use super::keys;
use super::nouns::{ToolCaller, ToolsError};
use super::records;

/// Approvals of one list.
const LIST: usize = 500;

/// What somebody decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decided {
    Approve,
    Refuse { reason: String },
}

impl ToolsHandle {
    /// A team's approvals, whatever became of them; the newest of equal ids do not exist.
    ///
    /// # Errors
    /// The store's.
    pub async fn approvals(&self, caller: &ToolCaller) -> Result<Vec<Approval>, ToolsError> {
        let now_ms = self.shared.runtime.wall_ms();
        let range = keys::approvals(&caller.team);
        let read = self.shared.retry.read(|transaction| {
            let range = range.clone();
            Box::pin(async move { transaction.range(RangeRead::all(range).limit(LIST)).await })
        });
        let approval = |(key, row): (Vec<u8>, Vec<u8>)| {
            let Some(Element::Text(id)) = tuple::unpack(&key)?.pop() else {
                return Err(records::corrupt(&"its key names no approval"));
            };
            let mut approval = records::decode_approval(&caller.team, &id, &row)?;
            approval.tick(now_ms);
            Ok(approval)
        };
        let all: Result<Vec<_>, StoreError> = read.await?.into_iter().map(approval).collect();
        let mut all = all?;
        all.sort_by_key(|approval| std::cmp::Reverse(approval.created_ms));
        Ok(all)
    }

    /// Decides about a call that waits.
    ///
    /// # Errors
    /// [`ToolsError::Invalid`] when this caller may not decide, [`ToolsError::Unknown`], the
    /// store's.
    pub async fn decide(
        &self,
        caller: &ToolCaller,
        id: &str,
        decided: Decided,
    ) -> Result<Approval, ToolsError> {
        let now_ms = self.shared.runtime.wall_ms();
        let (team, id) = (caller.team.clone(), id.to_owned());
        let approver = Approver {
            team: team.clone(),
            subject: caller.subject.clone(),
            agent: caller.agent.clone(),
            // The pure rules keep agents, and whoever calls, from it.
            may_approve: true,
        };
        let written = self.shared.write_once(|transaction| {
            let (team, id) = (team.clone(), id.clone());
            let (approver, decided) = (approver.clone(), decided.clone());
            Box::pin(async move {
                let Some(mut approval) = records::approval(transaction, &team, &id).await? else {
                    let what = format!("approval '{id}' of this team");
                    return Ok(Err(ToolsError::Unknown { what }));
                };
                let done = match decided {
                    Decided::Approve => approval.approve(&approver, now_ms),
                    Decided::Refuse { reason } => approval.refuse(&approver, &reason, now_ms),
                };
                if let Err(problem) = done {
                    return Ok(Err(problem.into()));
                }
                records::store_approval(transaction, &approval)?;
                Ok(Ok(approval))
            })
        });
        written.await?
    }
}
