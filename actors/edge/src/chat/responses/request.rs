//! The body of a request for a response, read into the gateway's nouns.

use headwater_actors::gateway::{
    ChatRequest, Message, OutputFormat, Part, Role, Sampling, Tool, ToolChoice,
};
use serde_json::{Map, Value, json};

use crate::chat::fields::Fields;
use crate::chat::openai::message::image_of;
use crate::error::ApiError;

const ROLES: [&str; 4] = ["system", "developer", "user", "assistant"];
const ITEMS: [&str; 4] = ["message", "function_call", "function_call_output", "reasoning"];
const PARTS: [&str; 4] = ["input_text", "input_image", "output_text", "refusal"];

/// # Errors
/// 400 that names the field.
pub(super) fn read(body: &Map<String, Value>) -> Result<ChatRequest, ApiError> {
    let fields = Fields::root(body);
    let mut messages = Vec::new();
    if let Some(instructions) = fields.text("instructions")? {
        messages.push(Message::text(Role::System, instructions));
    }
    if fields.get("prompt").is_some() {
        return Err(fields.refuse("prompt", "an object that names a prompt of your team"));
    }
    for field in ["previous_response_id", "conversation"] {
        if fields.get(field).is_some() {
            let allowed = "left out; nothing is kept here, so send the whole input";
            return Err(fields.refuse(field, allowed));
        }
    }
    if fields.flag("background")?.unwrap_or(false) {
        return Err(fields.refuse("background", "false or left out"));
    }
    match fields.required("input", "a string, or a list of items")? {
        Value::String(text) => messages.push(Message::text(Role::User, text)),
        Value::Array(items) if !items.is_empty() => {
            for item in fields.objects("input")? {
                let Some(message) = item_of(&item)? else { continue };
                match messages.last_mut() {
                    // What a model says at once is one message, all calls of tools with it.
                    Some(last) if (last.role, message.role) == SAID_ON => {
                        last.parts.extend(message.parts);
                    }
                    _ => messages.push(message),
                }
            }
        }
        _ => return Err(fields.refuse("input", "a string, or a list of at least one item")),
    }
    let mut request = ChatRequest::new(fields.name("model")?, messages);
    request.tools = tools(&fields)?;
    request.tool_choice = tool_choice(&fields, &request.tools)?;
    request.parallel_tool_calls = fields.flag("parallel_tool_calls")?;
    request.sampling = Sampling {
        temperature: fields.number("temperature", 0.0, 2.0)?,
        top_p: fields.number("top_p", 0.0, 1.0)?,
        ..Sampling::default()
    };
    request.max_tokens = fields.whole("max_output_tokens", 1, u64::MAX)?;
    request.format = format(&fields)?;
    request.user = fields.text("user")?.map(str::to_owned);
    request.stream = fields.flag("stream")?.unwrap_or(false);
    Ok(request)
}

/// A model that goes on with what it says.
const SAID_ON: (Role, Role) = (Role::Assistant, Role::Assistant);

/// Thoughts of earlier answers say nothing to another model, so that they give no message.
fn item_of(item: &Fields) -> Result<Option<Message>, ApiError> {
    let kind = match item.get("type") {
        Some(_) => item.one_of("type", &ITEMS)?,
        None => "message",
    };
    let (role, part) = match kind {
        "function_call" => {
            let id = item.name("call_id")?.to_owned();
            let name = item.name("name")?.to_owned();
            let arguments = item.required_text("arguments")?.to_owned();
            (Role::Assistant, Part::ToolCall { id, name, arguments })
        }
        "function_call_output" => {
            let call_id = item.name("call_id")?.to_owned();
            let text = item.required_text("output")?.to_owned();
            (Role::User, Part::ToolResult { call_id, text, is_error: false })
        }
        "reasoning" => return Ok(None),
        _ => {
            let role = match item.one_of("role", &ROLES)? {
                "user" => Role::User,
                "assistant" => Role::Assistant,
                _ => Role::System,
            };
            return Ok(Some(Message { role, parts: content(item)? }));
        }
    };
    Ok(Some(Message { role, parts: vec![part] }))
}

fn content(item: &Fields) -> Result<Vec<Part>, ApiError> {
    match item.required("content", "a string, or a list of parts")? {
        Value::String(text) => Ok(vec![Part::Text(text.clone())]),
        Value::Array(parts) if !parts.is_empty() => {
            item.objects("content")?.iter().map(part_of).collect()
        }
        _ => Err(item.refuse("content", "a string, or a list of at least one part")),
    }
}

fn part_of(part: &Fields) -> Result<Part, ApiError> {
    match part.one_of("type", &PARTS)? {
        "input_image" => {
            let allowed = "an http or https address, or data:<media type>;base64,<data>";
            let url = part.required_text("image_url")?;
            image_of(url).map(Part::Image).ok_or_else(|| part.refuse("image_url", allowed))
        }
        "refusal" => Ok(Part::Refusal(part.required_text("refusal")?.to_owned())),
        _ => Ok(Part::Text(part.required_text("text")?.to_owned())),
    }
}

fn tools(fields: &Fields) -> Result<Vec<Tool>, ApiError> {
    let read = |tool: Fields| {
        tool.one_of("type", &["function"])?;
        tool.object("parameters")?;
        let empty = || json!({"type": "object", "properties": {}});
        Ok(Tool {
            name: tool.name("name")?.to_owned(),
            description: tool.text("description")?.map(str::to_owned),
            parameters: tool.get("parameters").cloned().unwrap_or_else(empty),
            strict: tool.flag("strict")?,
        })
    };
    fields.objects("tools")?.into_iter().map(read).collect()
}

fn tool_choice(fields: &Fields, tools: &[Tool]) -> Result<ToolChoice, ApiError> {
    match fields.get("tool_choice") {
        None => Ok(ToolChoice::Auto),
        Some(value @ Value::Object(_)) => {
            let choice = Fields::of(value, fields.place("tool_choice"))?;
            choice.one_of("type", &["function"])?;
            let name = choice.name("name")?;
            if tools.iter().any(|tool| tool.name == name) {
                return Ok(ToolChoice::Named(name.to_owned()));
            }
            Err(choice.refuse("name", "the name of one of the tools"))
        }
        Some(_) => match fields.one_of("tool_choice", &["none", "auto", "required"])? {
            "none" => Ok(ToolChoice::None),
            "required" => Ok(ToolChoice::Required),
            _ => Ok(ToolChoice::Auto),
        },
    }
}

fn format(fields: &Fields) -> Result<OutputFormat, ApiError> {
    let Some(text) = fields.object("text")? else { return Ok(OutputFormat::Text) };
    let Some(format) = text.object("format")? else { return Ok(OutputFormat::Text) };
    match format.one_of("type", &["text", "json_object", "json_schema"])? {
        "json_object" => Ok(OutputFormat::JsonObject),
        "json_schema" => {
            format.required_object("schema")?;
            Ok(OutputFormat::JsonSchema {
                name: format.name("name")?.to_owned(),
                schema: format.get("schema").cloned().unwrap_or_default(),
                strict: format.flag("strict")?,
            })
        }
        _ => Ok(OutputFormat::Text),
    }
}
