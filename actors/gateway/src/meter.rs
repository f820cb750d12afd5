//! What an answer has used, counted while it passes.

use std::collections::BTreeSet;

use headwater_models::chat::{ChatEvent, Usage};

/// Bytes of text in a token of an answer, about.
const BYTES_PER_TOKEN: u64 = 4;

/// What an answer has used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Used {
    pub usage: Usage,
    /// Whether a part of it is our own estimate, since the provider did not tell.
    pub is_estimated: bool,
}

/// Sees every event of an answer.
#[derive(Debug, Clone)]
pub struct Meter {
    input_estimate: u64,
    told: Option<Usage>,
    /// Whether something was said since the provider last told.
    is_behind: bool,
    parts: u64,
    bytes: u64,
    /// Choices that said something and have not finished.
    open: BTreeSet<u32>,
    has_finished: bool,
}

impl Meter {
    /// `input_estimate` stands until the provider tells.
    pub fn new(input_estimate: u64) -> Meter {
        Meter {
            input_estimate,
            told: None,
            is_behind: false,
            parts: 0,
            bytes: 0,
            open: BTreeSet::new(),
            has_finished: false,
        }
    }

    pub fn see(&mut self, event: &ChatEvent) {
        match event {
            ChatEvent::Text { choice, text }
            | ChatEvent::Refusal { choice, text }
            | ChatEvent::Thinking { choice, text, .. } => self.add(*choice, text.len()),
            ChatEvent::ToolCall { choice, name, arguments, .. } => {
                self.add(*choice, name.as_ref().map_or(0, String::len) + arguments.len());
            }
            ChatEvent::Finished { choice, .. } => {
                self.open.remove(choice);
                self.has_finished = true;
            }
            ChatEvent::Usage(usage) => {
                self.told = Some(*usage);
                // Some tell the input with every part and the output at the end only.
                self.is_behind = usage.output == 0 && self.bytes > 0;
            }
            ChatEvent::Started { .. } | ChatEvent::Logprobs { .. } | ChatEvent::Vectors { .. } => {}
        }
    }

    fn add(&mut self, choice: u32, bytes: usize) {
        self.open.insert(choice);
        if bytes > 0 {
            self.parts += 1;
            self.bytes += bytes as u64;
            self.is_behind = true;
        }
    }

    /// Whether a choice came to its end, and with it every one that had begun. A backend may give
    /// fewer choices than were wanted.
    pub fn is_whole(&self) -> bool {
        self.has_finished && self.open.is_empty()
    }

    /// What was used so far. What the provider told counts; what came since, or all of it when
    /// it told nothing, is estimated: a token for each part, or for each few bytes when parts
    /// hold more.
    pub fn used(&self) -> Used {
        let estimate = self.parts.max(self.bytes.div_ceil(BYTES_PER_TOKEN));
        match self.told {
            // At the end the provider's last word stands, whenever it came.
            Some(usage) if !self.is_behind || (self.is_whole() && usage.output > 0) => {
                Used { usage, is_estimated: false }
            }
            Some(usage) => {
                let output = usage.output.max(estimate);
                Used { usage: Usage { output, ..usage }, is_estimated: true }
            }
            None => {
                let usage =
                    Usage { input: self.input_estimate, output: estimate, ..Usage::default() };
                Used { usage, is_estimated: true }
            }
        }
    }
}
