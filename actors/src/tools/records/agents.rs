//! Rows of agents' runs: the run, who holds it, and the entries of its journal.

use std::collections::BTreeMap;

use headwater_storage::StoreError;
use headwater_tools::agent::{
    AgentSettings, AskedCall, Entry, Finish, Message, ToolOffer, ToolRequest, Usage,
};
use headwater_tools::steps::LoopSettings;
use serde::{Deserialize, Serialize};

use super::corrupt;
use crate::tools::nouns::ToolCaller;

/// A run, all but its journal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(in crate::tools) struct RunRow {
    /// What was asked for: the same id with something else is refused.
    pub(in crate::tools) asked_sha256: String,
    pub(in crate::tools) caller: CallerRow,
    pub(in crate::tools) model: String,
    pub(in crate::tools) session: String,
    /// The session was begun for the run, and ends with it.
    pub(in crate::tools) owns_session: bool,
    pub(in crate::tools) tools: Vec<OfferedRow>,
    /// The header `traceparent` of whoever began it.
    pub(in crate::tools) trace_parent: Option<String>,
    pub(in crate::tools) created_ms: u64,
    pub(in crate::tools) deadline_ms: u64,
    pub(in crate::tools) ended_ms: Option<u64>,
    /// Of its journal.
    pub(in crate::tools) entries: u64,
    /// Answers of the model, and what they and the calls have cost.
    pub(in crate::tools) steps: u64,
    pub(in crate::tools) spent_microdollars: u64,
    /// Approvals that it waits for, by the call.
    pub(in crate::tools) waiting: BTreeMap<String, String>,
    /// Who wants it cancelled.
    pub(in crate::tools) cancelled_by: Option<String>,
    pub(in crate::tools) finish: Option<String>,
}

/// Who runs it. There is one as long as it has not ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::tools) struct LeaseRow {
    pub(in crate::tools) holder: String,
    /// Another node may take it over from then on, in ms since 1970.
    pub(in crate::tools) until_ms: u64,
    /// Grows with each take-over: what an earlier holder writes is refused.
    pub(in crate::tools) epoch: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::tools) struct CallerRow {
    team: String,
    project: Option<String>,
    user: Option<String>,
    agent: Option<String>,
    key_id: Option<String>,
    subject: String,
    is_operator: bool,
}

/// A tool that the model is offered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::tools) struct OfferedRow {
    /// As the model calls it.
    pub(in crate::tools) function: String,
    /// Such as `web-search@2`.
    pub(in crate::tools) tool: String,
}

impl CallerRow {
    pub(in crate::tools) fn of(caller: &ToolCaller) -> CallerRow {
        let ToolCaller { team, project, user, agent, key_id, subject, is_operator } =
            caller.clone();
        CallerRow { team, project, user, agent, key_id, subject, is_operator }
    }

