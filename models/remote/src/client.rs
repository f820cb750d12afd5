//! A provider as a chat model: one request over HTTP, and its answer.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use futures_util::stream;
use headwater_models::chat::{
    ChatError, ChatModel, ChatRequest, ChatStream, Chunk, Protocol, Said,
};
use reqwest::header::{
    AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, InvalidHeaderValue,
};
use reqwest::redirect::Policy;
use reqwest::{RequestBuilder, Response, Url};
use serde_json::Value;
use tokio::time::{Instant, timeout, timeout_at};

use crate::codec::{self, Decoder, cut, refuse};
use crate::openai::LimitName;
use crate::stream::{Patience, Reading};
use crate::{RemoteChatSettings, SettingsError, anthropic, refusal};

/// Longest answer that is not streamed, in bytes.
const ANSWER_BYTES_MAX: usize = 64 << 20;
/// Longest part that is read of an error's body, in bytes.
const ERROR_BYTES_MAX: usize = 64 << 10;
/// No sum with the clock overflows.
const LONGEST_SPAN: Duration = Duration::from_secs(365 * 24 * 3_600);

/// One provider; cheap to clone. Connections are kept and used again.
#[derive(Clone)]
pub struct RemoteChat {
    shared: Arc<Shared>,
}

struct Shared {
    http: reqwest::Client,
    base: Url,
    limit_name: LimitName,
    settings: RemoteChatSettings,
}

