//! The bytes on the wire: the frames of the handshake, and envelopes on a lane.
//!
//! All numbers are big-endian. A handshake frame is magic (4 bytes), length of the rest (2), kind
//! (1) and its fields; what follows the known fields is ignored, so that a later version can
//! append. An envelope is length of the payload (4), lane (2), sequence (8) and the payload:
//! sender and receiver are known from the certificates and never sent.

#[cfg(test)]
mod tests;

use bytes::{BufMut, BytesMut};
use headwater_cluster::{Envelope, Incarnation, Lane, NodeId, ProtocolRange};

const MAGIC: [u8; 4] = *b"hwq1";
/// Magic and length.
pub(crate) const PREFIX_BYTES: usize = 6;
/// The most bytes after the prefix.
pub(crate) const FRAME_BYTES_MAX: usize = 1_024;
pub(crate) const ADDRESS_BYTES_MAX: usize = 300;
pub(crate) const LANES_MAX: u16 = 64;
pub(crate) const ENVELOPE_HEADER_BYTES: usize = 14;

/// The first byte of a stream for one long request.
pub(crate) const STREAM_REQUEST: u8 = 1;

/// Why bytes are no frame.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FrameError {
    #[error("the first bytes are no frame of this protocol")]
    Magic,
    #[error("a frame of {given_bytes} bytes, {allowed_bytes} are allowed")]
    TooLong { given_bytes: usize, allowed_bytes: usize },
    #[error("a frame that ends too early")]
    Truncated,
    #[error("a frame of the unknown kind {0}")]
    Kind(u8),
    #[error("a frame of the wrong kind for this moment")]
    Unexpected,
    #[error("a frame with a field out of its range: {0}")]
    Field(&'static str),
    #[error("a lane that ended while the link was up")]
    LaneEnded,
}

/// A frame of the handshake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Frame {
    /// The first frame of both sides of a data connection.
    Hello(Hello),
    /// The smaller name's word that this connection is the link.
    Keep { generation: u64 },
    /// The first frame of a control connection: which link it belongs to.
    Control { generation: u64 },
    /// The answer: from here on the stream is the control stream.
    ControlKept,
}

/// What a side says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hello {
    pub(crate) versions: ProtocolRange,
    pub(crate) cluster: String,
    pub(crate) node: NodeId,
    pub(crate) incarnation: Incarnation,
    /// How many lanes it writes.
    pub(crate) lanes: u16,
    /// The largest payload that it takes.
    pub(crate) payload_bytes: u32,
    /// Host and port where others reach it.
    pub(crate) advertise: String,
}

impl Frame {
    /// The whole frame, prefix included. Names and addresses are bounded by their types and by
    /// the settings' check, so the length fits.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut body = Vec::new();
        match self {
            Frame::Hello(hello) => {
                body.put_u8(1);
                body.put_u16(hello.versions.oldest);
                body.put_u16(hello.versions.newest);
                put_text(&mut body, &hello.cluster);
                put_text(&mut body, hello.node.as_str());
                body.put_u64(hello.incarnation.0);
                body.put_u16(hello.lanes);
                body.put_u32(hello.payload_bytes);
                put_text(&mut body, &hello.advertise);
            }
            Frame::Keep { generation } => {
                body.put_u8(2);
                body.put_u64(*generation);
            }
            Frame::Control { generation } => {
                body.put_u8(3);
                body.put_u64(*generation);
            }
            Frame::ControlKept => body.put_u8(4),
        }
        let mut frame = MAGIC.to_vec();
        frame.put_u16(body.len() as u16);
        frame.extend_from_slice(&body);
        frame
    }

    /// How many bytes follow the prefix.
    pub(crate) fn body_bytes(prefix: [u8; PREFIX_BYTES]) -> Result<usize, FrameError> {
        let [a, b, c, d, high, low] = prefix;
        if [a, b, c, d] != MAGIC {
            return Err(FrameError::Magic);
        }
        let given_bytes = usize::from(u16::from_be_bytes([high, low]));
        if given_bytes > FRAME_BYTES_MAX {
            return Err(FrameError::TooLong { given_bytes, allowed_bytes: FRAME_BYTES_MAX });
        }
        Ok(given_bytes)
    }

    /// Reads what follows the prefix.
    pub(crate) fn decode(body: &[u8]) -> Result<Frame, FrameError> {
        let mut fields = Fields(body);
        match u8::from_be_bytes(fields.array()?) {
            1 => Ok(Frame::Hello(Hello::decode(&mut fields)?)),
            2 => Ok(Frame::Keep { generation: u64::from_be_bytes(fields.array()?) }),
            3 => Ok(Frame::Control { generation: u64::from_be_bytes(fields.array()?) }),
            4 => Ok(Frame::ControlKept),
            kind => Err(FrameError::Kind(kind)),
        }
    }
}

