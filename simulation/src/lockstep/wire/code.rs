//! How each event is written as bytes: little-endian numbers, and lengths before bytes.

use super::{FromNode, Garbled, Passing, ToNode};

#[derive(Default)]
pub(super) struct Writer(Vec<u8>);

impl Writer {
    pub(super) fn u8(&mut self, value: u8) -> &mut Self {
        self.0.push(value);
        self
    }

    pub(super) fn bool(&mut self, value: bool) -> &mut Self {
        self.u8(u8::from(value))
    }

    fn u16(&mut self, value: u16) -> &mut Self {
        self.0.extend_from_slice(&value.to_le_bytes());
        self
    }

    pub(super) fn u32(&mut self, value: u32) -> &mut Self {
        self.0.extend_from_slice(&value.to_le_bytes());
        self
    }

    pub(super) fn u64(&mut self, value: u64) -> &mut Self {
        self.0.extend_from_slice(&value.to_le_bytes());
        self
    }

    pub(super) fn i64(&mut self, value: i64) -> &mut Self {
        self.0.extend_from_slice(&value.to_le_bytes());
        self
    }

    fn bytes(&mut self, value: &[u8]) -> &mut Self {
        self.u32(value.len() as u32);
        self.0.extend_from_slice(value);
        self
    }

    pub(super) fn text(&mut self, value: &str) -> &mut Self {
        self.bytes(value.as_bytes())
    }

    pub(super) fn done(self) -> Vec<u8> {
        self.0
    }
}

pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn of(body: &'a [u8]) -> Reader<'a> {
        Reader(body)
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Garbled> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(Garbled)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Garbled> {
        self.take(N)?.try_into().map_err(|_| Garbled)
    }

    pub(super) fn u8(&mut self) -> Result<u8, Garbled> {
        Ok(self.array::<1>()?[0])
    }

    pub(super) fn bool(&mut self) -> Result<bool, Garbled> {
        Ok(self.u8()? != 0)
    }

    fn u16(&mut self) -> Result<u16, Garbled> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    pub(super) fn u32(&mut self) -> Result<u32, Garbled> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub(super) fn u64(&mut self) -> Result<u64, Garbled> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    pub(super) fn i64(&mut self) -> Result<i64, Garbled> {
        Ok(i64::from_le_bytes(self.array()?))
    }

    fn bytes(&mut self) -> Result<Vec<u8>, Garbled> {
        let length = self.u32()? as usize;
        Ok(self.take(length)?.to_vec())
    }

    pub(super) fn text(&mut self) -> Result<String, Garbled> {
        String::from_utf8(self.bytes()?).map_err(|_| Garbled)
    }
}

impl ToNode {
    pub(super) fn encode(&self, out: &mut Writer) {
        match self {
            ToNode::LinkUp { peer, round, incarnation } => {
                out.u8(0).u8(*peer).u32(*round).u64(*incarnation)
            }
            ToNode::LinkDown { peer, round, why } => out.u8(1).u8(*peer).u32(*round).text(why),
            ToNode::ControlOpened { peer, round, stream, dialled } => {
                out.u8(2).u8(*peer).u32(*round).u64(*stream).bool(*dialled)
            }
            ToNode::Passed { peer, passing } => {
                passing.encode(out.u8(3).u8(*peer));
                out
            }
            ToNode::StoreAnswered { call, answer } => out.u8(4).u64(*call).bytes(answer),
            ToNode::StoreLost { call, sent } => out.u8(5).u64(*call).bool(*sent),
            ToNode::Work(work) => out.u8(6).bytes(work),
            ToNode::Finish => out.u8(7),
        };
    }

    pub(super) fn decode(body: &mut Reader<'_>) -> Result<ToNode, Garbled> {
        Ok(match body.u8()? {
            0 => ToNode::LinkUp { peer: body.u8()?, round: body.u32()?, incarnation: body.u64()? },
            1 => ToNode::LinkDown { peer: body.u8()?, round: body.u32()?, why: body.text()? },
            2 => ToNode::ControlOpened {
                peer: body.u8()?,
                round: body.u32()?,
                stream: body.u64()?,
                dialled: body.bool()?,
            },
            3 => ToNode::Passed { peer: body.u8()?, passing: Passing::decode(body)? },
            4 => ToNode::StoreAnswered { call: body.u64()?, answer: body.bytes()? },
            5 => ToNode::StoreLost { call: body.u64()?, sent: body.bool()? },
            6 => ToNode::Work(body.bytes()?),
            7 => ToNode::Finish,
            _ => return Err(Garbled),
        })
    }
}

impl FromNode {
    pub(super) fn encode(&self, out: &mut Writer) {
        match self {
            FromNode::Introduce { peer } => out.u8(0).u8(*peer),
            FromNode::Forget { peer } => out.u8(1).u8(*peer),
            FromNode::ControlClosed { peer, stream } => out.u8(2).u8(*peer).u64(*stream),
            FromNode::Pass { peer, round, passing } => {
                passing.encode(out.u8(3).u8(*peer).u32(*round));
                out
            }
            FromNode::AskStore { call, request } => out.u8(4).u64(*call).bytes(request),
            FromNode::Result(result) => out.u8(5).bytes(result),
            FromNode::Note(line) => out.u8(6).text(line),
            FromNode::Counted(what) => out.u8(7).text(what),
            FromNode::Violated(what) => out.u8(8).text(what),
            FromNode::Report(report) => out.u8(9).bytes(report),
        };
    }

    pub(super) fn decode(body: &mut Reader<'_>) -> Result<FromNode, Garbled> {
        Ok(match body.u8()? {
            0 => FromNode::Introduce { peer: body.u8()? },
            1 => FromNode::Forget { peer: body.u8()? },
            2 => FromNode::ControlClosed { peer: body.u8()?, stream: body.u64()? },
            3 => FromNode::Pass {
                peer: body.u8()?,
                round: body.u32()?,
                passing: Passing::decode(body)?,
            },
            4 => FromNode::AskStore { call: body.u64()?, request: body.bytes()? },
            5 => FromNode::Result(body.bytes()?),
            6 => FromNode::Note(body.text()?),
            7 => FromNode::Counted(body.text()?),
            8 => FromNode::Violated(body.text()?),
            9 => FromNode::Report(body.bytes()?),
            _ => return Err(Garbled),
        })
    }
}

impl Passing {
    fn encode(&self, out: &mut Writer) {
        match self {
            Passing::Envelope { lane, sequence, payload } => {
                out.u8(0).u16(*lane).u64(*sequence).bytes(payload)
            }
            Passing::EnvelopesTaken { count } => out.u8(1).u32(*count),
            Passing::StreamOpened { stream } => out.u8(2).u64(*stream),
            Passing::StreamBytes { stream, bytes } => out.u8(3).u64(*stream).bytes(bytes),
            Passing::StreamTaken { stream, bytes } => out.u8(4).u64(*stream).u32(*bytes),
            Passing::StreamFinished { stream } => out.u8(5).u64(*stream),
            Passing::StreamGivenUp { stream, reading, writing } => {
                out.u8(6).u64(*stream).bool(*reading).bool(*writing)
            }
        };
    }

    fn decode(body: &mut Reader<'_>) -> Result<Passing, Garbled> {
        Ok(match body.u8()? {
            0 => Passing::Envelope {
                lane: body.u16()?,
                sequence: body.u64()?,
                payload: body.bytes()?,
            },
            1 => Passing::EnvelopesTaken { count: body.u32()? },
            2 => Passing::StreamOpened { stream: body.u64()? },
            3 => Passing::StreamBytes { stream: body.u64()?, bytes: body.bytes()? },
            4 => Passing::StreamTaken { stream: body.u64()?, bytes: body.u32()? },
            5 => Passing::StreamFinished { stream: body.u64()? },
            6 => Passing::StreamGivenUp {
                stream: body.u64()?,
                reading: body.bool()?,
                writing: body.bool()?,
            },
            _ => return Err(Garbled),
        })
    }
}
