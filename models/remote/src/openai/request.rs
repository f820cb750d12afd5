//! Requests of OpenAI's chat completions.

use headwater_models::chat::{
    ChatError, ChatRequest, Image, Message, OutputFormat, Part, Role, ToolChoice,
};
use serde_json::{Map, Value, json};

use crate::codec::{misplaced, system_texts};

/// What the most tokens of an answer are called. OpenAI's newer models refuse the old name, and
/// many compatible servers do not know the new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LimitName {
    MaxTokens,
    MaxCompletionTokens,
}

impl LimitName {
    /// The new name for OpenAI's own servers, the old one for all others.
    pub(crate) fn of_host(host: &str) -> LimitName {
        let own = ["openai.com", "openai.azure.com"];
        match own.iter().any(|own| host.strip_suffix(own).is_some_and(is_domain_start)) {
            true => LimitName::MaxCompletionTokens,
            false => LimitName::MaxTokens,
        }
    }
}

fn is_domain_start(text: &str) -> bool {
    text.is_empty() || text.ends_with('.')
}

/// The client's own body, with the model's name and a stream's usage asked for.
pub(crate) fn from_body(fields: &Map<String, Value>, request: &ChatRequest) -> Map<String, Value> {
    let mut body = fields.clone();
    put_model(&mut body, request);
    body
}

fn put_model(body: &mut Map<String, Value>, request: &ChatRequest) {
    body.insert("model".to_owned(), Value::from(request.model.as_str()));
    body.insert("stream".to_owned(), Value::from(request.stream));
    if request.stream {
        let options = body.entry("stream_options").or_insert_with(|| json!({}));
        match options.as_object_mut() {
            Some(options) => {
                options.insert("include_usage".to_owned(), Value::from(true));
            }
            None => *options = json!({"include_usage": true}),
        }
    }
}

/// A body written from the nouns. Thoughts of earlier turns are left out: the protocol has no
/// place for them, and its models answer without.
pub(crate) fn from_nouns(
    request: &ChatRequest,
    limit_name: LimitName,
) -> Result<Map<String, Value>, ChatError> {
    let mut messages = Vec::new();
    for message in &request.messages {
        put_message(message, &mut messages)?;
    }
    let mut body = Map::new();
    put_model(&mut body, request);
    body.insert("messages".to_owned(), Value::Array(messages));
    put_tools(&mut body, request);
    let limit = match limit_name {
        LimitName::MaxTokens => "max_tokens",
        LimitName::MaxCompletionTokens => "max_completion_tokens",
    };
    let sampling = &request.sampling;
    let stop = Some(&sampling.stop).filter(|stop| !stop.is_empty());
    let choices = Some(request.choices).filter(|choices| *choices != 1);
    let fields = [
        ("temperature", sampling.temperature.map(Value::from)),
        ("top_p", sampling.top_p.map(Value::from)),
        // Not OpenAI's own, but known to most compatible servers; the others refuse it.
        ("top_k", sampling.top_k.map(Value::from)),
        ("seed", sampling.seed.map(Value::from)),
        ("presence_penalty", sampling.presence_penalty.map(Value::from)),
        ("frequency_penalty", sampling.frequency_penalty.map(Value::from)),
        ("stop", stop.map(|stop| Value::from(stop.as_slice()))),
        (limit, request.max_tokens.map(Value::from)),
        ("n", choices.map(Value::from)),
        ("logprobs", request.logprobs.map(|_| Value::from(true))),
        ("top_logprobs", request.logprobs.filter(|count| *count > 0).map(Value::from)),
        ("response_format", format(&request.format)),
        ("user", request.user.as_deref().map(Value::from)),
    ];
    for (name, value) in fields {
        if let Some(value) = value {
            body.insert(name.to_owned(), value);
        }
    }
    Ok(body)
}

