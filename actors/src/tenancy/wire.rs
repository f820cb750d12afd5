//! What nodes ask each other about tenants, as bytes.

use headwater_cluster::NodeId;
use headwater_storage::{StoreError, codec};
use headwater_tenancy::{
    Allowance, AllowanceId, AllowanceReturn, Answer, Ask, Books, CounterKey, Entry, EntryId,
    Exhausted, Limit, Limits, Operation, Outcome, OwnerProblem, Report, Standing,
};
use serde::{Deserialize, Serialize};

use super::records::{AmountsRecord, CounterRecord, LimitRecord, LimitsRecord, unit};

const MESSAGE: u8 = 1;

/// A question about one tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Question {
    Do(Operation),
    /// Claim the tenant: its owner has handed it to you.
    Adopt,
}

/// What a node says about a tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reply {
    Answered(Answer),
    /// Another node owns it, for so long yet at least unless it renews.
    Moved {
        to: NodeId,
        remaining_ms: u64,
    },
    /// The question could not be read.
    Unreadable,
}

#[derive(Serialize, Deserialize)]
enum QuestionRecord {
    Ask { id: u128, edge: String, model: String, need: AmountsRecord, want: AmountsRecord },
    Report { number: u64, entries: Vec<EntryRecord>, returns: Vec<(u128, AmountsRecord)> },
    SetLimits(LimitsRecord),
    Look,
    Adopt,
}

#[derive(Serialize, Deserialize)]
struct EntryRecord {
    id: u128,
    model: String,
    used: AmountsRecord,
    uncovered: AmountsRecord,
    unverified: bool,
    allowance: Option<u128>,
    at_ms: u64,
}

#[derive(Serialize, Deserialize)]
enum ReplyRecord {
    Granted {
        id: u128,
        amounts: AmountsRecord,
        valid_ms: u64,
        outage_budget: AmountsRecord,
        revision: u64,
        /// Unit, amount, remaining, and ms until the window ends.
        standing: Vec<(String, u64, u64, u64)>,
    },
    Exhausted {
        limit: LimitRecord,
        remaining: u64,
        resets_in_ms: u64,
    },
    Written,
    LimitsSet {
        revision: u64,
    },
    Looked {
        limits: LimitsRecord,
        counters: Vec<(CounterRecord, u64)>,
    },
    NotOwner,
    StoreDown,
    Overloaded,
    Moved {
        to: String,
        remaining_ms: u64,
    },
    Unreadable,
}

pub(super) fn encode_question(tenant: &str, question: &Question) -> Result<Vec<u8>, StoreError> {
    let record = match question {
        Question::Do(Operation::Ask(ask)) => QuestionRecord::Ask {
            id: ask.id.0,
            edge: ask.edge.clone(),
            model: ask.model.clone(),
            need: ask.need.into(),
            want: ask.want.into(),
        },
        Question::Do(Operation::Report(report)) => QuestionRecord::Report {
            number: report.number,
            entries: report.entries.iter().map(entry_record).collect(),
            returns: report.returns.iter().map(|back| (back.id.0, back.unused.into())).collect(),
        },
        Question::Do(Operation::SetLimits(limits)) => {
            QuestionRecord::SetLimits(LimitsRecord::from(limits))
        }
        Question::Do(Operation::Look) => QuestionRecord::Look,
        Question::Adopt => QuestionRecord::Adopt,
    };
    codec::encode(MESSAGE, &(tenant, record))
}

fn entry_record(entry: &Entry) -> EntryRecord {
    EntryRecord {
        id: entry.id.0,
        model: entry.model.clone(),
        used: entry.used.into(),
        uncovered: entry.uncovered.into(),
        unverified: entry.unverified,
        allowance: entry.allowance.map(|id| id.0),
        at_ms: entry.at_ms,
    }
}

fn entry_of(record: EntryRecord) -> Entry {
    Entry {
        id: EntryId(record.id),
        model: record.model,
        used: record.used.into(),
        uncovered: record.uncovered.into(),
        unverified: record.unverified,
        allowance: record.allowance.map(AllowanceId),
        at_ms: record.at_ms,
    }
}

fn standing_record(standing: &Standing) -> (String, u64, u64, u64) {
    let Standing { unit, amount, remaining, resets_in_ms } = *standing;
    (unit.name().to_owned(), amount, remaining, resets_in_ms)
}

fn standing_of(record: (String, u64, u64, u64)) -> Result<Standing, StoreError> {
    let (name, amount, remaining, resets_in_ms) = record;
    Ok(Standing { unit: unit(&name)?, amount, remaining, resets_in_ms })
}

