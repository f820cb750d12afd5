//! What a client asks of a chat model.

use serde_json::{Map, Value};

/// A wire format of chats.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Protocol {
    /// `POST /v1/chat/completions` of OpenAI.
    OpenAiChat,
    /// `POST /v1/messages` of Anthropic.
    AnthropicMessages,
    /// `models/{model}:generateContent` of Google's Gemini API.
    Gemini,
    /// `POST /v1/embeddings` of OpenAI: no chat, but asked for, counted and paid in the same way.
    /// Each message is a text, and the answer is [`super::ChatEvent::Vectors`]. An upstream of
    /// [`Protocol::OpenAiChat`] speaks it, too.
    OpenAiEmbeddings,
}

/// The client's own body: what an upstream of the same protocol gets, with the model's name put
/// in and whatever the gateway must ask for.
#[derive(Debug, Clone, PartialEq)]
pub struct Body {
    pub protocol: Protocol,
    pub fields: Map<String, Value>,
    /// The client's own headers that such an upstream gets, too, in lower case.
    pub headers: Vec<(&'static str, String)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    System,
    User,
    Assistant,
}

/// A picture in a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Image {
    Url(String),
    /// Base64, with its media type, such as `image/png`.
    Data {
        media_type: String,
        base64: String,
    },
}

/// A piece of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    Text(String),
    Image(Image),
    /// A model's call of a tool. The arguments are JSON, as the model wrote them.
    ToolCall {
        id: String,
        name: String,
        arguments: String,
    },
    /// What a tool answered; it stands in a user's message.
    ToolResult {
        call_id: String,
        text: String,
        is_error: bool,
    },
    /// What a model thought before it answered, with the provider's signature of it.
    Thinking {
        text: String,
        signature: Option<String>,
    },
    /// A model's refusal to answer.
    Refusal(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    pub role: Role,
    pub parts: Vec<Part>,
}

/// A function that the model may call.
#[derive(Debug, Clone, PartialEq)]
pub struct Tool {
    pub name: String,
    pub description: Option<String>,
    /// JSON schema of the arguments.
    pub parameters: Value,
    /// Whether the arguments must fit the schema.
    pub strict: Option<bool>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum ToolChoice {
    #[default]
    Auto,
    None,
    /// Some tool.
    Required,
    /// The tool of this name.
    Named(String),
}

#[derive(Debug, Clone, PartialEq, Default)]
pub enum OutputFormat {
    #[default]
    Text,
    JsonObject,
    JsonSchema {
        name: String,
        schema: Value,
        strict: Option<bool>,
    },
}

/// How tokens are drawn; what is none the model decides.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Sampling {
    /// 0 takes the likeliest token.
    pub temperature: Option<f64>,
    pub top_p: Option<f64>,
    pub top_k: Option<u32>,
    pub seed: Option<i64>,
    pub presence_penalty: Option<f64>,
    pub frequency_penalty: Option<f64>,
    /// Texts before which the answer ends.
    pub stop: Vec<String>,
}

/// A chat to continue.
#[derive(Debug, Clone, PartialEq)]
pub struct ChatRequest {
    /// The model's name at whoever answers.
    pub model: String,
    pub messages: Vec<Message>,
    pub tools: Vec<Tool>,
    pub tool_choice: ToolChoice,
    /// Whether several tools may be called at once.
    pub parallel_tool_calls: Option<bool>,
    pub sampling: Sampling,
    /// Most tokens of one answer.
    pub max_tokens: Option<u64>,
    /// Answers wanted, at least 1.
    pub choices: u32,
    /// The header `traceparent` (W3C) for whoever answers over HTTP; says nothing to the model.
    pub traceparent: Option<String>,
    /// Most likely tokens to tell with each token of the answer; none asks for no probabilities.
    pub logprobs: Option<u32>,
    pub format: OutputFormat,
    /// The end user, as the client names them.
    pub user: Option<String>,
    /// Whether the answer comes part by part.
    pub stream: bool,
    /// None when the request did not come from a client of a protocol.
    pub body: Option<Body>,
}

impl ChatRequest {
    /// A request with these messages and nothing special.
    pub fn new(model: impl Into<String>, messages: Vec<Message>) -> ChatRequest {
        ChatRequest {
            model: model.into(),
            messages,
            tools: Vec::new(),
            tool_choice: ToolChoice::default(),
            parallel_tool_calls: None,
            sampling: Sampling::default(),
            max_tokens: None,
            choices: 1,
            traceparent: None,
            logprobs: None,
            format: OutputFormat::default(),
            user: None,
            stream: false,
            body: None,
        }
    }

    /// The client's own body, when it is of this protocol.
    pub fn body_of(&self, protocol: Protocol) -> Option<&Map<String, Value>> {
        self.body.as_ref().filter(|body| body.protocol == protocol).map(|body| &body.fields)
    }
}

impl Message {
    /// A message of one text.
    pub fn text(role: Role, text: impl Into<String>) -> Message {
        Message { role, parts: vec![Part::Text(text.into())] }
    }
}
