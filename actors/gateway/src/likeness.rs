//! Questions that differ in their wording alone.

use headwater_models::chat::{ChatRequest, Part, Protocol, Role};

use crate::cache::{AnswerKey, KeyMaker};
use crate::config::Target;

/// A question in two parts: what must be equal for an answer to fit both, and the words that may
/// be put otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Likeness {
    pub frame: AnswerKey,
    pub words: String,
}

impl Likeness {
    /// The last message of a user in words alone; all before it, all settings, and the numbers in
    /// it are the frame: encoders hardly tell 17 from 18. None where there is no such message.
    ///
    /// `encoder` is what the words are compared by: its vectors mean nothing beside another's.
    pub fn of(
        team: &str,
        alias: &str,
        target: &Target,
        request: &ChatRequest,
        encoder: &str,
    ) -> Option<Likeness> {
        let (last, before) = request.messages.split_last()?;
        if last.role != Role::User || last.parts.is_empty() {
            return None;
        }
        let mut words = String::new();
        for part in &last.parts {
            let Part::Text(text) = part else { return None };
            if !words.is_empty() {
                words.push('\n');
            }
            words.push_str(text);
        }
        let mut frame = KeyMaker::of(team, alias, target, request);
        frame.add(encoder);
        match &request.body {
            Some(body) if body.protocol == Protocol::OpenAiEmbeddings => return None,
            // Its messages count by what they mean.
            Some(body) => frame.add_body(body, &["messages"]),
            None => frame.add("no body"),
        }
        frame.add_meaning(request, before);
        let numbers = words.split(|one: char| !one.is_numeric()).filter(|run| !run.is_empty());
        numbers.for_each(|run| frame.add(run));
        (!words.trim().is_empty()).then(|| Likeness { frame: frame.done(), words })
    }
}