impl Hello {
    fn decode(fields: &mut Fields<'_>) -> Result<Hello, FrameError> {
        let oldest = u16::from_be_bytes(fields.array()?);
        let newest = u16::from_be_bytes(fields.array()?);
        let cluster = fields.text()?;
        let node = NodeId::new(fields.text()?).map_err(|_| FrameError::Field("node"))?;
        let incarnation = Incarnation(u64::from_be_bytes(fields.array()?));
        let lanes = u16::from_be_bytes(fields.array()?);
        let payload_bytes = u32::from_be_bytes(fields.array()?);
        let advertise = fields.text()?;
        let checks = [
            (oldest <= newest, "versions"),
            (NodeId::new(cluster.clone()).is_ok(), "cluster"),
            ((1..=LANES_MAX).contains(&lanes), "lanes"),
            (payload_bytes > 0, "payload_bytes"),
            (
                advertise.len() <= ADDRESS_BYTES_MAX
                    && advertise.bytes().all(|byte| byte.is_ascii_graphic()),
                "advertise",
            ),
        ];
        if let Some((_, field)) = checks.iter().find(|(holds, _)| !holds) {
            return Err(FrameError::Field(field));
        }
        let versions = ProtocolRange { oldest, newest };
        Ok(Hello { versions, cluster, node, incarnation, lanes, payload_bytes, advertise })
    }
}

fn put_text(body: &mut Vec<u8>, text: &str) {
    body.put_u16(text.len() as u16);
    body.extend_from_slice(text.as_bytes());
}

/// The fields that are not read yet.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], FrameError> {
        let (field, rest) = self.0.split_first_chunk().ok_or(FrameError::Truncated)?;
        self.0 = rest;
        Ok(*field)
    }

    fn text(&mut self) -> Result<String, FrameError> {
        let length = usize::from(u16::from_be_bytes(self.array()?));
        let (field, rest) = self.0.split_at_checked(length).ok_or(FrameError::Truncated)?;
        self.0 = rest;
        String::from_utf8(field.to_vec()).map_err(|_| FrameError::Field("text"))
    }
}

/// An envelope as it stood on a lane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LaneFrame {
    pub(crate) lane: Lane,
    pub(crate) sequence: u64,
    pub(crate) payload: Vec<u8>,
}

impl LaneFrame {
    /// How many bytes it took on the lane.
    pub(crate) fn wire_bytes(&self) -> usize {
        ENVELOPE_HEADER_BYTES + self.payload.len()
    }

    /// The first envelope in these bytes; `None` when more bytes are needed.
    pub(crate) fn decode(bytes: &[u8], allowed: usize) -> Result<Option<LaneFrame>, FrameError> {
        let mut fields = Fields(bytes);
        let Ok(length) = fields.array() else { return Ok(None) };
        let given_bytes = u32::from_be_bytes(length) as usize;
        if given_bytes > allowed {
            return Err(FrameError::TooLong { given_bytes, allowed_bytes: allowed });
        }
        let (Ok(lane), Ok(sequence)) = (fields.array(), fields.array()) else { return Ok(None) };
        let Some(payload) = fields.0.get(..given_bytes) else { return Ok(None) };
        let (lane, sequence) = (Lane(u16::from_be_bytes(lane)), u64::from_be_bytes(sequence));
        Ok(Some(LaneFrame { lane, sequence, payload: payload.to_vec() }))
    }
}

/// Appends one envelope. Its payload is within the settings' limit, so the length fits.
pub(crate) fn put_envelope(out: &mut BytesMut, envelope: &Envelope) {
    out.reserve(ENVELOPE_HEADER_BYTES + envelope.payload.len());
    out.put_u32(envelope.payload.len() as u32);
    out.put_u16(envelope.lane.0);
    out.put_u64(envelope.sequence);
    out.extend_from_slice(&envelope.payload);
}
