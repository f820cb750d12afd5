//! A streamed answer: bytes to events to chunks, and why it ended.

use std::collections::VecDeque;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use headwater_models::chat::{ChatError, ChatStream, Chunk, Protocol, Said};
use reqwest::Response;
use tokio::time::{Instant, timeout, timeout_at};

use crate::ApiKey;
use crate::client::without;
use crate::codec::{Decoder, Step, cut};
use crate::sse::{Broken, Event, Parser};

/// Longest event, in bytes.
pub(crate) const EVENT_BYTES_MAX: usize = 16 << 20;
/// How long a complete answer's connection may take to end, so that it can be used again.
const REST_TIMEOUT: Duration = Duration::from_secs(1);

/// How long to wait for the next bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// For the first byte.
    pub(crate) deadline: Instant,
    /// The span that the deadline came from.
    pub(crate) first_byte_timeout_ms: u64,
    pub(crate) idle_timeout_ms: u64,
}

/// A stream that is being read.
pub(crate) struct Reading {
    response: Response,
    parser: Parser,
    events: VecDeque<Event>,
    decoder: Box<dyn Decoder>,
    patience: Patience,
    protocol: Protocol,
    key: ApiKey,
    has_bytes: bool,
    /// How the stream ends once the events at hand are told.
    ending: Option<Result<(), ChatError>>,
}

impl Reading {
    pub(crate) fn new(
        response: Response,
        decoder: Box<dyn Decoder>,
        patience: Patience,
        protocol: Protocol,
        key: ApiKey,
    ) -> Reading {
        Reading {
            response,
            parser: Parser::new(EVENT_BYTES_MAX),
            events: VecDeque::new(),
            decoder,
            patience,
            protocol,
            key,
            has_bytes: false,
            ending: None,
        }
    }

    pub(crate) fn chunks(self) -> ChatStream {
        let chunks = stream::unfold(Some(self), |reading| async {
            let mut reading = reading?;
            match reading.next().await {
                Ok(Some(chunk)) => Some((Ok(chunk), Some(reading))),
                Ok(None) => {
                    reading.leave();
                    None
                }
                Err(error) => Some((Err(without(reading.key.reveal(), error)), None)),
            }
        });
        Box::pin(chunks.fuse())
    }

    /// The next chunk; none at the clean end.
    async fn next(&mut self) -> Result<Option<Chunk>, ChatError> {
        loop {
            if let Some(event) = self.events.pop_front() {
                let events = match self.decoder.event(&event.data)? {
                    Step::Says(events) => events,
                    Step::Last(events) => {
                        self.events.clear();
                        self.ending = Some(Ok(()));
                        events
                    }
                    Step::End => return Ok(None),
                };
                let said = Said { protocol: self.protocol, event: event.name, data: event.data };
                return Ok(Some(Chunk { said: Some(said), events }));
            }
            if let Some(ending) = self.ending.take() {
                return ending.map(|()| None);
            }
            self.read().await?;
        }
    }

    async fn read(&mut self) -> Result<(), ChatError> {
        let Patience { deadline, first_byte_timeout_ms, idle_timeout_ms } = self.patience;
        let (read, after_ms) = if self.has_bytes {
            let idle = Duration::from_millis(idle_timeout_ms);
            (timeout(idle, self.response.chunk()).await, idle_timeout_ms)
        } else {
            (timeout_at(deadline, self.response.chunk()).await, first_byte_timeout_ms)
        };
        let read = read.map_err(|_| ChatError::TimedOut { after_ms })?;
        let Some(bytes) = read.map_err(|_| cut("the connection broke off"))? else {
            self.ending = Some(self.decoder.end());
            return Ok(());
        };
        self.has_bytes = true;
        // Events that were complete before the fault are told first.
        if let Err(broken) = self.parser.feed(&bytes, &mut self.events) {
            let reason = match broken {
                Broken::TooLong { bytes_max } => {
                    format!("the provider sent an event of more than {bytes_max} bytes")
                }
                Broken::NotUtf8 => "the provider sent no UTF-8".to_owned(),
            };
            self.ending = Some(Err(ChatError::Cut { reason }));
        }
        Ok(())
    }

    /// Reads what is left of a complete answer, so that the connection can serve another.
    fn leave(self) {
        let mut response = self.response;
        tokio::spawn(async move {
            let rest = async { while let Ok(Some(_)) = response.chunk().await {} };
            // A provider that goes on loses the connection.
            drop(timeout(REST_TIMEOUT, rest).await);
        });
    }
}
