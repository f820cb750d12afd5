//! SmolLM2's chat template: ChatML with a system prompt of its own.

use headwater_models::chat::Role;

use super::tokens::Vocabulary;
use crate::LoadError;
use crate::gguf::Gguf;

const KEY: &str = "tokenizer.chat_template";

/// The template that is written out below, as the model's file holds it.
pub(super) const TEMPLATE: &str = "{% for message in messages %}{% if loop.first and \
    messages[0]['role'] != 'system' %}{{ '<|im_start|>system\nYou are a helpful AI assistant \
    named SmolLM, trained by Hugging Face<|im_end|>\n' }}{% endif %}{{'<|im_start|>' + \
    message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}{% if \
    add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";

/// What the model is told when the client tells it nothing.
const SYSTEM: &str = "You are a helpful AI assistant named SmolLM, trained by Hugging Face";

pub(super) struct Template {
    start: u32,
    end: u32,
}

impl Template {
    /// # Errors
    /// When the file asks for another template, or has no tokens for this one.
    pub(super) fn read(file: &Gguf<'_>, vocabulary: &Vocabulary) -> Result<Self, LoadError> {
        if file.text(KEY)? != TEMPLATE {
            let found = "another template";
            return Err(LoadError::unsupported(file.name(), KEY, found, "the one of SmolLM2"));
        }
        let control = |name: &str| {
            vocabulary.control(name).ok_or_else(|| {
                let reason = format!("has no control token {name}");
                LoadError::malformed(file.name(), "tokenizer.ggml.tokens", reason)
            })
        };
        Ok(Template { start: control("<|im_start|>")?, end: control("<|im_end|>")? })
    }

    /// The tokens of a chat up to where the assistant's answer begins.
    ///
    /// # Errors
    /// Which message holds what no token stands for.
    pub(super) fn render(
        &self,
        vocabulary: &Vocabulary,
        messages: &[(Role, String)],
    ) -> Result<Vec<u32>, String> {
        let mut ids = Vec::new();
        let mut say = |role: &str, text: &str| {
            ids.push(self.start);
            ids.extend(vocabulary.encode(&format!("{role}\n{text}"))?);
            ids.push(self.end);
            ids.extend(vocabulary.encode("\n")?);
            Ok::<(), String>(())
        };
        if messages.first().is_some_and(|(role, _)| *role != Role::System) {
            say("system", SYSTEM)?;
        }
        for (index, (role, text)) in messages.iter().enumerate() {
            let role = match role {
                Role::System => "system",
                Role::User => "user",
                Role::Assistant => "assistant",
            };
            say(role, text).map_err(|reason| format!("messages[{index}] holds {reason}"))?;
        }
        ids.push(self.start);
        ids.extend(vocabulary.encode("assistant\n")?);
        Ok(ids)
    }
}
