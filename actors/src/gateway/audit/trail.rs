//! One request's record while it grows. However the request ends, it is recorded once; dropped
//! early, its client left.

use headwater_gateway::Used;
use headwater_models::chat::{ChatRequest, Chunk, Protocol};
use headwater_storage::audit::{AuditRecord, Content, Outcome};

use super::super::nouns::{Ask, Caller};
use super::super::prompt::PromptUse;
use super::super::redaction::RedactionReport;
use super::AuditHandle;
use super::content::Kept;
use super::open::OpenRecord;
use crate::mutants::{Mutant, planted};

/// Its redaction took too long, so that it went on as it came.
const REDACTION_SKIPPED: &str = "redaction_skipped";
/// What was said is kept in part.
const CONTENT_CUT: &str = "content_cut";

/// See the module.
pub(crate) struct Trail {
    /// None once it is recorded, and where nothing is audited.
    open: Option<Open>,
}

struct Open {
    record: OpenRecord,
    audit: AuditHandle,
    /// None as long as nothing of what is said may be kept.
    kept: Option<Kept>,
    /// Whose secrets are not kept, whoever says them.
    prompt: Option<PromptUse>,
}

impl Trail {
    /// A request begins now.
    pub(crate) fn begin(audit: Option<&AuditHandle>, ask: &Ask) -> Trail {
        let open = audit.map(|audit| {
            let Ask { id, caller, route, request, trace_parent, prompt, .. } = ask;
            let record = AuditRecord {
                project: caller.project.clone(),
                user: caller.user.clone().or_else(|| request.user.clone()),
                key_id: caller.key_id.clone(),
                route: (*route).to_owned(),
                protocol: protocol_of(route, request).to_owned(),
                model_asked: request.model.clone(),
                trace_parent: *trace_parent,
                prompt_version: prompt
                    .as_ref()
                    .map(|prompt| prompt.label.clone())
                    .filter(|label| !label.is_empty()),
                ..AuditRecord::new(id, &caller.tenant, Outcome::Left)
            };
            let (record, audit) = (audit.begin(record), audit.clone());
            Open { record, audit, kept: None, prompt: prompt.clone() }
        });
        Trail { open }
    }

    /// What is said may be kept from now on, as the team's policy is.
    pub(crate) fn keeps(&mut self, caller: &Caller, request: &ChatRequest) {
        if let Some(open) = &mut self.open {
            open.kept = Some(open.audit.shared.policy.begin(&caller.tenant, request));
        }
    }

    /// What was done about personal data.
    pub(crate) fn redacted(&mut self, report: &RedactionReport) {
        if report.skipped {
            self.flag(REDACTION_SKIPPED);
        }
        let replaced = report.replaced.iter();
        let replaced = replaced.map(|(entity, count)| ((*entity).to_owned(), *count)).collect();
        self.tell(|record| record.redactions = replaced);
    }

    /// A target is asked.
    pub(crate) fn asks(&mut self, config_version: u64, backend: &str, model: &str) {
        self.tell(|record| {
            record.config_version = Some(config_version);
            record.backend = backend.to_owned();
            record.model_served = model.to_owned();
        });
    }

    /// The target said nothing.
    pub(crate) fn fails(&mut self) {
        self.tell(|record| {
            record.backend.clear();
            record.model_served.clear();
        });
    }

    /// Notes something that an auditor should look at.
    pub(crate) fn flag(&mut self, flag: &str) {
        self.tell(|record| {
            if !record.flags.iter().any(|own| own == flag) {
                record.flags.push(flag.to_owned());
            }
        });
    }

    /// Changes what the record tells.
    pub(crate) fn tell(&mut self, change: impl FnOnce(&mut AuditRecord)) {
        if let Some(open) = &mut self.open {
            open.record.tell(change);
        }
    }

    /// A part of the answer came.
    pub(crate) fn see(&mut self, chunk: &Chunk) {
        if let Some(open) = &mut self.open {
            let took_ms = open.record.took_ms();
            open.record.tell(|record| {
                record.ttft_ms.get_or_insert(took_ms);
            });
            if let Some(kept) = &mut open.kept {
                kept.see(chunk);
            }
        }
    }

    /// What the answer used, and what that costs.
    pub(crate) fn used(&mut self, used: &Used, micro_usd: u64) {
        if planted(Mutant::RecordWithoutUse) {
            return;
        }
        let Used { usage, is_estimated } = used;
        self.tell(|record| {
            record.tokens_in = usage.input;
            record.tokens_out = usage.output;
            record.tokens_cached = usage.input_cached;
            record.tokens_cache_written = usage.input_written;
            record.is_estimated = *is_estimated;
            record.cost_micro_usd = micro_usd;
        });
    }

    pub(crate) fn end(&mut self, outcome: Outcome) {
        let Some(Open { mut record, kept, prompt, .. }) = self.open.take() else { return };
        let (mut content, is_cut) = kept.map_or((None, false), Kept::end);
        if let (Some(Content::Full { response, .. }), Some(prompt)) = (&mut content, prompt) {
            prompt.hide(response);
        }
        record.tell(|record| {
            if is_cut {
                record.flags.push(CONTENT_CUT.to_owned());
            }
            record.content = content;
        });
        record.end(outcome);
    }
}

impl Drop for Trail {
    fn drop(&mut self) {
        self.end(Outcome::Left);
    }
}

/// What the client speaks.
fn protocol_of(route: &str, request: &ChatRequest) -> &'static str {
    match request.body.as_ref().map(|body| body.protocol) {
        Some(Protocol::OpenAiChat) => "openai.chat",
        Some(Protocol::AnthropicMessages) => "anthropic.messages",
        Some(Protocol::Gemini) => "gemini",
        Some(Protocol::OpenAiEmbeddings) => "openai.embeddings",
        None if route.ends_with("/responses") => "openai.responses",
        None if route.ends_with("/completions") => "openai.completions",
        None => "",
    }
}