fn put_tools(body: &mut Map<String, Value>, request: &ChatRequest) {
    if request.tools.is_empty() {
        return;
    }
    let tools = request.tools.iter().map(|tool| {
        let mut function = json!({"name": tool.name, "parameters": tool.parameters});
        if let Some(description) = &tool.description {
            function["description"] = Value::from(description.as_str());
        }
        if let Some(strict) = tool.strict {
            function["strict"] = Value::from(strict);
        }
        json!({"type": "function", "function": function})
    });
    body.insert("tools".to_owned(), tools.collect());
    let choice = match &request.tool_choice {
        ToolChoice::Auto => None,
        ToolChoice::None => Some(json!("none")),
        ToolChoice::Required => Some(json!("required")),
        ToolChoice::Named(name) => Some(json!({"type": "function", "function": {"name": name}})),
    };
    if let Some(choice) = choice {
        body.insert("tool_choice".to_owned(), choice);
    }
    if let Some(parallel) = request.parallel_tool_calls {
        body.insert("parallel_tool_calls".to_owned(), Value::from(parallel));
    }
}

fn format(format: &OutputFormat) -> Option<Value> {
    match format {
        OutputFormat::Text => None,
        OutputFormat::JsonObject => Some(json!({"type": "json_object"})),
        OutputFormat::JsonSchema { name, schema, strict } => {
            let mut format = json!({"name": name, "schema": schema});
            if let Some(strict) = strict {
                format["strict"] = Value::from(*strict);
            }
            Some(json!({"type": "json_schema", "json_schema": format}))
        }
    }
}

fn put_message(message: &Message, messages: &mut Vec<Value>) -> Result<(), ChatError> {
    match message.role {
        Role::System => {
            let text = system_texts(message)?.concat();
            messages.push(json!({"role": "system", "content": text}));
            Ok(())
        }
        Role::User => put_user(message, messages),
        Role::Assistant => put_assistant(message, messages),
    }
}

/// Results of tools are messages of their own, ahead of what the user says beside them.
fn put_user(message: &Message, messages: &mut Vec<Value>) -> Result<(), ChatError> {
    let mut content = Vec::new();
    for part in &message.parts {
        match part {
            Part::Text(text) => content.push(json!({"type": "text", "text": text})),
            Part::Image(image) => {
                let url = match image {
                    Image::Url(url) => url.clone(),
                    Image::Data { media_type, base64 } => {
                        format!("data:{media_type};base64,{base64}")
                    }
                };
                content.push(json!({"type": "image_url", "image_url": {"url": url}}));
            }
            Part::ToolResult { call_id, text, is_error } => {
                // The protocol has no mark for a failed call, so its text carries it.
                let mark = if *is_error { "error: " } else { "" };
                let text = format!("{mark}{text}");
                messages.push(json!({"role": "tool", "tool_call_id": call_id, "content": text}));
            }
            Part::ToolCall { .. } | Part::Thinking { .. } | Part::Refusal(_) => {
                return Err(misplaced(Role::User));
            }
        }
    }
    let content = match (content.as_slice(), message.parts.as_slice()) {
        ([], [_, ..]) => return Ok(()),
        ([], []) => json!(""),
        ([_], [Part::Text(text)]) => json!(text),
        _ => Value::Array(content),
    };
    messages.push(json!({"role": "user", "content": content}));
    Ok(())
}

fn put_assistant(message: &Message, messages: &mut Vec<Value>) -> Result<(), ChatError> {
    let (mut text, mut refusal, mut calls) = (String::new(), String::new(), Vec::new());
    for part in &message.parts {
        match part {
            Part::Text(said) => text.push_str(said),
            Part::Refusal(said) => refusal.push_str(said),
            Part::Thinking { .. } => {}
            Part::ToolCall { id, name, arguments } => {
                let function = json!({"name": name, "arguments": arguments});
                calls.push(json!({"id": id, "type": "function", "function": function}));
            }
            Part::Image(_) | Part::ToolResult { .. } => return Err(misplaced(Role::Assistant)),
        }
    }
    let is_silent = text.is_empty() && (!calls.is_empty() || !refusal.is_empty());
    let content = if is_silent { Value::Null } else { Value::from(text) };
    let mut message = json!({"role": "assistant", "content": content});
    if !refusal.is_empty() {
        message["refusal"] = Value::from(refusal);
    }
    if !calls.is_empty() {
        message["tool_calls"] = Value::Array(calls);
    }
    messages.push(message);
    Ok(())
}
