//! One id, one call: what becomes of a call whose id was seen before.
//!
//! A row per id tells who runs it and what it came to. Whoever would run a tool writes the row
//! first, with the row before as the condition, and runs it only when the write was taken; so of
//! two that try at once one runs it, and a holder that was taken for dead cannot end a run of
//! another one.

#[cfg(test)]
mod tests;

use crate::call::{CallResult, Ending, Refusal, ToolReference};

/// How long a row is kept, in ms.
pub const KEEP_MS: u64 = 24 * 3_600_000;

/// Among whose calls an id is looked up.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    Team { team: String },
    Session { team: String, session: String },
}

/// What a repetition of the tool does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repeat {
    /// The tool changes nothing.
    ReadOnly,
    /// The tool knows the call's id and does one id once.
    SafeWithId,
    /// Twice is twice.
    Unsafe,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// How long a row is kept, in ms, from its first call on; longer than any call takes.
    pub keep_ms: u64,
    /// For how long a holder is believed to live without a word, in ms.
    pub lease_ms: u64,
    /// When to ask again for a call in progress, at most, in ms.
    pub retry_ms: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Settings { keep_ms: KEEP_MS, lease_ms: 15_000, retry_ms: 1_000 }
    }
}

/// Where a call stands.
#[derive(Debug, Clone, PartialEq)]
pub enum State {
    Running {
        /// The node, or whatever runs it.
        holder: String,
        since_ms: u64,
        expires_ms: u64,
    },
    Waiting {
        approval: String,
    },
    /// How it first ended: that is the answer for good.
    Done {
        ending: Ending,
        ended_ms: u64,
    },
    /// The holder is gone, and nobody can tell whether the tool did it.
    Unknown {
        why: String,
    },
}

/// The row of an id.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// The version that runs it, also when it is run again.
    pub tool: ToolReference,
    pub arguments_sha256: String,
    pub is_dry_run: bool,
    /// As the tool was when it was first called.
    pub repeat: Repeat,
    pub state: State,
    /// Counts the runs: the fencing token of each.
    pub epoch: u64,
    /// A run before the present one may have been done: the id is never free again.
    pub may_have_run: bool,
    /// Its session has counted the call.
    pub is_counted: bool,
    pub created_ms: u64,
}

/// What is asked under an id.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    pub id: &'a str,
    pub tool: &'a ToolReference,
    pub arguments_sha256: &'a str,
    pub is_dry_run: bool,
    pub repeat: Repeat,
}

/// What to do. A record in it is to be written in place of the one that was read.
#[derive(Debug, Clone, PartialEq)]
pub enum Begin {
    /// The first time: write the row, then run it.
    Run(Record),
    /// The holder before is gone and the tool may be repeated: write the row, then run it with the
    /// SAME id.
    Again(Record),
    Answer(CallResult),
    /// It waits for this approval: look at it, and [`resume`] once it is given.
    Waiting {
        approval: String,
    },
    /// In progress, or another call, or it ended without an answer.
    Refuse(Refusal),
    /// The holder is gone and the tool may not be repeated: write the row, then tell.
    OutcomeUnknown(Record, Refusal),
}

/// Decides about a call.
pub fn begin(
    existing: Option<&Record>,
    request: Request<'_>,
    holder: &str,
    settings: &Settings,
    now_ms: u64,
) -> Begin {
    let Some(record) = existing.filter(|record| !record.is_over(settings, now_ms)) else {
        // A row that is over had its own epochs, and one of its holders may still wake up.
        let epoch = existing.map_or(1, |record| record.epoch + 1);
        return Begin::Run(Record {
            tool: request.tool.clone(),
            arguments_sha256: request.arguments_sha256.to_owned(),
            is_dry_run: request.is_dry_run,
            repeat: request.repeat,
            state: running(holder, settings, now_ms),
            epoch,
            may_have_run: false,
            is_counted: false,
            created_ms: now_ms,
        });
    };
    if let Some(what) = record.difference(&request) {
        return Begin::Refuse(Refusal::IdConflict { id: request.id.to_owned(), what });
    }
    match &record.state {
        State::Done { ending: Ok(result), .. } => Begin::Answer(result.clone()),
        State::Done { ending: Err(refusal), .. } => Begin::Refuse(refusal.clone()),
        State::Waiting { approval } => Begin::Waiting { approval: approval.clone() },
        State::Running { expires_ms, .. } if now_ms < *expires_ms => {
            let retry_after_ms = (expires_ms - now_ms).min(settings.retry_ms).max(1);
            Begin::Refuse(Refusal::InProgress { id: request.id.to_owned(), retry_after_ms })
        }
        State::Running { holder: dead, .. } => {
            if record.may_repeat() {
                return Begin::Again(record.again_by(holder, settings, now_ms));
            }
            let why = format!("{dead}, which ran it, is gone");
            let next = record.ended(State::Unknown { why: why.clone() });
            Begin::OutcomeUnknown(next, unknown(request.id, why))
        }
        State::Unknown { .. } if record.may_repeat() => {
            Begin::Again(record.again_by(holder, settings, now_ms))
        }
        State::Unknown { why } => Begin::Refuse(unknown(request.id, why.clone())),
    }
}

