//! What stands in the store of a call: its row, its session's reservation, its approval; written
//! together, before the tool is asked and after.

use headwater_storage::retry::Applied;
use headwater_storage::{StoreError, Transaction};
use headwater_tools::call::{CallResult, Refusal, sha256_of_value};
use headwater_tools::confirmation::{Approval, Asked, EXPIRES_MS};
use headwater_tools::idempotency::{self, Begin, Finish, Record};
use headwater_tools::steps::{LoopSettings, LoopWatch, Step, Verdict};

use super::dispatch::End;
use super::handle::ToolsHandle;
use super::keys::{self, CallKey};
use super::ready::Ready;
use super::records::{self, Held, SeenRow, StepRow};

/// How long after a call's deadline its reservation is charged when nobody has settled it, in ms.
const UNSETTLED_MS: u64 = 60_000;
/// Digits of a hash that tell calls of one session apart.
const SEEN_DIGITS: usize = 16;

/// How a call goes on.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Start {
    /// The tool is to be asked; the epoch proves it at the end.
    Run { epoch: u64 },
    /// The call was made before: this is what it came to.
    Answer(CallResult),
}

/// What writing a call's end down came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Finished {
    /// It stands, with what the caller should know of its session.
    Written(Option<String>),
    /// Another holder has the call: what this one has to tell counts for nothing.
    Stale,
}

/// What one transaction needs to know.
#[derive(Clone)]
struct Beginning {
    ready: Ready,
    holder: String,
    settings: idempotency::Settings,
    approval: String,
    now_ms: u64,
}

type Outcome = Result<Result<Start, Refusal>, StoreError>;

impl ToolsHandle {
    /// Writes down that the call begins, if it may.
    pub(super) async fn begin(&self, ready: &Ready) -> Result<Start, Refusal> {
        let session = ready.call.session.as_deref();
        if !ready.has_row() && session.is_none() {
            return Ok(Start::Run { epoch: 0 });
        }
        let beginning = Beginning {
            ready: ready.clone(),
            holder: self.shared.holder.clone(),
            settings: self.shared.settings.idempotency,
            approval: self.shared.draw_id("approval"),
            now_ms: self.shared.runtime.wall_ms(),
        };
        let id = self.shared.operation();
        let written = self.shared.retry.write(id, |transaction| {
            let beginning = beginning.clone();
            Box::pin(async move { beginning.attempt(transaction).await })
        });
        match written.await {
            Ok(Applied::Now(start)) => start,
            // Whether the row stands is not known; the id is free to be sent again.
            Ok(Applied::Earlier) | Err(_) => Err(Refusal::StorageDown { retry_after_ms: 1_000 }),
        }
    }

    /// Writes down how the call ended. What the caller should know of its session comes back.
    ///
    /// # Errors
    /// The store's: it is tried again later.
    pub(super) async fn finish(
        &self,
        ready: &Ready,
        epoch: u64,
        end: &End,
    ) -> Result<Finished, StoreError> {
        let session = ready.call.session.as_deref();
        if !ready.has_row() && session.is_none() {
            return Ok(Finished::Written(None));
        }
        let done = Finishing {
            ready: ready.clone(),
            epoch,
            end: end.clone(),
            loops: self.shared.settings.loops,
            now_ms: self.shared.runtime.wall_ms(),
        };
        // Once alone, however often it is tried, also later: the id that one try has set free may be
        // another call's by the next try.
        let written = self.shared.retry.write(end.operation, |transaction| {
            let done = done.clone();
            Box::pin(async move { done.attempt(transaction).await })
        });
        match written.await? {
            Applied::Now(finished) => Ok(finished),
            Applied::Earlier => Ok(Finished::Written(None)),
        }
    }

    /// Says that this node still runs the call.
    ///
    /// # Errors
    /// The store's.
    pub(super) async fn extend(&self, key: &CallKey, epoch: u64) -> Result<(), StoreError> {
        let (settings, now_ms) = (self.shared.settings.idempotency, self.shared.runtime.wall_ms());
        let extended = self.shared.retry.write_idempotent(|transaction| {
            let key = key.clone();
            Box::pin(async move {
                let Some(record) = records::call(transaction, &key).await? else { return Ok(()) };
                if let Finish::Kept(next) = idempotency::extend(&record, epoch, &settings, now_ms) {
                    records::store_call(transaction, &key, &next)?;
                }
                Ok(())
            })
        });
        extended.await
    }
}

