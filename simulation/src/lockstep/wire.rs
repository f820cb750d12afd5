//! The frames between coordinator and node processes, over pipes.

mod code;
#[cfg(test)]
mod tests;

use std::fmt;
use std::io::{self, Read, Write};

use code::{Reader, Writer};

/// A longer frame is a mistake, not a message.
const FRAME_BYTES_MAX: usize = 256 << 20;

/// The first frame to a node's process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hello {
    pub(crate) seed: u64,
    /// Counted from 0.
    pub(crate) node: u8,
    pub(crate) nodes: u8,
    pub(crate) incarnation: u64,
    pub(crate) now_ms: u64,
    pub(crate) wall_offset_ms: i64,
    pub(crate) workload: String,
    /// The scenario's parameters as TOML.
    pub(crate) parameters: String,
}

/// One stretch of virtual time for a node, with what it meets in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stretch {
    pub(crate) from_ms: u64,
    pub(crate) until_ms: u64,
    pub(crate) wall_offset_ms: i64,
    /// After a freeze: whether the events come before the overdue timers.
    pub(crate) messages_first: bool,
    /// By time.
    pub(crate) events: Vec<(u64, ToNode)>,
}

/// What a node meets. `peer` is a node counted from 0; `round` counts the ups of a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ToNode {
    LinkUp {
        peer: u8,
        round: u32,
        incarnation: u64,
    },
    LinkDown {
        peer: u8,
        round: u32,
        why: String,
    },
    ControlOpened {
        peer: u8,
        round: u32,
        stream: u64,
        dialled: bool,
    },
    Passed {
        peer: u8,
        passing: Passing,
    },
    StoreAnswered {
        call: u64,
        answer: Vec<u8>,
    },
    /// `sent`: whether the request may have been carried out.
    StoreLost {
        call: u64,
        sent: bool,
    },
    Work(Vec<u8>),
    Finish,
}

/// What a node sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum FromNode {
    Introduce { peer: u8 },
    Forget { peer: u8 },
    ControlClosed { peer: u8, stream: u64 },
    Pass { peer: u8, round: u32, passing: Passing },
    AskStore { call: u64, request: Vec<u8> },
    Result(Vec<u8>),
    Note(String),
    Counted(String),
    Violated(String),
    Report(Vec<u8>),
}

/// What passes between two nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Passing {
    Envelope { lane: u16, sequence: u64, payload: Vec<u8> },
    EnvelopesTaken { count: u32 },
    StreamOpened { stream: u64 },
    StreamBytes { stream: u64, bytes: Vec<u8> },
    StreamTaken { stream: u64, bytes: u32 },
    StreamFinished { stream: u64 },
    StreamGivenUp { stream: u64, reading: bool, writing: bool },
}

/// Within one of these, order holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Channel {
    Lane(u16),
    Stream(u64),
}

impl Passing {
    pub(crate) fn channel(&self) -> Channel {
        match self {
            Passing::Envelope { lane, .. } => Channel::Lane(*lane),
            Passing::EnvelopesTaken { .. } => Channel::Lane(u16::MAX),
            Passing::StreamOpened { stream }
            | Passing::StreamBytes { stream, .. }
            | Passing::StreamTaken { stream, .. }
            | Passing::StreamFinished { stream }
            | Passing::StreamGivenUp { stream, .. } => Channel::Stream(*stream),
        }
    }
}

/// A frame that is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Garbled;

impl fmt::Display for Garbled {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a frame cannot be read; build all binaries from the same source")
    }
}

impl From<Garbled> for io::Error {
    fn from(garbled: Garbled) -> io::Error {
        io::Error::new(io::ErrorKind::InvalidData, garbled.to_string())
    }
}

/// Writes one frame.
pub(crate) fn put(out: &mut impl Write, body: &[u8]) -> io::Result<()> {
    if body.len() > FRAME_BYTES_MAX {
        return Err(Garbled.into());
    }
    out.write_all(&(body.len() as u32).to_le_bytes())?;
    out.write_all(body)?;
    out.flush()
}

/// Reads one frame; an end before it is an error of kind `UnexpectedEof`.
pub(crate) fn get(from: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut length = [0; 4];
    from.read_exact(&mut length)?;
    let length = u32::from_le_bytes(length) as usize;
    if length > FRAME_BYTES_MAX {
        return Err(Garbled.into());
    }
    let mut body = vec![0; length];
    from.read_exact(&mut body)?;
    Ok(body)
}

impl Hello {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Writer::default();
        out.u64(self.seed).u8(self.node).u8(self.nodes).u64(self.incarnation).u64(self.now_ms);
        out.i64(self.wall_offset_ms).text(&self.workload).text(&self.parameters);
        out.done()
    }

    pub(crate) fn decode(body: &[u8]) -> Result<Hello, Garbled> {
        let mut body = Reader::of(body);
        Ok(Hello {
            seed: body.u64()?,
            node: body.u8()?,
            nodes: body.u8()?,
            incarnation: body.u64()?,
            now_ms: body.u64()?,
            wall_offset_ms: body.i64()?,
            workload: body.text()?,
            parameters: body.text()?,
        })
    }
}

impl Stretch {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Writer::default();
        out.u64(self.from_ms).u64(self.until_ms).i64(self.wall_offset_ms);
        out.bool(self.messages_first).u32(self.events.len() as u32);
        for (at_ms, event) in &self.events {
            event.encode(out.u64(*at_ms));
        }
        out.done()
    }

    pub(crate) fn decode(body: &[u8]) -> Result<Stretch, Garbled> {
        let mut body = Reader::of(body);
        let (from_ms, until_ms, wall_offset_ms) = (body.u64()?, body.u64()?, body.i64()?);
        let (messages_first, count) = (body.bool()?, body.u32()?);
        let event = |_| Ok((body.u64()?, ToNode::decode(&mut body)?));
        let events = (0..count).map(event).collect::<Result<_, Garbled>>()?;
        Ok(Stretch { from_ms, until_ms, wall_offset_ms, messages_first, events })
    }
}

/// What a node did in one stretch, by time.
pub(crate) fn encode_deeds(deeds: &[(u64, FromNode)]) -> Vec<u8> {
    let mut out = Writer::default();
    out.u32(deeds.len() as u32);
    for (at_ms, deed) in deeds {
        deed.encode(out.u64(*at_ms));
    }
    out.done()
}

pub(crate) fn decode_deeds(body: &[u8]) -> Result<Vec<(u64, FromNode)>, Garbled> {
    let mut body = Reader::of(body);
    let count = body.u32()?;
    (0..count).map(|_| Ok((body.u64()?, FromNode::decode(&mut body)?))).collect()
}
