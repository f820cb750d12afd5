//! Three books of the same chats: what clients heard, what the gateway recorded, what the provider
//! produced. Each chat is told by its end user.

use std::collections::BTreeMap;

use serde_json::Value;

use super::plan::{Kind, Planned};
use super::{Chat, Heard, OUTPUT_TOKENS, SYSTEM};
use crate::upstream::{Outcome, Record, words};

/// What a row is read with, in the order of [`Row::read`].
pub const COLUMNS: &str = "user_id, team, model_asked, backend, model_served, outcome, cache_hit, \
                           tokens_in, tokens_out, is_estimated, cost_micro_usd, retries";

/// A record of the audit.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Row {
    pub user: String,
    pub team: String,
    pub model: String,
    pub backend: String,
    pub served: String,
    pub outcome: String,
    pub is_kept: bool,
    pub input: u64,
    pub output: u64,
    pub is_estimated: bool,
    pub micro_usd: u64,
    pub retries: u64,
}

impl Row {
    pub fn read(cells: &Value) -> Row {
        let text = |place: usize| cells[place].as_str().unwrap_or_default().to_owned();
        let number = |place: usize| cells[place].as_u64().unwrap_or(u64::MAX);
        Row {
            user: text(0),
            team: text(1),
            model: text(2),
            backend: text(3),
            served: text(4),
            outcome: text(5),
            is_kept: cells[6] == true,
            input: number(7),
            output: number(8),
            is_estimated: cells[9] == true,
            micro_usd: number(10),
            retries: number(11),
        }
    }

    /// Whether the ledger has an entry for it: somebody was asked, or an answer was given again.
    pub fn is_charged(&self) -> bool {
        matches!(self.outcome.as_str(), "whole" | "cut" | "left") && !self.backend.is_empty()
    }
}

/// Sums of some chats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Sums {
    pub requests: u64,
    pub tokens: u64,
    pub micro_usd: u64,
}

impl Sums {
    pub fn add(&mut self, other: Sums) {
        self.requests += other.requests;
        self.tokens += other.tokens;
        self.micro_usd += other.micro_usd;
    }

    pub fn of(row: &Row) -> Sums {
        Sums { requests: 1, tokens: row.input + row.output, micro_usd: row.micro_usd }
    }

    /// Whether nothing of it is more than in `most`.
    pub fn is_within(&self, most: &Sums) -> bool {
        self.requests <= most.requests
            && self.tokens <= most.tokens
            && self.micro_usd <= most.micro_usd
    }
}

/// What tokens cost, in millionths of a US dollar for a million of them: input and output.
pub type Prices = BTreeMap<&'static str, (u64, u64)>;

/// What these tokens cost at this model, in millionths of a US dollar, rounded up.
pub fn cost(prices: &Prices, served: &str, input: u64, output: u64) -> u64 {
    let (of_input, of_output) = prices.get(served).copied().unwrap_or((u64::MAX, u64::MAX));
    let sum = u128::from(input) * u128::from(of_input) + u128::from(output) * u128::from(of_output);
    sum.div_ceil(1_000_000) as u64
}

/// Tokens of the input as long as the provider has told none: one for three bytes, and eight for
/// each message.
pub fn estimated_input(chat: &Chat) -> u64 {
    let of = |text: &str| 8 + (text.len() as u64).div_ceil(3);
    of(SYSTEM) + of(&chat.says)
}

/// Tokens of so many words as long as the provider has told none: one for each part of the stream,
/// or for four bytes where that is more.
pub fn estimated_output(count: u64) -> u64 {
    let bytes: usize = words(count as usize).iter().map(String::len).sum();
    count.max((bytes as u64).div_ceil(4))
}

/// The most that a chat may cost: what is reserved for it.
pub fn reserved(prices: &Prices, chat: &Chat) -> Sums {
    let input = estimated_input(chat);
    let dearest = prices.keys().map(|served| cost(prices, served, input, OUTPUT_TOKENS)).max();
    Sums { requests: 1, tokens: input + OUTPUT_TOKENS, micro_usd: dearest.unwrap_or(0) }
}

/// One chat in the three books.
pub struct Books<'a> {
    pub planned: &'a Planned,
    pub heard: &'a Heard,
    /// Answers that the client had, with those after which it asked again.
    pub answers: usize,
    pub rows: &'a [Row],
    pub records: &'a [Record],
    pub prices: &'a Prices,
}