/// Goes on with a call whose approval was given. `None` when it does not wait for this one: read
/// the row again, and [`begin`].
pub fn resume(
    record: &Record,
    approval: &str,
    holder: &str,
    settings: &Settings,
    now_ms: u64,
) -> Option<Record> {
    let waits = matches!(&record.state, State::Waiting { approval: other } if other == approval);
    waits.then(|| record.held_by(holder, settings, now_ms))
}

/// What a holder did to its row.
#[derive(Debug, Clone, PartialEq)]
pub enum Finish {
    /// Write this. Where the row before was not counted, its session counts the call now.
    Kept(Record),
    /// Delete the row: nothing was done, and the id is free again.
    Freed,
    /// Somebody else holds the row, or it has ended; what this holder has to tell is not kept.
    Stale { epoch: u64 },
}

/// Ends a run. A holder that was taken for dead, and is the last one that ran it, is heard too.
/// `is_doubtful`: some try of this run may have been done, whatever the last one came to.
pub fn finish(
    record: &Record,
    epoch: u64,
    ending: Ending,
    is_doubtful: bool,
    now_ms: u64,
) -> Finish {
    if !record.is_held(epoch) {
        return Finish::Stale { epoch: record.epoch };
    }
    let state = match ending {
        Err(Refusal::OutcomeUnknown { why, .. }) => State::Unknown { why },
        Err(refusal) if !refusal.may_have_run() => {
            // Whoever sends the id again may have it run: a free id would forget its epochs, by
            // which a holder that wakes up late is known, and that it was counted.
            if !is_doubtful && !record.may_have_run {
                return Finish::Freed;
            }
            State::Unknown { why: refusal.to_string() }
        }
        ending => State::Done { ending, ended_ms: now_ms },
    };
    Finish::Kept(record.ended(state))
}

/// Tells a failure after which nobody knows whether the tool did it (a connection that broke, a
/// time that was over, a cancellation while it ran): for a tool that may be repeated it is
/// `otherwise`, for another one the outcome is unknown.
pub fn doubt(request: Request<'_>, why: &str, otherwise: Refusal) -> Refusal {
    if request.is_dry_run || request.repeat != Repeat::Unsafe {
        return otherwise;
    }
    unknown(request.id, why.to_owned())
}

/// Says that a holder still lives.
pub fn extend(record: &Record, epoch: u64, settings: &Settings, now_ms: u64) -> Finish {
    let mut next = record.clone();
    match &mut next.state {
        State::Running { expires_ms, .. } if record.epoch == epoch => {
            *expires_ms = now_ms.saturating_add(settings.lease_ms);
            Finish::Kept(next)
        }
        _ => Finish::Stale { epoch: record.epoch },
    }
}

/// Lays a call down that an approval is asked for; nothing of it has run.
pub fn wait(record: &Record, epoch: u64, approval: &str) -> Finish {
    if record.epoch != epoch || !matches!(record.state, State::Running { .. }) {
        return Finish::Stale { epoch: record.epoch };
    }
    let mut next = record.clone();
    next.state = State::Waiting { approval: approval.to_owned() };
    Finish::Kept(next)
}

impl Record {
    /// Whether the row says nothing any more and may be deleted.
    pub fn is_over(&self, settings: &Settings, now_ms: u64) -> bool {
        let is_live =
            matches!(self.state, State::Running { expires_ms, .. } if now_ms < expires_ms);
        !is_live && now_ms >= self.created_ms.saturating_add(settings.keep_ms)
    }

    /// The tool's version is not compared: a repetition of a call of the newest version is the same
    /// call, though a newer one was published meanwhile.
    fn difference(&self, request: &Request<'_>) -> Option<&'static str> {
        if self.tool.name != request.tool.name {
            Some("another tool")
        } else if self.arguments_sha256 != request.arguments_sha256 {
            Some("other arguments")
        } else if self.is_dry_run != request.is_dry_run {
            Some("another value of dry_run")
        } else {
            None
        }
    }

    fn may_repeat(&self) -> bool {
        self.is_dry_run || self.repeat != Repeat::Unsafe
    }

    fn held_by(&self, holder: &str, settings: &Settings, now_ms: u64) -> Record {
        let mut next = self.clone();
        next.epoch += 1;
        next.state = running(holder, settings, now_ms);
        next
    }

    /// Held by another one after a run that may have been done.
    fn again_by(&self, holder: &str, settings: &Settings, now_ms: u64) -> Record {
        Record { may_have_run: true, ..self.held_by(holder, settings, now_ms) }
    }

    /// After a run that was done or may have been.
    fn ended(&self, state: State) -> Record {
        Record { state, may_have_run: true, is_counted: true, ..self.clone() }
    }

    fn is_held(&self, epoch: u64) -> bool {
        let is_open = matches!(self.state, State::Running { .. } | State::Unknown { .. });
        self.epoch == epoch && is_open
    }
}

fn running(holder: &str, settings: &Settings, now_ms: u64) -> State {
    State::Running {
        holder: holder.to_owned(),
        since_ms: now_ms,
        expires_ms: now_ms.saturating_add(settings.lease_ms),
    }
}

fn unknown(id: &str, why: String) -> Refusal {
    Refusal::OutcomeUnknown { id: id.to_owned(), why }
}
