//! Chats as clients hold them, in two protocols: whole or as streams, to the end or left before it.

pub mod books;
pub mod plan;

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};

use crate::http::{Answer, Connection, Headers, is_chunked};
use crate::node::HANG_TIMEOUT;

/// Most tokens of an answer that clients ask for.
pub const OUTPUT_TOKENS: u64 = 64;
/// What the system says first in every chat.
pub const SYSTEM: &str = "be brief";

/// What a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    OpenAi,
    Anthropic,
}

/// Whether a client stays until its answer ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leave {
    Never,
    /// It leaves when it has so many words.
    AfterWords(usize),
    /// It leaves so long after it asked.
    After(Duration),
}

/// One question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chat {
    pub protocol: Protocol,
    pub model: String,
    /// The end user; tells this question from all others.
    pub user: String,
    pub says: String,
    pub stream: bool,
    /// Whether an answer that was given before will do.
    pub takes_kept: bool,
    pub leave: Leave,
}

/// How a chat ended for its client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    Whole {
        /// Whether it was given before.
        is_kept: bool,
    },
    Refused {
        status: u16,
        retry_after_s: Option<u64>,
        body: String,
    },
    /// The answer broke off, and said so.
    Cut,
    /// The client left, with so many words.
    Left {
        words: usize,
    },
    /// The connection broke without a word.
    Lost,
    /// Nobody listened: nothing was sent.
    Unreached,
}

impl Chat {
    fn path(&self) -> &'static str {
        match self.protocol {
            Protocol::OpenAi => "/v1/chat/completions",
            Protocol::Anthropic => "/v1/messages",
        }
    }

    fn body(&self) -> Value {
        let user = json!({"role": "user", "content": self.says});
        let mut body = json!({
            "model": self.model, "stream": self.stream, "max_tokens": OUTPUT_TOKENS,
        });
        match self.protocol {
            Protocol::OpenAi => {
                let system = json!({"role": "system", "content": SYSTEM});
                body["messages"] = json!([system, user]);
                body["user"] = json!(self.user);
            }
            Protocol::Anthropic => {
                body["system"] = json!(SYSTEM);
                body["messages"] = json!([user]);
                body["metadata"] = json!({"user_id": self.user});
            }
        }
        if self.takes_kept {
            body["temperature"] = json!(0.0);
        }
        body
    }

    /// Words of the answer in an event of a stream.
    fn words_of(&self, text: &str) -> usize {
        let mark = match self.protocol {
            Protocol::OpenAi => "\"delta\":{\"content\":\"",
            Protocol::Anthropic => "\"text_delta\"",
        };
        let events = text.lines().filter_map(|line| line.strip_prefix("data: "));
        events.filter(|data| data.contains(mark) && !data.contains("\"content\":\"\"")).count()
    }

    fn is_whole(&self, text: &str) -> bool {
        let end = match self.protocol {
            Protocol::OpenAi => "data: [DONE]",
            Protocol::Anthropic => "\"type\":\"message_stop\"",
        };
        text.contains(end)
    }

    fn tells_error(&self, text: &str) -> bool {
        text.lines().any(|line| line.starts_with("data: {\"error\":") || line == "event: error")
    }
}

/// A client with a connection that it keeps.
pub struct Client {
    authorization: String,
    kept: Option<(SocketAddr, Connection)>,
}

impl Client {
    pub fn new(token: &str) -> Client {
        Client { authorization: format!("Bearer {token}"), kept: None }
    }

    /// Asks, and hears the answer as far as the chat says.
    pub fn hold(&mut self, at: SocketAddr, chat: &Chat) -> Heard {
        let kept = self.kept.take().filter(|(known, _)| *known == at);
        let connection = match kept {
            Some((_, connection)) => Ok(connection),
            None => Connection::open(at, HANG_TIMEOUT),
        };
        let Ok(mut connection) = connection else { return Heard::Unreached };
        let heard = self.ask(&mut connection, chat).unwrap_or(Heard::Lost);
        if matches!(heard, Heard::Whole { .. } | Heard::Refused { .. }) {
            self.kept = Some((at, connection));
        }
        heard
    }

    fn ask(&self, connection: &mut Connection, chat: &Chat) -> io::Result<Heard> {
        let headers = [("authorization", self.authorization.as_str())];
        connection.send("POST", chat.path(), &headers, chat.body().to_string().as_bytes())?;
        if let Leave::After(time) = chat.leave {
            std::thread::sleep(time);
            return Ok(Heard::Left { words: 0 });
        }
        if !chat.stream {
            return Ok(judge(&connection.receive()?));
        }
        let (status, headers) = connection.head()?;
        if status != 200 || !is_chunked(&headers) {
            let answer = connection.rest(status, headers)?;
            return Ok(judge(&answer));
        }
        let is_kept = is_kept(&headers);
        let (mut text, mut words) = (String::new(), 0);
        loop {
            match connection.piece() {
                Ok(Some(piece)) => {
                    let piece = String::from_utf8_lossy(&piece);
                    words += chat.words_of(&piece);
                    text.push_str(&piece);
                }
                Ok(None) if chat.is_whole(&text) => return Ok(Heard::Whole { is_kept }),
                Ok(None) | Err(_) if chat.tells_error(&text) => return Ok(Heard::Cut),
                Ok(None) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Err(error) => return Err(error),
            }
            if matches!(chat.leave, Leave::AfterWords(most) if words >= most) {
                return Ok(Heard::Left { words });
            }
        }
    }
}

fn is_kept(headers: &Headers) -> bool {
    headers.iter().any(|(name, value)| name == "x-headwater-cache" && value == "hit")
}

fn judge(answer: &Answer) -> Heard {
    if answer.status == 200 {
        return Heard::Whole { is_kept: is_kept(&answer.headers) };
    }
    let retry_after_s = answer.header("retry-after").and_then(|after| after.parse().ok());
    Heard::Refused { status: answer.status, retry_after_s, body: answer.text() }
}
