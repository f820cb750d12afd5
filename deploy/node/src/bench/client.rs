//! One HTTP/1.1 connection to a server under test, and the bodies that go over it.

use std::net::SocketAddr;

use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::net::TcpStream;

use crate::failure::Failure;

/// A connection that carries one request at a time. Lives in a `LocalSet`.
pub(super) struct Connection {
    address: SocketAddr,
    sender: SendRequest<Full<Bytes>>,
}

impl Connection {
    /// # Errors
    /// When the server does not accept.
    pub(super) async fn open(address: SocketAddr) -> Result<Self, Failure> {
        let stream = TcpStream::connect(address).await.map_err(Failure::broken)?;
        stream.set_nodelay(true).map_err(Failure::broken)?;
        let (sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(Failure::broken)?;
        tokio::task::spawn_local(connection);
        Ok(Connection { address, sender })
    }

    /// Posts one body to `/v1/embeddings` and reads the answer to its end.
    ///
    /// # Errors
    /// When the connection breaks.
    pub(super) async fn embed(&mut self, body: String) -> Result<Answer, Failure> {
        // The server may close a connection that was idle.
        if self.sender.is_closed() {
            *self = Connection::open(self.address).await?;
        }
        let request = Request::post("/v1/embeddings")
            .header("host", self.address.to_string())
            .header("content-type", "application/json")
            .body(Full::new(Bytes::from(body)))
            .map_err(Failure::broken)?;
        self.sender.ready().await.map_err(Failure::broken)?;
        let response = self.sender.send_request(request).await.map_err(Failure::broken)?;
        let status = response.status();
        let body = response.into_body().collect().await.map_err(Failure::broken)?.to_bytes();
        Ok(Answer { status, body })
    }
}

/// What a server answered.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    body: Bytes,
}

impl Answer {
    /// Whether the server said that it has no room now.
    pub(super) fn is_overload(&self) -> bool {
        matches!(self.status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE)
    }

    /// The tokens that the server counted.
    ///
    /// # Errors
    /// When the answer is not a success or tells no count.
    pub(super) fn tokens(&self) -> Result<u64, Failure> {
        if !self.status.is_success() {
            let (status, text) = (self.status, String::from_utf8_lossy(&self.body));
            return Err(Failure::broken(format!("the server answered {status}: {text}")));
        }
        prompt_tokens(&self.body)
            .ok_or_else(|| Failure::broken("the server's answer has no usage.prompt_tokens"))
    }
}

/// The body of an embedding request; `tier` is OpenAI's `service_tier`.
pub(super) fn body(model: &str, texts: &[String], tier: Option<&str>) -> String {
    match tier {
        Some(tier) => json!({"model": model, "input": texts, "service_tier": tier}).to_string(),
        None => json!({"model": model, "input": texts}).to_string(),
    }
}

/// Finds the count without parsing hundreds of floats, which would cost the generator
/// more than the request.
fn prompt_tokens(answer: &[u8]) -> Option<u64> {
    let mark = b"\"prompt_tokens\":";
    let start = answer.windows(mark.len()).rposition(|window| window == mark)? + mark.len();
    let digits: Vec<u8> = answer[start..]
        .iter()
        .copied()
        .skip_while(|byte| *byte == b' ')
        .take_while(u8::is_ascii_digit)
        .collect();
    String::from_utf8(digits).ok()?.parse().ok()
}
