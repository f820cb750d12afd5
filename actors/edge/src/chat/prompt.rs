//! `prompt` in a chat: the request is made of a prompt's version, with what the client says after
//! it. The body becomes what a client would have sent who wrote it all out.

use std::collections::BTreeMap;

use axum::http::{HeaderName, HeaderValue, Response};
use headwater_actors::gateway::{ChatRequest, PromptUse};
use headwater_actors::prompts::{
    Action, Chosen, PromptDocument, PromptKey, Rendered, RenderedMessage, Resolved, Role,
    ShadowAsk, Wish, holds_marker,
};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::caller;
use crate::error::ApiError;
use crate::identity::Grant;
use crate::prompts::{actor, check_name};
use crate::router::Edge;

const PROMPT: HeaderName = HeaderName::from_static("x-headwater-prompt");
/// The unit of feedback where the experiment's is the request.
const REQUEST: HeaderName = HeaderName::from_static("x-headwater-request");
const VARIANT: HeaderName = HeaderName::from_static("x-headwater-variant");

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PromptField {
    name: String,
    version: Option<u64>,
    /// `staging` instead of production.
    label: Option<String>,
    #[serde(default)]
    variables: Map<String, Value>,
    /// Who it is for; the request's own user without it.
    user: Option<String>,
    #[serde(default)]
    attributes: BTreeMap<String, String>,
}

/// In which form the request is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// OpenAI's chat completions.
    Chat,
    /// Anthropic's messages.
    Messages,
    /// OpenAI's responses.
    Responses,
}

/// A prompt that a request was made of.
pub(crate) struct Made {
    prompt: PromptKey,
    resolved: Resolved,
    variables: Map<String, Value>,
    /// Of the request's messages, the first ones.
    own_messages: usize,
    /// What a request is called in an experiment.
    request: String,
}

/// Writes the prompt that the body names into it; none when it names none.
///
/// # Errors
/// 400 that names the field, and what the prompt service says.
pub(crate) async fn write_out(
    edge: &Edge,
    grant: &Grant,
    form: Form,
    body: &mut Map<String, Value>,
) -> Result<Option<Made>, ApiError> {
    // Older clients of completions send a text under this name, which is none of ours.
    let Some(Value::Object(_)) = body.get("prompt") else { return Ok(None) };
    let field = body.remove("prompt").unwrap_or_default();
    let field: PromptField = crate::body::read_value("prompt", field)?;
    check_name("prompt.name", &field.name)?;
    let prompt = PromptKey::new(&grant.tenant, &field.name);
    edge.prompts.allow(&actor(grant), &prompt, Action::View).map_err(ApiError::from_prompt)?;
    let is_staging = match field.label.as_deref() {
        None | Some("production") => false,
        Some("staging") => true,
        Some(_) => {
            let message = "prompt.label: must be production or staging".to_owned();
            return Err(ApiError::invalid("prompt.label", "invalid_field", message));
        }
    };
    let own = body.get("user").and_then(Value::as_str).map(str::to_owned);
    let wish = Wish {
        version: field.version,
        is_staging,
        user: field.user.or(own).or_else(|| grant.user.clone()),
        request: Uuid::now_v7().to_string(),
        attributes: field.attributes,
    };
    let resolved = edge.prompts.resolve(&prompt, &wish).await.map_err(ApiError::from_prompt)?;
    let has_secrets = !resolved.ready.compiled.secrets().is_empty();
    if has_secrets && matches!(resolved.chosen, Chosen::Version | Chosen::Staging) {
        // Nobody has let it into production yet, and a model may say what it is told.
        let editor = edge.prompts.allow(&actor(grant), &prompt, Action::Edit);
        editor.map_err(ApiError::from_prompt)?;
    }
    // A shadow beside it may have secrets, too.
    check_markers(body)?;
    let rendered = resolved.ready.compiled.render(&field.variables).map_err(|problem| {
        edge.prompts.note_failure(&prompt, &resolved);
        let at = format!("prompt.{}", problem.field);
        ApiError::invalid(&at, "invalid_prompt", format!("{at}: {}", problem.problem))
    })?;
    let own_messages = put_messages(form, body, rendered)?;
    put_settings(form, body, &resolved.ready.document);
    Ok(Some(Made {
        prompt,
        resolved,
        variables: field.variables,
        own_messages,
        request: wish.request,
    }))
}

/// What a client writes itself must not look like a secret's place.
fn check_markers(body: &Map<String, Value>) -> Result<(), ApiError> {
    let wrong = body.iter().find(|(_, value)| holds_marker(value));
    wrong.map_or(Ok(()), |(field, _)| {
        let message = format!(
            "{field}: holds a character of the private use area that stands for secrets here \
             (U+F8F0, U+F8F1); remove it"
        );
        Err(ApiError::invalid(field, "invalid_field", message))
    })
}

