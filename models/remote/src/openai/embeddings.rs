//! OpenAI's embeddings: a request of texts, and an answer of vectors.

use headwater_models::chat::{ChatError, ChatEvent, ChatRequest, Finish, Part, Usage};
use serde_json::{Map, Value};

use crate::codec::{Decoder, Step, count, cut, parse, text_of, told};

/// The client's own fields, with the model's name and the texts of the messages as the input.
pub(crate) fn embeddings(
    mut fields: Map<String, Value>,
    request: &ChatRequest,
) -> Map<String, Value> {
    let parts = request.messages.iter().flat_map(|message| &message.parts);
    let texts = parts.filter_map(|part| match part {
        Part::Text(text) => Some(Value::from(text.as_str())),
        _ => None,
    });
    fields.insert("input".to_owned(), texts.collect());
    fields.insert("model".to_owned(), Value::from(request.model.as_str()));
    fields
}

/// Reads the answer, which is never a stream.
#[derive(Debug)]
pub(crate) struct Vectors {
    /// How many were asked for.
    pub(crate) texts: usize,
}

impl Decoder for Vectors {
    fn event(&mut self, _data: &str) -> Result<Step, ChatError> {
        Err(cut("the provider streams what is never a stream"))
    }

    fn whole(&mut self, body: &str) -> Result<Vec<ChatEvent>, ChatError> {
        let mut body = parse(body)?;
        if body.get("error").is_some_and(|error| !error.is_null()) {
            return Err(told(&body));
        }
        let data = body["data"].take();
        if data.as_array().map(Vec::len) != Some(self.texts) {
            return Err(cut("the provider's answer does not have a vector for each text"));
        }
        let mut events = vec![
            ChatEvent::Started { id: None, model: text_of(&body["model"]).map(str::to_owned) },
            ChatEvent::Vectors { data },
            ChatEvent::Finished { choice: 0, reason: Finish::Stop, stop: None },
        ];
        if body["usage"].is_object() {
            let input = count(&body["usage"]["prompt_tokens"]);
            events.push(ChatEvent::Usage(Usage { input, ..Usage::default() }));
        }
        Ok(events)
    }
}