impl Beginning {
    async fn attempt(&self, transaction: &mut dyn Transaction) -> Outcome {
        let Beginning { ready, now_ms, .. } = self;
        let mut held = match self.held(transaction).await? {
            Ok(held) => held,
            Err(refusal) => return Ok(Err(refusal)),
        };
        if !ready.has_row() {
            if let Err(refusal) = self.reserve(held.as_mut()) {
                return Ok(Err(refusal));
            }
            self.store_session(transaction, held.as_ref())?;
            return Ok(Ok(Start::Run { epoch: 0 }));
        }
        let record = records::call(transaction, &ready.key).await?;
        let request = ready.request();
        let begun =
            idempotency::begin(record.as_ref(), request, &self.holder, &self.settings, *now_ms);
        match begun {
            Begin::Run(next) if ready.asks => self.ask(transaction, &next),
            Begin::Run(next) | Begin::Again(next) => self.go(transaction, held.as_mut(), &next),
            Begin::Answer(result) => Ok(Ok(Start::Answer(result))),
            Begin::Waiting { approval } => {
                let found = records::approval(transaction, &ready.key.team, &approval).await?;
                let Some(mut found) = found else {
                    return Ok(Err(Refusal::ApprovalExpired { approval }));
                };
                if let Err(refusal) = found.use_for(&ready.call, *now_ms) {
                    return Ok(Err(refusal));
                }
                let resumed = record.and_then(|record| {
                    let (holder, settings) = (&self.holder, &self.settings);
                    idempotency::resume(&record, &approval, holder, settings, *now_ms)
                });
                let Some(next) = resumed else {
                    return Ok(Err(Refusal::ApprovalExpired { approval }));
                };
                records::store_approval(transaction, &found)?;
                self.go(transaction, held.as_mut(), &next)
            }
            Begin::Refuse(refusal) => Ok(Err(refusal)),
            Begin::OutcomeUnknown(next, refusal) => {
                records::store_call(transaction, &ready.key, &next)?;
                let is_counted = record.is_some_and(|record| record.is_counted);
                if let Some(held) = held.as_mut().filter(|_| !is_counted) {
                    held.session.settle(&ready.reservation, ready.price(), *now_ms);
                }
                self.store_session(transaction, held.as_ref())?;
                Ok(Err(refusal))
            }
        }
    }

    /// The session that the call names, if it goes on.
    async fn held(
        &self,
        transaction: &mut dyn Transaction,
    ) -> Result<Result<Option<Held>, Refusal>, StoreError> {
        let CallKey { team, session, .. } = &self.ready.key;
        let Some(session) = session else { return Ok(Ok(None)) };
        let Some(row) = records::load(transaction, &keys::session(team, session)).await? else {
            return Ok(Err(Refusal::UnknownSession { session: session.clone() }));
        };
        let held = Held::of(team, session, row, Default::default())?;
        Ok(Ok(Some(held)))
    }

    fn reserve(&self, held: Option<&mut Held>) -> Result<(), Refusal> {
        let Some(held) = held else { return Ok(()) };
        let call = &self.ready.call;
        if let Some(text) = &held.looped {
            let (tool, arguments) = (&self.ready.version, short(&call.arguments_sha256));
            let again = |seen: &SeenRow| seen.tool == *tool && seen.arguments == arguments;
            if held.seen.iter().any(again) {
                return Err(Refusal::Loop { text: text.clone() });
            }
        }
        let price = self.ready.price();
        let expires_ms = call.deadline_ms.saturating_add(UNSETTLED_MS);
        held.session.reserve(&self.ready.reservation, price, expires_ms, self.now_ms)
    }

    fn go(
        &self,
        transaction: &mut dyn Transaction,
        mut held: Option<&mut Held>,
        next: &Record,
    ) -> Outcome {
        // What its session has counted already is not counted again.
        let held_back = held.as_deref_mut().filter(|_| !next.is_counted);
        if let Err(refusal) = self.reserve(held_back) {
            return Ok(Err(refusal));
        }
        records::store_call(transaction, &self.ready.key, next)?;
        self.store_session(transaction, held.as_deref())?;
        Ok(Ok(Start::Run { epoch: next.epoch }))
    }

    /// Lays the call down until somebody has approved it.
    fn ask(&self, transaction: &mut dyn Transaction, next: &Record) -> Outcome {
        let Beginning { ready, approval, now_ms, .. } = self;
        let summary = format!("{} with {}", ready.version, masked(ready));
        let asked = Asked::of(&ready.call, &summary);
        let opened = Approval::open(approval, asked, EXPIRES_MS, *now_ms);
        let opened = opened.map_err(|problem| records::corrupt(&problem))?;
        let Finish::Kept(waiting) = idempotency::wait(next, next.epoch, approval) else {
            return Ok(Err(Refusal::StorageDown { retry_after_ms: 1_000 }));
        };
        records::store_call(transaction, &ready.key, &waiting)?;
        records::store_approval(transaction, &opened)?;
        let (tool, approval) = (ready.version.clone(), approval.clone());
        Ok(Err(Refusal::ApprovalNeeded { tool, approval, expires_ms: opened.expires_ms }))
    }

    fn store_session(
        &self,
        transaction: &mut dyn Transaction,
        held: Option<&Held>,
    ) -> Result<(), StoreError> {
        let Some(held) = held else { return Ok(()) };
        let key = keys::session(held.session.team(), held.session.id());
        transaction.set(&key, &records::encode(&held.row())?)
    }
}

/// The arguments for whoever decides, without what the schema marks as secret.
fn masked(ready: &Ready) -> String {
    ready.definition.input.masked(&ready.call.arguments).to_string()
}

fn short(hash: &str) -> String {
    hash.chars().take(SEEN_DIGITS).collect()
}

