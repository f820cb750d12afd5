//! An answer on its way to the client: the request's tokens become values again, and what the
//! policy's rules are about goes out of what the model says itself.

use std::collections::BTreeMap;
use std::sync::Arc;

use headwater_models::chat::{ChatEvent, Chunk};

use super::entity::Entity;
use super::policy::{Action, RedactionPolicy};
use super::restore::{Restorer, Tokens};
use super::session::RedactionSession;
use super::stream::StreamRedactor;
use super::{RedactError, Redactor};

/// A text of an answer that grows part by part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Refusal,
    Thinking,
    /// Which call of the choice.
    Call(u32),
}

struct Flow {
    kind: Kind,
    redactor: Option<StreamRedactor>,
    restorer: Restorer,
}

/// What is done with the parts of one answer. Once it is not idle no chunk keeps the provider's own
/// words, so that a client sees one form from beginning to end.
pub struct AnswerRedaction {
    /// None when answers are not redacted.
    redactor: Option<(Arc<Redactor>, Arc<RedactionPolicy>)>,
    tokens: Tokens,
    /// The text of each choice that grows now.
    open: BTreeMap<u32, Flow>,
    counts: BTreeMap<Entity, u64>,
}

impl AnswerRedaction {
    pub fn new(redactor: &Arc<Redactor>, session: &RedactionSession) -> AnswerRedaction {
        let policy = session.policy();
        let redactor =
            policy.response.then(|| (Arc::clone(redactor), Arc::new(for_answers(policy))));
        let (open, counts) = (BTreeMap::new(), BTreeMap::new());
        AnswerRedaction { redactor, tokens: session.tokens(), open, counts }
    }

    /// Whether all parts go on as they came.
    pub fn is_idle(&self) -> bool {
        self.redactor.is_none() && self.tokens.is_empty()
    }

    /// How often each entity was replaced in what the model said.
    pub fn counts(&self) -> BTreeMap<Entity, u64> {
        let mut counts = self.counts.clone();
        for flow in self.open.values() {
            add(&mut counts, flow);
        }
        counts
    }

    /// The chunk for the client. What is not certain yet comes with a later one.
    ///
    /// # Errors
    /// [`RedactError::Blocked`] when the model said what the policy blocks: the answer must not
    /// go on.
    pub fn chunk(&mut self, chunk: Chunk) -> Result<Chunk, RedactError> {
        if self.is_idle() {
            return Ok(chunk);
        }
        let mut events = Vec::with_capacity(chunk.events.len());
        for event in chunk.events {
            self.event(event, &mut events)?;
        }
        Ok(Chunk { said: None, events })
    }

    fn event(&mut self, event: ChatEvent, out: &mut Vec<ChatEvent>) -> Result<(), RedactError> {
        match event {
            ChatEvent::Text { choice, text } => {
                let text = self.push(choice, Kind::Text, &text, out)?;
                out.extend(said(choice, Kind::Text, text));
            }
            ChatEvent::Refusal { choice, text } => {
                let text = self.push(choice, Kind::Refusal, &text, out)?;
                out.extend(said(choice, Kind::Refusal, text));
            }
            ChatEvent::Thinking { choice, text, signature } => {
                let mut text = self.push(choice, Kind::Thinking, &text, out)?;
                // A signature ends a thought.
                if signature.is_some() {
                    text.push_str(&self.close(choice)?.map(|(_, rest)| rest).unwrap_or_default());
                }
                if signature.is_some() || !text.is_empty() {
                    out.push(ChatEvent::Thinking { choice, text, signature });
                }
            }
            ChatEvent::ToolCall { choice, index, id, name, arguments } => {
                let arguments = self.push(choice, Kind::Call(index), &arguments, out)?;
                if id.is_some() || name.is_some() || !arguments.is_empty() {
                    out.push(ChatEvent::ToolCall { choice, index, id, name, arguments });
                }
            }
            // They spell out the text as the model wrote it.
            ChatEvent::Logprobs { .. } if self.redactor.is_some() => {}
            ChatEvent::Finished { choice, .. } => {
                self.flush(choice, out)?;
                out.push(event);
            }
            ChatEvent::Started { .. }
            | ChatEvent::Logprobs { .. }
            | ChatEvent::Vectors { .. }
            | ChatEvent::Usage(_) => out.push(event),
        }
        Ok(())
    }

    /// A piece of a text. Another text of the choice has ended when it comes.
    fn push(
        &mut self,
        choice: u32,
        kind: Kind,
        piece: &str,
        out: &mut Vec<ChatEvent>,
    ) -> Result<String, RedactError> {
        if self.open.get(&choice).is_some_and(|flow| flow.kind != kind) {
            self.flush(choice, out)?;
        }
        let fresh = || {
            let json = matches!(kind, Kind::Call(_));
            let tokens = &self.tokens;
            let restorer = if json { tokens.json_restorer() } else { tokens.restorer() };
            let redactor = self.redactor.as_ref().map(|(redactor, policy)| {
                let session = RedactionSession::new(Arc::clone(policy));
                StreamRedactor::new(Arc::clone(redactor), session, tokens.clone(), json)
            });
            Flow { kind, redactor, restorer }
        };
        let flow = self.open.entry(choice).or_insert_with(fresh);
        match &mut flow.redactor {
            Some(redactor) => Ok(flow.restorer.push(&redactor.push(piece)?)),
            None => Ok(flow.restorer.push(piece)),
        }
    }

    fn flush(&mut self, choice: u32, out: &mut Vec<ChatEvent>) -> Result<(), RedactError> {
        if let Some((kind, rest)) = self.close(choice)? {
            out.extend(said(choice, kind, rest));
        }
        Ok(())
    }

    /// Ends the text that grows, and gives what of it was held back.
    fn close(&mut self, choice: u32) -> Result<Option<(Kind, String)>, RedactError> {
        let Some(mut flow) = self.open.remove(&choice) else { return Ok(None) };
        let rest = match &mut flow.redactor {
            Some(redactor) => redactor.finish()?,
            None => String::new(),
        };
        add(&mut self.counts, &flow);
        let mut rest = flow.restorer.push(&rest);
        rest.push_str(&flow.restorer.finish());
        Ok(Some((flow.kind, rest)))
    }
}

fn add(counts: &mut BTreeMap<Entity, u64>, flow: &Flow) {
    if let Some(redactor) = &flow.redactor {
        for (entity, count) in redactor.session().counts() {
            *counts.entry(*entity).or_default() += count;
        }
    }
}

/// A token in an answer would stand for what the client never sent.
fn for_answers(policy: &RedactionPolicy) -> RedactionPolicy {
    let mut own = policy.clone();
    for rule in own.rules.values_mut() {
        if rule.action == Action::Token {
            rule.action = Action::Mask;
        }
    }
    own
}

fn said(choice: u32, kind: Kind, text: String) -> Option<ChatEvent> {
    (!text.is_empty()).then_some(match kind {
        Kind::Text => ChatEvent::Text { choice, text },
        Kind::Refusal => ChatEvent::Refusal { choice, text },
        Kind::Thinking => ChatEvent::Thinking { choice, text, signature: None },
        Kind::Call(index) => {
            ChatEvent::ToolCall { choice, index, id: None, name: None, arguments: text }
        }
    })
}
