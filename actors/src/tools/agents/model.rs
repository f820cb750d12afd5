//! Asking a run's model, through the gateway and on the account of whoever began the run.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_core::Stream;
use headwater_storage::audit::TraceParent;
use headwater_tools::agent::{AskedCall, Event, Message, Usage};
use serde_json::Value;

use crate::gateway::{
    Ask, CacheWish, Caller, ChatEvent, ChatRequest, Finish, GatewayError, GatewayHandle,
    Message as ChatMessage, Part, PromptUse, Role, Tool, Watcher,
};
use crate::runtime::Runtime;
use crate::tenancy::Refusal as OverQuota;

/// Tries of one question, the first one counted, where what is wrong may pass.
const TRIES: u32 = 4;
/// The longest pause between two of them, in ms; a quota that is used up for longer ends the run.
const PAUSE_MS_MAX: u64 = 60_000;
const PAUSE_MS_LEAST: u64 = 200;
/// Bytes of one answer, its calls counted.
const ANSWER_BYTES_MAX: usize = 2 << 20;

/// One question of a run.
pub(super) struct Question {
    pub(super) gateway: GatewayHandle,
    pub(super) runtime: Runtime,
    pub(super) caller: Caller,
    pub(super) route: &'static str,
    /// The run: questions of one go to the same target, which may have kept what it read before.
    pub(super) run: String,
    pub(super) trace_parent: Option<TraceParent>,
    pub(super) request: ChatRequest,
}

/// What the model said.
#[derive(Default)]
struct Said {
    text: String,
    refusal: String,
    /// Id, name and arguments, by the places that the model gives them.
    calls: BTreeMap<u32, (Option<String>, String, String)>,
    usage: Usage,
    finish: Option<Finish>,
    bytes: usize,
}

impl Question {
    /// The answer, or why there is none; tried again where that may pass.
    pub(super) async fn ask(self, step: u64) -> Event {
        // What was said before an answer broke off is paid for, too.
        let cost = Arc::new(AtomicU64::new(0));
        let mut tries = 0;
        loop {
            tries += 1;
            let error = match self.once(&cost).await {
                Ok(said) => return said.event(step, cost.load(Ordering::Relaxed)),
                Err(error) => error,
            };
            match pause_ms(&error).filter(|_| tries < TRIES) {
                Some(pause_ms) => self.runtime.pause(pause_ms.max(PAUSE_MS_LEAST)).await,
                None => {
                    let is_refusal = matches!(
                        error,
                        GatewayError::OverQuota { .. } | GatewayError::PersonalData { .. }
                    );
                    return Event::ModelFailed { step, why: error.to_string(), is_refusal };
                }
            }
        }
    }

    async fn once(&self, cost: &Arc<AtomicU64>) -> Result<Said, GatewayError> {
        let spent = Arc::clone(cost);
        let hear = move |observed: crate::gateway::Observed| {
            spent.fetch_add(observed.micro_usd, Ordering::Relaxed);
        };
        let watcher = Some(Watcher { wants_text: false, hear: Arc::new(hear) });
        let ask = Ask {
            id: format!("{:032x}", self.runtime.draw()),
            caller: self.caller.clone(),
            route: self.route,
            key: self.run.clone(),
            cache: CacheWish::default(),
            trace_parent: self.trace_parent,
            prompt: Some(PromptUse { watcher, ..PromptUse::default() }),
            request: self.request.clone(),
        };
        let mut chunks = self.gateway.chat(ask).await?.chunks;
        let mut said = Said::default();
        loop {
            let next = poll_fn(|context| Pin::new(&mut chunks).poll_next(context)).await;
            let Some(chunk) = next.transpose()? else { return Ok(said) };
            chunk.events.into_iter().for_each(|event| said.take(event));
            if said.bytes > ANSWER_BYTES_MAX {
                let message = format!("the model said more than {ANSWER_BYTES_MAX} bytes at once");
                return Err(GatewayError::Refused { status: 413, code: None, message });
            }
        }
    }
}

