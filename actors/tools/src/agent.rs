//! A run of an agent: the model is asked, the tools that it wants are called, until it answers.
//!
//! What has happened is told in entries of a journal; the state is what they add up to, and what
//! is to be done next is read off the state. So a node that takes a run over from one that died
//! goes on where the journal says. The id of a tool call follows from the run, the step and its
//! place in the answer, so a call that is made again is the same call to the dispatcher.

mod context;
mod decide;
mod fold;
mod nouns;
mod replay;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use crate::call::Problem;
use crate::steps::LoopWatch;

pub use context::{bytes_of, trim};
pub use nouns::{
    AgentSettings, AskedCall, Effect, Entry, Event, Finish, Message, Notice, ToolOffer,
    ToolRequest, Usage,
};
pub use replay::Replay;

/// See the module.
#[derive(Debug, Clone)]
pub struct Agent {
    run: String,
    settings: AgentSettings,
    tools: BTreeMap<String, ToolOffer>,
    messages: Vec<Message>,
    /// Answers of the model so far.
    step: u64,
    /// The calls of the last answer, until all have ended.
    round: Vec<fold::RoundCall>,
    spent_microdollars: u64,
    bad_calls: u32,
    loops: LoopWatch,
    /// A warning about a loop that the newest entry brought.
    warning: Option<String>,
    /// What the entries so far lead to.
    verdict: Option<(Finish, String)>,
    finished: Option<(Finish, String)>,
    deadline_ms: u64,
    entries: u64,
    /// What this node has under way: not part of the journal.
    is_asking: bool,
    in_flight: BTreeSet<String>,
}

impl Agent {
    /// Begins a run. An effect is carried out only when those before it are, and what is persisted
    /// is durable: an entry whose index is taken was written by another node, and then this one
    /// stops.
    ///
    /// # Errors
    /// When the run's id or a setting is out of its range, or there is no message.
    pub fn start(
        run: &str,
        settings: AgentSettings,
        messages: Vec<Message>,
        tools: Vec<ToolOffer>,
        now_ms: u64,
    ) -> Result<(Agent, Vec<Effect>), Problem> {
        let entry = Entry::Began { run: run.to_owned(), settings, messages, tools, at_ms: now_ms };
        let mut agent = Agent::of(&entry)?;
        let mut effects = vec![
            Effect::Persist { index: 0, entry },
            Effect::Tell(Notice::Began { run: run.to_owned() }),
        ];
        agent.go_on(now_ms, &mut effects);
        Ok((agent, effects))
    }

    /// Goes on where the journal ends. Calls that have not ended are made again, with their ids.
    ///
    /// # Errors
    /// When the journal is not one of a run.
    pub fn recover(journal: &[Entry], now_ms: u64) -> Result<(Agent, Vec<Effect>), Problem> {
        let Some((first, others)) = journal.split_first() else {
            return Err(Problem::new("journal", "is empty; begin a run"));
        };
        let mut agent = Agent::of(first)?;
        for entry in others {
            agent.apply(entry)?;
        }
        // Whether somebody has decided meanwhile, nobody has heard: the calls are made again to see.
        for call in &mut agent.round {
            if call.state == fold::RoundState::Waiting {
                call.state = fold::RoundState::Open;
            }
        }
        let mut effects = Vec::new();
        if agent.finished.is_none() {
            effects.push(Effect::Tell(Notice::Recovered { step: agent.step }));
        }
        agent.go_on(now_ms, &mut effects);
        Ok((agent, effects))
    }

    /// Takes what has happened. What comes too late to matter changes nothing.
    pub fn take(&mut self, event: Event, now_ms: u64) -> Vec<Effect> {
        let mut effects = Vec::new();
        if self.finished.is_none() {
            self.hear(event, now_ms, &mut effects);
            self.go_on(now_ms, &mut effects);
        }
        effects
    }

    pub fn run(&self) -> &str {
        &self.run
    }

    /// Answers of the model so far.
    pub fn step(&self) -> u64 {
        self.step
    }

    pub fn spent_microdollars(&self) -> u64 {
        self.spent_microdollars
    }

    /// All messages so far, untrimmed.
    pub fn messages(&self) -> &[Message] {
        &self.messages
    }

    /// The tools that the model is offered, by name.
    pub fn tools(&self) -> impl Iterator<Item = &ToolOffer> {
        self.tools.values()
    }

    /// Why it has ended, with the answer or the reason.
    pub fn finished(&self) -> Option<(Finish, &str)> {
        self.finished.as_ref().map(|(finish, text)| (*finish, text.as_str()))
    }

    /// When [`Event::Tick`] ends the run.
    pub fn deadline_ms(&self) -> u64 {
        self.deadline_ms
    }
}
