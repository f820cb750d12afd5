//! What a run is told in: settings, messages, what happens, what is to be done, the journal.

use serde_json::Value;

use crate::call::Problem;
use crate::steps::LoopSettings;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentSettings {
    /// Answers of the model.
    pub iterations_max: u64,
    /// Tool calls under way at once.
    pub parallel_max: u32,
    /// Tool calls of one answer; those beyond are told to be errors.
    pub calls_max: u32,
    /// The model is not asked any more when so much is spent, on it and on tools.
    pub microdollars_max: u64,
    /// From its beginning on, what it waits for approvals included, in ms.
    pub wall_ms_max: u64,
    /// Calls of unknown tools, or with arguments that are no JSON object.
    pub bad_calls_max: u32,
    /// All messages that the model is sent.
    pub context_bytes: u64,
    /// One tool's result; what is more is cut off.
    pub result_bytes: u64,
    pub loops: LoopSettings,
}

impl Default for AgentSettings {
    fn default() -> Self {
        AgentSettings {
            iterations_max: 50,
            parallel_max: 4,
            calls_max: 32,
            microdollars_max: 5_000_000,
            wall_ms_max: 600_000,
            bad_calls_max: 5,
            context_bytes: 400_000,
            result_bytes: 64_000,
            loops: LoopSettings::default(),
        }
    }
}

impl AgentSettings {
    /// # Errors
    /// When a setting is out of its range.
    pub fn check(&self) -> Result<(), Problem> {
        for (field, value, least, most) in [
            ("iterations_max", self.iterations_max, 1, 10_000),
            ("parallel_max", u64::from(self.parallel_max), 1, 64),
            ("calls_max", u64::from(self.calls_max), 1, 256),
            ("microdollars_max", self.microdollars_max, 0, 1_000_000_000_000),
            ("wall_ms_max", self.wall_ms_max, 1, 7 * 86_400_000),
            ("bad_calls_max", u64::from(self.bad_calls_max), 0, 1_000),
            ("context_bytes", self.context_bytes, 1_000, 100_000_000),
            ("result_bytes", self.result_bytes, 100, 10_000_000),
        ] {
            if !(least..=most).contains(&value) {
                return Err(Problem::new(field, format!("is {value}; must be {least} to {most}")));
            }
        }
        Ok(())
    }
}

/// A tool that the model may call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolOffer {
    pub name: String,
    /// It is there to be asked again and again, so repetitions are no loop for long.
    pub is_polling: bool,
}

/// A tool call as the model wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AskedCall {
    /// The model's own id, which its provider wants to see again.
    pub model_id: String,
    pub name: String,
    /// JSON, if the model wrote any.
    pub arguments: String,
}

/// The same, with the id that the dispatcher knows it by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolRequest {
    /// `<run>.<step>.<place>`, both from 0 on.
    pub id: String,
    pub model_id: String,
    pub name: String,
    pub arguments: String,
}

/// What the model reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    System {
        text: String,
    },
    User {
        text: String,
    },
    Assistant {
        text: String,
        calls: Vec<ToolRequest>,
    },
    /// The result of a call.
    Tool {
        call: String,
        model_id: String,
        name: String,
        text: String,
        is_error: bool,
    },
    /// What the platform tells the model, such as that it goes in circles.
    Note {
        text: String,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    pub input_tokens: u64,
    pub output_tokens: u64,
    pub microdollars: u64,
}

/// What happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The model has answered the question of this step.
    Answered {
        step: u64,
        text: String,
        calls: Vec<AskedCall>,
        usage: Usage,
    },
    /// It has not, and will not; `is_refusal`: it, or a rule of the platform, does not want to.
    ModelFailed {
        step: u64,
        why: String,
        is_refusal: bool,
    },
    /// A call has ended, with a result or with a refusal of the dispatcher as its text.
    CallEnded {
        call: String,
        text: String,
        is_error: bool,
        microdollars: u64,
    },
    /// A call waits for somebody.
    ApprovalNeeded {
        call: String,
        approval: String,
    },
    /// Somebody has decided, or the time for that is over: the call is made again to see.
    Decided {
        call: String,
    },
    Cancelled {
        by: String,
    },
    Tick,
}

/// What is to be done, in this order.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Append to the journal, where nothing has this index.
    Persist { index: u64, entry: Entry },
    /// Told of by [`Event::Answered`] or [`Event::ModelFailed`].
    AskModel { step: u64, messages: Vec<Message> },
    /// Told of by [`Event::CallEnded`] or [`Event::ApprovalNeeded`].
    CallTool { call: String, name: String, arguments: Value },
    /// The run has ended and nobody waits for this call.
    CancelTool { call: String },
    /// For whoever listens to the run.
    Tell(Notice),
    /// The last effect of a run.
    Finish { reason: Finish, text: String },
}

/// Why a run has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Finish {
    Answered,
    Iterations,
    Money,
    Loop,
    Deadline,
    Cancelled,
    Refused,
    Error,
}

impl Finish {
    pub const ALL: [Finish; 8] = [
        Finish::Answered,
        Finish::Iterations,
        Finish::Money,
        Finish::Loop,
        Finish::Deadline,
        Finish::Cancelled,
        Finish::Refused,
        Finish::Error,
    ];

    /// The word of records and answers.
    pub fn name(self) -> &'static str {
        match self {
            Finish::Answered => "answered",
            Finish::Iterations => "iterations",
            Finish::Money => "money",
            Finish::Loop => "loop",
            Finish::Deadline => "deadline",
            Finish::Cancelled => "cancelled",
            Finish::Refused => "refused",
            Finish::Error => "error",
        }
    }
}

/// What whoever listens is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    Began {
        run: String,
    },
    /// Another node goes on.
    Recovered {
        step: u64,
    },
    Asking {
        step: u64,
    },
    Said {
        step: u64,
        text: String,
    },
    Calling {
        call: String,
        name: String,
        arguments: String,
    },
    CallEnded {
        call: String,
        name: String,
        is_error: bool,
    },
    ApprovalNeeded {
        call: String,
        approval: String,
    },
    Warned {
        text: String,
    },
    Finished {
        reason: Finish,
        text: String,
    },
}

/// One line of the journal.
#[derive(Debug, Clone, PartialEq)]
pub enum Entry {
    Began {
        run: String,
        settings: AgentSettings,
        messages: Vec<Message>,
        tools: Vec<ToolOffer>,
        at_ms: u64,
    },
    Answered {
        step: u64,
        text: String,
        calls: Vec<AskedCall>,
        usage: Usage,
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
        reason: Finish,
        text: String,
        at_ms: u64,
    },
}
