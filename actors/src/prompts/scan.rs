//! The secret scan of a document: every text that an author writes into it.

use headwater_prompts::PromptDocument;
use headwater_prompts::scan::{Finding, masked};

use super::handle::PromptsHandle;
use super::nouns::{Commit, Found};

impl PromptsHandle {
    /// What looks like a secret in it.
    pub(super) fn scan(&self, document: &PromptDocument) -> Vec<Found> {
        let templates = document.templates();
        let templates = templates.into_iter().map(|(field, text)| (field, text.to_owned()));
        let variables = document.variables.iter().map(|(name, variable)| {
            (format!("variables.{name}"), serde_json::to_string(variable).unwrap_or_default())
        });
        let tools = document.tools.iter().enumerate().map(|(place, tool)| {
            (format!("tools[{place}]"), serde_json::to_string(tool).unwrap_or_default())
        });
        let settings = serde_json::to_string(&document.model).unwrap_or_default();
        let all = templates.chain(variables).chain(tools).chain([("model".to_owned(), settings)]);
        self.scan_all(all)
    }

    /// What looks like a secret in what stands beside the document.
    pub(super) fn scan_words(&self, commit: &Commit) -> Vec<Found> {
        let message = [("message".to_owned(), commit.message.clone())];
        let tags = commit.tags.iter().map(|tag| ("tags".to_owned(), tag.clone()));
        self.scan_all(message.into_iter().chain(tags))
    }

    /// What looks like a secret in texts, each with its field.
    pub(super) fn scan_texts(
        &self,
        texts: impl IntoIterator<Item = (String, String)>,
    ) -> Vec<Found> {
        self.scan_all(texts.into_iter())
    }

    fn scan_all(&self, texts: impl Iterator<Item = (String, String)>) -> Vec<Found> {
        let found = |(field, text): (String, String)| {
            let findings = self.shared.scanner.scan(&text);
            let told = findings.into_iter().map(|finding| told(&field, &text, finding));
            told.collect::<Vec<_>>()
        };
        texts.flat_map(found).collect()
    }
}

fn told(field: &str, text: &str, finding: Finding) -> Found {
    let masked = masked(text, &finding);
    let Finding { rule, description, line, column, fingerprint, .. } = finding;
    Found { field: field.to_owned(), rule, description, line, column, masked, fingerprint }
}
