//! How many tokens a request has, about, before a provider has counted them.

use headwater_models::chat::{ChatRequest, Part};

/// Bytes of text in a token, at least: English has about 4, and code or other scripts fewer.
const BYTES_PER_TOKEN: u64 = 3;
/// Tokens that a message has besides its parts.
const MESSAGE_TOKENS: u64 = 8;
/// Tokens of an image of the usual size: OpenAI counts 765 for 1024 × 1024 pixels in high detail,
/// Anthropic up to 1,600.
const IMAGE_TOKENS: u64 = 1_600;

/// An upper estimate of the input's tokens. The provider's own count replaces it as soon as it is
/// known.
pub fn input_tokens(request: &ChatRequest) -> u64 {
    let text = |text: &str| (text.len() as u64).div_ceil(BYTES_PER_TOKEN);
    let part = |part: &Part| match part {
        Part::Text(own) | Part::Refusal(own) => text(own),
        Part::Thinking { text: own, .. } => text(own),
        Part::Image(_) => IMAGE_TOKENS,
        Part::ToolCall { name, arguments, .. } => text(name) + text(arguments),
        Part::ToolResult { text: own, .. } => text(own),
    };
    let messages = request
        .messages
        .iter()
        .map(|message| MESSAGE_TOKENS + message.parts.iter().map(part).sum::<u64>());
    let tools = request.tools.iter().map(|tool| {
        let schema = tool.parameters.to_string();
        let described = tool.description.as_deref().unwrap_or_default();
        MESSAGE_TOKENS + text(&tool.name) + text(described) + text(&schema)
    });
    messages.sum::<u64>() + tools.sum::<u64>()
}