impl<'a> Books<'a> {
    /// What does not fit, in words; nothing when all is well.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let Books { rows, answers, heard, .. } = self;
        // Of a chat whose connection broke there may be a row more.
        let most = answers + usize::from(**heard == Heard::Lost);
        if rows.len() < *answers || rows.len() > most {
            problems.push(format!("{} rows for {answers} to {most} answers", rows.len()));
        }
        let plain = rows.iter().filter(|row| row.outcome == "whole" && !row.is_kept).count();
        let finished =
            self.records.iter().filter(|record| record.outcome == Outcome::Finished).count();
        if **heard != Heard::Lost && plain != finished {
            problems.push(format!("{plain} whole rows, {finished} answers of the provider"));
        }
        problems.extend(self.unexpected());
        problems.extend(rows.iter().filter_map(|row| self.misfit(row)));
        let told = |problem| {
            let Planned { team, kind, chat } = self.planned;
            format!("{} {team} {kind:?} {} {heard:?}: {problem}", chat.user, chat.model)
        };
        problems.into_iter().map(told).collect()
    }

    /// Whether the client heard what it was to hear.
    fn unexpected(&self) -> Option<String> {
        let is_expected = match (self.planned.kind, self.heard) {
            (_, Heard::Lost) => true,
            (Kind::Plain | Kind::Retried | Kind::BrokenFirst, Heard::Whole { is_kept }) => !is_kept,
            (Kind::Kept, Heard::Whole { .. }) | (Kind::Cut, Heard::Cut) => true,
            (Kind::LeftStream | Kind::LeftEarly, Heard::Left { .. }) => true,
            (Kind::Refused, Heard::Refused { status: 400, .. }) => true,
            (Kind::Unknown, Heard::Refused { status: 404, .. }) => true,
            (Kind::Exhausted, Heard::Refused { status: 503 | 529, retry_after_s, .. }) => {
                retry_after_s.is_some()
            }
            _ => false,
        };
        (!is_expected).then(|| "not what was to be heard".to_owned())
    }

    /// What is wrong with a row.
    fn misfit(&self, row: &Row) -> Option<String> {
        let Planned { team, chat, .. } = self.planned;
        let wrong = |what: &str| Some(format!("{what}: {row:?}, provider {:?}", self.told()));
        if row.team != *team || row.model != chat.model {
            return wrong("another team or model");
        }
        if row.backend.is_empty() || row.is_kept {
            let is_free = row.input == 0 && row.output == 0 && row.micro_usd == 0;
            return if is_free { None } else { wrong("nobody worked, and it cost") };
        }
        if row.micro_usd != cost(self.prices, &row.served, row.input, row.output) {
            return wrong("another price");
        }
        let of_row = |record: &&Record| record.model == row.served;
        let mut records = self.records.iter().filter(of_row);
        let estimated = estimated_input(chat);
        match row.outcome.as_str() {
            "whole" => {
                let is_it = |one: &Record| {
                    one.outcome == Outcome::Finished
                        && (one.input, one.output) == (row.input, row.output)
                };
                let is_good = !row.is_estimated && records.any(is_it);
                if is_good { None } else { wrong("not what the provider produced") }
            }
            "cut" => {
                let is_it = |one: &Record| {
                    let output = estimated_output(one.output);
                    one.outcome == Outcome::Broken
                        && row.output == output
                        && row.input == Self::input_told(row, one, estimated)
                };
                let is_good = row.is_estimated && records.any(is_it);
                if is_good { None } else { wrong("not what the provider had said") }
            }
            "left" => {
                let heard = match self.heard {
                    Heard::Left { words } => *words as u64,
                    _ => 0,
                };
                let is_it = |one: &Record| {
                    let input = Self::input_told(row, one, estimated);
                    // A client may leave before the provider says anything.
                    let is_input =
                        row.input == input || (row.output == 0 && row.input == estimated);
                    let most = estimated_output(one.output);
                    (estimated_output(heard)..=most).contains(&row.output) && is_input
                };
                // One that leaves early may do so before the provider hears of it.
                let unheard = heard == 0 && row.output == 0 && row.input == estimated;
                let is_good = row.is_estimated && (unheard || records.any(is_it));
                if is_good { None } else { wrong("not what the provider had said by then") }
            }
            _ => wrong("an answer, and no outcome of one"),
        }
    }

    /// The input as the provider told it: Anthropic's protocol begins with it, OpenAI's ends so.
    fn input_told(row: &Row, record: &Record, estimated: u64) -> u64 {
        if row.backend == "an" { record.input } else { estimated }
    }

    /// The provider's records in short.
    fn told(&self) -> Vec<(&'a str, Outcome, u64, u64)> {
        let short = |one: &'a Record| (one.model.as_str(), one.outcome, one.input, one.output);
        self.records.iter().map(short).collect()
    }
}