/// How long to wait before it is tried again; none when that is of no use.
fn pause_ms(error: &GatewayError) -> Option<u64> {
    match error {
        GatewayError::Limited { retry_after_ms }
        | GatewayError::Unavailable { retry_after_ms, .. } => {
            Some((*retry_after_ms).min(PAUSE_MS_MAX))
        }
        GatewayError::OverQuota { refusal, .. } => match refusal {
            OverQuota::UsedUp { retry_after_ms, .. } => {
                Some(*retry_after_ms).filter(|pause_ms| *pause_ms <= PAUSE_MS_MAX)
            }
            OverQuota::Unanswered { retry_after_ms } | OverQuota::Overloaded { retry_after_ms } => {
                Some((*retry_after_ms).min(PAUSE_MS_MAX))
            }
        },
        GatewayError::TimedOut { .. }
        | GatewayError::NotRedacted { .. }
        | GatewayError::Cut { .. } => Some(1_000),
        GatewayError::UnknownModel { .. }
        | GatewayError::NotCached
        | GatewayError::Refused { .. }
        | GatewayError::PersonalData { .. } => None,
    }
}

impl Said {
    fn take(&mut self, event: ChatEvent) {
        match event {
            ChatEvent::Text { choice: 0, text } => {
                self.bytes += text.len();
                self.text.push_str(&text);
            }
            ChatEvent::Refusal { choice: 0, text } => {
                self.bytes += text.len();
                self.refusal.push_str(&text);
            }
            ChatEvent::ToolCall { choice: 0, index, id, name, arguments } => {
                let call = self.calls.entry(index).or_default();
                self.bytes += arguments.len() + name.as_ref().map_or(0, String::len);
                call.0 = call.0.take().or(id);
                call.1.push_str(&name.unwrap_or_default());
                call.2.push_str(&arguments);
            }
            ChatEvent::Finished { choice: 0, reason, .. } => self.finish = Some(reason),
            ChatEvent::Usage(usage) => {
                self.usage.input_tokens = usage.input;
                self.usage.output_tokens = usage.output;
            }
            _ => {}
        }
    }

    fn event(self, step: u64, microdollars: u64) -> Event {
        let is_refusal = true;
        if !self.refusal.is_empty() {
            return Event::ModelFailed { step, why: self.refusal, is_refusal };
        }
        if self.finish == Some(Finish::Filtered) {
            let why = "the provider withheld the answer; ask for something else".to_owned();
            return Event::ModelFailed { step, why, is_refusal };
        }
        let call = |(place, (id, name, arguments)): (u32, (Option<String>, String, String))| {
            let model_id = id.unwrap_or_else(|| format!("call_{step}_{place}"));
            AskedCall { model_id, name, arguments }
        };
        let calls = self.calls.into_iter().map(call).collect();
        let usage = Usage { microdollars, ..self.usage };
        Event::Answered { step, text: self.text, calls, usage }
    }
}

/// A question in the gateway's form. The tools are left out when none is offered.
pub(super) fn request(model: &str, messages: Vec<Message>, tools: Vec<Tool>) -> ChatRequest {
    let mut request = ChatRequest::new(model, chat_messages(messages));
    request.tools = tools;
    request.stream = true;
    request
}

/// Results of tools stand in one message, and what the platform says to them beside them.
fn chat_messages(messages: Vec<Message>) -> Vec<ChatMessage> {
    let mut all: Vec<ChatMessage> = Vec::new();
    let beside = |all: &mut Vec<ChatMessage>, part: Part| match all.last_mut() {
        Some(last) if matches!(last.parts.first(), Some(Part::ToolResult { .. })) => {
            last.parts.push(part);
        }
        _ => all.push(ChatMessage { role: Role::User, parts: vec![part] }),
    };
    for message in messages {
        match message {
            Message::System { text } => all.push(ChatMessage::text(Role::System, text)),
            Message::User { text } => all.push(ChatMessage::text(Role::User, text)),
            Message::Note { text } => beside(&mut all, Part::Text(format!("[note] {text}"))),
            Message::Tool { model_id, text, is_error, .. } => {
                beside(&mut all, Part::ToolResult { call_id: model_id, text, is_error });
            }
            Message::Assistant { text, calls } => {
                let said = (!text.is_empty()).then_some(Part::Text(text));
                let calls = calls.into_iter().map(|call| Part::ToolCall {
                    id: call.model_id,
                    name: call.name,
                    arguments: sendable(call.arguments),
                });
                let parts = said.into_iter().chain(calls).collect();
                all.push(ChatMessage { role: Role::Assistant, parts });
            }
        }
    }
    all
}

/// Providers take back nothing but an object; what the model wrote instead, its result quotes.
fn sendable(arguments: String) -> String {
    match serde_json::from_str::<Value>(&arguments) {
        Ok(Value::Object(_)) => arguments,
        _ => "{}".to_owned(),
    }
}
