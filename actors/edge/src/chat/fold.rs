//! An answer that is told at once: the events of all its chunks, put together.

use std::collections::BTreeMap;

use headwater_actors::gateway::{ChatEvent, Finish, Usage};
use serde_json::Value;

/// What all events together say.
#[derive(Default)]
pub(crate) struct Folded {
    pub(super) id: Option<String>,
    pub(crate) model: Option<String>,
    pub(super) choices: BTreeMap<u32, Choice>,
    /// Of an embedding request.
    pub(crate) vectors: Option<Value>,
    pub(crate) usage: Option<Usage>,
}

#[derive(Default)]
pub(super) struct Choice {
    /// In the order in which they began.
    pub(super) pieces: Vec<Piece>,
    /// Of every token, in OpenAI's form.
    pub(super) logprobs: Vec<Value>,
    pub(super) finish: Option<Finish>,
    pub(super) stop: Option<String>,
}

pub(super) enum Piece {
    Text(String),
    Refusal(String),
    Thinking { text: String, signature: Option<String> },
    Call { index: u32, id: Option<String>, name: Option<String>, arguments: String },
}

impl Folded {
    pub(super) fn add(&mut self, event: ChatEvent) {
        match event {
            ChatEvent::Started { id, model } => {
                self.id = self.id.take().or(id);
                self.model = self.model.take().or(model);
            }
            ChatEvent::Text { choice, text } => self.choice(choice).add_text(&text),
            ChatEvent::Refusal { choice, text } => self.choice(choice).add_refusal(&text),
            ChatEvent::Thinking { choice, text, signature } => {
                self.choice(choice).add_thought(&text, signature);
            }
            ChatEvent::ToolCall { choice, index, id, name, arguments } => {
                self.choice(choice).add_call(index, id, name, &arguments);
            }
            ChatEvent::Logprobs { choice, content } => {
                let told = &mut self.choice(choice).logprobs;
                match content {
                    Value::Array(tokens) => told.extend(tokens),
                    other => told.push(other),
                }
            }
            ChatEvent::Finished { choice, reason, stop } => {
                let choice = self.choice(choice);
                choice.finish = Some(reason);
                choice.stop = stop;
            }
            ChatEvent::Vectors { data } => self.vectors = Some(data),
            ChatEvent::Usage(usage) => self.usage = Some(usage),
        }
    }

    fn choice(&mut self, choice: u32) -> &mut Choice {
        self.choices.entry(choice).or_default()
    }
}

impl Choice {
    fn add_text(&mut self, more: &str) {
        match self.pieces.last_mut() {
            Some(Piece::Text(text)) => text.push_str(more),
            _ => self.pieces.push(Piece::Text(more.to_owned())),
        }
    }

    fn add_refusal(&mut self, more: &str) {
        match self.pieces.last_mut() {
            Some(Piece::Refusal(text)) => text.push_str(more),
            _ => self.pieces.push(Piece::Refusal(more.to_owned())),
        }
    }

    /// A signature ends a thought.
    fn add_thought(&mut self, more: &str, signed: Option<String>) {
        match self.pieces.last_mut() {
            Some(Piece::Thinking { text, signature }) if signature.is_none() => {
                text.push_str(more);
                *signature = signed;
            }
            _ => self.pieces.push(Piece::Thinking { text: more.to_owned(), signature: signed }),
        }
    }

    fn add_call(&mut self, index: u32, id: Option<String>, name: Option<String>, more: &str) {
        for piece in &mut self.pieces {
            if let Piece::Call { index: of, arguments, .. } = piece
                && *of == index
            {
                arguments.push_str(more);
                return;
            }
        }
        self.pieces.push(Piece::Call { index, id, name, arguments: more.to_owned() });
    }

    pub(super) fn is_refusal(&self) -> bool {
        self.pieces.iter().any(|piece| matches!(piece, Piece::Refusal(_)))
    }
}
