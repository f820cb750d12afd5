//! Asking a tool: a backend, or code in a sandbox; and judging what it says.

use std::sync::Arc;

use headwater_backends::{Answer, Backend, BackendError, Invocation};
use headwater_tools::call::{CallResult, Refusal};
use headwater_tools::idempotency::{self, Repeat};
use headwater_tools::{Backend as Runs, Builtin};
use serde_json::Value;

use super::handle::{Shared, ToolsHandle};
use super::ready::Ready;
use super::sandbox::{CodeAsk, CodeUse};

/// A call that the tool may be asked again for, after so long at first, in ms.
const AGAIN_MS: u64 = 50;
/// Tries of a call that may be repeated.
const TRIES: u32 = 3;
/// A call that has less time left than this is not begun, in ms.
const LEAST_MS: u64 = 5;

/// What was used beside time.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct CallUse {
    pub(super) egress_bytes: Option<u64>,
    pub(super) code: Option<CodeUse>,
    pub(super) tries: u32,
    /// Some try may have been done, whatever the last one came to.
    pub(super) is_doubtful: bool,
}

/// What a tool said.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Said {
    pub(super) content: Value,
    pub(super) is_error: bool,
}

/// How asking the tool ended.
pub(super) struct Ran {
    pub(super) answer: Result<Said, Refusal>,
    pub(super) used: CallUse,
}

impl ToolsHandle {
    /// Asks the tool, and holds the call's row meanwhile.
    pub(super) async fn ask_tool(&self, ready: &Ready, epoch: u64) -> Ran {
        let runtime = &self.shared.runtime;
        let step_ms = (self.shared.settings.idempotency.lease_ms / 3).max(1);
        let mut asking = std::pin::pin!(self.ask_in_time(ready));
        loop {
            if let Some(ran) = runtime.within(step_ms, &mut asking).await {
                return ran;
            }
            if ready.has_row()
                && let Err(error) = self.extend(&ready.key, epoch).await
            {
                tracing::debug!(call = ready.call.id, %error, "a call's row was not held on to");
            }
        }
    }

    async fn ask_in_time(&self, ready: &Ready) -> Ran {
        let mut used = CallUse::default();
        let answer = match &ready.definition.backend {
            Runs::Code { image, source } => {
                let ask = CodeAsk {
                    image: Some(image.clone()),
                    source: source.clone(),
                    input: ready.call.arguments.to_string().into_bytes(),
                    is_json: true,
                    egress: ready.definition.egress.clone(),
                };
                self.run_code(ready, ask, &mut used).await
            }
            Runs::Builtin { builtin: Builtin::RunPython, settings } => {
                let image = settings.get("image").and_then(Value::as_str);
                let image = image.and_then(|name| headwater_sandbox::ImageName::new(name).ok());
                let text = |name: &str| {
                    ready.call.arguments.get(name).and_then(Value::as_str).unwrap_or_default()
                };
                let ask = CodeAsk {
                    image,
                    source: text("code").to_owned(),
                    input: text("input").as_bytes().to_vec(),
                    is_json: false,
                    egress: ready.definition.egress.clone(),
                };
                self.run_code(ready, ask, &mut used).await
            }
            _ => match (self.shared.backends)(&ready.definition) {
                Ok(backend) => self.ask_backend(ready, &backend, &mut used).await,
                Err(why) => {
                    let (tool, retry_after_ms) = (ready.version.clone(), 1_000);
                    Err(Refusal::Unreachable { tool, why, retry_after_ms })
                }
            },
        };
        Ran { answer, used }
    }

    /// Asks a backend, again while that is safe and there is time.
    async fn ask_backend(
        &self,
        ready: &Ready,
        backend: &Arc<dyn Backend>,
        used: &mut CallUse,
    ) -> Result<Said, Refusal> {
        let Shared { runtime, .. } = &*self.shared;
        let mut pause_ms = AGAIN_MS;
        loop {
            let left_ms = ready.call.left_ms(runtime.wall_ms());
            if left_ms < LEAST_MS {
                return Err(Refusal::Deadline { timeout_ms: timeout_ms(ready) });
            }
            used.tries += 1;
            let invocation = invocation(ready, left_ms);
            let asked = runtime.within(left_ms, backend.call(&invocation)).await;
            let error = match asked {
                Some(Ok(answer)) => return said(answer, used),
                Some(Err(error)) => error,
                None => BackendError::TimedOut { after_ms: left_ms, sent: true },
            };
            let safe = error.is_without_effect() || ready.repeat != Repeat::Unsafe;
            let is_last = used.tries >= TRIES || !safe || !error.is_passing();
            let wait_ms = match &error {
                BackendError::Busy { retry_after_ms, .. } => (*retry_after_ms).max(pause_ms),
                _ => pause_ms,
            };
            used.is_doubtful |= !error.is_without_effect();
            if is_last || wait_ms + LEAST_MS >= ready.call.left_ms(runtime.wall_ms()) {
                return Err(refusal(ready, error));
            }
            runtime.pause(wait_ms).await;
            pause_ms *= 4;
        }
    }

    async fn run_code(
        &self,
        ready: &Ready,
        ask: CodeAsk,
        used: &mut CallUse,
    ) -> Result<Said, Refusal> {
        let tool = ready.version.clone();
        let (Some(sandbox), Some(room)) = (self.shared.sandbox.get(), ready.definition.room) else {
            let why = "this node has none; see `sandbox` in its settings".to_owned();
            return Err(Refusal::NoSandbox { tool, why });
        };
        used.tries += 1;
        let left_ms = ready.call.left_ms(self.shared.runtime.wall_ms());
        let done = sandbox.run_tool(&tool, &ready.key.team, room, ask, left_ms).await?;
        used.code = Some(done.used.clone());
        done.said(&tool, room.tier)
    }

