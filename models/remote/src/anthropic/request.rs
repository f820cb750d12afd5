//! Requests of Anthropic's messages.

use headwater_models::chat::{
    ChatError, ChatRequest, Image, OutputFormat, Part, Role, Sampling, ToolChoice,
};
use serde_json::{Map, Value, json};

use crate::codec::{arguments, image_bytes, misplaced, refuse, system_texts, turns};

/// The most tokens of an answer when the request names none: the protocol wants a number.
const MAX_TOKENS: u64 = 4_096;

/// The tool whose input is the answer, when the answer must fit a schema.
pub(crate) fn schema_name(request: &ChatRequest) -> Option<String> {
    match &request.format {
        OutputFormat::JsonSchema { name, .. } => Some(name.clone()),
        OutputFormat::Text | OutputFormat::JsonObject => None,
    }
}

/// A body written from the nouns.
pub(crate) fn from_nouns(request: &ChatRequest) -> Result<Map<String, Value>, ChatError> {
    refuse_absent(request)?;
    let mut body = Map::new();
    body.insert("model".to_owned(), Value::from(request.model.as_str()));
    body.insert("stream".to_owned(), Value::from(request.stream));
    body.insert("max_tokens".to_owned(), request.max_tokens.unwrap_or(MAX_TOKENS).into());
    let mut system = Vec::new();
    for message in request.messages.iter().filter(|message| message.role == Role::System) {
        // The API refuses an empty text.
        let texts = system_texts(message)?.into_iter().filter(|text| !text.is_empty());
        system.extend(texts.map(|text| json!({"type": "text", "text": text})));
    }
    let mut messages = Vec::new();
    for (role, parts) in turns(&request.messages) {
        let content = match role {
            Role::Assistant => assistant(&parts)?,
            Role::User | Role::System => user(&parts)?,
        };
        let role = if role == Role::Assistant { "assistant" } else { "user" };
        messages.push(json!({"role": role, "content": content}));
    }
    body.insert("messages".to_owned(), Value::Array(messages));
    let sampling = &request.sampling;
    let stop = Some(&sampling.stop).filter(|stop| !stop.is_empty());
    let fields = [
        ("system", Some(Value::Array(system.clone())).filter(|_| !system.is_empty())),
        ("temperature", sampling.temperature.map(Value::from)),
        ("top_p", sampling.top_p.map(Value::from)),
        ("top_k", sampling.top_k.map(Value::from)),
        ("stop_sequences", stop.map(|stop| Value::from(stop.as_slice()))),
        ("metadata", request.user.as_ref().map(|user| json!({"user_id": user}))),
    ];
    for (name, value) in fields {
        if let Some(value) = value {
            body.insert(name.to_owned(), value);
        }
    }
    put_tools(&mut body, request)?;
    Ok(body)
}

fn refuse_absent(request: &ChatRequest) -> Result<(), ChatError> {
    let Sampling { seed, presence_penalty, frequency_penalty, .. } = &request.sampling;
    let is_set = |penalty: &Option<f64>| penalty.is_some_and(|penalty| penalty != 0.0);
    let absent = [
        ("n", request.choices > 1),
        ("logprobs", request.logprobs.is_some()),
        ("seed", seed.is_some()),
        ("presence_penalty", is_set(presence_penalty)),
        ("frequency_penalty", is_set(frequency_penalty)),
    ];
    if let Some((field, _)) = absent.iter().find(|(_, is_asked)| *is_asked) {
        return Err(refuse(field, "Anthropic's models have no such setting; leave it out"));
    }
    if request.format == OutputFormat::JsonObject {
        let why = "Anthropic's models have no such mode; ask for json_schema or text";
        return Err(refuse("response_format", why));
    }
    Ok(())
}

