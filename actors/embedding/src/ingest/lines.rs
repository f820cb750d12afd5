//! Lines from a stream of bytes that comes in pieces of any size.

/// Why a line cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LineProblem {
    TooLong {
        allowed_bytes: usize,
    },
    /// The first byte, from 0, that is no part of UTF-8.
    NotUtf8 {
        byte: usize,
    },
}

/// A line that is not blank.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// From 1; blank lines count.
    pub number: u64,
    /// Without the line's end.
    pub text: Result<String, LineProblem>,
    /// Bytes of the stream up to here, the line's end counted.
    pub end: u64,
}

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Cuts bytes into lines. Lines end in LF or CRLF, the last one may end without; a byte order
/// mark at the beginning is skipped. Of a line that is too long nothing is kept.
#[derive(Debug, Clone)]
pub struct Lines {
    longest_bytes: usize,
    /// Lines before the one that is being read.
    before: u64,
    /// Bytes before it.
    bytes: u64,
    held: Vec<u8>,
    is_too_long: bool,
    began: bool,
}

impl Lines {
    /// The stream's first line is the one behind so many.
    pub fn after(before: u64, longest_bytes: usize) -> Lines {
        let held = Vec::new();
        Lines { longest_bytes, before, bytes: 0, held, is_too_long: false, began: false }
    }

    /// The lines that these bytes end.
    pub fn push(&mut self, mut bytes: &[u8]) -> Vec<Line> {
        let mut lines = Vec::new();
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            self.hold(&bytes[..end]);
            self.bytes += 1;
            lines.extend(self.take());
            bytes = &bytes[end + 1..];
        }
        self.hold(bytes);
        lines
    }

    /// The last line, if it has no end.
    pub fn finish(mut self) -> Option<Line> {
        if self.held.is_empty() && !self.is_too_long {
            return None;
        }
        self.take()
    }

    /// Lines so far, the one that is being read left out.
    pub fn read(&self) -> u64 {
        self.before
    }

    fn hold(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        // The mark and a CR come on top of the limit, and are cut off before it is checked.
        let room = self.longest_bytes + BYTE_ORDER_MARK.len() + 1;
        if self.is_too_long || self.held.len() + bytes.len() > room {
            self.is_too_long = true;
            self.held = Vec::new();
        } else {
            self.held.extend_from_slice(bytes);
        }
    }

    fn take(&mut self) -> Option<Line> {
        self.before += 1;
        let (number, end) = (self.before, self.bytes);
        let mut held = std::mem::take(&mut self.held);
        let is_first = !std::mem::replace(&mut self.began, true);
        if held.last() == Some(&b'\r') {
            held.pop();
        }
        if is_first && held.starts_with(BYTE_ORDER_MARK) {
            held.drain(..BYTE_ORDER_MARK.len());
        }
        let allowed_bytes = self.longest_bytes;
        if std::mem::take(&mut self.is_too_long) || held.len() > allowed_bytes {
            let text = Err(LineProblem::TooLong { allowed_bytes });
            return Some(Line { number, text, end });
        }
        match String::from_utf8(held) {
            Ok(text) if text.trim().is_empty() => None,
            Ok(text) => Some(Line { number, text: Ok(text), end }),
            Err(error) => {
                let byte = error.utf8_error().valid_up_to();
                Some(Line { number, text: Err(LineProblem::NotUtf8 { byte }), end })
            }
        }
    }
}
