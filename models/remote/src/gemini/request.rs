//! Requests of Google's Gemini API.

use std::collections::BTreeMap;

use headwater_models::chat::{ChatError, ChatRequest, OutputFormat, Part, Role, ToolChoice};
use serde_json::{Map, Value, json};

use crate::codec::{arguments, image_bytes, misplaced, refuse, system_texts, turns};

/// A body written from the nouns. The end user's name is left out: the API has no place for it,
/// and no answer depends on it.
pub(crate) fn from_nouns(request: &ChatRequest) -> Result<Map<String, Value>, ChatError> {
    if request.logprobs.is_some() {
        return Err(refuse("logprobs", "not translated for Gemini's models; leave it out"));
    }
    let mut system = Vec::new();
    for message in request.messages.iter().filter(|message| message.role == Role::System) {
        system.extend(system_texts(message)?.into_iter().map(|text| json!({"text": text})));
    }
    let mut contents = Vec::new();
    let mut names = BTreeMap::new();
    let unsigned = wants_signatures(&request.model).then_some(NO_SIGNATURE);
    for (role, parts) in turns(&request.messages) {
        let (role, parts) = match role {
            Role::Assistant => ("model", assistant(&parts, unsigned, &mut names)?),
            Role::User | Role::System => ("user", user(&parts, &names)?),
        };
        contents.push(json!({"role": role, "parts": parts}));
    }
    let mut body = Map::new();
    body.insert("contents".to_owned(), Value::Array(contents));
    if !system.is_empty() {
        body.insert("systemInstruction".to_owned(), json!({"parts": system}));
    }
    let generation = generation(request);
    if !generation.is_empty() {
        body.insert("generationConfig".to_owned(), Value::Object(generation));
    }
    put_tools(&mut body, request)?;
    Ok(body)
}

fn generation(request: &ChatRequest) -> Map<String, Value> {
    let sampling = &request.sampling;
    let stop = Some(&sampling.stop).filter(|stop| !stop.is_empty());
    let choices = Some(request.choices).filter(|choices| *choices != 1);
    let (media_type, schema) = match &request.format {
        OutputFormat::Text => (None, None),
        OutputFormat::JsonObject => (Some("application/json"), None),
        OutputFormat::JsonSchema { schema, .. } => (Some("application/json"), Some(schema)),
    };
    let fields = [
        ("temperature", sampling.temperature.map(Value::from)),
        ("topP", sampling.top_p.map(Value::from)),
        ("topK", sampling.top_k.map(Value::from)),
        ("seed", sampling.seed.map(Value::from)),
        ("presencePenalty", sampling.presence_penalty.map(Value::from)),
        ("frequencyPenalty", sampling.frequency_penalty.map(Value::from)),
        ("stopSequences", stop.map(|stop| Value::from(stop.as_slice()))),
        ("maxOutputTokens", request.max_tokens.map(Value::from)),
        ("candidateCount", choices.map(Value::from)),
        ("responseMimeType", media_type.map(Value::from)),
        // The field for JSON Schema as it is; `responseSchema` takes a part of OpenAPI's only.
        ("responseJsonSchema", schema.cloned()),
    ];
    let set = fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    set.collect()
}

