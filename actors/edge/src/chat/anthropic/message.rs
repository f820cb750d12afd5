//! The messages of Anthropic's body.

use headwater_actors::gateway::{Image, Message, Part, Role};
use serde_json::Value;

use crate::chat::fields::Fields;
use crate::error::ApiError;

const TEXTS: [&str; 1] = ["text"];
/// What a user's message may hold, and an assistant's.
const SEEN: [&str; 3] = ["text", "image", "tool_result"];
const SPOKEN: [&str; 4] = ["text", "tool_use", "thinking", "redacted_thinking"];
const RESULTS: [&str; 2] = ["text", "image"];
const ALLOWED: &str = "a string, or a list of blocks";

/// The text that stands before all messages.
///
/// # Errors
/// 400 that names the field.
pub(super) fn system(fields: &Fields) -> Result<Option<Message>, ApiError> {
    if fields.get("system").is_none() {
        return Ok(None);
    }
    let parts = content(fields, "system", &TEXTS)?;
    Ok((!parts.is_empty()).then_some(Message { role: Role::System, parts }))
}

/// All messages.
///
/// # Errors
/// 400 that names the field.
pub(super) fn read_all(fields: &Fields) -> Result<Vec<Message>, ApiError> {
    fields.required("messages", "a list of messages")?;
    let messages = fields.objects("messages")?;
    if messages.is_empty() {
        return Err(fields.refuse("messages", "a list of at least one message"));
    }
    let read = |message: &Fields| match message.one_of("role", &["user", "assistant"])? {
        "user" => Ok(Message { role: Role::User, parts: content(message, "content", &SEEN)? }),
        _ => Ok(Message { role: Role::Assistant, parts: content(message, "content", &SPOKEN)? }),
    };
    messages.iter().map(read).collect()
}

fn content(fields: &Fields, name: &str, allowed: &[&'static str]) -> Result<Vec<Part>, ApiError> {
    match fields.required(name, ALLOWED)? {
        Value::String(text) => Ok(vec![Part::Text(text.clone())]),
        Value::Array(_) => {
            let mut parts = Vec::new();
            for block in fields.objects(name)? {
                read_block(&block, allowed, &mut parts)?;
            }
            Ok(parts)
        }
        _ => Err(fields.refuse(name, ALLOWED)),
    }
}

fn read_block(
    block: &Fields,
    allowed: &[&'static str],
    parts: &mut Vec<Part>,
) -> Result<(), ApiError> {
    match block.one_of("type", allowed)? {
        "image" => parts.push(Part::Image(image(&block.required_object("source")?)?)),
        "tool_use" => {
            block.required_object("input")?;
            parts.push(Part::ToolCall {
                id: block.name("id")?.to_owned(),
                name: block.name("name")?.to_owned(),
                arguments: block.get("input").map(Value::to_string).unwrap_or_default(),
            });
        }
        "tool_result" => tool_result(block, parts)?,
        "thinking" => parts.push(Part::Thinking {
            text: block.required_text("thinking")?.to_owned(),
            signature: block.text("signature")?.map(str::to_owned),
        }),
        // Thoughts that only their author can read: they stay in the body that it gets.
        "redacted_thinking" => drop(block.required_text("data")?),
        _ => parts.push(Part::Text(block.required_text("text")?.to_owned())),
    }
    Ok(())
}

/// The pictures of a result follow it, since a result holds text alone.
fn tool_result(block: &Fields, parts: &mut Vec<Part>) -> Result<(), ApiError> {
    let call_id = block.name("tool_use_id")?.to_owned();
    let is_error = block.flag("is_error")?.unwrap_or(false);
    let held = match block.get("content") {
        Some(_) => content(block, "content", &RESULTS)?,
        None => Vec::new(),
    };
    let (mut texts, mut images) = (Vec::new(), Vec::new());
    for part in held {
        match part {
            Part::Text(text) => texts.push(text),
            other => images.push(other),
        }
    }
    parts.push(Part::ToolResult { call_id, text: texts.join("\n"), is_error });
    parts.extend(images);
    Ok(())
}

fn image(source: &Fields) -> Result<Image, ApiError> {
    match source.one_of("type", &["base64", "url"])? {
        "base64" => Ok(Image::Data {
            media_type: source.name("media_type")?.to_owned(),
            base64: source.name("data")?.to_owned(),
        }),
        _ => {
            let url = source.required_text("url")?;
            if !url.starts_with("https://") && !url.starts_with("http://") {
                return Err(source.refuse("url", "an http or https address"));
            }
            Ok(Image::Url(url.to_owned()))
        }
    }
}
