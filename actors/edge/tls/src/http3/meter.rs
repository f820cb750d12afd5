//! What QUIC handed to h3 of one request, beside what h3 handed on.
//!
//! h3 0.0.8 reads ahead of the handler without a bound, takes an empty DATA frame for the end of
//! the body, and a body cut off in the middle of a frame for a whole one. So the frames are
//! counted as they pass.

#[cfg(test)]
mod tests;

use std::sync::{Mutex, MutexGuard, PoisonError};

/// What h3 may hold of one request beyond what the handler took, in bytes. It holds the whole
/// of a header section, which may be [`super::connection`]'s 64 KiB.
const AHEAD_BYTES: u64 = 128 << 10;
/// The type of DATA frames.
const DATA: u64 = 0;
/// Two integers of QUIC's at their longest: a frame's type and length.
const HEADING_BYTES: usize = 16;

/// Shared by a request's stream and its body.
#[derive(Default)]
pub(super) struct Meter(Mutex<Counts>);

/// How far a body has got where h3 says that it is over.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// It is not: there is more to come.
    Open,
    Whole,
    /// The client ended its stream in the middle of a frame.
    CutOff,
}

#[derive(Default)]
struct Counts {
    /// Bytes handed to h3.
    read: u64,
    /// Those of them in DATA frames.
    data: u64,
    /// Bytes that the handler took.
    taken: u64,
    ended: bool,
    refused: bool,
    place: Place,
}

/// Where in the frames the last byte stood.
enum Place {
    Heading { bytes: [u8; HEADING_BYTES], length: usize },
    Payload { data: bool, left: u64 },
}

impl Default for Place {
    fn default() -> Self {
        Place::Heading { bytes: [0; HEADING_BYTES], length: 0 }
    }
}

impl Meter {
    /// Whether h3 may have more. Frames that hold little data double what it reads at most.
    pub(super) fn may_read(&self) -> bool {
        let mut counts = self.counts();
        let may = counts.read < 2 * counts.taken + AHEAD_BYTES;
        counts.refused |= !may;
        may
    }

    /// Whether h3 was refused more since the last call. Where it then has nothing to hand on,
    /// one frame is larger than all that it may hold.
    pub(super) fn was_refused(&self) -> bool {
        std::mem::take(&mut self.counts().refused)
    }

    pub(super) fn read(&self, chunk: &[u8]) {
        self.counts().read(chunk);
    }

    pub(super) fn end(&self) {
        self.counts().ended = true;
    }

    pub(super) fn take(&self, bytes: usize) {
        self.counts().taken += bytes as u64;
    }

    pub(super) fn standing(&self) -> Standing {
        let counts = self.counts();
        let between = matches!(counts.place, Place::Heading { length: 0, .. });
        match (counts.ended, between) {
            (true, false) => Standing::CutOff,
            (true, true) if counts.taken == counts.data => Standing::Whole,
            _ => Standing::Open,
        }
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counts {
    fn read(&mut self, mut chunk: &[u8]) {
        self.read += chunk.len() as u64;
        while let Some((first, rest)) = chunk.split_first() {
            match &mut self.place {
                Place::Heading { bytes, length } => {
                    bytes[*length] = *first;
                    *length += 1;
                    chunk = rest;
                    match heading(&bytes[..*length]) {
                        Some((_, 0)) => self.place = Place::default(),
                        Some((kind, left)) => {
                            self.place = Place::Payload { data: kind == DATA, left };
                        }
                        None => {}
                    }
                }
                Place::Payload { data, left } => {
                    let step = (chunk.len() as u64).min(*left);
                    *left -= step;
                    chunk = &chunk[step as usize..];
                    if *data {
                        self.data += step;
                    }
                    if *left == 0 {
                        self.place = Place::default();
                    }
                }
            }
        }
    }
}

/// A frame's type and length, once all their bytes are there.
fn heading(bytes: &[u8]) -> Option<(u64, u64)> {
    let (kind, rest) = integer(bytes)?;
    let (length, _) = integer(rest)?;
    Some((kind, length))
}

/// One of QUIC's integers, whose first two bits say how long it is (RFC 9000, section 16).
fn integer(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let first = *bytes.first()?;
    let (own, rest) = bytes.split_at_checked(1 << (first >> 6))?;
    let start = u64::from(first & 0x3f);
    Some((own[1..].iter().fold(start, |sum, byte| sum << 8 | u64::from(*byte)), rest))
}