fn put_tools(body: &mut Map<String, Value>, request: &ChatRequest) -> Result<(), ChatError> {
    if let OutputFormat::JsonSchema { name, schema, strict } = &request.format {
        if !request.tools.is_empty() {
            let why = "with Anthropic's models a schema and tools exclude each other";
            return Err(refuse("response_format", why));
        }
        let description = "The answer, in the form that is asked for.";
        let tool = tool(name, Some(description), schema, *strict);
        body.insert("tools".to_owned(), Value::Array(vec![tool]));
        let choice = json!({"type": "tool", "name": name, "disable_parallel_tool_use": true});
        body.insert("tool_choice".to_owned(), choice);
        return Ok(());
    }
    if request.tools.is_empty() {
        return Ok(());
    }
    let tools = request.tools.iter().map(|given| {
        tool(&given.name, given.description.as_deref(), &given.parameters, given.strict)
    });
    body.insert("tools".to_owned(), tools.collect());
    let mut choice = match &request.tool_choice {
        ToolChoice::Auto => json!({"type": "auto"}),
        ToolChoice::None => json!({"type": "none"}),
        ToolChoice::Required => json!({"type": "any"}),
        ToolChoice::Named(name) => json!({"type": "tool", "name": name}),
    };
    if request.parallel_tool_calls == Some(false) && request.tool_choice != ToolChoice::None {
        choice["disable_parallel_tool_use"] = Value::from(true);
    }
    body.insert("tool_choice".to_owned(), choice);
    Ok(())
}

fn tool(name: &str, description: Option<&str>, schema: &Value, strict: Option<bool>) -> Value {
    // A tool without arguments may come without a schema; this API wants one.
    let schema = if schema.is_object() { schema.clone() } else { json!({"type": "object"}) };
    let mut tool = json!({"name": name, "input_schema": schema});
    if let Some(description) = description {
        tool["description"] = Value::from(description);
    }
    if strict == Some(true) {
        tool["strict"] = Value::from(true);
    }
    tool
}

/// What a user says. The results of calls stand first, where the API wants them.
fn user(parts: &[&Part]) -> Result<Vec<Value>, ChatError> {
    let (mut results, mut content) = (Vec::new(), Vec::new());
    for part in parts {
        match part {
            Part::Text(text) if text.is_empty() => {}
            Part::Text(text) => content.push(json!({"type": "text", "text": text})),
            Part::Image(image) => {
                let source = match (image_bytes(image), image) {
                    (Some((media_type, base64)), _) => {
                        json!({"type": "base64", "media_type": media_type, "data": base64})
                    }
                    (None, Image::Url(url)) => json!({"type": "url", "url": url}),
                    (None, Image::Data { .. }) => return Err(misplaced(Role::User)),
                };
                content.push(json!({"type": "image", "source": source}));
            }
            Part::ToolResult { call_id, text, is_error } => {
                let mut result =
                    json!({"type": "tool_result", "tool_use_id": call_id, "content": text});
                if *is_error {
                    result["is_error"] = Value::from(true);
                }
                results.push(result);
            }
            Part::ToolCall { .. } | Part::Thinking { .. } | Part::Refusal(_) => {
                return Err(misplaced(Role::User));
            }
        }
    }
    results.append(&mut content);
    Ok(results)
}

fn assistant(parts: &[&Part]) -> Result<Vec<Value>, ChatError> {
    let mut content = Vec::new();
    for part in parts {
        match part {
            Part::Text(text) | Part::Refusal(text) if text.is_empty() => {}
            Part::Text(text) | Part::Refusal(text) => {
                content.push(json!({"type": "text", "text": text}));
            }
            Part::Thinking { text, signature: Some(signature) } => {
                content.push(json!({"type": "thinking", "thinking": text, "signature": signature}))
            }
            // Without a signature the API refuses it, and the model answers without.
            Part::Thinking { signature: None, .. } => {}
            Part::ToolCall { id, name, arguments: text } => {
                let input = arguments(text)?;
                content.push(json!({"type": "tool_use", "id": id, "name": name, "input": input}));
            }
            Part::Image(_) | Part::ToolResult { .. } => return Err(misplaced(Role::Assistant)),
        }
    }
    Ok(content)
}
