//! What all sequences share: weights, tokens, template and limits.

use std::path::Path;

use headwater_models::chat::{ChatError, ChatRequest};

use super::network::Network;
use super::request::{Wanted, refused};
use super::settings::LocalChatSettings;
use super::template::Template;
use super::tokens::Vocabulary;
use crate::LoadError;
use crate::folder;
use crate::gguf::Gguf;

pub(super) struct Model {
    /// Most tokens of prompt and answer together.
    pub(super) context: usize,
    pub(super) network: Network,
    pub(super) vocabulary: Vocabulary,
    template: Template,
}

impl Model {
    /// # Errors
    /// [`LoadError`] naming the file and the field.
    pub(super) fn load(settings: &LocalChatSettings) -> Result<Self, LoadError> {
        let path = folder::gguf(&settings.folder)?;
        let bytes = std::fs::read(&path).map_err(|error| LoadError::Missing {
            file: path.display().to_string(),
            reason: error.to_string(),
        })?;
        Model::parse(settings, &path, &bytes)
    }

    fn parse(settings: &LocalChatSettings, path: &Path, bytes: &[u8]) -> Result<Self, LoadError> {
        let name = path.display().to_string();
        let file = Gguf::parse(&name, bytes)?;
        let vocabulary = Vocabulary::read(&file)?;
        let template = Template::read(&file, &vocabulary)?;
        let network = Network::load(&file, vocabulary.len())?;
        let context = settings.context.min(network.shape.context);
        Ok(Model { context, network, vocabulary, template })
    }

    /// The tokens of the prompt.
    ///
    /// # Errors
    /// [`ChatError::Refused`] when it leaves no room for an answer or holds what no token stands
    /// for.
    pub(super) fn prompt(&self, wanted: &Wanted) -> Result<Vec<u32>, ChatError> {
        let context = self.context;
        let bytes: usize = wanted.messages.iter().map(|(_, text)| text.len()).sum();
        // Long texts are refused before any work goes into them.
        let least = self.vocabulary.least(bytes);
        if least >= context {
            return Err(too_long(&format!("at least {least}"), context));
        }
        let prompt = self.template.render(&self.vocabulary, &wanted.messages).map_err(refused)?;
        match prompt.len() {
            length if length >= context => Err(too_long(&length.to_string(), context)),
            _ => Ok(prompt),
        }
    }

    /// # Errors
    /// As [`Wanted::of`] and [`Model::prompt`].
    pub(super) fn count(&self, request: &ChatRequest) -> Result<usize, ChatError> {
        self.prompt(&Wanted::of(request)?).map(|prompt| prompt.len())
    }
}

fn too_long(length: &str, context: usize) -> ChatError {
    let code = Some("context_length_exceeded".to_owned());
    let message = format!(
        "messages have {length} tokens with the template; this model takes at most {} of its \
         {context} for the prompt, so that an answer has room; send fewer or shorter messages",
        context - 1
    );
    ChatError::Refused { status: 400, code, message }
}
