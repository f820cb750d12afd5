//! Frames between the host and the agent: a kind, a channel, a length, and that many bytes.

use std::io;

use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt};

/// What the host sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Order {
    Put = 1,
    Call = 2,
    Kill = 3,
    Get = 4,
    List = 5,
    Usage = 6,
    Data = 7,
    Credit = 8,
    Close = 9,
    /// After a snapshot: the time, random bytes, and what the slot is for.
    Renew = 10,
}

/// What the agent sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Hello,
    Output,
    Error,
    End,
    File,
    Done,
    Refused,
    Open,
    Data,
    Credit,
    Close,
}

const KINDS: [Kind; 11] = [
    Kind::Hello,
    Kind::Output,
    Kind::Error,
    Kind::End,
    Kind::File,
    Kind::Done,
    Kind::Refused,
    Kind::Open,
    Kind::Data,
    Kind::Credit,
    Kind::Close,
];
const KINDS_FROM: u8 = 65;
const HEAD_BYTES: usize = 9;
/// The most bytes of one part of a file.
pub(crate) const CHUNK_BYTES: usize = 1 << 20;
/// A list of a folder is the largest frame.
const BODY_BYTES_MAX: usize = 64 << 20;
const READ_BYTES: usize = 1 << 16;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    pub kind: Kind,
    pub channel: u32,
    pub body: Vec<u8>,
}

impl Frame {
    /// The told part of the body, and the bytes behind it.
    ///
    /// # Errors
    /// When the body is shorter than it says, or tells no JSON.
    pub fn told(&self) -> io::Result<(Value, &[u8])> {
        let short = || wrong("a frame is shorter than it says");
        let (length, rest) = self.body.split_first_chunk::<4>().ok_or_else(short)?;
        let length = u32::from_be_bytes(*length) as usize;
        let (text, blob) = rest.split_at_checked(length).ok_or_else(short)?;
        let told = serde_json::from_slice(text).map_err(|_| wrong("a frame tells no JSON"))?;
        Ok((told, blob))
    }
}

fn wrong(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

/// The bytes of one frame to an agent.
#[must_use]
pub fn frame(order: Order, channel: u32, body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEAD_BYTES + body.len());
    bytes.push(order as u8);
    bytes.extend_from_slice(&channel.to_be_bytes());
    bytes.extend_from_slice(&(body.len() as u32).to_be_bytes());
    bytes.extend_from_slice(body);
    bytes
}

/// A frame that tells something, with bytes behind it.
#[must_use]
pub fn told(order: Order, told: &Value, blob: &[u8]) -> Vec<u8> {
    let text = told.to_string();
    let mut body = Vec::with_capacity(4 + text.len() + blob.len());
    body.extend_from_slice(&(text.len() as u32).to_be_bytes());
    body.extend_from_slice(text.as_bytes());
    body.extend_from_slice(blob);
    frame(order, 0, &body)
}

/// Frames of the agent. Nothing is lost when a read is given up.
pub struct Frames<R> {
    reader: R,
    bytes: Vec<u8>,
    at: usize,
}

impl<R: AsyncRead + Unpin> Frames<R> {
    pub fn new(reader: R) -> Self {
        Self { reader, bytes: Vec::new(), at: 0 }
    }

    /// The next frame.
    ///
    /// # Errors
    /// The end of the stream, and what is no frame.
    pub async fn next(&mut self) -> io::Result<Frame> {
        loop {
            if let Some(frame) = self.take()? {
                return Ok(frame);
            }
            self.bytes.drain(..self.at);
            self.at = 0;
            self.bytes.reserve(READ_BYTES);
            if self.reader.read_buf(&mut self.bytes).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// The stream again, without what was read of it.
    pub fn into_reader(self) -> R {
        self.reader
    }

    fn take(&mut self) -> io::Result<Option<Frame>> {
        let Some((head, rest)) = self.bytes[self.at..].split_first_chunk::<HEAD_BYTES>() else {
            return Ok(None);
        };
        let [kind, c0, c1, c2, c3, l0, l1, l2, l3] = *head;
        let length = u32::from_be_bytes([l0, l1, l2, l3]) as usize;
        if length > BODY_BYTES_MAX {
            return Err(wrong("a frame is larger than any that the agent sends"));
        }
        let index = kind.checked_sub(KINDS_FROM).map(usize::from);
        let kind = index.and_then(|index| KINDS.get(index)).copied();
        let kind = kind.ok_or_else(|| wrong("a frame is of no known kind"))?;
        let Some(body) = rest.get(..length) else { return Ok(None) };
        let channel = u32::from_be_bytes([c0, c1, c2, c3]);
        let frame = Frame { kind, channel, body: body.to_vec() };
        self.at += HEAD_BYTES + length;
        Ok(Some(frame))
    }
}

#[cfg(test)]
mod tests;