/// What a call's session makes of its end.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Counts {
    Once,
    /// An earlier run of the same id did.
    Already,
    Not,
}

#[derive(Clone)]
struct Finishing {
    ready: Ready,
    epoch: u64,
    end: End,
    loops: LoopSettings,
    now_ms: u64,
}

impl Finishing {
    async fn attempt(&self, transaction: &mut dyn Transaction) -> Result<Finished, StoreError> {
        let Finishing { ready, end, now_ms, .. } = self;
        let counts = match ready.has_row() {
            true => match self.close(transaction).await? {
                Some(counts) => counts,
                None => return Ok(Finished::Stale),
            },
            false if end.may_have_run() => Counts::Once,
            false => Counts::Not,
        };
        let CallKey { team, session: Some(session), .. } = &ready.key else {
            return Ok(Finished::Written(None));
        };
        let Some(row) = records::load(transaction, &keys::session(team, session)).await? else {
            return Ok(Finished::Written(None));
        };
        let mut held = Held::of(team, session, row, Default::default())?;
        // Where it is not known whether the tool did it, its session takes it for done.
        let charge = match end.ending.is_err() && counts == Counts::Once {
            true => ready.price(),
            false => end.charge.microdollars,
        };
        let is_new = match counts {
            Counts::Once => held.session.settle(&ready.reservation, charge, *now_ms),
            Counts::Not => held.session.refund(&ready.reservation),
            Counts::Already => true,
        };
        if !is_new {
            return Ok(Finished::Written(held.looped));
        }
        let warning = self.note(transaction, &mut held, charge)?;
        transaction.set(&keys::session(team, session), &records::encode(&held.row())?)?;
        Ok(Finished::Written(warning))
    }

    /// Ends the row. What the call's session makes of it comes back; nothing when another one holds
    /// the row, or held it last.
    async fn close(&self, transaction: &mut dyn Transaction) -> Result<Option<Counts>, StoreError> {
        let Finishing { ready, epoch, end, now_ms, .. } = self;
        let Some(record) = records::call(transaction, &ready.key).await? else { return Ok(None) };
        let (ending, is_doubtful) = (end.ending.clone(), end.is_doubtful);
        match idempotency::finish(&record, *epoch, ending, is_doubtful, *now_ms) {
            Finish::Kept(next) => {
                records::store_call(transaction, &ready.key, &next)?;
                Ok(Some(if record.is_counted { Counts::Already } else { Counts::Once }))
            }
            Finish::Freed => {
                transaction.clear(&ready.key.row())?;
                Ok(Some(Counts::Not))
            }
            Finish::Stale { .. } => Ok(None),
        }
    }

    /// Notes the step in the session's trace, and looks for loops.
    fn note(
        &self,
        transaction: &mut dyn Transaction,
        held: &mut Held,
        microdollars: u64,
    ) -> Result<Option<String>, StoreError> {
        let Finishing { ready, end, now_ms, .. } = self;
        let End { ending, took_ms, .. } = end;
        let (team, session) = (held.session.team().to_owned(), held.session.id().to_owned());
        let step = StepRow {
            at_ms: *now_ms,
            kind: if ending.is_ok() { "call" } else { "refused" }.to_owned(),
            call: Some(ready.call.id.clone()),
            tool: Some(ready.version.clone()),
            text: match ending {
                Ok(result) if result.is_error => "the tool says that it failed".to_owned(),
                Ok(_) => String::new(),
                Err(refusal) => refusal.code().to_owned(),
            },
            duration_ms: *took_ms,
            microdollars,
        };
        transaction.set(&keys::step(&team, &session, held.steps), &records::encode(&step)?)?;
        held.steps += 1;
        if let Some(old) = held.steps.checked_sub(held.session.budget().trace_steps + 1) {
            transaction.clear(&keys::step(&team, &session, old))?;
        }
        let Ok(result) = ending else { return Ok(None) };
        let mut watch = LoopWatch::new(self.loops);
        for seen in &held.seen {
            watch.see(seen_step(seen));
        }
        let seen = SeenRow {
            tool: ready.version.clone(),
            arguments: short(&ready.call.arguments_sha256),
            result: short(&sha256_of_value(&result.content)),
            is_polling: false,
        };
        let verdict = watch.see(seen_step(&seen));
        held.seen = watch.steps().map(seen_row).collect();
        held.looped = match &verdict {
            Verdict::Stop(text) => Some(text.clone()),
            Verdict::Fine | Verdict::Warn(_) => None,
        };
        Ok(match verdict {
            Verdict::Fine => None,
            Verdict::Warn(text) | Verdict::Stop(text) => Some(text),
        })
    }
}

fn seen_step(seen: &SeenRow) -> Step {
    Step {
        tool: seen.tool.clone(),
        arguments_sha256: seen.arguments.clone(),
        result_sha256: seen.result.clone(),
        is_polling: seen.is_polling,
    }
}

fn seen_row(step: &Step) -> SeenRow {
    SeenRow {
        tool: step.tool.clone(),
        arguments: step.arguments_sha256.clone(),
        result: step.result_sha256.clone(),
        is_polling: step.is_polling,
    }
}
