//! Server-sent events out of bytes that come in pieces of any size.
//! Source: "Server-sent events", section 9.2.6, in the HTML standard of the WHATWG.

use std::collections::VecDeque;

#[cfg(test)]
mod tests;

const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// One event with data; events without any are no events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Event {
    /// None when the event has no name, or an empty one.
    pub(crate) name: Option<String>,
    pub(crate) data: String,
}

/// Why the bytes are no events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Broken {
    TooLong { bytes_max: usize },
    NotUtf8,
}

/// Reads the lines of one stream. An event that its blank line does not end is never told.
#[derive(Debug)]
pub(crate) struct Parser {
    /// The line that is not yet at its end.
    line: Vec<u8>,
    name: Option<String>,
    data: Option<String>,
    /// The last byte was a carriage return: a line feed right after it belongs to it.
    after_return: bool,
    is_first_line: bool,
    /// Most bytes of one event.
    bytes_max: usize,
}

impl Parser {
    pub(crate) fn new(bytes_max: usize) -> Parser {
        Parser {
            line: Vec::new(),
            name: None,
            data: None,
            after_return: false,
            is_first_line: true,
            bytes_max,
        }
    }

    /// Takes the next bytes and puts the events that they complete at the end of `events`.
    pub(crate) fn feed(
        &mut self,
        mut bytes: &[u8],
        events: &mut VecDeque<Event>,
    ) -> Result<(), Broken> {
        while !bytes.is_empty() {
            if std::mem::take(&mut self.after_return) && bytes[0] == b'\n' {
                bytes = &bytes[1..];
                continue;
            }
            let end = bytes.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
            let part = end.map_or(bytes, |end| &bytes[..end]);
            let held = self.line.len() + self.data.as_ref().map_or(0, String::len);
            if held + part.len() > self.bytes_max {
                return Err(Broken::TooLong { bytes_max: self.bytes_max });
            }
            let Some(end) = end else {
                self.line.extend_from_slice(part);
                return Ok(());
            };
            self.after_return = bytes[end] == b'\r';
            if self.line.is_empty() {
                self.end_line(part, events)?;
            } else {
                self.line.extend_from_slice(part);
                let line = std::mem::take(&mut self.line);
                self.end_line(&line, events)?;
            }
            bytes = &bytes[end + 1..];
        }
        Ok(())
    }

    fn end_line(&mut self, line: &[u8], events: &mut VecDeque<Event>) -> Result<(), Broken> {
        let mut line = line;
        if std::mem::take(&mut self.is_first_line) {
            line = line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line);
        }
        let line = std::str::from_utf8(line).map_err(|_| Broken::NotUtf8)?;
        if line.is_empty() {
            let name = self.name.take();
            if let Some(data) = self.data.take() {
                events.push_back(Event { name, data });
            }
            return Ok(());
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => self.name = Some(value.to_owned()).filter(|name| !name.is_empty()),
            "data" => match &mut self.data {
                Some(data) => {
                    data.push('\n');
                    data.push_str(value);
                }
                None => self.data = Some(value.to_owned()),
            },
            // A comment has an empty field name; `id` and `retry` mean nothing to a chat.
            _ => {}
        }
        Ok(())
    }
}
