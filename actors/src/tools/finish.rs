//! How a call's end is written down: its row, and what its session makes of it, together.

use headwater_storage::retry::Applied;
use headwater_storage::{StoreError, Transaction};
use headwater_tools::call::sha256_of_value;
use headwater_tools::idempotency::{self, Finish, State};
use headwater_tools::steps::{LoopSettings, LoopWatch, Step, Verdict};

use super::begin::short;
use super::dispatch::End;
use super::handle::ToolsHandle;
use super::keys::{self, CallKey};
use super::ready::Ready;
use super::records::{self, Held, SeenRow, StepRow};
use crate::mutants::{Mutant, planted};

/// What writing a call's end down came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Finished {
    /// It stands, with what the caller should know of its session.
    Written(Option<String>),
    /// Another holder has the call: what this one has to tell counts for nothing.
    Stale,
}

impl ToolsHandle {
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
            Applied::Earlier => self.was_written(ready, epoch).await,
        }
    }

    /// What an earlier try came to that nobody heard of: whether the row tells of this end.
    async fn was_written(&self, ready: &Ready, epoch: u64) -> Result<Finished, StoreError> {
        if !ready.has_row() {
            return Ok(Finished::Written(None));
        }
        let read = self.shared.retry.read(|transaction| {
            let key = ready.key.clone();
            Box::pin(async move { records::call(transaction, &key).await })
        });
        let is_own = read.await?.is_some_and(|record| {
            let is_ended = matches!(record.state, State::Done { .. } | State::Unknown { .. });
            record.epoch == epoch && is_ended
        });
        Ok(if is_own { Finished::Written(None) } else { Finished::Stale })
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
        if planted(Mutant::DoubtForgotten) && ending.as_ref().is_err_and(|end| !end.may_have_run())
        {
            transaction.clear(&ready.key.row())?;
            return Ok(Some(Counts::Not));
        }
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