/// Puts the prompt's messages ahead of the client's; how many messages of the gateway's they are.
fn put_messages(
    form: Form,
    body: &mut Map<String, Value>,
    rendered: Rendered,
) -> Result<usize, ApiError> {
    let messages = match rendered {
        Rendered::Chat(messages) => messages,
        Rendered::Text(content) => vec![RenderedMessage { role: Role::User, content }],
    };
    let (system, said): (Vec<_>, Vec<_>) = match form {
        Form::Messages => messages.into_iter().partition(|message| message.role == Role::System),
        _ => (Vec::new(), messages),
    };
    let own = match form {
        // What a model says at once is read as one message.
        Form::Responses => said.chunk_by(|one, next| said_on(one) && said_on(next)).count(),
        _ => said.len() + usize::from(!system.is_empty()),
    };
    if !system.is_empty() {
        if body.get("system").is_some_and(|system| !system.is_null()) {
            let message =
                "system: the prompt has a system message of its own; leave it out".to_owned();
            return Err(ApiError::invalid("system", "invalid_field", message));
        }
        let texts: Vec<String> = system.into_iter().map(|message| message.content).collect();
        body.insert("system".to_owned(), Value::from(texts.join("\n\n")));
    }
    let mut all: Vec<Value> = said
        .into_iter()
        .map(|message| json!({"role": message.role.name(), "content": message.content}))
        .collect();
    if form == Form::Responses {
        put_input(body, all)?;
        return Ok(own);
    }
    match body.remove("messages") {
        None | Some(Value::Null) => {}
        Some(Value::Array(more)) => all.extend(more),
        Some(_) => {
            let message =
                "messages: must be a list of messages, said after the prompt's".to_owned();
            return Err(ApiError::invalid("messages", "invalid_field", message));
        }
    }
    body.insert("messages".to_owned(), Value::Array(all));
    Ok(own)
}

fn said_on(message: &RenderedMessage) -> bool {
    message.role == Role::Assistant
}

/// The same for items of a response's input; the client's instructions come after the prompt's
/// messages, as all that it says.
fn put_input(body: &mut Map<String, Value>, mut all: Vec<Value>) -> Result<(), ApiError> {
    match body.remove("instructions") {
        None | Some(Value::Null) => {}
        Some(Value::String(text)) => all.push(json!({"role": "system", "content": text})),
        Some(_) => {
            let message = "instructions: must be a string".to_owned();
            return Err(ApiError::invalid("instructions", "invalid_field", message));
        }
    }
    match body.remove("input") {
        None | Some(Value::Null) => {}
        Some(Value::String(text)) => all.push(json!({"role": "user", "content": text})),
        Some(Value::Array(more)) => all.extend(more),
        Some(_) => {
            let message =
                "input: must be a string, or a list of items, said after the prompt's".to_owned();
            return Err(ApiError::invalid("input", "invalid_field", message));
        }
    }
    body.insert("input".to_owned(), Value::Array(all));
    Ok(())
}

/// What the request does not say itself the version says.
fn put_settings(form: Form, body: &mut Map<String, Value>, document: &PromptDocument) {
    let settings = &document.model;
    let (most, stop) = match form {
        Form::Chat => ("max_tokens", Some("stop")),
        Form::Messages => ("max_tokens", Some("stop_sequences")),
        // This form has neither stops nor a seed.
        Form::Responses => ("max_output_tokens", None),
    };
    let stops = (!settings.stop.is_empty()).then(|| Value::from(settings.stop.clone()));
    let format = settings.response_format.clone();
    let own = [
        ("model", settings.model.clone().map(Value::from)),
        ("temperature", settings.temperature.map(Value::from)),
        ("top_p", settings.top_p.map(Value::from)),
        (most, settings.max_tokens.map(Value::from)),
        (stop.unwrap_or("stop"), stops.filter(|_| stop.is_some())),
        ("seed", settings.seed.filter(|_| form == Form::Chat).map(Value::from)),
        ("response_format", format.clone().filter(|_| form == Form::Chat).map(Value::Object)),
        ("text", format.filter(|_| form == Form::Responses).map(text_of)),
        ("tools", (!document.tools.is_empty()).then(|| tools(form, document))),
    ];
    for (field, value) in own {
        let is_said = body.get(field).is_some_and(|said| !said.is_null())
            || (field == "max_tokens" && body.contains_key("max_completion_tokens"));
        if let Some(value) = value.filter(|_| !is_said) {
            body.insert(field.to_owned(), value);
        }
    }
}

/// A format as responses have it: what chats put into `json_schema` stands beside the type.
fn text_of(mut format: Map<String, Value>) -> Value {
    if let Some(Value::Object(schema)) = format.remove("json_schema") {
        format.extend(schema);
    }
    json!({"format": format})
}

fn tools(form: Form, document: &PromptDocument) -> Value {
    let tool = |tool: &headwater_actors::prompts::ToolSchema| match form {
        Form::Chat => json!({"type": "function", "function": {
            "name": tool.name, "description": tool.description, "parameters": tool.parameters,
        }}),
        Form::Messages => json!({
            "name": tool.name, "description": tool.description, "input_schema": tool.parameters,
        }),
        Form::Responses => json!({
            "type": "function", "name": tool.name, "description": tool.description,
            "parameters": tool.parameters,
        }),
    };
    document.tools.iter().map(tool).collect()
}

impl Made {
    /// What the gateway has to know of it.
    ///
    /// # Errors
    /// When a secret of it cannot be had.
    pub(crate) async fn used(
        &self,
        edge: &Edge,
        grant: &Grant,
        request: &ChatRequest,
    ) -> Result<PromptUse, ApiError> {
        let ask = || ShadowAsk {
            request: request.clone(),
            own_messages: self.own_messages,
            variables: self.variables.clone(),
            caller: caller(grant),
        };
        let used = edge.prompts.use_of(&self.prompt, &self.resolved, ask).await;
        used.map_err(ApiError::from_prompt)
    }

    /// Tells which version it was.
    pub(crate) fn name<B>(&self, response: &mut Response<B>) {
        let label = format!("{}@{}", self.prompt.name, self.resolved.ready.number);
        if let Ok(value) = HeaderValue::from_str(&label) {
            response.headers_mut().insert(PROMPT, value);
        }
        if let Chosen::Variant { experiment, variant } = &self.resolved.chosen
            && let Ok(value) = HeaderValue::from_str(&format!("{experiment}/{variant}"))
        {
            response.headers_mut().insert(VARIANT, value);
            if let Ok(value) = HeaderValue::from_str(&self.request) {
                response.headers_mut().insert(REQUEST, value);
            }
        }
    }
}