pub(super) fn decode_question(bytes: &[u8]) -> Result<(String, Question), StoreError> {
    let (tenant, record): (String, QuestionRecord) = codec::decode(MESSAGE, bytes)?;
    let question = match record {
        QuestionRecord::Ask { id, edge, model, need, want } => {
            let (id, need, want) = (AllowanceId(id), need.into(), want.into());
            Question::Do(Operation::Ask(Ask { id, edge, model, need, want }))
        }
        QuestionRecord::Report { number, entries, returns } => {
            let back = |(id, unused): (u128, AmountsRecord)| AllowanceReturn {
                id: AllowanceId(id),
                unused: unused.into(),
            };
            let entries = entries.into_iter().map(entry_of).collect();
            let returns = returns.into_iter().map(back).collect();
            Question::Do(Operation::Report(Report { number, entries, returns }))
        }
        QuestionRecord::SetLimits(limits) => {
            Question::Do(Operation::SetLimits(Limits::try_from(limits)?))
        }
        QuestionRecord::Look => Question::Do(Operation::Look),
        QuestionRecord::Adopt => Question::Adopt,
    };
    Ok((tenant, question))
}

pub(super) fn encode_reply(reply: &Reply) -> Result<Vec<u8>, StoreError> {
    let record = match reply {
        Reply::Answered(Ok(Outcome::Granted(allowance))) => ReplyRecord::Granted {
            id: allowance.id.0,
            amounts: allowance.amounts.into(),
            valid_ms: allowance.valid_ms,
            outage_budget: allowance.outage_budget.into(),
            revision: allowance.revision,
            standing: allowance.standing.iter().map(standing_record).collect(),
        },
        Reply::Answered(Ok(Outcome::Exhausted(exhausted))) => ReplyRecord::Exhausted {
            limit: LimitRecord::from(&exhausted.limit),
            remaining: exhausted.remaining,
            resets_in_ms: exhausted.resets_in_ms,
        },
        Reply::Answered(Ok(Outcome::Written)) => ReplyRecord::Written,
        Reply::Answered(Ok(Outcome::LimitsSet { revision })) => {
            ReplyRecord::LimitsSet { revision: *revision }
        }
        Reply::Answered(Ok(Outcome::Looked(books))) => ReplyRecord::Looked {
            limits: LimitsRecord::from(&books.limits),
            counters: books.counters.iter().map(|(key, count)| (key.into(), *count)).collect(),
        },
        Reply::Answered(Err(OwnerProblem::NotOwner)) => ReplyRecord::NotOwner,
        Reply::Answered(Err(OwnerProblem::StoreDown)) => ReplyRecord::StoreDown,
        Reply::Answered(Err(OwnerProblem::Overloaded)) => ReplyRecord::Overloaded,
        Reply::Moved { to, remaining_ms } => {
            ReplyRecord::Moved { to: to.to_string(), remaining_ms: *remaining_ms }
        }
        Reply::Unreadable => ReplyRecord::Unreadable,
    };
    codec::encode(MESSAGE, &record)
}

pub(super) fn decode_reply(bytes: &[u8]) -> Result<Reply, StoreError> {
    let record: ReplyRecord = codec::decode(MESSAGE, bytes)?;
    Ok(match record {
        ReplyRecord::Granted { id, amounts, valid_ms, outage_budget, revision, standing } => {
            let standing = standing.into_iter().map(standing_of).collect::<Result<_, _>>()?;
            Reply::Answered(Ok(Outcome::Granted(Allowance {
                id: AllowanceId(id),
                amounts: amounts.into(),
                valid_ms,
                outage_budget: outage_budget.into(),
                revision,
                standing,
            })))
        }
        ReplyRecord::Exhausted { limit, remaining, resets_in_ms } => {
            let limit = Limit::try_from(limit)?;
            Reply::Answered(Ok(Outcome::Exhausted(Exhausted { limit, remaining, resets_in_ms })))
        }
        ReplyRecord::Written => Reply::Answered(Ok(Outcome::Written)),
        ReplyRecord::LimitsSet { revision } => Reply::Answered(Ok(Outcome::LimitsSet { revision })),
        ReplyRecord::Looked { limits, counters } => {
            let limits = Limits::try_from(limits)?;
            let counter = |(key, count)| Ok((CounterKey::try_from(key)?, count));
            let counters = counters.into_iter().map(counter).collect::<Result<_, StoreError>>()?;
            Reply::Answered(Ok(Outcome::Looked(Books { limits, counters })))
        }
        ReplyRecord::NotOwner => Reply::Answered(Err(OwnerProblem::NotOwner)),
        ReplyRecord::StoreDown => Reply::Answered(Err(OwnerProblem::StoreDown)),
        ReplyRecord::Overloaded => Reply::Answered(Err(OwnerProblem::Overloaded)),
        ReplyRecord::Moved { to, remaining_ms } => {
            let to = NodeId::new(to).map_err(|problem| StoreError::Corrupt(problem.to_string()))?;
            Reply::Moved { to, remaining_ms }
        }
        ReplyRecord::Unreadable => Reply::Unreadable,
    })
}
