//! Anthropic's body of a chat, read into the gateway's nouns.

use headwater_actors::gateway::{Body, ChatRequest, Message, Protocol, Sampling, Tool, ToolChoice};
use serde_json::{Map, Value};

use super::message;
use crate::chat::fields::Fields;
use crate::error::ApiError;

/// Most stop texts.
const STOPS: usize = 64;

/// Which route a body was sent to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Route {
    Messages,
    /// Only the input counts here, so that no limit of the answer is asked for.
    CountTokens,
}

/// # Errors
/// 400 that names the field.
pub(crate) fn read(body: Map<String, Value>, route: Route) -> Result<ChatRequest, ApiError> {
    let fields = Fields::root(&body);
    let model = fields.name("model")?;
    let max_tokens = fields.whole("max_tokens", 1, u64::MAX)?;
    if max_tokens.is_none() && route == Route::Messages {
        return Err(fields.missing("max_tokens", "the most tokens of the answer, at least 1"));
    }
    let mut messages: Vec<Message> = message::system(&fields)?.into_iter().collect();
    messages.extend(message::read_all(&fields)?);
    let mut request = ChatRequest::new(model, messages);
    request.max_tokens = max_tokens;
    request.tools = tools(&fields)?;
    (request.tool_choice, request.parallel_tool_calls) = tool_choice(&fields, &request.tools)?;
    request.sampling = Sampling {
        temperature: fields.number("temperature", 0.0, 1.0)?,
        top_p: fields.number("top_p", 0.0, 1.0)?,
        top_k: fields.whole("top_k", 0, u64::from(u32::MAX))?.map(|top_k| top_k as u32),
        stop: fields.texts("stop_sequences", STOPS)?,
        ..Sampling::default()
    };
    if let Some(metadata) = fields.object("metadata")? {
        request.user = metadata.text("user_id")?.map(str::to_owned);
    }
    // What an upstream is to think is told in its own words, in the body that it gets.
    fields.object("thinking")?;
    request.stream = fields.flag("stream")?.unwrap_or(false);
    request.body =
        Some(Body { protocol: Protocol::AnthropicMessages, fields: body, headers: Vec::new() });
    Ok(request)
}

fn tools(fields: &Fields) -> Result<Vec<Tool>, ApiError> {
    let read = |tool: Fields| {
        if tool.get("type").is_some() {
            // Tools that a provider runs by itself have a type of their own.
            tool.one_of("type", &["custom"])?;
        }
        tool.required_object("input_schema")?;
        Ok(Tool {
            name: tool.name("name")?.to_owned(),
            description: tool.text("description")?.map(str::to_owned),
            parameters: tool.get("input_schema").cloned().unwrap_or_default(),
            strict: tool.flag("strict")?,
        })
    };
    fields.objects("tools")?.into_iter().map(read).collect()
}

fn tool_choice(fields: &Fields, tools: &[Tool]) -> Result<(ToolChoice, Option<bool>), ApiError> {
    let Some(choice) = fields.object("tool_choice")? else { return Ok((ToolChoice::Auto, None)) };
    let parallel = choice.flag("disable_parallel_tool_use")?.map(|disabled| !disabled);
    let choice = match choice.one_of("type", &["auto", "any", "tool", "none"])? {
        "any" => ToolChoice::Required,
        "none" => ToolChoice::None,
        "tool" => {
            let name = choice.name("name")?;
            if !tools.iter().any(|tool| tool.name == name) {
                return Err(choice.refuse("name", "the name of one of the tools"));
            }
            ToolChoice::Named(name.to_owned())
        }
        _ => ToolChoice::Auto,
    };
    Ok((choice, parallel))
}
