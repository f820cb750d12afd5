//! What the codecs of all protocols share: the steps of an answer, and pieces of requests.

use headwater_models::chat::{
    ChatError, ChatEvent, ChatRequest, Image, Message, Part, Protocol, Role,
};
use serde_json::{Map, Value};

use crate::{anthropic, gemini, openai, refusal};

/// What an event of a stream is to the stream.
#[derive(Debug, PartialEq)]
pub(crate) enum Step {
    /// The answer goes on.
    Says(Vec<ChatEvent>),
    /// It says this and is complete.
    Last(Vec<ChatEvent>),
    /// It is complete, and the event says nothing that a client should see.
    End,
}

/// Reads the answer to one request.
pub(crate) trait Decoder: Send {
    /// Reads one event of a stream.
    ///
    /// # Errors
    /// [`ChatError::Cut`] when it tells an error, or is not what the protocol promises.
    fn event(&mut self, data: &str) -> Result<Step, ChatError>;

    /// Reads an answer that was not streamed.
    ///
    /// # Errors
    /// As [`Decoder::event`], and when the answer is not complete.
    fn whole(&mut self, body: &str) -> Result<Vec<ChatEvent>, ChatError>;

    /// Called when the connection ends without an event that said so.
    ///
    /// # Errors
    /// [`ChatError::Cut`] when the answer is not complete.
    fn end(&self) -> Result<(), ChatError> {
        Err(cut("the connection ended before the answer did"))
    }
}

/// The body of a request in this protocol.
pub(crate) fn encode(
    protocol: Protocol,
    request: &ChatRequest,
    limit_name: openai::LimitName,
) -> Result<Map<String, Value>, ChatError> {
    let verbatim = request.body_of(protocol);
    match (protocol, verbatim) {
        (Protocol::OpenAiChat, Some(fields)) => Ok(openai::from_body(fields, request)),
        (Protocol::OpenAiChat, None) => openai::from_nouns(request, limit_name),
        (Protocol::AnthropicMessages, Some(fields)) => {
            let mut body = fields.clone();
            body.insert("model".to_owned(), Value::from(request.model.as_str()));
            body.insert("stream".to_owned(), Value::from(request.stream));
            Ok(body)
        }
        (Protocol::AnthropicMessages, None) => anthropic::from_nouns(request),
        // The address names the model and tells whether to stream.
        (Protocol::Gemini, Some(fields)) => Ok(fields.clone()),
        (Protocol::Gemini, None) => gemini::from_nouns(request),
        (Protocol::OpenAiEmbeddings, fields) => {
            Ok(openai::embeddings(fields.cloned().unwrap_or_default(), request))
        }
    }
}

/// What reads the answer to this request.
pub(crate) fn decoder(protocol: Protocol, request: &ChatRequest) -> Box<dyn Decoder> {
    match protocol {
        Protocol::OpenAiChat => Box::<openai::Answer>::default(),
        Protocol::AnthropicMessages => {
            let is_translated = request.body_of(protocol).is_none();
            let schema_name = is_translated.then(|| anthropic::schema_name(request)).flatten();
            Box::new(anthropic::Answer::new(schema_name))
        }
        Protocol::Gemini => Box::<gemini::Answer>::default(),
        Protocol::OpenAiEmbeddings => Box::new(openai::Vectors { texts: request.messages.len() }),
    }
}

pub(crate) fn cut(reason: &str) -> ChatError {
    ChatError::Cut { reason: reason.to_owned() }
}

/// The error of a provider that tells one in the midst of an answer.
pub(crate) fn told(body: &Value) -> ChatError {
    let words = refusal::words(body, "");
    let code = words.code.map(|code| format!(" ({code})")).unwrap_or_default();
    ChatError::Cut { reason: format!("the provider tells an error{code}: {}", words.message) }
}

pub(crate) fn parse(data: &str) -> Result<Value, ChatError> {
    let value: Option<Value> = serde_json::from_str(data).ok();
    // The provider's bytes may hold a client's texts, so the error repeats none.
    value.filter(Value::is_object).ok_or_else(|| cut("the provider sent what is no JSON object"))
}

/// The refusal of a field that this provider has no equal of.
pub(crate) fn refuse(field: &str, why: &str) -> ChatError {
    ChatError::Refused {
        status: 400,
        code: Some("unsupported_parameter".to_owned()),
        message: format!("`{field}`: {why}"),
    }
}

/// A number of tokens; what is absent is 0.
pub(crate) fn count(value: &Value) -> u64 {
    value.as_u64().unwrap_or(0)
}

/// The text of a field, unless it is empty or absent.
pub(crate) fn text_of(value: &Value) -> Option<&str> {
    value.as_str().filter(|text| !text.is_empty())
}

/// The arguments of a call as an object; no text at all stands for an empty one.
pub(crate) fn arguments(text: &str) -> Result<Value, ChatError> {
    if text.trim().is_empty() {
        return Ok(Value::Object(Map::new()));
    }
    let value: Option<Value> = serde_json::from_str(text).ok();
    value.filter(Value::is_object).ok_or_else(|| {
        refuse("messages.tool_calls.function.arguments", "this provider takes a JSON object only")
    })
}

/// The texts of a system message.
pub(crate) fn system_texts(message: &Message) -> Result<Vec<&str>, ChatError> {
    let texts = message.parts.iter().map(|part| match part {
        Part::Text(text) => Ok(text.as_str()),
        _ => Err(refuse("messages.content", "a system message holds texts only")),
    });
    texts.collect()
}

/// Refuses a part that no protocol has in a message of this role.
pub(crate) fn misplaced(role: Role) -> ChatError {
    let why = match role {
        Role::Assistant => {
            "an assistant's message holds texts and tool calls, no images or results"
        }
        Role::User | Role::System => "calls, thoughts and refusals stand in assistants' messages",
    };
    refuse("messages.content", why)
}

/// An image with its bytes, where they are in the request: as such or as a `data:` address.
pub(crate) fn image_bytes(image: &Image) -> Option<(&str, &str)> {
    match image {
        Image::Data { media_type, base64 } => Some((media_type, base64)),
        Image::Url(url) => {
            let (media_type, base64) = url.strip_prefix("data:")?.split_once(";base64,")?;
            Some((media_type, base64))
        }
    }
}

/// Messages of the same role, one after the other, as one: some protocols want the roles to take
/// turns, and the results of several calls in one message. System messages are left out.
pub(crate) fn turns(messages: &[Message]) -> Vec<(Role, Vec<&Part>)> {
    let mut turns: Vec<(Role, Vec<&Part>)> = Vec::new();
    for message in messages.iter().filter(|message| message.role != Role::System) {
        match turns.last_mut() {
            Some((role, parts)) if *role == message.role => parts.extend(&message.parts),
            _ => turns.push((message.role, message.parts.iter().collect())),
        }
    }
    turns
}
