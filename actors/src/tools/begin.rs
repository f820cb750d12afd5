//! What stands in the store of a call before its tool is asked: its row, its session's reservation,
//! its approval; written together.

use headwater_storage::{StoreError, Transaction};
use headwater_tools::call::{CallResult, Refusal};
use headwater_tools::confirmation::{Approval, Asked, EXPIRES_MS};
use headwater_tools::idempotency::{self, Begin, Finish, Record};

use super::handle::ToolsHandle;
use super::keys::{self, CallKey};
use super::ready::Ready;
use super::records::{self, Held, SeenRow};
use crate::mutants::{Mutant, planted};

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
        let written = self.shared.write_once(|transaction| {
            let beginning = beginning.clone();
            Box::pin(async move { beginning.attempt(transaction).await })
        });
        // Whether the row stands is not known then; the id may be sent again.
        let down = |_| Err(Refusal::StorageDown { retry_after_ms: 1_000 });
        written.await.unwrap_or_else(down)
    }

    /// What a call that was made before came to; none where it was not, or is to be made again.
    pub(super) async fn made_before(&self, ready: &Ready) -> Option<Result<CallResult, Refusal>> {
        if !ready.has_row() {
            return None;
        }
        let read = self.shared.retry.read(|transaction| {
            let key = ready.key.clone();
            Box::pin(async move { records::call(transaction, &key).await })
        });
        let record = read.await.ok()??;
        let (holder, settings) = (&self.shared.holder, &self.shared.settings.idempotency);
        let now_ms = self.shared.runtime.wall_ms();
        match idempotency::begin(Some(&record), ready.request(), holder, settings, now_ms) {
            Begin::Answer(result) => Some(Ok(result)),
            Begin::Refuse(refusal) => Some(Err(refusal)),
            _ => None,
        }
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
        let Some(held) = held.filter(|_| !planted(Mutant::CallNotReserved)) else {
            return Ok(());
        };
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
        if !planted(Mutant::CallWithoutRow) {
            records::store_call(transaction, &self.ready.key, next)?;
        }
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

pub(super) fn short(hash: &str) -> String {
    hash.chars().take(SEEN_DIGITS).collect()
}
