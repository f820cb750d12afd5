//! Sessions of agents: what they may use up, what they note, what they did. All of it stands in the
//! store, so a session goes on when its node dies.

use std::collections::BTreeMap;

use headwater_storage::tuple::{self, Element};
use headwater_storage::{KeyRange, RangeRead, StoreError, Transaction};
use headwater_tools::call::Refusal;
use headwater_tools::session::{Left, Session, SessionBudget, Standing};

use super::handle::ToolsHandle;
use super::keys;
use super::nouns::{ToolCaller, ToolsError};
use super::records::{self, Held, SessionRow, StepRow};

/// Sessions of one page.
const PAGE: usize = 200;

/// A session as it is told.
#[derive(Debug, Clone, PartialEq)]
pub struct SessionTold {
    pub id: String,
    pub agent: Option<String>,
    pub budget: SessionBudget,
    pub left: Left,
    pub standing: Standing,
    /// Set when its last calls were a loop.
    pub looped: Option<String>,
}

/// A step of a session's trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionStep {
    pub at_ms: u64,
    pub kind: String,
    pub call: Option<String>,
    pub tool: Option<String>,
    pub text: String,
    pub duration_ms: u64,
    pub microdollars: u64,
}

/// A change of a session, again for each try of its transaction.
pub(super) type Act<T> = std::sync::Arc<dyn Fn(&mut Held, u64) -> Result<T, Refusal> + Send + Sync>;

impl ToolsHandle {
    /// Begins a session.
    ///
    /// # Errors
    /// [`ToolsError::Invalid`], the store's.
    pub async fn begin_session(
        &self,
        caller: &ToolCaller,
        budget: SessionBudget,
    ) -> Result<SessionTold, ToolsError> {
        let (id, now_ms) = (self.shared.draw_id("session"), self.shared.runtime.wall_ms());
        let agent = caller.agent.as_deref();
        let session = Session::new(&id, &caller.team, &caller.subject, agent, budget, now_ms)?;
        let held = Held::new(session);
        let (team, row) = (caller.team.clone(), held.row());
        let written = self.shared.write_once(|transaction| {
            let (key, row) = (keys::session(&team, &id), row.clone());
            Box::pin(async move { transaction.set(&key, &records::encode(&row)?) })
        });
        written.await?;
        Ok(told(&held, now_ms))
    }

    /// A session as it is now.
    ///
    /// # Errors
    /// [`Refusal::UnknownSession`], the store's.
    pub async fn session(&self, caller: &ToolCaller, id: &str) -> Result<SessionTold, ToolsError> {
        let now_ms = self.shared.runtime.wall_ms();
        let (team, id) = (caller.team.clone(), id.to_owned());
        let read = self.shared.retry.read(|transaction| {
            let (team, id) = (team.clone(), id.clone());
            Box::pin(async move { whole(transaction, &team, &id).await })
        });
        let mut held = read.await?.ok_or_else(|| unknown(&id))?;
        held.session.tick(now_ms);
        Ok(told(&held, now_ms))
    }

    /// A team's sessions behind an id, at most 200.
    ///
    /// # Errors
    /// The store's.
    pub async fn list_sessions(
        &self,
        caller: &ToolCaller,
        after: Option<&str>,
    ) -> Result<Vec<SessionTold>, ToolsError> {
        let now_ms = self.shared.runtime.wall_ms();
        let mut range = keys::sessions(&caller.team);
        if let Some(after) = after {
            range.begin = KeyRange::of_key(&keys::session(&caller.team, after)).end;
        }
        let read = self.shared.retry.read(|transaction| {
            let range = range.clone();
            Box::pin(async move { transaction.range(RangeRead::all(range).limit(PAGE)).await })
        });
        let session = |(key, row): (Vec<u8>, Vec<u8>)| {
            let Some(Element::Text(id)) = tuple::unpack(&key)?.pop() else {
                return Err(records::corrupt(&"its key names no session"));
            };
            let row: SessionRow = records::decode(&row)?;
            let mut held = Held::of(&caller.team, &id, row, BTreeMap::new())?;
            held.session.tick(now_ms);
            Ok(told(&held, now_ms))
        };
        let sessions: Result<Vec<_>, StoreError> = read.await?.into_iter().map(session).collect();
        Ok(sessions?)
    }

    /// Pauses a session, or has it go on.
    ///
    /// # Errors
    /// [`Refusal::SessionEnded`], [`Refusal::UnknownSession`], the store's.
    pub async fn pause_session(
        &self,
        caller: &ToolCaller,
        id: &str,
        is_paused: bool,
    ) -> Result<(), ToolsError> {
        let act: Act<()> = std::sync::Arc::new(move |held, now_ms| match is_paused {
            true => held.session.pause(now_ms),
            false => held.session.resume(now_ms),
        });
        self.change_session(&caller.team, id, act).await
    }

    /// Ends a session and forgets its notes; its trace stays.
    ///
    /// # Errors
    /// [`Refusal::UnknownSession`], the store's.
    pub async fn end_session(&self, caller: &ToolCaller, id: &str) -> Result<(), ToolsError> {
        let act: Act<()> = std::sync::Arc::new(|held, now_ms| {
            held.session.end("it was ended", now_ms);
            Ok(())
        });
        self.change_session(&caller.team, id, act).await?;
        let range = keys::notes(&caller.team, id);
        let cleared = self.shared.retry.write_idempotent(|transaction| {
            let range = range.clone();
            Box::pin(async move { transaction.clear_range(&range) })
        });
        Ok(cleared.await?)
    }

