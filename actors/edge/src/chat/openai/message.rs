//! The messages of OpenAI's body.

use headwater_actors::gateway::{Image, Message, Part, Role};
use serde_json::Value;

use crate::chat::fields::Fields;
use crate::error::ApiError;

const ROLES: [&str; 6] = ["system", "developer", "user", "assistant", "tool", "function"];

/// What a message of some role may hold.
const TEXTS: [&str; 1] = ["text"];
const SEEN: [&str; 2] = ["text", "image_url"];
const SPOKEN: [&str; 2] = ["text", "refusal"];

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
    messages.iter().map(read).collect()
}

fn read(message: &Fields) -> Result<Message, ApiError> {
    message.text("name")?;
    let user = |parts| Message { role: Role::User, parts };
    match message.one_of("role", &ROLES)? {
        "user" => Ok(user(content(message, &SEEN)?)),
        "assistant" => assistant(message),
        "tool" => {
            let call_id = message.name("tool_call_id")?.to_owned();
            Ok(user(vec![result(message, call_id)?]))
        }
        // The older form has no ids: the function's name links the call to what came of it.
        "function" => {
            let call_id = message.name("name")?.to_owned();
            Ok(user(vec![result(message, call_id)?]))
        }
        _ => Ok(Message { role: Role::System, parts: content(message, &TEXTS)? }),
    }
}

fn result(message: &Fields, call_id: String) -> Result<Part, ApiError> {
    let texts = content(message, &TEXTS)?.into_iter().filter_map(|part| match part {
        Part::Text(text) => Some(text),
        _ => None,
    });
    let text = texts.collect::<Vec<_>>().join("\n");
    Ok(Part::ToolResult { call_id, text, is_error: false })
}

fn assistant(message: &Fields) -> Result<Message, ApiError> {
    let mut parts = match message.get("content") {
        Some(_) => content(message, &SPOKEN)?,
        None => Vec::new(),
    };
    if let Some(refusal) = message.text("refusal")? {
        parts.push(Part::Refusal(refusal.to_owned()));
    }
    for call in message.objects("tool_calls")? {
        call.one_of("type", &["function"])?;
        let id = call.name("id")?.to_owned();
        parts.push(call_of(&call.required_object("function")?, id)?);
    }
    if let Some(call) = message.object("function_call")? {
        let id = call.name("name")?.to_owned();
        parts.push(call_of(&call, id)?);
    }
    if parts.is_empty() {
        return Err(message.missing("content", "a string, a list of parts, or tool_calls"));
    }
    Ok(Message { role: Role::Assistant, parts })
}

fn call_of(function: &Fields, id: String) -> Result<Part, ApiError> {
    let name = function.name("name")?.to_owned();
    let arguments = function.required_text("arguments")?.to_owned();
    Ok(Part::ToolCall { id, name, arguments })
}

fn content(message: &Fields, allowed: &[&'static str]) -> Result<Vec<Part>, ApiError> {
    match message.required("content", "a string, or a list of parts")? {
        Value::String(text) => Ok(vec![Part::Text(text.clone())]),
        Value::Array(_) => {
            let parts = message.objects("content")?;
            if parts.is_empty() {
                return Err(message.refuse("content", "a string, or a list of at least one part"));
            }
            parts.iter().map(|part| part_of(part, allowed)).collect()
        }
        _ => Err(message.refuse("content", "a string, or a list of parts")),
    }
}

fn part_of(part: &Fields, allowed: &[&'static str]) -> Result<Part, ApiError> {
    match part.one_of("type", allowed)? {
        "image_url" => {
            let image = part.required_object("image_url")?;
            let allowed = "an http or https address, or data:<media type>;base64,<data>";
            let url = image.required_text("url")?;
            image_of(url).map(Part::Image).ok_or_else(|| image.refuse("url", allowed))
        }
        "refusal" => Ok(Part::Refusal(part.required_text("refusal")?.to_owned())),
        _ => Ok(Part::Text(part.required_text("text")?.to_owned())),
    }
}

/// A picture's address, or its data in the address.
pub(in crate::chat) fn image_of(url: &str) -> Option<Image> {
    if url.starts_with("https://") || url.starts_with("http://") {
        return Some(Image::Url(url.to_owned()));
    }
    let (head, base64) = url.strip_prefix("data:")?.split_once(',')?;
    let media_type = head.strip_suffix(";base64").filter(|kind| kind.starts_with("image/"))?;
    let fits = |letter: u8| letter.is_ascii_alphanumeric() || b"+/=-_".contains(&letter);
    if base64.is_empty() || !base64.bytes().all(fits) {
        return None;
    }
    Some(Image::Data { media_type: media_type.to_owned(), base64: base64.to_owned() })
}
