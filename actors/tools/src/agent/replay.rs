//! What listeners are told of a run, read off its journal: whoever comes late, or listens on another
//! node than the one that runs it, hears the same.

use super::fold::RoundState;
use super::{Agent, Entry, Message, Notice};
use crate::call::Problem;

/// Takes the entries of a journal one after the other.
#[derive(Debug, Clone, Default)]
pub struct Replay {
    agent: Option<Agent>,
}

impl Replay {
    /// What is told of the next entry. A call is told when the model has asked for it.
    ///
    /// # Errors
    /// When it cannot follow the entries so far.
    pub fn take(&mut self, entry: &Entry) -> Result<Vec<Notice>, Problem> {
        let Some(agent) = &mut self.agent else {
            let agent = self.agent.insert(Agent::of(entry)?);
            let began = Notice::Began { run: agent.run.clone() };
            return Ok([Some(began), agent.asking()].into_iter().flatten().collect());
        };
        let before = agent.messages.len();
        let name = match entry {
            Entry::CallEnded { call, .. } => agent.name_of(call),
            _ => String::new(),
        };
        agent.apply(entry)?;
        let mut told = match entry.clone() {
            Entry::Began { .. } => Vec::new(),
            Entry::Answered { step, text, .. } => {
                let said = (!text.is_empty()).then_some(Notice::Said { step, text });
                said.into_iter().chain(agent.asked_for(before)).collect()
            }
            Entry::CallEnded { call, is_error, .. } => {
                vec![Notice::CallEnded { call, name, is_error }]
            }
            Entry::ApprovalNeeded { call, approval, .. } => {
                vec![Notice::ApprovalNeeded { call, approval }]
            }
            Entry::Finished { reason, text, .. } => vec![Notice::Finished { reason, text }],
        };
        told.extend(agent.warning.take().map(|text| Notice::Warned { text }));
        told.extend(agent.asking());
        Ok(told)
    }

    /// The run after the entries so far; none before the first one.
    pub fn agent(&self) -> Option<&Agent> {
        self.agent.as_ref()
    }
}

impl Agent {
    /// The model is asked next.
    fn asking(&self) -> Option<Notice> {
        let settings = &self.settings;
        let may_ask = self.step < settings.iterations_max
            && self.spent_microdollars < settings.microdollars_max;
        (self.waits_for_model() && may_ask).then_some(Notice::Asking { step: self.step })
    }

    /// The calls of the answer that stands at this place of the messages, and the ends of those that
    /// cannot be made.
    fn asked_for(&self, place: usize) -> Vec<Notice> {
        let Some((Message::Assistant { calls, .. }, results)) =
            self.messages.get(place..).and_then(<[Message]>::split_first)
        else {
            return Vec::new();
        };
        let mut told: Vec<Notice> = calls
            .iter()
            .map(|call| Notice::Calling {
                call: call.id.clone(),
                name: call.name.clone(),
                arguments: call.arguments.clone(),
            })
            .collect();
        let ended = |call: &str, name: &str| Notice::CallEnded {
            call: call.to_owned(),
            name: name.to_owned(),
            is_error: true,
        };
        let at_once =
            self.round.iter().filter(|call| matches!(call.state, RoundState::Ended { .. }));
        told.extend(at_once.map(|call| ended(&call.request.id, &call.request.name)));
        told.extend(results.iter().filter_map(|message| match message {
            Message::Tool { call, name, .. } => Some(ended(call, name)),
            _ => None,
        }));
        told
    }
}
