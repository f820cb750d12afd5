//! Chat providers over HTTP, behind the chat port.
//!
//! | protocol | who speaks it | source |
//! | --- | --- | --- |
//! | OpenAI chat completions | OpenAI, vLLM, llama.cpp and every compatible server | "Chat" in the API reference at platform.openai.com |
//! | Anthropic messages | Anthropic | "Messages" in the API reference at docs.claude.com |
//! | Gemini | Google | "Generating content" in the API reference at ai.google.dev |
//!
//! **Requests.** A client's own body goes to a provider of the same protocol as it came; only the
//! model's name, `stream` and, for OpenAI, `stream_options.include_usage` are put in. Any other
//! request is written from the port's nouns. What a provider cannot do is refused with status 400
//! and the field's name, as the client's own protocol calls it after OpenAI; nothing that changes
//! the answer is left out.
//!
//! **Streams.** Each server-sent event is one chunk, with the provider's words beside their
//! meaning. A stream ends cleanly only after the provider's own mark of the end. To drop a stream
//! is to close its connection (HTTP/1.1) or its stream (HTTP/2).

mod anthropic;
mod client;
mod codec;
mod gemini;
mod openai;
mod refusal;
mod settings;
mod sse;
mod stream;

#[cfg(test)]
mod tests;

pub use client::RemoteChat;
pub use settings::{ApiKey, RemoteChatSettings, SettingsError};
