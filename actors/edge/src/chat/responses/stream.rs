//! A response as a stream: items one after the other, each told part by part and then whole.

use headwater_actors::gateway::{ChatEvent, Chunk, Finish, GatewayError, Usage};
use serde_json::{Value, json};

use super::answer::{finish, head, item, item_id, part};
use crate::chat::fold::Piece;
use crate::chat::sse::{self, Writer};
use crate::chat::{Naming, now_s};
use crate::error::{ApiError, Shape};

/// Writes one response.
pub(super) struct ResponsesWriter {
    naming: Naming,
    created_s: u64,
    /// Number of the next event.
    sequence: u64,
    /// The item that grows now.
    open: Option<Piece>,
    /// Items that are whole.
    items: Vec<Value>,
    /// Calls so far.
    calls: Vec<u32>,
    finish: Option<Finish>,
    usage: Option<Usage>,
}

/// What an item's events are called: its part's beginning and end, a piece of it, and its whole.
struct Names {
    part: Option<&'static str>,
    text: &'static str,
    /// The field that holds the whole text.
    field: &'static str,
    /// The field that says which part it is.
    index: &'static str,
}

fn names(piece: &Piece) -> Names {
    let (part, text, field, index) = match piece {
        Piece::Text(_) => (Some("content_part"), "output_text", "text", "content_index"),
        Piece::Refusal(_) => (Some("content_part"), "refusal", "refusal", "content_index"),
        Piece::Thinking { .. } => {
            (Some("reasoning_summary_part"), "reasoning_summary_text", "text", "summary_index")
        }
        Piece::Call { .. } => (None, "function_call_arguments", "arguments", ""),
    };
    Names { part, text, field, index }
}

fn text_of(piece: &mut Piece) -> &mut String {
    match piece {
        Piece::Text(text) | Piece::Refusal(text) | Piece::Thinking { text, .. } => text,
        Piece::Call { arguments, .. } => arguments,
    }
}

impl ResponsesWriter {
    pub(super) fn new(naming: Naming) -> ResponsesWriter {
        ResponsesWriter {
            naming,
            created_s: now_s(),
            sequence: 0,
            open: None,
            items: Vec::new(),
            calls: Vec::new(),
            finish: None,
            usage: None,
        }
    }

    fn write(&mut self, kind: &str, mut data: Value, out: &mut String) {
        data["type"] = Value::from(kind);
        data["sequence_number"] = Value::from(self.sequence);
        self.sequence += 1;
        sse::event(Some(kind), &data.to_string(), out);
    }

    fn begin(&mut self, out: &mut String) {
        if self.sequence == 0 {
            let response = head(&self.naming, self.created_s);
            self.write("response.created", json!({"response": response}), out);
            self.write("response.in_progress", json!({"response": response}), out);
        }
    }

    /// Where the open item stands, for an event about it.
    fn place(&self, index: &str) -> Value {
        let at = self.items.len() as u64;
        let mut place = json!({"item_id": item_id(at, &self.naming), "output_index": at});
        if !index.is_empty() {
            place[index] = Value::from(0);
        }
        place
    }

    /// Grows the open item, or opens this one.
    fn grow(&mut self, piece: Piece, more: &str, out: &mut String) {
        let names = names(&piece);
        let same = match (&self.open, &piece) {
            (Some(Piece::Call { index: open, .. }), Piece::Call { index, .. }) => open == index,
            (Some(open), piece) => std::mem::discriminant(open) == std::mem::discriminant(piece),
            (None, _) => false,
        };
        if !same {
            self.begin(out);
            self.close(out);
            let at = self.items.len() as u64;
            let mut begun = item(at, &piece, &self.naming);
            for (field, empty) in [("content", json!([])), ("summary", json!([]))] {
                if begun.get(field).is_some() {
                    begun[field] = empty;
                }
            }
            if begun.get("status").is_some() {
                begun["status"] = Value::from("in_progress");
            }
            let added = json!({"output_index": at, "item": begun});
            self.write("response.output_item.added", added, out);
            if let Some(kind) = names.part {
                let mut data = self.place(names.index);
                data["part"] = part(&piece);
                self.write(&format!("response.{kind}.added"), data, out);
            }
            self.open = Some(piece);
        }
        if more.is_empty() {
            return;
        }
        if let Some(open) = &mut self.open {
            text_of(open).push_str(more);
        }
        let mut data = self.place(names.index);
        data["delta"] = Value::from(more);
        self.write(&format!("response.{}.delta", names.text), data, out);
    }

    /// Tells the open item whole.
    fn close(&mut self, out: &mut String) {
        let Some(mut piece) = self.open.take() else { return };
        let names = names(&piece);
        let mut data = self.place(names.index);
        data[names.field] = Value::from(text_of(&mut piece).as_str());
        self.write(&format!("response.{}.done", names.text), data, out);
        if let Some(kind) = names.part {
            let mut data = self.place(names.index);
            data["part"] = part(&piece);
            self.write(&format!("response.{kind}.done"), data, out);
        }
        let at = self.items.len() as u64;
        let whole = item(at, &piece, &self.naming);
        let done = json!({"output_index": at, "item": whole});
        self.write("response.output_item.done", done, out);
        self.items.push(whole);
    }

    fn event(&mut self, event: ChatEvent, out: &mut String) -> Result<(), GatewayError> {
        match event {
            ChatEvent::Started { model, .. } => {
                self.naming.take(None, model);
                self.begin(out);
            }
            ChatEvent::Text { choice: 0, text } if !text.is_empty() => {
                self.grow(Piece::Text(String::new()), &text, out);
            }
            ChatEvent::Refusal { choice: 0, text } => {
                self.grow(Piece::Refusal(String::new()), &text, out);
            }
            ChatEvent::Thinking { choice: 0, text, .. } if !text.is_empty() => {
                let piece = Piece::Thinking { text: String::new(), signature: None };
                self.grow(piece, &text, out);
            }
            ChatEvent::ToolCall { choice: 0, index, id, name, arguments } => {
                let grows =
                    matches!(&self.open, Some(Piece::Call { index: open, .. }) if *open == index);
                if !grows && self.calls.contains(&index) {
                    let reason = "a call of a tool went on after the next item had begun, which \
                                  this protocol cannot tell; ask without a stream";
                    return Err(GatewayError::Cut { reason: reason.to_owned() });
                }
                self.calls.push(index);
                let piece = Piece::Call { index, id, name, arguments: String::new() };
                self.grow(piece, &arguments, out);
            }
            ChatEvent::Finished { choice: 0, reason, .. } => self.finish = Some(reason),
            ChatEvent::Usage(usage) => self.usage = Some(usage),
            // The protocol has one choice, and asks for no probabilities.
            _ => {}
        }
        Ok(())
    }
}

impl Writer for ResponsesWriter {
    fn chunk(&mut self, chunk: Chunk, out: &mut String) -> Result<(), GatewayError> {
        chunk.events.into_iter().try_for_each(|event| self.event(event, out))
    }

    fn end(&mut self, out: &mut String) {
        self.begin(out);
        self.close(out);
        let mut response = head(&self.naming, self.created_s);
        finish(&mut response, std::mem::take(&mut self.items), self.finish, self.usage);
        let kind = match response["status"].as_str() {
            Some("incomplete") => "response.incomplete",
            _ => "response.completed",
        };
        self.write(kind, json!({"response": response}), out);
    }

    fn error(&mut self, error: ApiError, out: &mut String) {
        let told = error.body(Shape::OpenAi)["error"].take();
        let data = json!({"code": told["code"], "message": told["message"], "param": null});
        self.write("error", data, out);
    }
}
