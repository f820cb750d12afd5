//! What the entries of a journal add up to. Everything here follows from the entries alone.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::{Agent, AskedCall, Entry, Finish, Message, ToolRequest};
use crate::call::{Problem, check_id, sha256_of_text, sha256_of_value};
use crate::steps::{LoopWatch, Step, Verdict};

/// The longest id of a run, so that those of its calls are ids, too.
const RUN_CHARACTERS: usize = 100;
/// Names of tools that are told to a model that calls one there is not.
const NAMES_TOLD: usize = 20;

/// A call of the answer that is worked on.
#[derive(Debug, Clone)]
pub(super) struct RoundCall {
    pub(super) request: ToolRequest,
    pub(super) arguments: Value,
    pub(super) state: RoundState,
    /// The approval that it last asked for.
    pub(super) approval: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum RoundState {
    Open,
    Waiting,
    Ended { text: String, is_error: bool },
}

impl Agent {
    /// The state after the first entry.
    pub(super) fn of(first: &Entry) -> Result<Agent, Problem> {
        let Entry::Began { run, settings, messages, tools, at_ms } = first else {
            return Err(Problem::new("journal", "does not begin with the beginning of a run"));
        };
        check_id("run", run)?;
        if run.len() > RUN_CHARACTERS {
            let problem = format!("has more than {RUN_CHARACTERS} characters; take a shorter one");
            return Err(Problem::new("run", problem));
        }
        settings.check()?;
        if messages.is_empty() {
            return Err(Problem::new("messages", "are none; send what the agent shall do"));
        }
        let by_name = tools.iter().map(|tool| (tool.name.clone(), tool.clone()));
        Ok(Agent {
            run: run.clone(),
            settings: settings.clone(),
            tools: by_name.collect::<BTreeMap<_, _>>(),
            messages: messages.clone(),
            step: 0,
            round: Vec::new(),
            spent_microdollars: 0,
            bad_calls: 0,
            loops: LoopWatch::new(settings.loops),
            warning: None,
            verdict: None,
            finished: None,
            deadline_ms: at_ms.saturating_add(settings.wall_ms_max),
            entries: 1,
            is_asking: false,
            in_flight: BTreeSet::new(),
        })
    }

    /// Takes the next entry.
    ///
    /// # Errors
    /// When it cannot follow the entries so far; nothing has changed then.
    pub(super) fn apply(&mut self, entry: &Entry) -> Result<(), Problem> {
        self.check_follows(entry).map_err(|what| {
            let problem = format!("entry {} cannot follow: {what}", self.entries);
            Problem::new("journal", problem)
        })?;
        self.warning = None;
        match entry {
            Entry::Began { .. } => {}
            Entry::Answered { text, calls, usage, .. } => {
                self.spend(usage.microdollars);
                self.answer(text, calls);
            }
            Entry::CallEnded { call, text, is_error, microdollars, .. } => {
                self.spend(*microdollars);
                let ended = RoundState::Ended { text: text.clone(), is_error: *is_error };
                self.set(call, ended);
                self.close_round();
            }
            Entry::ApprovalNeeded { call, approval, .. } => {
                self.set(call, RoundState::Waiting);
                if let Some(waiting) = self.round.iter_mut().find(|one| one.request.id == *call) {
                    waiting.approval = Some(approval.clone());
                }
            }
            Entry::Finished { reason, text, .. } => self.finished = Some((*reason, text.clone())),
        }
        self.entries += 1;
        Ok(())
    }

