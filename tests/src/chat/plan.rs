//! Mixed chats of several teams: the same number is always the same chat.

use std::time::Duration;

use super::{Chat, Leave, Protocol};
use crate::draw::Draw;

pub const TEAMS: [&str; 4] = ["acme", "birch", "cedar", "dune"];
/// Each speaks to its backends in another way; see the test that sets them up.
pub const MODELS: [&str; 4] = ["river", "delta", "lake", "strait"];
/// Words after which a client of a slow answer leaves.
const LEAVES_AFTER: usize = 2;
const WORDS_MAX: u64 = 24;

/// What a chat is to meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// An answer.
    Plain,
    /// What was answered before, when it was.
    Kept,
    /// A first try that fails with a status.
    Retried,
    /// A first try whose whole answer breaks off.
    BrokenFirst,
    /// A request that the provider refuses.
    Refused,
    /// A failure at every try.
    Exhausted,
    /// A stream that breaks off.
    Cut,
    /// A client that leaves within a stream.
    LeftStream,
    /// A client that leaves before there is an answer.
    LeftEarly,
    /// A model that there is not.
    Unknown,
}

/// One chat of the plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planned {
    pub team: &'static str,
    pub kind: Kind,
    pub chat: Chat,
}

/// The chat of this number.
pub fn planned(number: u64) -> Planned {
    let mut draw = Draw::new(number);
    let team = draw.one_of(&TEAMS);
    let protocol = draw.one_of(&[Protocol::OpenAi, Protocol::Anthropic]);
    let (percent, streams, words) =
        (draw.below(100), draw.below(2) == 0, draw.below(WORDS_MAX) + 1);
    let kind = match percent {
        0..52 => Kind::Plain,
        52..70 => Kind::Kept,
        70..78 => Kind::Retried,
        78..81 => Kind::BrokenFirst,
        81..85 => Kind::Refused,
        85..87 => Kind::Exhausted,
        87..93 => Kind::Cut,
        93..97 => Kind::LeftStream,
        97..98 => Kind::LeftEarly,
        _ => Kind::Unknown,
    };
    let user = user(number);
    let filler = "water ".repeat(draw.below(6) as usize);
    let model = match kind {
        // Few questions, so that they are asked again.
        Kind::Kept => draw.one_of(&["river", "lake"]),
        Kind::Unknown => "pond",
        _ => draw.one_of(&MODELS),
    };
    let failure = draw.one_of(&["500", "429:0", "503"]);
    let says = match kind {
        Kind::Kept => "what was asked before words:9".to_owned(),
        Kind::Plain | Kind::Unknown => format!("{user} {filler}words:{words}"),
        Kind::Retried => format!("{user} {filler}words:{words} first:{failure}"),
        Kind::BrokenFirst => format!("{user} {filler}words:{words} first:cut"),
        Kind::Refused => format!("{user} {filler}fault:400"),
        Kind::Exhausted => format!("{user} {filler}fault:500"),
        Kind::Cut => format!("{user} {filler}words:30 fault:cut:{words}"),
        Kind::LeftStream => format!("{user} {filler}words:40 fault:slow-tokens"),
        Kind::LeftEarly => format!("{user} {filler}words:40 fault:silence"),
    };
    let stream = match kind {
        Kind::Cut | Kind::LeftStream => true,
        Kind::BrokenFirst => false,
        _ => streams,
    };
    let leave = match kind {
        Kind::LeftStream => Leave::AfterWords(LEAVES_AFTER),
        Kind::LeftEarly => Leave::After(Duration::from_millis(300)),
        _ => Leave::Never,
    };
    let (model, takes_kept) = (model.to_owned(), kind == Kind::Kept);
    Planned { team, kind, chat: Chat { protocol, model, user, says, stream, takes_kept, leave } }
}

/// The end user of the chat of this number; their order is that of the numbers.
pub fn user(number: u64) -> String {
    format!("u{number:08}")
}
