//! An in-memory backend with faults, for tests and simulation.

use std::collections::{BTreeMap, VecDeque};
use std::future::pending;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use serde_json::{Value, json};

use crate::answer::{Answer, Content};
use crate::backend::{Backend, Listed};
use crate::error::BackendError;
use crate::invocation::Invocation;

/// What the next call shall meet.
#[derive(Debug, Clone, PartialEq)]
pub enum Fault {
    /// This error, and no effect.
    Error(BackendError),
    /// The effect happens and its answer is lost.
    LostAnswer,
    /// The effect happens and no answer comes, ever: the caller's deadline has to end it.
    HangAfterEffect,
    /// Nothing happens and no answer comes, ever.
    Hang,
    /// The effect happens; the answer is this instead.
    Garbage(Content),
}

/// How a tool of the double behaves.
type Tool = Box<dyn Fn(&Invocation) -> Result<Answer, BackendError> + Send + Sync>;

/// Answers each call with its arguments, or as the tool of that name was told to; counts effects.
///
/// An effect is one call that is no dry run. A call that comes again by the same call id has no
/// second effect where [`MemoryBackend::knows_calls`] was asked for, and gets its first answer.
#[derive(Default)]
pub struct MemoryBackend {
    tools: BTreeMap<String, Tool>,
    knows_calls: bool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    faults: VecDeque<Fault>,
    listed: Vec<Listed>,
    calls: Vec<Invocation>,
    effects: BTreeMap<String, u64>,
    answered: BTreeMap<String, Answer>,
}

impl MemoryBackend {
    pub fn new() -> MemoryBackend {
        MemoryBackend::default()
    }

    /// The backend keeps answers by call id, as a tool does that honours `Idempotency-Key`.
    #[must_use]
    pub fn knows_calls(mut self) -> MemoryBackend {
        self.knows_calls = true;
        self
    }

    /// A tool with a behaviour of its own. With at least one, other names are not found.
    #[must_use]
    pub fn with_tool(
        mut self,
        name: &str,
        run: impl Fn(&Invocation) -> Result<Answer, BackendError> + Send + Sync + 'static,
    ) -> MemoryBackend {
        self.tools.insert(name.to_owned(), Box::new(run));
        self
    }

    /// What [`Backend::list`] tells from now on.
    pub fn set_listed(&self, listed: Vec<Listed>) {
        self.state().listed = listed;
    }

    /// Orders a fault for one of the next calls, first in first out.
    pub fn inject(&self, fault: Fault) {
        self.state().faults.push_back(fault);
    }

    /// Every call that came so far, in their order.
    pub fn calls(&self) -> Vec<Invocation> {
        self.state().calls.clone()
    }

    /// How often the call of this id had an effect.
    pub fn effects_of(&self, call: &str) -> u64 {
        self.state().effects.get(call).copied().unwrap_or_default()
    }

    /// All effects by call id.
    pub fn effects(&self) -> BTreeMap<String, u64> {
        self.state().effects.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does the work, once, as far as the double does any.
    fn effect(&self, invocation: &Invocation) -> Result<Answer, BackendError> {
        if let Some(answer) = self.state().answered.get(&invocation.call) {
            return Ok(answer.clone());
        }
        let answer = match self.tools.get(&invocation.tool) {
            Some(run) => run(invocation)?,
            None if self.tools.is_empty() => echo(&invocation.arguments),
            None => {
                return Err(BackendError::NotFound { what: format!("tool `{}`", invocation.tool) });
            }
        };
        if !invocation.dry_run {
            let mut state = self.state();
            *state.effects.entry(invocation.call.clone()).or_default() += 1;
            if self.knows_calls {
                state.answered.insert(invocation.call.clone(), answer.clone());
            }
        }
        if answer.content.bytes_len() > invocation.output_bytes_max {
            return Err(BackendError::TooLarge { bytes_max: invocation.output_bytes_max });
        }
        Ok(answer)
    }
}

fn echo(arguments: &Value) -> Answer {
    let bytes = arguments.to_string().len() as u64;
    let content = Content::Json(json!({"echo": arguments}));
    Answer { content, is_error: false, bytes_in: bytes, bytes_out: bytes, reached: Vec::new() }
}

#[async_trait]
impl Backend for MemoryBackend {
    async fn call(&self, invocation: &Invocation) -> Result<Answer, BackendError> {
        let fault = {
            let mut state = self.state();
            state.calls.push(invocation.clone());
            state.faults.pop_front()
        };
        match fault {
            None => self.effect(invocation),
            Some(Fault::Error(error)) => Err(error),
            Some(Fault::LostAnswer) => {
                self.effect(invocation)?;
                Err(BackendError::Unknown { why: "the connection broke off".to_owned() })
            }
            Some(Fault::HangAfterEffect) => {
                self.effect(invocation)?;
                pending().await
            }
            Some(Fault::Hang) => pending().await,
            Some(Fault::Garbage(content)) => Ok(Answer { content, ..self.effect(invocation)? }),
        }
    }

    async fn list(&self) -> Result<Vec<Listed>, BackendError> {
        Ok(self.state().listed.clone())
    }
}

#[cfg(test)]
mod tests;
