//! What a client asks an agent to do.

use headwater_actors::tools::{AgentSettings, RunAsk, RunMessage};
use serde::Deserialize;

use crate::error::ApiError;

/// See the module; what is left out is at its default.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RunRequest {
    model: String,
    /// What is to be done, as one message of the user.
    input: Option<String>,
    /// The same as a chat so far.
    messages: Option<Vec<MessageRequest>>,
    system: Option<String>,
    /// References of tools, such as `web-search` and `pay@2`; left out, the service chooses among
    /// those that the caller may call.
    tools: Option<Vec<String>>,
    session: Option<String>,
    id: Option<String>,
    iterations_max: Option<u64>,
    microdollars_max: Option<u64>,
    timeout_ms: Option<u64>,
    parallel_max: Option<u32>,
    #[serde(default)]
    pub(super) stream: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MessageRequest {
    role: Role,
    content: String,
}

#[derive(Deserialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
enum Role {
    System,
    User,
    Assistant,
}

fn wrong(field: &str, problem: &str) -> ApiError {
    ApiError::invalid(field, "invalid_field", format!("{field}: {problem}"))
}

impl RunRequest {
    /// # Errors
    /// 400 that names the field.
    pub(super) fn ask(self) -> Result<RunAsk, ApiError> {
        let own = AgentSettings::default();
        let settings = AgentSettings {
            iterations_max: self.iterations_max.unwrap_or(own.iterations_max),
            microdollars_max: self.microdollars_max.unwrap_or(own.microdollars_max),
            wall_ms_max: self.timeout_ms.unwrap_or(own.wall_ms_max),
            parallel_max: self.parallel_max.unwrap_or(own.parallel_max),
            ..own
        };
        Ok(RunAsk {
            id: self.id,
            model: self.model,
            messages: messages(self.system, self.input, self.messages)?,
            tools: self.tools,
            session: self.session,
            settings,
            trace_parent: None,
        })
    }
}

fn messages(
    system: Option<String>,
    input: Option<String>,
    messages: Option<Vec<MessageRequest>>,
) -> Result<Vec<RunMessage>, ApiError> {
    let mut all = Vec::new();
    if let Some(text) = system {
        if text.trim().is_empty() {
            return Err(wrong("system", "is empty; leave it out"));
        }
        all.push(RunMessage::System { text });
    }
    let asked = match (input, messages) {
        (Some(text), None) if !text.trim().is_empty() => {
            all.push(RunMessage::User { text });
            return Ok(all);
        }
        (Some(_), None) => return Err(wrong("input", "is empty; say what is to be done")),
        (None, None) => return Err(wrong("input", "is missing; send it, or messages")),
        (Some(_), Some(_)) => return Err(wrong("messages", "send either input or messages")),
        (None, Some(asked)) => asked,
    };
    if asked.last().is_none_or(|last| last.role != Role::User) {
        return Err(wrong("messages", "must end with a message of the user"));
    }
    for (place, MessageRequest { role, content: text }) in asked.into_iter().enumerate() {
        if text.trim().is_empty() {
            let field = format!("messages[{place}].content");
            return Err(wrong(&field, "is empty; leave the message out"));
        }
        all.push(match role {
            Role::System => RunMessage::System { text },
            Role::User => RunMessage::User { text },
            Role::Assistant => RunMessage::Assistant { text, calls: Vec::new() },
        });
    }
    Ok(all)
}
