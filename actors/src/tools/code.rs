//! Code that a caller runs itself, without a tool: it leaves a record, as calls do.

use headwater_sandbox::{Channel, Ended, Listener};
use headwater_storage::audit::{AuditRecord, Outcome, ToolUse};
use headwater_tools::call::{Refusal, sha256_of_text, sha256_of_value};
use serde_json::json;

use super::audit::outcome_of;
use super::handle::ToolsHandle;
use super::nouns::ToolCaller;
use super::sandbox::{SandboxAsk, SandboxDone, ended_word};
use crate::gateway::{AuditHandle, OpenRecord};

/// The word for the tool in records and errors.
const TOOL: &str = "sandbox";

/// Who runs code, and where it is asked for.
#[derive(Debug, Clone)]
pub struct CodeCaller {
    pub caller: ToolCaller,
    /// The sandbox session; none for a run of its own.
    pub session: Option<String>,
    pub route: &'static str,
    /// This request's own id.
    pub request: String,
}

impl ToolsHandle {
    /// Runs code once, or in a session that keeps its files. A caller who leaves ends the run.
    ///
    /// # Errors
    /// [`Refusal`]: nothing ran, unless it says that it may have.
    pub async fn run_own_code(
        &self,
        by: CodeCaller,
        ask: SandboxAsk,
        listener: &mut dyn Listener,
    ) -> Result<SandboxDone, Refusal> {
        let Some(sandbox) = self.shared.sandbox.get() else {
            let why = "this node has none; see `sandbox` in its settings".to_owned();
            return Err(Refusal::NoSandbox { tool: TOOL.to_owned(), why });
        };
        let audit = self.shared.audit.get();
        let open = audit.map(|audit| (audit.begin(record(&by, &ask)), audit));
        let source = if open.is_some() { ask.source.clone() } else { String::new() };
        let (team, mut said) = (ask.team.clone(), Vec::new());
        let is_recorded = open.is_some();
        let mut heard = |channel: Channel, bytes: &[u8]| {
            if is_recorded {
                said.extend_from_slice(bytes);
            }
            listener.heard(channel, bytes);
        };
        let done = match &by.session {
            Some(id) => sandbox.run_in(id, ask, &mut heard).await,
            None => sandbox.run(ask, &mut heard).await,
        };
        if let Some((open, audit)) = open {
            end(open, audit, &team, (&source, &String::from_utf8_lossy(&said)), &done);
        }
        done
    }
}

fn record(by: &CodeCaller, ask: &SandboxAsk) -> AuditRecord {
    let caller = &by.caller;
    let files = ask.files.iter().map(|file| (file.path.as_str(), file.bytes.len()));
    let asked = json!({
        "code": ask.source,
        "arguments": ask.arguments,
        "input": String::from_utf8_lossy(&ask.input),
        "files": files.collect::<Vec<_>>(),
    });
    AuditRecord {
        project: caller.project.clone(),
        user: caller.user.clone(),
        key_id: caller.key_id.clone(),
        route: by.route.to_owned(),
        protocol: "tool".to_owned(),
        model_asked: TOOL.to_owned(),
        tool: Some(ToolUse {
            call_id: by.request.clone(),
            session: by.session.clone(),
            agent: caller.agent.clone(),
            input_sha256: sha256_of_value(&asked),
            ..ToolUse::default()
        }),
        ..AuditRecord::new(&by.request, &caller.team, Outcome::Left)
    }
}

fn end(
    mut open: OpenRecord,
    audit: &AuditHandle,
    team: &str,
    (source, said): (&str, &str),
    done: &Result<SandboxDone, Refusal>,
) {
    let content = audit.texts(team, source, said);
    open.tell(|record| {
        record.content = content;
        let Some(tool) = &mut record.tool else { return };
        match done {
            Ok(done) => {
                record.backend = done.engine.to_owned();
                tool.output_sha256 = Some(sha256_of_text(said));
                tool.ended = Some(ended_word(done.outcome.ended));
                tool.memory_peak_bytes = Some(done.outcome.memory_peak_bytes);
                tool.cpu_us = Some(done.outcome.cpu_us);
            }
            Err(refusal) => tool.refusal = Some(refusal.code().to_owned()),
        }
    });
    open.end(match done {
        Ok(done) if done.outcome.ended == Ended::Exit(0) => Outcome::Whole,
        Ok(_) => Outcome::Refused,
        Err(refusal) => outcome_of(refusal),
    });
}
