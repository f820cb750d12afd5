//! What agents call, and how: the same number is always the same call.

use serde_json::{Value, json};

use crate::draw::Draw;

pub const TEAMS: [&str; 4] = ["acme", "birch", "cedar", "dune"];
/// Calls that a session allows, fewer than agents make in it.
pub const SESSION_CALLS: u64 = 6;
pub const SESSION_USES: u64 = 9;
/// Money that a session allows, in millionths of a dollar: too little for some.
pub const SESSION_MICRODOLLARS: u64 = 160;
/// Calls that nobody answered before are one in so many of those that change nothing.
const LOOKS: u64 = 40;

/// The tools that there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tool {
    /// Has effects, and does one id once.
    Once,
    /// Has effects, and does again what it is told again.
    Order,
    /// As `Once`, dear, with a sum of money for each day.
    Gem,
    /// Only reads, and its answers are kept.
    Look,
    /// Code in a sandbox.
    Crunch,
}

impl Tool {
    pub const ALL: [Tool; 5] = [Tool::Once, Tool::Order, Tool::Gem, Tool::Look, Tool::Crunch];

    pub fn name(self) -> &'static str {
        match self {
            Tool::Once => "once",
            Tool::Order => "order",
            Tool::Gem => "gem",
            Tool::Look => "look",
            Tool::Crunch => "crunch",
        }
    }

    /// Millionths of a dollar for a call.
    pub fn price(self) -> u64 {
        match self {
            Tool::Once => 10,
            Tool::Order => 20,
            Tool::Gem => 100,
            Tool::Look => 1,
            Tool::Crunch => 5,
        }
    }

    pub fn has_effect(self) -> bool {
        matches!(self, Tool::Once | Tool::Order | Tool::Gem)
    }
}

/// What an agent makes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Manner {
    /// As it should be.
    Plain,
    /// To two nodes at the same time, and then once more.
    Twin,
    /// Once more after it was answered.
    Again,
    /// With other arguments and the same id after it was answered.
    Changed,
    /// Left without an answer, then asked for.
    Leaves,
    /// With an argument that does not fit.
    Wrong,
    /// A tool that there is not.
    Unknown,
    /// A tool that is somebody else's.
    Forbidden,
    /// A version whose definition is another one.
    Pinned,
}

impl Manner {
    /// Whether the tool must hear nothing of it.
    pub fn is_refused(self) -> bool {
        matches!(self, Manner::Wrong | Manner::Unknown | Manner::Forbidden | Manner::Pinned)
    }
}

/// A call of the plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planned {
    pub number: u64,
    /// A place in [`TEAMS`].
    pub team: usize,
    pub tool: Tool,
    pub manner: Manner,
    /// What the service does when it first hears of the call.
    pub fault: &'static str,
    pub is_in_session: bool,
}

/// The call of this number.
pub fn planned(number: u64) -> Planned {
    let mut draw = Draw::new(number);
    let team = draw.below(TEAMS.len() as u64) as usize;
    let tool = match draw.below(100) {
        0..40 => Tool::Once,
        40..65 => Tool::Order,
        65..75 => Tool::Gem,
        75..96 => Tool::Look,
        _ => Tool::Crunch,
    };
    let manner = match draw.below(100) {
        0..60 => Manner::Plain,
        60..68 => Manner::Twin,
        68..76 => Manner::Again,
        76..80 => Manner::Changed,
        80..88 => Manner::Leaves,
        88..93 => Manner::Wrong,
        93..95 => Manner::Unknown,
        95..98 => Manner::Forbidden,
        _ => Manner::Pinned,
    };
    let fault = match draw.below(100) {
        0..2 => "busy",
        2..4 => "failed",
        4..6 => "cut",
        6..7 => "slow",
        7..8 => "odd",
        8..9 => "huge",
        _ => "none",
    };
    let is_in_session = draw.below(3) == 0;
    Planned { number, team, tool, manner, fault, is_in_session }
}

impl Planned {
    /// The id that the agent gives it.
    pub fn id(&self) -> String {
        format!("call-{:08}", self.number)
    }

    /// What is sent.
    pub fn body(&self, session: Option<&str>) -> Value {
        let name = self.tool.name();
        let tool = match self.manner {
            Manner::Unknown => "nothing".to_owned(),
            Manner::Forbidden => "vault".to_owned(),
            Manner::Pinned => format!("{name}@1#00000000"),
            _ => name.to_owned(),
        };
        let call = match (self.manner, self.tool) {
            (Manner::Wrong, _) => json!("one"),
            (_, Tool::Look) => json!(self.number % LOOKS),
            _ => json!(self.number),
        };
        let mut arguments = json!({"call": call});
        if self.tool.has_effect() {
            arguments["fault"] = json!(self.fault);
        }
        let mut body = json!({"tool": tool, "arguments": arguments});
        if self.tool.has_effect() {
            body["id"] = json!(self.id());
        }
        if let Some(session) = session {
            body["session"] = json!(session);
        }
        body
    }
}