    fn check_follows(&self, entry: &Entry) -> Result<(), String> {
        if self.finished.is_some() {
            return Err("the run has ended".to_owned());
        }
        match entry {
            Entry::Began { .. } => Err("the run has begun".to_owned()),
            Entry::Answered { step, .. } if *step != self.step || !self.waits_for_model() => {
                Err(format!("step {step} of the model is not waited for"))
            }
            Entry::CallEnded { call, .. } | Entry::ApprovalNeeded { call, .. }
                if !self.is_open(call) =>
            {
                Err(format!("call {call} is not waited for"))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn waits_for_model(&self) -> bool {
        self.round.is_empty() && self.verdict.is_none() && self.finished.is_none()
    }

    /// Whether a call of this round has not ended.
    pub(super) fn is_open(&self, id: &str) -> bool {
        let is_open = |call: &RoundCall| !matches!(call.state, RoundState::Ended { .. });
        self.round.iter().any(|call| call.request.id == id && is_open(call))
    }

    pub(super) fn set(&mut self, id: &str, state: RoundState) {
        if let Some(call) = self.round.iter_mut().find(|call| call.request.id == id) {
            call.state = state;
        }
    }

    fn spend(&mut self, microdollars: u64) {
        self.spent_microdollars = self.spent_microdollars.saturating_add(microdollars);
    }

    fn answer(&mut self, text: &str, calls: &[AskedCall]) {
        let step = self.step;
        self.step += 1;
        let requests = calls.iter().enumerate().map(|(place, call)| ToolRequest {
            id: format!("{}.{step}.{place}", self.run),
            model_id: call.model_id.clone(),
            name: call.name.clone(),
            arguments: call.arguments.clone(),
        });
        let requests: Vec<ToolRequest> = requests.collect();
        self.messages.push(Message::Assistant { text: text.to_owned(), calls: requests.clone() });
        if requests.is_empty() {
            self.verdict = Some(if text.trim().is_empty() {
                (Finish::Error, "the model answered with neither text nor calls".to_owned())
            } else {
                (Finish::Answered, text.to_owned())
            });
            return;
        }
        for (place, request) in requests.into_iter().enumerate() {
            let (arguments, state) = match self.read(place, &request) {
                Ok(arguments) => (arguments, RoundState::Open),
                Err(text) => {
                    self.bad_calls = self.bad_calls.saturating_add(1);
                    (Value::Null, RoundState::Ended { text, is_error: true })
                }
            };
            self.round.push(RoundCall { request, arguments, state, approval: None });
        }
        self.close_round();
    }

    /// The arguments of a call, or what the model is told.
    fn read(&self, place: usize, request: &ToolRequest) -> Result<Value, String> {
        let calls_max = self.settings.calls_max as usize;
        if place >= calls_max {
            return Err(format!("at most {calls_max} calls at once; call it in the next answer"));
        }
        if !self.tools.contains_key(&request.name) {
            let names: Vec<&str> = self.tools.keys().map(String::as_str).collect();
            let (told, others) = names.split_at(names.len().min(NAMES_TOLD));
            let more = if others.is_empty() { "" } else { ", and others" };
            let told = told.join(", ");
            return Err(match told.as_str() {
                "" => format!("there is no tool {:?}; answer without tools", request.name),
                told => {
                    format!("there is no tool {:?}; call one of these: {told}{more}", request.name)
                }
            });
        }
        if request.arguments.trim().is_empty() {
            return Ok(Value::Object(Map::new()));
        }
        match serde_json::from_str::<Value>(&request.arguments) {
            Ok(arguments) if arguments.is_object() => Ok(arguments),
            Ok(_) => Err("the arguments must be a JSON object; call it again with one".to_owned()),
            Err(error) => {
                Err(format!("the arguments are not JSON ({error}); call it again with JSON"))
            }
        }
    }

    /// When all calls have ended, puts their results behind the answer, in its order.
    fn close_round(&mut self) {
        let is_over = |call: &RoundCall| matches!(call.state, RoundState::Ended { .. });
        if !self.round.iter().all(is_over) {
            return;
        }
        for call in std::mem::take(&mut self.round) {
            let RoundState::Ended { text, is_error } = call.state else { continue };
            self.look_for_loop(&call.request, &call.arguments, &text);
            let ToolRequest { id, model_id, name, .. } = call.request;
            self.messages.push(Message::Tool { call: id, model_id, name, text, is_error });
        }
        if let Some(text) = &self.warning {
            self.messages.push(Message::Note { text: text.clone() });
        }
        if self.bad_calls > self.settings.bad_calls_max && self.verdict.is_none() {
            let text = format!(
                "the model made {} calls of unknown tools or with arguments that are no JSON",
                self.bad_calls
            );
            self.verdict = Some((Finish::Error, text));
        }
    }

    fn look_for_loop(&mut self, request: &ToolRequest, arguments: &Value, result: &str) {
        let arguments_sha256 = match arguments {
            Value::Null => sha256_of_text(&request.arguments),
            arguments => sha256_of_value(arguments),
        };
        let step = Step {
            tool: request.name.clone(),
            arguments_sha256,
            result_sha256: sha256_of_text(result),
            is_polling: self.tools.get(&request.name).is_some_and(|tool| tool.is_polling),
        };
        match self.loops.see(step) {
            Verdict::Fine => {}
            Verdict::Warn(text) => self.warning = Some(text),
            Verdict::Stop(text) => self.verdict = Some((Finish::Loop, text)),
        }
    }
}