impl RemoteChat {
    /// Connects to nobody yet.
    ///
    /// # Errors
    /// When the address is none, or a key or a header holds what no header may.
    pub fn new(settings: RemoteChatSettings) -> Result<RemoteChat, SettingsError> {
        let base = base(&settings.base_url)?;
        let http = reqwest::Client::builder()
            .default_headers(headers(&settings)?)
            .user_agent(concat!("headwater/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(Duration::from_millis(settings.connect_timeout_ms))
            .tcp_nodelay(true)
            // A redirect would carry the key to another host.
            .redirect(Policy::none())
            .build()
            .map_err(|_| SettingsError("no HTTP client could be made".to_owned()))?;
        let limit_name = LimitName::of_host(base.host_str().unwrap_or_default());
        Ok(RemoteChat { shared: Arc::new(Shared { http, base, limit_name, settings }) })
    }

    /// What this request is sent in: the provider's protocol, or the one that it speaks beside.
    fn protocol(&self, request: &ChatRequest) -> Result<Protocol, ChatError> {
        let own = self.shared.settings.protocol;
        match (own, request.body.as_ref().map(|body| body.protocol)) {
            (Protocol::OpenAiChat, Some(Protocol::OpenAiEmbeddings)) => {
                Ok(Protocol::OpenAiEmbeddings)
            }
            (_, Some(Protocol::OpenAiEmbeddings)) => {
                Err(refuse("model", "its provider makes no embeddings; choose another model"))
            }
            _ => Ok(own),
        }
    }

    fn address(&self, protocol: Protocol, request: &ChatRequest) -> Result<Url, ChatError> {
        let mut address = self.shared.base.clone();
        let wrong_model = || refuse("model", "no name that Gemini's addresses can hold");
        {
            let mut path = address.path_segments_mut().map_err(|()| wrong_model())?;
            path.pop_if_empty();
            match protocol {
                Protocol::OpenAiEmbeddings => path.push("embeddings"),
                Protocol::OpenAiChat => path.extend(["chat", "completions"]),
                Protocol::AnthropicMessages => path.push("messages"),
                Protocol::Gemini => {
                    let (folder, name) =
                        request.model.split_once('/').unwrap_or(("models", &request.model));
                    if [folder, name].iter().any(|part| matches!(*part, "" | "." | "..")) {
                        return Err(wrong_model());
                    }
                    let verb =
                        if request.stream { "streamGenerateContent" } else { "generateContent" };
                    path.extend([folder, &format!("{name}:{verb}")])
                }
            };
        }
        if protocol == Protocol::Gemini && request.stream {
            address.query_pairs_mut().append_pair("alt", "sse");
        }
        Ok(address)
    }

    async fn streamed(
        &self,
        call: RequestBuilder,
        decoder: Box<dyn Decoder>,
    ) -> Result<ChatStream, ChatError> {
        let settings = &self.shared.settings;
        let first_byte_timeout_ms = settings.first_byte_timeout_ms;
        let deadline = deadline(first_byte_timeout_ms);
        let timed_out = |_| ChatError::TimedOut { after_ms: first_byte_timeout_ms };
        let sent = timeout_at(deadline, call.send()).await.map_err(timed_out)?;
        let response = sent.map_err(|error| self.failed(&error))?;
        if !response.status().is_success() {
            return Err(self.refused(response, deadline).await);
        }
        let kind = response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        if kind.is_some_and(|kind| kind.contains("json") || kind.contains("html")) {
            let reason = "the provider answers a request for a stream with a whole body".to_owned();
            let status = Some(response.status().as_u16());
            return Err(ChatError::Unavailable { status, reason });
        }
        let patience =
            Patience { deadline, first_byte_timeout_ms, idle_timeout_ms: settings.idle_timeout_ms };
        let (protocol, key) = (settings.protocol, settings.api_key.clone());
        Ok(Reading::new(response, decoder, patience, protocol, key).chunks())
    }

    async fn whole(
        &self,
        protocol: Protocol,
        call: RequestBuilder,
        mut decoder: Box<dyn Decoder>,
    ) -> Result<ChatStream, ChatError> {
        let deadline = deadline(self.shared.settings.answer_timeout_ms);
        let mut response = call.send().await.map_err(|error| self.failed(&error))?;
        if !response.status().is_success() {
            return Err(self.refused(response, deadline).await);
        }
        let mut body = Vec::new();
        while let Some(bytes) =
            response.chunk().await.map_err(|_| cut("the connection broke off"))?
        {
            if body.len() + bytes.len() > ANSWER_BYTES_MAX {
                let reason = format!("the answer is longer than {ANSWER_BYTES_MAX} bytes");
                return Err(ChatError::Cut { reason });
            }
            body.extend_from_slice(&bytes);
        }
        let data = String::from_utf8(body).map_err(|_| cut("the provider sent no UTF-8"))?;
        let key = self.shared.settings.api_key.reveal();
        let events = decoder.whole(&data).map_err(|error| without(key, error))?;
        // Vectors are large, and once is enough.
        let said = (protocol != Protocol::OpenAiEmbeddings).then_some(Said {
            protocol,
            event: None,
            data,
        });
        let chunk = Chunk { said, events };
        Ok(Box::pin(stream::iter([Ok(chunk)])))
    }

    async fn refused(&self, mut response: Response, deadline: Instant) -> ChatError {
        let mut body = Vec::new();
        while let Ok(Ok(Some(bytes))) = timeout_at(deadline, response.chunk()).await {
            body.extend_from_slice(&bytes);
            if body.len() > ERROR_BYTES_MAX {
                break;
            }
        }
        let body: Value = serde_json::from_slice(&body).unwrap_or_default();
        let key = self.shared.settings.api_key.reveal();
        let (status, headers) = (response.status().as_u16(), response.headers());
        refusal::of_status(status, headers, &body, key, SystemTime::now())
    }

    /// Why there is no answer at all, without the address, which is nobody's business.
    fn failed(&self, error: &reqwest::Error) -> ChatError {
        let unavailable =
            |reason: &str| ChatError::Unavailable { status: None, reason: reason.to_owned() };
        if error.is_timeout() {
            ChatError::TimedOut { after_ms: self.shared.settings.connect_timeout_ms }
        } else if error.is_connect() {
            unavailable("no connection to the provider")
        } else {
            unavailable("the connection broke before an answer came")
        }
    }
}

#[async_trait]
impl ChatModel for RemoteChat {
    async fn chat(&self, request: &ChatRequest) -> Result<ChatStream, ChatError> {
        let settings = &self.shared.settings;
        let protocol = self.protocol(request)?;
        let body = codec::encode(protocol, request, self.shared.limit_name)?;
        let body = Value::Object(body).to_string();
        let address = self.address(protocol, request)?;
        let mut call = self.shared.http.post(address).header(CONTENT_TYPE, "application/json");
        if let Some(own) = request.body.as_ref().filter(|body| body.protocol == protocol) {
            for (name, value) in &own.headers {
                call = call.header(*name, value);
            }
        }
        if let Some(traceparent) = &request.traceparent {
            call = call.header("traceparent", traceparent);
        }
        let call = call.body(body);
        let decoder = codec::decoder(protocol, request);
        if request.stream {
            return self.streamed(call, decoder).await;
        }
        let after_ms = settings.answer_timeout_ms;
        let answer =
            timeout(Duration::from_millis(after_ms), self.whole(protocol, call, decoder)).await;
        answer.map_err(|_| ChatError::TimedOut { after_ms })?
    }
}

/// The end of a span from now; a span beyond reason ends in a year.
fn deadline(span_ms: u64) -> Instant {
    Instant::now() + Duration::from_millis(span_ms).min(LONGEST_SPAN)
}

/// The error with the key cut out of the provider's words.
pub(crate) fn without(key: &str, error: ChatError) -> ChatError {
    match error {
        ChatError::Cut { reason } if !key.is_empty() => {
            ChatError::Cut { reason: reason.replace(key, "(hidden)") }
        }
        error => error,
    }
}

fn base(address: &str) -> Result<Url, SettingsError> {
    let wrong = |why: &str| {
        let example = "give it as https://host/v1";
        Err(SettingsError(format!("the provider's address {why}; {example}")))
    };
    let Ok(base) = Url::parse(address) else {
        return wrong("is no URL");
    };
    if !matches!(base.scheme(), "http" | "https") || base.host().is_none() {
        return wrong("has no host or another scheme");
    }
    if !base.username().is_empty() || base.password().is_some() {
        return wrong("holds a password, which belongs into the api key");
    }
    Ok(base)
}

fn headers(settings: &RemoteChatSettings) -> Result<HeaderMap, SettingsError> {
    let key = settings.api_key.reveal();
    let (name, value) = match settings.protocol {
        Protocol::OpenAiChat | Protocol::OpenAiEmbeddings => {
            (AUTHORIZATION, format!("Bearer {key}"))
        }
        Protocol::AnthropicMessages => (HeaderName::from_static("x-api-key"), key.to_owned()),
        Protocol::Gemini => (HeaderName::from_static("x-goog-api-key"), key.to_owned()),
    };
    let mut headers = HeaderMap::new();
    if !key.is_empty() {
        headers.insert(name, secret(&value).map_err(|_| wrong_header("of the api key"))?);
    }
    if settings.protocol == Protocol::AnthropicMessages {
        headers.insert("anthropic-version", HeaderValue::from_static(anthropic::VERSION));
    }
    for (name, value) in &settings.headers {
        let parsed = HeaderName::from_bytes(name.as_bytes());
        let parsed = parsed.map_err(|_| wrong_header("with a name that is none"))?;
        headers.insert(parsed, secret(value).map_err(|_| wrong_header(name))?);
    }
    Ok(headers)
}

/// A header that no log shows: any may hold a key.
fn secret(value: &str) -> Result<HeaderValue, InvalidHeaderValue> {
    let mut value = HeaderValue::from_str(value)?;
    value.set_sensitive(true);
    Ok(value)
}

fn wrong_header(which: &str) -> SettingsError {
    SettingsError(format!("the header {which} holds a character that no header may"))
}
