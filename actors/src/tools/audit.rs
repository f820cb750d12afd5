//! One call's record while it grows. However the call ends, it is recorded once.

use headwater_storage::audit::{AuditRecord, Outcome, ToolUse};
use headwater_tools::call::{Ending, Refusal, sha256_of_value};

use super::nouns::{ToolAsk, ToolCaller};
use super::ready::Ready;
use super::run::CallUse;
use crate::gateway::{AuditHandle, OpenRecord};

/// The call was let in during an outage, without its owner's word.
pub(super) const QUOTA_UNPROVEN: &str = "quota_unproven";

/// See the module; nothing where nothing is audited.
pub(super) struct CallTrail {
    open: Option<(OpenRecord, AuditHandle)>,
    /// What was asked, until it is known what is kept of it.
    arguments: String,
}

impl CallTrail {
    pub(super) fn begin(
        audit: Option<&AuditHandle>,
        caller: &ToolCaller,
        ask: &ToolAsk,
    ) -> CallTrail {
        let open = audit.map(|audit| {
            let record = AuditRecord {
                project: caller.project.clone(),
                user: caller.user.clone(),
                key_id: caller.key_id.clone(),
                route: ask.route.to_owned(),
                protocol: "tool".to_owned(),
                model_asked: ask.tool.to_string(),
                trace_parent: ask.trace_parent,
                tool: Some(ToolUse {
                    call_id: ask.id.clone().unwrap_or_default(),
                    session: ask.session.clone(),
                    agent: caller.agent.clone(),
                    input_sha256: sha256_of_value(&ask.arguments),
                    ..ToolUse::default()
                }),
                ..AuditRecord::new(&ask.request, &caller.team, Outcome::Left)
            };
            (audit.begin(record), audit.clone())
        });
        let arguments = if open.is_some() { ask.arguments.to_string() } else { String::new() };
        CallTrail { open, arguments }
    }

    fn tell(&mut self, change: impl FnOnce(&mut AuditRecord)) {
        if let Some((record, _)) = &mut self.open {
            record.tell(change);
        }
    }

    fn tell_tool(&mut self, change: impl FnOnce(&mut ToolUse)) {
        self.tell(|record| {
            if let Some(tool) = &mut record.tool {
                change(tool);
            }
        });
    }

    /// The call is known: which version it is, and its id.
    pub(super) fn ready(&mut self, ready: &Ready) {
        // What the schema marks as secret stands in no record.
        self.arguments = match self.open.is_some() {
            true => ready.definition.input.masked(&ready.call.arguments).to_string(),
            false => String::new(),
        };
        self.tell(|record| {
            record.model_served.clone_from(&ready.version);
            record.backend = ready.definition.backend.word().to_owned();
        });
        self.tell_tool(|tool| tool.call_id.clone_from(&ready.call.id));
    }

    pub(super) fn used(&mut self, used: &CallUse) {
        self.tell(|record| record.retries = used.tries.saturating_sub(1));
        self.tell_tool(|tool| {
            tool.egress_bytes = used.egress_bytes;
            if let Some(code) = &used.code {
                tool.ended = Some(code.ended.clone());
                tool.memory_peak_bytes = Some(code.memory_peak_bytes);
                tool.cpu_us = Some(code.cpu_us);
            }
        });
    }

    pub(super) fn flag(&mut self, flag: &str) {
        self.tell(|record| record.flags.push(flag.to_owned()));
    }

    /// A call that no tool was found for, or that may not be made. Its arguments are not kept: no
    /// schema says what of them is secret.
    pub(super) fn refused(mut self, refusal: &Refusal) {
        self.tell_tool(|tool| tool.refusal = Some(refusal.code().to_owned()));
        if let Some((record, _)) = self.open.take() {
            record.end(outcome_of(refusal));
        }
    }

    pub(super) fn end(mut self, ready: &Ready, ending: &Ending) {
        let Some((mut record, audit)) = self.open.take() else { return };
        let said = match ending {
            Ok(result) => result.content.to_string(),
            Err(refusal) => refusal.to_string(),
        };
        let content = audit.texts(&ready.key.team, &self.arguments, &said);
        record.tell(|record| {
            record.content = content;
            if let (Ok(result), Some(tool)) = (ending, &mut record.tool) {
                tool.output_sha256 = Some(sha256_of_value(&result.content));
            }
            match ending {
                Ok(result) => {
                    record.cost_micro_usd = result.cost_microdollars;
                    record.cache_hit = result.is_cached || result.is_fallback;
                }
                Err(refusal) => {
                    if refusal.may_have_run() {
                        record.cost_micro_usd = ready.price();
                    }
                    if let Some(tool) = &mut record.tool {
                        tool.refusal = Some(refusal.code().to_owned());
                    }
                }
            }
        });
        record.end(match ending {
            Ok(result) if result.is_error => Outcome::Refused,
            Ok(_) => Outcome::Whole,
            Err(refusal) => outcome_of(refusal),
        });
    }
}

pub(super) fn outcome_of(refusal: &Refusal) -> Outcome {
    match refusal {
        Refusal::UnknownTool { .. } | Refusal::Retired { .. } => Outcome::UnknownModel,
        Refusal::SessionBudget { .. }
        | Refusal::CallsPerMinute { .. }
        | Refusal::MoneyPerDay { .. } => Outcome::OverQuota,
        Refusal::Overloaded { .. } | Refusal::BreakerOpen { .. } => Outcome::Limited,
        Refusal::Unreachable { .. } | Refusal::StorageDown { .. } | Refusal::NoSandbox { .. } => {
            Outcome::Unavailable
        }
        Refusal::Deadline { .. } => Outcome::TimedOut,
        Refusal::OutcomeUnknown { .. } => Outcome::Cut,
        Refusal::BackendFailed { .. }
        | Refusal::OutputInvalid { .. }
        | Refusal::OutputTooLarge { .. } => Outcome::Refused,
        Refusal::Cancelled { .. } => Outcome::Left,
        _ => Outcome::Blocked,
    }
}
