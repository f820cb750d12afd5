//! Redaction of a whole request: of what it means and of the client's own body, which providers
//! of the same protocol get.

use headwater_models::chat::{ChatRequest, Message, Part};
use serde_json::{Map, Value};

use super::session::RedactionSession;
use super::{RedactError, Redactor};

/// Fields whose strings are the protocol's own, or bytes: they stay as they are.
const OWN_TEXTS: &[&str] = &[
    "call_id",
    "data",
    "detail",
    "encrypted_content",
    "file_id",
    "format",
    "id",
    "media_type",
    "mimeType",
    "model",
    "role",
    "service_tier",
    "signature",
    "thoughtSignature",
    "tool_call_id",
    "tool_use_id",
    "type",
];

/// Fields that hold nothing but settings.
const OWN_SETTINGS: &[&str] = &[
    "cache_control",
    "logit_bias",
    "modalities",
    "reasoning_effort",
    "stop",
    "stop_sequences",
    "stream_options",
    "tool_choice",
];

/// Fields of the body that describe tools and layouts: of theirs only descriptions are texts.
const SCHEMAS: &[&str] = &["functions", "output_config", "response_format", "tools"];

/// A request on its way through a session.
struct Pass<'a> {
    redactor: &'a Redactor,
    session: &'a mut RedactionSession,
    stop: &'a dyn Fn() -> bool,
}

/// Redacts all texts of the request, in its nouns and in its body alike.
///
/// # Errors
/// See [`RedactError`]. The request is half done then and must not go on.
pub fn redact_request(
    redactor: &Redactor,
    session: &mut RedactionSession,
    request: &mut ChatRequest,
    stop: &dyn Fn() -> bool,
) -> Result<(), RedactError> {
    visit(request, &mut |text| {
        session.reserve(text);
        Ok(None)
    })?;
    let mut pass = Pass { redactor, session, stop };
    visit(request, &mut |text| pass.text(text))
}

impl Pass<'_> {
    /// A text, or JSON inside a text: there the strings are the texts.
    fn text(&mut self, text: &str) -> Result<Option<String>, RedactError> {
        if text.starts_with(['{', '['])
            && let Ok(mut json) = serde_json::from_str::<Value>(text)
        {
            let mut changed = false;
            leaves(&mut json, &mut |leaf| {
                let redacted = self.session.redact(self.redactor, leaf, self.stop)?;
                changed |= redacted.is_some();
                Ok(redacted)
            })?;
            return Ok(changed.then(|| json.to_string()));
        }
        self.session.redact(self.redactor, text, self.stop)
    }
}

type Edit<'a> = dyn FnMut(&str) -> Result<Option<String>, RedactError> + 'a;

/// Shows each text of the request, and puts in what comes back.
fn visit(request: &mut ChatRequest, edit: &mut Edit<'_>) -> Result<(), RedactError> {
    for message in &mut request.messages {
        visit_message(message, edit)?;
    }
    for tool in &mut request.tools {
        if let Some(text) = &mut tool.description {
            put(text, edit)?;
        }
        descriptions(&mut tool.parameters, edit)?;
    }
    if let Some(user) = &mut request.user {
        put(user, edit)?;
    }
    for (name, value) in request.body.iter_mut().flat_map(|body| &mut body.fields) {
        if SCHEMAS.contains(&name.as_str()) {
            descriptions(value, edit)?;
        } else {
            visit_field(name, value, edit)?;
        }
    }
    Ok(())
}

fn visit_message(message: &mut Message, edit: &mut Edit<'_>) -> Result<(), RedactError> {
    for part in &mut message.parts {
        match part {
            Part::Text(text)
            | Part::Refusal(text)
            | Part::Thinking { text, .. }
            | Part::ToolResult { text, .. }
            | Part::ToolCall { arguments: text, .. } => put(text, edit)?,
            Part::Image(_) => {}
        }
    }
    Ok(())
}

fn put(text: &mut String, edit: &mut Edit<'_>) -> Result<(), RedactError> {
    if let Some(redacted) = edit(text)? {
        *text = redacted;
    }
    Ok(())
}

fn visit_fields(fields: &mut Map<String, Value>, edit: &mut Edit<'_>) -> Result<(), RedactError> {
    fields.iter_mut().try_for_each(|(name, value)| visit_field(name, value, edit))
}

fn visit_field(name: &str, value: &mut Value, edit: &mut Edit<'_>) -> Result<(), RedactError> {
    let is_own = OWN_SETTINGS.contains(&name) || (value.is_string() && OWN_TEXTS.contains(&name));
    if is_own { Ok(()) } else { visit_value(value, edit) }
}

fn visit_value(value: &mut Value, edit: &mut Edit<'_>) -> Result<(), RedactError> {
    match value {
        // A picture or a file inside a URL holds no words.
        Value::String(text) if text.starts_with("data:") => Ok(()),
        Value::String(text) => put(text, edit),
        Value::Array(list) => list.iter_mut().try_for_each(|own| visit_value(own, edit)),
        Value::Object(fields) if is_call(fields) => arguments(fields, edit),
        Value::Object(fields) => visit_fields(fields, edit),
        _ => Ok(()),
    }
}

/// Whether this is a model's call of a tool.
fn is_call(fields: &Map<String, Value>) -> bool {
    fields.contains_key("name")
        && ["arguments", "input", "args"].iter().any(|name| fields.contains_key(*name))
}

/// A call's arguments are the client's data, whatever their fields are called; the name of the
/// tool stays.
fn arguments(fields: &mut Map<String, Value>, edit: &mut Edit<'_>) -> Result<(), RedactError> {
    for (name, value) in fields {
        match name.as_str() {
            "arguments" | "input" | "args" => leaves(value, edit)?,
            _ => {}
        }
    }
    Ok(())
}

/// All strings of a value, whatever they are called.
fn leaves(value: &mut Value, edit: &mut Edit<'_>) -> Result<(), RedactError> {
    match value {
        Value::String(text) => put(text, edit),
        Value::Array(list) => list.iter_mut().try_for_each(|own| leaves(own, edit)),
        Value::Object(fields) => fields.values_mut().try_for_each(|own| leaves(own, edit)),
        _ => Ok(()),
    }
}

/// The descriptions of a schema; its names and its allowed values are what a model must repeat.
fn descriptions(value: &mut Value, edit: &mut Edit<'_>) -> Result<(), RedactError> {
    match value {
        Value::Array(list) => list.iter_mut().try_for_each(|own| descriptions(own, edit)),
        Value::Object(fields) => {
            for (name, own) in fields {
                match own {
                    Value::String(text) if name == "description" => put(text, edit)?,
                    _ => descriptions(own, edit)?,
                }
            }
            Ok(())
        }
        _ => Ok(()),
    }
}