    /// Checks what the tool said: its size, its shape, and what may not leave.
    pub(super) async fn judged(
        &self,
        ready: &Ready,
        answer: Said,
        duration_ms: u64,
    ) -> Result<CallResult, Refusal> {
        let tool = ready.version.clone();
        let definition = &ready.definition;
        let bytes = answer.content.to_string().len() as u64;
        let bytes_max = definition.output_bytes_max;
        if bytes > bytes_max {
            return Err(Refusal::OutputTooLarge { tool, bytes, bytes_max });
        }
        if let Some(output) = definition.output.as_ref().filter(|_| !answer.is_error)
            && let Err(misfits) = output.check(&answer.content)
        {
            return Err(Refusal::OutputInvalid { tool, problem: misfits.to_string() });
        }
        let content = match definition.redact {
            true => self.redacted(ready, answer.content).await?,
            false => answer.content,
        };
        Ok(CallResult {
            content,
            is_error: answer.is_error,
            is_cached: false,
            is_fallback: false,
            is_dry_run: ready.call.is_dry_run,
            duration_ms,
            cost_microdollars: ready.price(),
            deprecation: ready.deprecation.clone(),
        })
    }

    /// What the tool said without personal data, by the team's policy. What cannot be looked
    /// through does not go on.
    async fn redacted(&self, ready: &Ready, content: Value) -> Result<Value, Refusal> {
        let blocked = |what: &str| Refusal::OutputBlocked {
            tool: ready.version.clone(),
            what: what.to_owned(),
        };
        let Some(gateway) = self.shared.gateway.get() else {
            return Err(blocked("no redaction runs on this node, and the tool wants it"));
        };
        let mut texts = Vec::new();
        each_text(&content, &mut |text| texts.push(text.to_owned()));
        let redacted = gateway.redact_texts(&ready.key.team, texts).await;
        let mut redacted = redacted.map_err(|error| blocked(&error.to_string()))?.into_iter();
        Ok(with_texts(content, &mut || redacted.next().unwrap_or_default()))
    }
}

/// All texts in a value, in a fixed order; names of fields are the tool's own and stay.
fn each_text(value: &Value, see: &mut impl FnMut(&str)) {
    match value {
        Value::String(text) => see(text),
        Value::Array(items) => items.iter().for_each(|item| each_text(item, see)),
        Value::Object(fields) => fields.values().for_each(|field| each_text(field, see)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// The value with other texts, in the order of [`each_text`].
fn with_texts(value: Value, next: &mut impl FnMut() -> String) -> Value {
    match value {
        Value::String(_) => Value::String(next()),
        Value::Array(items) => items.into_iter().map(|item| with_texts(item, next)).collect(),
        Value::Object(fields) => {
            let fields = fields.into_iter().map(|(name, field)| (name, with_texts(field, next)));
            Value::Object(fields.collect())
        }
        other => other,
    }
}

fn timeout_ms(ready: &Ready) -> u64 {
    ready.call.deadline_ms.saturating_sub(ready.call.created_ms)
}

fn invocation(ready: &Ready, deadline_ms: u64) -> Invocation {
    let call = &ready.call;
    Invocation {
        tool: match &ready.definition.backend {
            Runs::Mcp { tool, .. } => tool.clone(),
            _ => call.tool.name.clone(),
        },
        version: call.tool.version.clone(),
        call: call.id.clone(),
        tenant: ready.key.team.clone(),
        session: call.session.clone(),
        arguments: call.arguments.clone(),
        dry_run: call.is_dry_run,
        deadline_ms,
        output_bytes_max: ready.definition.output_bytes_max,
    }
}

fn said(answer: Answer, used: &mut CallUse) -> Result<Said, Refusal> {
    if !answer.reached.is_empty() {
        let bytes = answer.reached.iter().map(|one| one.bytes_in + one.bytes_out).sum();
        used.egress_bytes = Some(bytes);
    }
    Ok(Said { content: answer.content.to_json(), is_error: answer.is_error })
}

/// What the caller is told of a backend's failure.
fn refusal(ready: &Ready, error: BackendError) -> Refusal {
    let tool = ready.version.clone();
    let doubt = |why: &str, otherwise: Refusal| idempotency::doubt(ready.request(), why, otherwise);
    match error {
        BackendError::Arguments { why } => {
            Refusal::InvalidArguments { tool, problems: vec![(String::new(), why)] }
        }
        BackendError::NotFound { .. } | BackendError::Refused { .. } => {
            Refusal::BackendFailed { tool, why: error.to_string() }
        }
        BackendError::Busy { why, retry_after_ms } => {
            Refusal::Unreachable { tool, why, retry_after_ms }
        }
        BackendError::Unsent { why } => Refusal::Unreachable { tool, why, retry_after_ms: 1_000 },
        BackendError::Unknown { why } => {
            let told = Refusal::BackendFailed { tool, why: why.clone() };
            doubt(&why, told)
        }
        BackendError::TimedOut { sent, .. } => {
            let over = Refusal::Deadline { timeout_ms: timeout_ms(ready) };
            if sent { doubt("it did not answer in time", over) } else { over }
        }
        BackendError::TooLarge { bytes_max } => {
            Refusal::OutputTooLarge { tool, bytes: bytes_max.saturating_add(1), bytes_max }
        }
    }
}