    pub(in crate::tools) fn caller(&self) -> ToolCaller {
        let CallerRow { team, project, user, agent, key_id, subject, is_operator } = self.clone();
        ToolCaller { team, project, user, agent, key_id, subject, is_operator }
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(in crate::tools) struct SettingsRow {
    iterations_max: u64,
    parallel_max: u32,
    calls_max: u32,
    microdollars_max: u64,
    wall_ms_max: u64,
    bad_calls_max: u32,
    context_bytes: u64,
    result_bytes: u64,
    repeats: u32,
    polling_repeats: u32,
    period_max: u32,
    cycles: u32,
    grace: u32,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(in crate::tools) struct CallRow {
    id: String,
    model_id: String,
    name: String,
    arguments: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "role", rename_all = "snake_case")]
pub(in crate::tools) enum MessageRow {
    System { text: String },
    User { text: String },
    Assistant { text: String, calls: Vec<CallRow> },
    Tool { call: String, model_id: String, name: String, text: String, is_error: bool },
    Note { text: String },
}

/// A line of a journal.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "entry", rename_all = "snake_case")]
pub(in crate::tools) enum EntryRow {
    Began {
        run: String,
        settings: SettingsRow,
        messages: Vec<MessageRow>,
        /// Each with whether it is there to be asked again and again.
        tools: Vec<(String, bool)>,
        at_ms: u64,
    },
    Answered {
        step: u64,
        text: String,
        /// The model's id, the name, the arguments.
        calls: Vec<(String, String, String)>,
        input_tokens: u64,
        output_tokens: u64,
        microdollars: u64,
        at_ms: u64,
    },
    CallEnded {
        call: String,
        text: String,
        is_error: bool,
        microdollars: u64,
        at_ms: u64,
    },
    ApprovalNeeded {
        call: String,
        approval: String,
        at_ms: u64,
    },
    Finished {
        reason: String,
        text: String,
        at_ms: u64,
    },
}

impl EntryRow {
    pub(in crate::tools) fn of(entry: Entry) -> EntryRow {
        match entry {
            Entry::Began { run, settings, messages, tools, at_ms } => EntryRow::Began {
                run,
                settings: settings_row(&settings),
                messages: messages.into_iter().map(message_row).collect(),
                tools: tools.into_iter().map(|tool| (tool.name, tool.is_polling)).collect(),
                at_ms,
            },
            Entry::Answered { step, text, calls, usage, at_ms } => {
                let call = |call: AskedCall| (call.model_id, call.name, call.arguments);
                let Usage { input_tokens, output_tokens, microdollars } = usage;
                let calls = calls.into_iter().map(call).collect();
                EntryRow::Answered {
                    step,
                    text,
                    calls,
                    input_tokens,
                    output_tokens,
                    microdollars,
                    at_ms,
                }
            }
            Entry::CallEnded { call, text, is_error, microdollars, at_ms } => {
                EntryRow::CallEnded { call, text, is_error, microdollars, at_ms }
            }
            Entry::ApprovalNeeded { call, approval, at_ms } => {
                EntryRow::ApprovalNeeded { call, approval, at_ms }
            }
            Entry::Finished { reason, text, at_ms } => {
                EntryRow::Finished { reason: reason.name().to_owned(), text, at_ms }
            }
        }
    }

    pub(in crate::tools) fn entry(self) -> Result<Entry, StoreError> {
        Ok(match self {
            EntryRow::Began { run, settings, messages, tools, at_ms } => Entry::Began {
                run,
                settings: settings_of(&settings),
                messages: messages.into_iter().map(message_of).collect(),
                tools: tools
                    .into_iter()
                    .map(|(name, is_polling)| ToolOffer { name, is_polling })
                    .collect(),
                at_ms,
            },
            EntryRow::Answered {
                step,
                text,
                calls,
                input_tokens,
                output_tokens,
                microdollars,
                at_ms,
            } => {
                let call = |(model_id, name, arguments)| AskedCall { model_id, name, arguments };
                let calls = calls.into_iter().map(call).collect();
                let usage = Usage { input_tokens, output_tokens, microdollars };
                Entry::Answered { step, text, calls, usage, at_ms }
            }
            EntryRow::CallEnded { call, text, is_error, microdollars, at_ms } => {
                Entry::CallEnded { call, text, is_error, microdollars, at_ms }
            }
            EntryRow::ApprovalNeeded { call, approval, at_ms } => {
                Entry::ApprovalNeeded { call, approval, at_ms }
            }
            EntryRow::Finished { reason, text, at_ms } => {
                Entry::Finished { reason: finish_of(&reason)?, text, at_ms }
            }
        })
    }
}

/// The reason of this word.
pub(in crate::tools) fn finish_of(word: &str) -> Result<Finish, StoreError> {
    let found = Finish::ALL.into_iter().find(|finish| finish.name() == word);
    found.ok_or_else(|| corrupt(&format!("'{word}' is no end of a run")))
}

fn settings_row(settings: &AgentSettings) -> SettingsRow {
    let LoopSettings { repeats, polling_repeats, period_max, cycles, grace } = settings.loops;
    SettingsRow {
        iterations_max: settings.iterations_max,
        parallel_max: settings.parallel_max,
        calls_max: settings.calls_max,
        microdollars_max: settings.microdollars_max,
        wall_ms_max: settings.wall_ms_max,
        bad_calls_max: settings.bad_calls_max,
        context_bytes: settings.context_bytes,
        result_bytes: settings.result_bytes,
        repeats,
        polling_repeats,
        period_max,
        cycles,
        grace,
    }
}

fn settings_of(row: &SettingsRow) -> AgentSettings {
    let SettingsRow { repeats, polling_repeats, period_max, cycles, grace, .. } = *row;
    AgentSettings {
        iterations_max: row.iterations_max,
        parallel_max: row.parallel_max,
        calls_max: row.calls_max,
        microdollars_max: row.microdollars_max,
        wall_ms_max: row.wall_ms_max,
        bad_calls_max: row.bad_calls_max,
        context_bytes: row.context_bytes,
        result_bytes: row.result_bytes,
        loops: LoopSettings { repeats, polling_repeats, period_max, cycles, grace },
    }
}

fn message_row(message: Message) -> MessageRow {
    let call = |ToolRequest { id, model_id, name, arguments }: ToolRequest| CallRow {
        id,
        model_id,
        name,
        arguments,
    };
    match message {
        Message::System { text } => MessageRow::System { text },
        Message::User { text } => MessageRow::User { text },
        Message::Assistant { text, calls } => {
            MessageRow::Assistant { text, calls: calls.into_iter().map(call).collect() }
        }
        Message::Tool { call, model_id, name, text, is_error } => {
            MessageRow::Tool { call, model_id, name, text, is_error }
        }
        Message::Note { text } => MessageRow::Note { text },
    }
}

fn message_of(row: MessageRow) -> Message {
    let call = |CallRow { id, model_id, name, arguments }: CallRow| ToolRequest {
        id,
        model_id,
        name,
        arguments,
    };
    match row {
        MessageRow::System { text } => Message::System { text },
        MessageRow::User { text } => Message::User { text },
        MessageRow::Assistant { text, calls } => {
            Message::Assistant { text, calls: calls.into_iter().map(call).collect() }
        }
        MessageRow::Tool { call, model_id, name, text, is_error } => {
            Message::Tool { call, model_id, name, text, is_error }
        }
        MessageRow::Note { text } => Message::Note { text },
    }
}