    /// Changes a session in one transaction. Its scratchpad is not in it.
    pub(super) async fn change_session<T: Send + 'static>(
        &self,
        team: &str,
        id: &str,
        act: Act<T>,
    ) -> Result<T, ToolsError> {
        let now_ms = self.shared.runtime.wall_ms();
        let (team, id) = (team.to_owned(), id.to_owned());
        let written = self.shared.write_once(|transaction| {
            let (team, id, act) = (team.clone(), id.clone(), act.clone());
            Box::pin(async move {
                let key = keys::session(&team, &id);
                let Some(row) = records::load(transaction, &key).await? else {
                    return Ok(Err(Refusal::UnknownSession { session: id }));
                };
                let mut held = Held::of(&team, &id, row, BTreeMap::new())?;
                let done = act(&mut held, now_ms);
                if done.is_ok() {
                    transaction.set(&key, &records::encode(&held.row())?)?;
                }
                Ok(done)
            })
        });
        Ok(written.await??)
    }

    /// The newest steps of a session, the newest first.
    ///
    /// # Errors
    /// The store's.
    pub async fn session_steps(
        &self,
        caller: &ToolCaller,
        id: &str,
        limit: usize,
    ) -> Result<Vec<SessionStep>, ToolsError> {
        let range = keys::steps(&caller.team, id);
        let read = self.shared.retry.read(|transaction| {
            let read = RangeRead::all(range.clone()).reverse().limit(limit);
            Box::pin(async move { transaction.range(read).await })
        });
        let step = |(_, row): (Vec<u8>, Vec<u8>)| -> Result<SessionStep, StoreError> {
            let StepRow { at_ms, kind, call, tool, text, duration_ms, microdollars } =
                records::decode(&row)?;
            Ok(SessionStep { at_ms, kind, call, tool, text, duration_ms, microdollars })
        };
        let steps: Result<Vec<_>, StoreError> = read.await?.into_iter().map(step).collect();
        Ok(steps?)
    }

    /// Writes a note into a session's scratchpad; none takes it away.
    ///
    /// # Errors
    /// [`ToolsError::Invalid`] when there is no room, [`Refusal`] when the session does not go on.
    pub async fn put_note(
        &self,
        caller: &ToolCaller,
        id: &str,
        name: &str,
        value: Option<Vec<u8>>,
    ) -> Result<(), ToolsError> {
        let now_ms = self.shared.runtime.wall_ms();
        let (team, id, name) = (caller.team.clone(), id.to_owned(), name.to_owned());
        let written = self.shared.write_once(|transaction| {
            let (team, id, name, value) = (team.clone(), id.clone(), name.clone(), value.clone());
            Box::pin(async move {
                let Some(mut held) = whole(transaction, &team, &id).await? else {
                    return Ok(Err(unknown(&id)));
                };
                let place = keys::note(&team, &id, &name);
                let done = match &value {
                    Some(value) => held.session.put_scratch(&name, value.clone(), now_ms),
                    None => held.session.delete_scratch(&name, now_ms).map(|_| ()),
                };
                if let Err(refusal) = done {
                    return Ok(Err(refusal.into()));
                }
                match value {
                    Some(value) => records::store_text(transaction, &place, &value)?,
                    None => transaction.clear_range(&place.pieces())?,
                }
                let key = keys::session(&team, &id);
                transaction.set(&key, &records::encode(&held.row())?)?;
                Ok(Ok(()))
            })
        });
        written.await?
    }

    /// All notes of a session, by their names.
    ///
    /// # Errors
    /// [`Refusal::UnknownSession`], the store's.
    pub async fn notes(
        &self,
        caller: &ToolCaller,
        id: &str,
    ) -> Result<BTreeMap<String, Vec<u8>>, ToolsError> {
        let (team, id) = (caller.team.clone(), id.to_owned());
        let read = self.shared.retry.read(|transaction| {
            let (team, id) = (team.clone(), id.clone());
            Box::pin(async move { whole(transaction, &team, &id).await })
        });
        let held = read.await?.ok_or_else(|| unknown(&id))?;
        Ok(held.session.parts().scratchpad)
    }
}

fn unknown(id: &str) -> ToolsError {
    Refusal::UnknownSession { session: id.to_owned() }.into()
}

fn told(held: &Held, now_ms: u64) -> SessionTold {
    let session = &held.session;
    SessionTold {
        id: session.id().to_owned(),
        agent: session.agent().map(str::to_owned),
        budget: session.budget().clone(),
        left: session.left(now_ms),
        standing: session.standing().clone(),
        looped: held.looped.clone(),
    }
}

/// A session with its scratchpad.
async fn whole(
    transaction: &mut dyn Transaction,
    team: &str,
    id: &str,
) -> Result<Option<Held>, StoreError> {
    let Some(row) = records::load(transaction, &keys::session(team, id)).await? else {
        return Ok(None);
    };
    let pieces = transaction.range(RangeRead::all(keys::notes(team, id))).await?;
    let mut notes: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    for (key, piece) in pieces {
        let elements = tuple::unpack(&key)?;
        let [.., Element::Text(name), Element::Integer(_)] = elements.as_slice() else {
            return Err(records::corrupt(&"its key names no note"));
        };
        notes.entry(name.clone()).or_default().extend(piece);
    }
    Held::of(team, id, row, notes).map(Some)
}
