//! One question of DNS, and its answer (RFC 1035).

use std::net::IpAddr;

/// The most bytes of a question that is read.
pub(crate) const QUESTION_BYTES_MAX: usize = 1_024;

/// How long a guest may keep an address, in seconds.
const KEEP_S: u32 = 30;

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    V4,
    V6,
    /// A type whose answer is empty.
    Other,
    /// A type that asks for more than one record set: refused.
    Broad,
}

/// A question as it stands in its message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Question {
    id: [u8; 2],
    recursion: u8,
    /// Name, type and class, byte for byte.
    raw: Vec<u8>,
    /// The name with dots, as it was written.
    pub(crate) name: String,
    pub(crate) wanted: Wanted,
}

/// What a question is answered with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    Addresses(Vec<IpAddr>),
    NoName,
    Refused,
    Failed,
}

/// A message that holds no question we read; carries its id where it has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NoQuestion(pub(crate) Option<[u8; 2]>);

impl Question {
    pub(crate) fn read(message: &[u8]) -> Result<Self, NoQuestion> {
        let id = message.get(..2).map(|id| [id[0], id[1]]);
        Self::parse(message).ok_or(NoQuestion(id))
    }

    fn parse(message: &[u8]) -> Option<Self> {
        let head = message.get(..12)?;
        // A query (no answer) of the standard kind, with one question.
        if head[2] & 0xf8 != 0 || head[4..6] != [0, 1] {
            return None;
        }
        let mut at = 12;
        let mut name = String::new();
        loop {
            let len = usize::from(*message.get(at)?);
            at += 1;
            if len == 0 {
                break;
            }
            // A length above 63 would be a pointer, which has no place in a question.
            if len > 63 || name.len() + len > 253 {
                return None;
            }
            let label = message.get(at..at + len)?;
            if !name.is_empty() {
                name.push('.');
            }
            name.extend(label.iter().map(|byte| match byte {
                b'!'..=b'~' if *byte != b'.' => char::from(*byte),
                _ => '?',
            }));
            at += len;
        }
        let tail = message.get(at..at + 4)?;
        let kind = u16::from_be_bytes([tail[0], tail[1]]);
        let internet = tail[2..] == [0, 1];
        let wanted = match kind {
            _ if !internet => Wanted::Broad,
            1 => Wanted::V4,
            28 => Wanted::V6,
            // Any, zone transfers and their kin.
            249..=255 => Wanted::Broad,
            _ => Wanted::Other,
        };
        let raw = message[12..at + 4].to_vec();
        Some(Self { id: [head[0], head[1]], recursion: head[2] & 1, raw, name, wanted })
    }

    pub(crate) fn answer(&self, answer: &Answer) -> Vec<u8> {
        let (code, addresses): (u8, &[IpAddr]) = match answer {
            Answer::Addresses(addresses) => (0, addresses),
            Answer::Failed => (2, &[]),
            Answer::NoName => (3, &[]),
            Answer::Refused => (5, &[]),
        };
        let fits = |address: &&IpAddr| match self.wanted {
            Wanted::V4 => address.is_ipv4(),
            Wanted::V6 => address.is_ipv6(),
            Wanted::Other | Wanted::Broad => false,
        };
        let chosen: Vec<&IpAddr> = addresses.iter().filter(fits).take(16).collect();
        let mut bytes = self.id.to_vec();
        bytes.extend([0x80 | self.recursion, 0x80 | code, 0, 1, 0, chosen.len() as u8, 0, 0, 0, 0]);
        bytes.extend(&self.raw);
        for address in chosen {
            // The name is the question's, at byte 12.
            bytes.extend([0xc0, 12]);
            let octets = match address {
                IpAddr::V4(v4) => v4.octets().to_vec(),
                IpAddr::V6(v6) => v6.octets().to_vec(),
            };
            bytes.extend([0, if octets.len() == 4 { 1 } else { 28 }, 0, 1]);
            bytes.extend(KEEP_S.to_be_bytes());
            bytes.extend([0, octets.len() as u8]);
            bytes.extend(octets);
        }
        bytes
    }
}

/// The answer to what is no question: its form is wrong.
pub(crate) fn malformed(id: [u8; 2]) -> Vec<u8> {
    vec![id[0], id[1], 0x80, 0x81, 0, 0, 0, 0, 0, 0, 0, 0]
}
