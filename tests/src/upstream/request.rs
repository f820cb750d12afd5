//! What a client asks of the simulator, read from either protocol.

use serde_json::{Value, json};

/// Which protocol a path speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    OpenAi,
    Anthropic,
    /// OpenAI's embeddings: each text of the input is a message.
    Embeddings,
}

impl Protocol {
    pub(super) fn of_path(path: &str) -> Option<Protocol> {
        match path {
            "/v1/chat/completions" => Some(Protocol::OpenAi),
            "/v1/messages" => Some(Protocol::Anthropic),
            "/v1/embeddings" => Some(Protocol::Embeddings),
            _ => None,
        }
    }
}

/// A request as the simulator sees it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Asked {
    pub(super) model: String,
    pub(super) stream: bool,
    /// Whom the request names as its end user.
    pub(super) user: Option<String>,
    /// Whether a stream tells the usage; Anthropic's always do.
    pub(super) include_usage: bool,
    /// The system's text, then each message's.
    pub(super) texts: Vec<String>,
    /// Words over all texts.
    pub(super) input: u64,
    /// Most words of the answer.
    pub(super) limit: Option<usize>,
    pub(super) last: Last,
    /// The first tool.
    pub(super) tool: Option<String>,
}

/// What the answer is an answer to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Last {
    User(String),
    ToolResult(String),
}

impl Asked {
    /// None when the body is no request.
    pub(super) fn read(protocol: Protocol, body: &Value) -> Option<Asked> {
        let messages = match protocol {
            Protocol::Embeddings => {
                let texts = body["input"].as_array()?.iter();
                texts.map(|text| json!({"role": "user", "content": text})).collect()
            }
            _ => body["messages"].as_array()?.clone(),
        };
        let model = body["model"].as_str()?.to_owned();
        let mut texts = vec![text(&body["system"])];
        texts.extend(messages.iter().map(|message| text(&message["content"])));
        let words = texts.iter().map(|text| text.split_whitespace().count() as u64);
        let limit = body["max_tokens"].as_u64().or(body["max_completion_tokens"].as_u64());
        if protocol == Protocol::Anthropic && limit.is_none() {
            return None;
        }
        let (tool, user) = match protocol {
            Protocol::OpenAi | Protocol::Embeddings => {
                (&body["tools"][0]["function"]["name"], &body["user"])
            }
            Protocol::Anthropic => (&body["tools"][0]["name"], &body["metadata"]["user_id"]),
        };
        Some(Asked {
            model,
            stream: body["stream"].as_bool().unwrap_or_default(),
            user: user.as_str().map(str::to_owned),
            include_usage: body["stream_options"]["include_usage"].as_bool().unwrap_or_default(),
            input: words.sum(),
            texts,
            limit: limit.map(|limit| limit as usize),
            last: last(messages.last()?),
            tool: tool.as_str().map(str::to_owned),
        })
    }

    /// The rest of the first word of the last message that begins so.
    pub(super) fn word(&self, start: &str) -> Option<&str> {
        let Last::User(text) = &self.last else {
            return None;
        };
        text.split_whitespace().find_map(|word| word.strip_prefix(start))
    }
}

fn last(message: &Value) -> Last {
    let content = &message["content"];
    let parts = content.as_array().into_iter().flatten();
    let has_result = parts.clone().any(|part| part["type"] == "tool_result");
    match has_result || message["role"] == "tool" {
        true => Last::ToolResult(text(content)),
        false => Last::User(text(content)),
    }
}

/// All texts of a message's content, a space between them.
fn text(content: &Value) -> String {
    let Some(parts) = content.as_array() else {
        return content.as_str().unwrap_or_default().to_owned();
    };
    let texts = parts.iter().map(|part| match part["type"].as_str() {
        Some("text") => part["text"].as_str().unwrap_or_default().to_owned(),
        Some("tool_result") => text(&part["content"]),
        _ => String::new(),
    });
    let texts: Vec<String> = texts.filter(|text| !text.is_empty()).collect();
    texts.join(" ")
}
