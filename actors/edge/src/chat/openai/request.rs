//! OpenAI's body of a chat, read into the gateway's nouns.

use headwater_actors::gateway::{
    Body, ChatRequest, OutputFormat, Protocol, Sampling, Tool, ToolChoice,
};
use serde_json::{Map, Value, json};

use super::message;
use crate::chat::fields::{Fields, refused};
use crate::error::ApiError;

/// Most stop texts. OpenAI takes 4, and others take more.
const STOPS: usize = 16;

/// A chat, and what concerns the answer's form alone.
pub(crate) struct Read {
    pub(super) request: ChatRequest,
    /// Whether a stream ends with a chunk that tells the usage.
    pub(super) include_usage: bool,
}

/// # Errors
/// 400 that names the field.
pub(crate) fn read(body: Map<String, Value>) -> Result<Read, ApiError> {
    let fields = Fields::root(&body);
    let mut request = ChatRequest::new(fields.name("model")?, message::read_all(&fields)?);
    request.tools = tools(&fields)?;
    request.tool_choice = tool_choice(&fields, &request.tools)?;
    request.parallel_tool_calls = fields.flag("parallel_tool_calls")?;
    request.sampling = sampling(&fields)?;
    let newer = fields.whole("max_completion_tokens", 1, u64::MAX)?;
    request.max_tokens = newer.or(fields.whole("max_tokens", 1, u64::MAX)?);
    request.choices = fields.whole("n", 1, 128)?.unwrap_or(1) as u32;
    request.logprobs = logprobs(&fields)?;
    request.format = format(&fields)?;
    request.user = fields.text("user")?.map(str::to_owned);
    request.stream = fields.flag("stream")?.unwrap_or(false);
    let include_usage = include_usage(&fields)?;
    request.body = Some(Body { protocol: Protocol::OpenAiChat, fields: body, headers: Vec::new() });
    Ok(Read { request, include_usage })
}

/// Whether a stream ends with a chunk that tells the usage.
pub(super) fn include_usage(fields: &Fields) -> Result<bool, ApiError> {
    let options = fields.object("stream_options")?;
    let asked = options.map(|options| options.flag("include_usage")).transpose()?;
    Ok(asked.flatten().unwrap_or(false))
}

pub(super) fn sampling(fields: &Fields) -> Result<Sampling, ApiError> {
    let seed = fields.get("seed").map(|seed| {
        let allowed = "a whole number of 64 bits with a sign";
        seed.as_i64().ok_or_else(|| fields.refuse("seed", allowed))
    });
    let stop = match fields.get("stop") {
        Some(Value::String(stop)) if stop.is_empty() => {
            return Err(fields.refuse("stop", "a string that is not empty, or a list of such"));
        }
        Some(Value::String(stop)) => vec![stop.clone()],
        Some(Value::Array(_)) | None => fields.texts("stop", STOPS)?,
        Some(_) => {
            let allowed = format!("a string, or a list of at most {STOPS} strings");
            return Err(fields.refuse("stop", &allowed));
        }
    };
    Ok(Sampling {
        temperature: fields.number("temperature", 0.0, 2.0)?,
        top_p: fields.number("top_p", 0.0, 1.0)?,
        top_k: None,
        seed: seed.transpose()?,
        presence_penalty: fields.number("presence_penalty", -2.0, 2.0)?,
        frequency_penalty: fields.number("frequency_penalty", -2.0, 2.0)?,
        stop,
    })
}

fn logprobs(fields: &Fields) -> Result<Option<u32>, ApiError> {
    let wanted = fields.flag("logprobs")?.unwrap_or(false);
    let top = fields.whole("top_logprobs", 0, 20)?;
    if top.is_some() && !wanted {
        return Err(fields.refuse("top_logprobs", "left out, unless logprobs is true"));
    }
    Ok(wanted.then(|| top.unwrap_or(0) as u32))
}

fn tools(fields: &Fields) -> Result<Vec<Tool>, ApiError> {
    let read = |tool: Fields| {
        tool.one_of("type", &["function"])?;
        let function = tool.required_object("function")?;
        let parameters = function.object("parameters")?;
        // A function without parameters takes an empty object.
        let parameters = match parameters {
            Some(_) => function.get("parameters").cloned().unwrap_or_default(),
            None => json!({"type": "object", "properties": {}}),
        };
        Ok(Tool {
            name: function.name("name")?.to_owned(),
            description: function.text("description")?.map(str::to_owned),
            parameters,
            strict: function.flag("strict")?,
        })
    };
    fields.objects("tools")?.into_iter().map(read).collect()
}

fn tool_choice(fields: &Fields, tools: &[Tool]) -> Result<ToolChoice, ApiError> {
    let allowed = "none, auto, required, or an object that names a function";
    match fields.get("tool_choice") {
        None => Ok(ToolChoice::Auto),
        Some(Value::String(choice)) => match choice.as_str() {
            "auto" => Ok(ToolChoice::Auto),
            "none" => Ok(ToolChoice::None),
            "required" => Ok(ToolChoice::Required),
            _ => Err(fields.refuse("tool_choice", allowed)),
        },
        Some(value @ Value::Object(_)) => {
            let choice = Fields::of(value, fields.place("tool_choice"))?;
            choice.one_of("type", &["function"])?;
            let function = choice.required_object("function")?;
            let name = function.name("name")?;
            if tools.iter().any(|tool| tool.name == name) {
                return Ok(ToolChoice::Named(name.to_owned()));
            }
            Err(function.refuse("name", "the name of one of the tools"))
        }
        Some(_) => Err(fields.refuse("tool_choice", allowed)),
    }
}

fn format(fields: &Fields) -> Result<OutputFormat, ApiError> {
    let Some(format) = fields.object("response_format")? else { return Ok(OutputFormat::Text) };
    match format.one_of("type", &["text", "json_object", "json_schema"])? {
        "json_object" => Ok(OutputFormat::JsonObject),
        "json_schema" => {
            let told = format.required_object("json_schema")?;
            let place = told.place("schema");
            let schema = told.required("schema", "a JSON schema")?;
            if !schema.is_object() {
                return Err(refused(&place, "a JSON schema"));
            }
            Ok(OutputFormat::JsonSchema {
                name: told.name("name")?.to_owned(),
                schema: schema.clone(),
                strict: told.flag("strict")?,
            })
        }
        _ => Ok(OutputFormat::Text),
    }
}