fn put_tools(body: &mut Map<String, Value>, request: &ChatRequest) -> Result<(), ChatError> {
    if request.tools.is_empty() {
        return Ok(());
    }
    if request.parallel_tool_calls == Some(false) {
        let why = "Gemini's models may call several tools at once; leave it out";
        return Err(refuse("parallel_tool_calls", why));
    }
    let functions = request.tools.iter().map(|tool| {
        let mut function = json!({"name": tool.name});
        if let Some(description) = &tool.description {
            function["description"] = Value::from(description.as_str());
        }
        if tool.parameters.is_object() {
            function["parametersJsonSchema"] = tool.parameters.clone();
        }
        function
    });
    let functions: Vec<Value> = functions.collect();
    body.insert("tools".to_owned(), json!([{"functionDeclarations": functions}]));
    let is_strict = request.tools.iter().any(|tool| tool.strict == Some(true));
    let calling = match &request.tool_choice {
        // The mode in which calls fit their schemas, and text is allowed too.
        ToolChoice::Auto if is_strict => json!({"mode": "VALIDATED"}),
        ToolChoice::Auto => json!({"mode": "AUTO"}),
        ToolChoice::None => json!({"mode": "NONE"}),
        ToolChoice::Required => json!({"mode": "ANY"}),
        ToolChoice::Named(name) => json!({"mode": "ANY", "allowedFunctionNames": [name]}),
    };
    body.insert("toolConfig".to_owned(), json!({"functionCallingConfig": calling}));
    Ok(())
}

/// `names` has the function of each call so far, which its result must name.
fn user(parts: &[&Part], names: &BTreeMap<&str, &str>) -> Result<Vec<Value>, ChatError> {
    let mut content = Vec::new();
    for part in parts {
        match part {
            Part::Text(text) => content.push(json!({"text": text})),
            Part::Image(image) => {
                let (media_type, base64) = image_bytes(image).ok_or_else(|| {
                    let why = "Gemini's models take images as base64 only, not by address";
                    refuse("messages.content.image_url", why)
                })?;
                content.push(json!({"inlineData": {"mimeType": media_type, "data": base64}}));
            }
            Part::ToolResult { call_id, text, is_error } => {
                let name = names.get(call_id.as_str()).ok_or_else(|| {
                    refuse("messages.tool_call_id", "no earlier message has a call of this id")
                })?;
                let field = if *is_error { "error" } else { "result" };
                let response = json!({"id": call_id, "name": name, "response": {field: text}});
                content.push(json!({"functionResponse": response}));
            }
            Part::ToolCall { .. } | Part::Thinking { .. } | Part::Refusal(_) => {
                return Err(misplaced(Role::User));
            }
        }
    }
    Ok(content)
}

/// What a call without a signature carries to models that ask for one: clients of other protocols
/// have nowhere to keep it. Source: "Thought signatures" in Google's documentation of the API.
const NO_SIGNATURE: &str = "skip_thought_signature_validator";

/// Whether a model refuses a call that comes back without its signature, as Gemini 3 does.
fn wants_signatures(model: &str) -> bool {
    let version = model.rsplit('/').next().and_then(|name| name.strip_prefix("gemini-"));
    let major = version.and_then(|version| version.split(['.', '-']).next()?.parse::<u32>().ok());
    major.is_some_and(|major| major >= 3)
}

/// A thought's signature goes with the part that follows it; the model needs no thought's text.
/// The first call of a turn has `unsigned` when nothing is known of its signature.
fn assistant<'a>(
    parts: &[&'a Part],
    unsigned: Option<&'static str>,
    names: &mut BTreeMap<&'a str, &'a str>,
) -> Result<Vec<Value>, ChatError> {
    let mut content = Vec::new();
    let mut pending: Option<&str> = None;
    let mut unsigned = unsigned;
    for part in parts {
        let mut said = match part {
            Part::Text(text) | Part::Refusal(text) => json!({"text": text}),
            Part::Thinking { signature, .. } => {
                pending = signature.as_deref().or(pending);
                continue;
            }
            Part::ToolCall { id, name, arguments: text } => {
                names.insert(id, name);
                json!({"functionCall": {"id": id, "name": name, "args": arguments(text)?}})
            }
            Part::Image(_) | Part::ToolResult { .. } => return Err(misplaced(Role::Assistant)),
        };
        let is_call = matches!(part, Part::ToolCall { .. });
        let signature = pending.take().or(unsigned.filter(|_| is_call));
        if is_call {
            unsigned = None;
        }
        if let Some(signature) = signature {
            said["thoughtSignature"] = Value::from(signature);
        }
        content.push(said);
    }
    Ok(content)
}
