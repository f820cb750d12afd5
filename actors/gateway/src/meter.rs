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
    choices: u32,
    told: Option<Usage>,
    /// Whether something was said since the provider last told.
    is_behind: bool,
    parts: u64,
    bytes: u64,
    finished: BTreeSet<u32>,
}

impl Meter {
    /// `input_estimate` stands until the provider tells; `choices` are the answers wanted.
    pub fn new(input_estimate: u64, choices: u32) -> Meter {
        Meter {
            input_estimate,
            choices,
            told: None,
            is_behind: false,
            parts: 0,
            bytes: 0,
            finished: BTreeSet::new(),
        }
    }

    pub fn see(&mut self, event: &ChatEvent) {
        match event {
            ChatEvent::Text { text, .. }
            | ChatEvent::Refusal { text, .. }
            | ChatEvent::Thinking { text, .. } => self.add(text.len()),
            ChatEvent::ToolCall { name, arguments, .. } => {
                self.add(name.as_ref().map_or(0, String::len) + arguments.len());
            }
            ChatEvent::Finished { choice, .. } => {
                self.finished.insert(*choice);
            }
            ChatEvent::Usage(usage) => {
                self.told = Some(*usage);
                self.is_behind = false;
            }
            ChatEvent::Started { .. } | ChatEvent::Logprobs { .. } => {}
        }
    }

    fn add(&mut self, bytes: usize) {
        if bytes > 0 {
            self.parts += 1;
            self.bytes += bytes as u64;
            self.is_behind = true;
        }
    }

    /// Whether every choice came to its end.
    pub fn is_whole(&self) -> bool {
        self.finished.len() as u64 >= u64::from(self.choices)
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
