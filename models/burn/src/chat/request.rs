//! What of a request this model can do; everything else is refused by its name.

use headwater_models::chat::{
    ChatError, ChatRequest, Message, OutputFormat, Part, Protocol, Role, Sampling, ToolChoice,
};

use super::sampler::Draw;

/// Most stop texts, and most bytes of one: each is looked for after every token.
const STOPS: usize = 16;
const STOP_BYTES: usize = 1024;

/// A request in this model's own terms.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Wanted {
    pub(super) messages: Vec<(Role, String)>,
    pub(super) draw: Draw,
    pub(super) stop: Vec<String>,
    /// At least 1.
    pub(super) max_tokens: Option<usize>,
    pub(super) stream: bool,
}

pub(super) fn refused(message: impl Into<String>) -> ChatError {
    ChatError::Refused { status: 400, code: None, message: message.into() }
}

impl Wanted {
    /// # Errors
    /// [`ChatError::Refused`] naming the field and what is allowed.
    pub(super) fn of(request: &ChatRequest) -> Result<Wanted, ChatError> {
        features(request)?;
        if request.messages.is_empty() {
            return Err(refused("messages is empty; at least one is needed"));
        }
        let messages = request
            .messages
            .iter()
            .enumerate()
            .map(|(index, message)| Ok((message.role, text(index, message)?)))
            .collect::<Result<_, _>>()?;
        let max_tokens = match request.max_tokens {
            Some(0) => return Err(refused("max_tokens is 0; it must be at least 1")),
            // More than any context is the same as no limit.
            Some(most) => Some(usize::try_from(most).unwrap_or(usize::MAX)),
            None => None,
        };
        let stop = stop(&request.sampling)?;
        let draw = draw(&request.sampling)?;
        Ok(Wanted { messages, draw, stop, max_tokens, stream: request.stream })
    }
}

fn features(request: &ChatRequest) -> Result<(), ChatError> {
    if request.body.as_ref().is_some_and(|body| body.protocol == Protocol::OpenAiEmbeddings) {
        return Err(refused("this model answers chats and makes no embeddings; choose another"));
    }
    if !request.tools.is_empty() {
        return Err(refused("tools are not supported by this model; send none"));
    }
    if !matches!(request.tool_choice, ToolChoice::Auto | ToolChoice::None) {
        return Err(refused("tool_choice must be auto or none: this model calls no tools"));
    }
    if request.choices != 1 {
        let choices = request.choices;
        return Err(refused(format!("n is {choices}; this model gives exactly 1 choice")));
    }
    if request.logprobs.is_some() {
        return Err(refused("logprobs are not supported by this model; ask for none"));
    }
    if request.format != OutputFormat::Text {
        return Err(refused("response_format must be text: this model promises no JSON"));
    }
    Ok(())
}

/// All texts of a message, one after the other.
fn text(index: usize, message: &Message) -> Result<String, ChatError> {
    let mut whole = String::new();
    for part in &message.parts {
        let found = match part {
            // A refusal is what the assistant said.
            Part::Text(text) | Part::Refusal(text) => {
                whole.push_str(text);
                continue;
            }
            Part::Image(_) => "an image",
            Part::ToolCall { .. } => "a call of a tool",
            Part::ToolResult { .. } => "a result of a tool",
            Part::Thinking { .. } => "a thought",
        };
        let message = format!("messages[{index}] holds {found}; this model reads text only");
        return Err(refused(message));
    }
    Ok(whole)
}

fn stop(sampling: &Sampling) -> Result<Vec<String>, ChatError> {
    let stop = &sampling.stop;
    if stop.len() > STOPS {
        let count = stop.len();
        return Err(refused(format!("stop holds {count} texts; at most {STOPS} are allowed")));
    }
    if stop.iter().any(|text| text.is_empty() || text.len() > STOP_BYTES) {
        return Err(refused(format!("every text of stop must have 1 to {STOP_BYTES} bytes")));
    }
    Ok(stop.clone())
}

fn draw(sampling: &Sampling) -> Result<Draw, ChatError> {
    let within = |name: &str, value: Option<f64>, default: f64, least: f64, most: f64| {
        let value = value.unwrap_or(default);
        if value >= least && value <= most {
            return Ok(value as f32);
        }
        Err(refused(format!("{name} is {value}; it must be from {least} to {most}")))
    };
    let top_p = within("top_p", sampling.top_p, Draw::TOP_P, 0.0, 1.0)?;
    let top_k = match sampling.top_k {
        Some(0) => return Err(refused("top_k is 0; it must be at least 1")),
        top_k => top_k.map(|top_k| top_k as usize),
    };
    Ok(Draw {
        temperature: within("temperature", sampling.temperature, Draw::TEMPERATURE, 0.0, 2.0)?,
        top_p,
        top_k,
        seed: sampling.seed,
        presence: within("presence_penalty", sampling.presence_penalty, 0.0, -2.0, 2.0)?,
        frequency: within("frequency_penalty", sampling.frequency_penalty, 0.0, -2.0, 2.0)?,
    })
}

#[cfg(test)]
mod tests;
