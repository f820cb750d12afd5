//! A tool that is one HTTP request a call.

use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use headwater_backends::{
    Answer, Backend, BackendError, Content, Invocation, Listed, Reached, SecretHeader,
    SecretHeaders,
};
use reqwest::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use serde_json::Value;
use tokio::time::{Instant, timeout_at};

use crate::answer;
use crate::client::{HttpClient, failed};
use crate::error::SettingsError;
use crate::operation::{Method, Operation};
use crate::request::{self, Ready};
use crate::status::{Meaning, meaning};
use crate::template::Template;

/// No sum with the clock overflows.
pub(crate) const LONGEST_SPAN: Duration = Duration::from_secs(365 * 24 * 3_600);

/// One operation of one service. It lists no tools: its tool is published with it.
#[derive(Clone)]
pub struct HttpBackend {
    client: HttpClient,
    operation: Operation,
    template: Template,
    headers: SecretHeaders,
}

impl HttpBackend {
    pub(crate) fn new(
        client: HttpClient,
        operation: Operation,
        headers: SecretHeaders,
    ) -> Result<HttpBackend, SettingsError> {
        operation.check()?;
        let template = Template::parse(&operation.url)?;
        Ok(HttpBackend { client, operation, template, headers })
    }

    /// Where all requests go.
    pub fn host(&self) -> (&str, u16) {
        (self.template.host(), self.template.port())
    }

    async fn send(
        &self,
        ready: Ready,
        secrets: &[SecretHeader],
        output_bytes_max: u64,
    ) -> Result<Answer, BackendError> {
        let (host, port) = self.client.permit(&ready.url)?;
        let bytes_out =
            (ready.url.as_str().len() + ready.body.as_ref().map_or(0, String::len)) as u64;
        let mut call = self.client.http.request(method(self.operation.method), ready.url);
        call = call.headers(ready.headers);
        for secret in secrets {
            let (name, value) = secret_header(secret)?;
            call = call.header(name, value);
        }
        if let Some(body) = ready.body {
            call = call.header(CONTENT_TYPE, "application/json").body(body);
        }
        let mut response = call.send().await.map_err(|error| failed(&error))?;
        let status = response.status().as_u16();
        let media_type = answer::media_type(&response);
        let success = response.status().is_success();
        let (body, cut) = match answer::read(&mut response, output_bytes_max).await {
            Ok(body) => (body, None),
            Err(error) if success => (Vec::new(), Some(error)),
            // What a status says outweighs the rest of its body.
            Err(_) => (answer::read_error(&mut response).await, None),
        };
        let said = || answer::words(&body, secrets);
        let is_error = match meaning(status, response.headers(), said, SystemTime::now()) {
            Meaning::Answer => false,
            Meaning::ToolFailed => true,
            Meaning::Error(error) => return Err(error),
        };
        if let Some(error) = cut {
            return Err(error);
        }
        let bytes_in = body.len() as u64;
        let content = match (self.operation.method, is_error) {
            (Method::Head, false) => head(status, response.headers()),
            _ => answer::content(media_type, body, secrets),
        };
        let reached = vec![Reached { host, port, bytes_out, bytes_in }];
        Ok(Answer { content, is_error, bytes_in, bytes_out, reached })
    }
}

/// What a HEAD has to say, which has no body.
fn head(status: u16, headers: &reqwest::header::HeaderMap) -> Content {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    Content::Json(serde_json::json!({
        "status": status,
        "content_type": text("content-type"),
        "content_length": text("content-length").and_then(|length| length.parse::<u64>().ok()),
        "etag": text("etag"),
        "last_modified": text("last-modified"),
    }))
}

pub(crate) fn method(method: Method) -> reqwest::Method {
    match method {
        Method::Get => reqwest::Method::GET,
        Method::Head => reqwest::Method::HEAD,
        Method::Post => reqwest::Method::POST,
        Method::Put => reqwest::Method::PUT,
        Method::Patch => reqwest::Method::PATCH,
        Method::Delete => reqwest::Method::DELETE,
    }
}

fn secret_header(secret: &SecretHeader) -> Result<(HeaderName, HeaderValue), BackendError> {
    let name = &secret.name;
    let wrong = |what: &str| BackendError::Refused {
        why: format!("the secret of the header `{name}` {what}; store it anew"),
    };
    let parsed = HeaderName::from_bytes(name.as_bytes()).map_err(|_| wrong("has a wrong name"))?;
    let mut value = HeaderValue::from_str(secret.expose())
        .map_err(|_| wrong("holds a character that no header may"))?;
    value.set_sensitive(true);
    Ok((parsed, value))
}

#[async_trait]
impl Backend for HttpBackend {
    async fn call(&self, invocation: &Invocation) -> Result<Answer, BackendError> {
        let after_ms = invocation.deadline_ms;
        let deadline = Instant::now() + Duration::from_millis(after_ms).min(LONGEST_SPAN);
        let ready = request::build(&self.operation, &self.template, invocation)?;
        let secrets = timeout_at(deadline, (self.headers)(Some(invocation)))
            .await
            .map_err(|_| BackendError::TimedOut { after_ms, sent: false })??;
        let answer = self.send(ready, &secrets, invocation.output_bytes_max);
        timeout_at(deadline, answer)
            .await
            .map_err(|_| BackendError::TimedOut { after_ms, sent: true })?
    }

    async fn list(&self) -> Result<Vec<Listed>, BackendError> {
        Ok(Vec::new())
    }
}

/// An argument that is a text, or why it is none.
pub(crate) fn text_argument<'a>(
    arguments: &'a Value,
    name: &str,
) -> Result<Option<&'a str>, BackendError> {
    match arguments.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(BackendError::Arguments { why: format!("`{name}` is no text; give one") }),
    }
}
