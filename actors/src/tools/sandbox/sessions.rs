//! Sandboxes that keep their files from call to call: each is one slot, of one team, on this node.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use headwater_sandbox::{
    Abilities, EngineError, Execution, FileEntry, GuestFile, GuestPath, ImageName, Isolation,
    Listener, Slot, Usage,
};
use headwater_tools::call::Refusal;
use headwater_tools::{Room, Tier};

use super::guard::{SlotGuard, gone};
use super::{SandboxAsk, SandboxDone, SandboxHandle, Shared, limits_within, of_engine};

/// How often it is looked for sessions that nobody uses, in ms.
const LOOK_MS: u64 = 1_000;
/// The name that errors tell.
const TOOL: &str = "sandbox";

/// Work on a slot.
type Acting<'s, T> = Pin<Box<dyn Future<Output = Result<T, EngineError>> + Send + 's>>;

/// What is known of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SandboxSession {
    pub id: String,
    pub engine: &'static str,
    pub isolation: Isolation,
    pub image: ImageName,
    pub tier: Tier,
    pub created_ms: u64,
    pub is_paused: bool,
    pub idle_ms: u64,
}

struct Open {
    team: String,
    told: SandboxSession,
    touched_ms: u64,
    /// One call at a time has it.
    guard: Arc<tokio::sync::Mutex<SlotGuard>>,
}

#[derive(Default)]
pub(super) struct Sessions {
    open: Mutex<BTreeMap<String, Open>>,
}

impl Sessions {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SandboxHandle {
    /// Opens a session.
    ///
    /// # Errors
    /// [`Refusal::NoSandbox`], [`Refusal::Overloaded`].
    pub async fn open(
        &self,
        team: &str,
        image: Option<&ImageName>,
        room: Room,
        within_ms: u64,
    ) -> Result<SandboxSession, Refusal> {
        let Shared { runtime, parts, sessions, .. } = &*self.shared;
        let refused = |why: String| Refusal::NoSandbox { tool: TOOL.to_owned(), why };
        let can = |abilities: &Abilities| abilities.sessions;
        let engine = self.engine(room.isolation, can).map_err(refused)?;
        let abilities = engine.abilities();
        let image = self.image(image).map_err(refused)?;
        let own = sessions.lock().values().filter(|open| open.team == team).count();
        if own >= parts.sessions_max {
            let what = format!("one of the {} sandbox sessions of this team", parts.sessions_max);
            return Err(Refusal::Overloaded { what, retry_after_ms: 1_000 });
        }
        let name = image.name.clone();
        let pool = self.pool(engine, image, (room.tier, true), None);
        let guard = pool.get(TOOL, team, within_ms).await?;
        let now_ms = runtime.now_ms();
        let told = SandboxSession {
            id: format!("sandbox-{:032x}", runtime.draw()),
            engine: abilities.name,
            isolation: abilities.isolation,
            image: name,
            tier: room.tier,
            created_ms: runtime.wall_ms(),
            is_paused: false,
            idle_ms: 0,
        };
        let guard = Arc::new(tokio::sync::Mutex::new(guard));
        let open = Open { team: team.to_owned(), told: told.clone(), touched_ms: now_ms, guard };
        sessions.lock().insert(told.id.clone(), open);
        Ok(told)
    }

    /// A team's sessions on this node.
    pub fn sessions(&self, team: &str) -> Vec<SandboxSession> {
        let now_ms = self.shared.runtime.now_ms();
        let open = self.shared.sessions.lock();
        let own = open.values().filter(|open| open.team == team);
        let told = |open: &Open| {
            let idle_ms = now_ms.saturating_sub(open.touched_ms);
            SandboxSession { idle_ms, ..open.told.clone() }
        };
        own.map(told).collect()
    }

    fn session(
        &self,
        team: &str,
        id: &str,
    ) -> Result<(SandboxSession, Arc<tokio::sync::Mutex<SlotGuard>>), Refusal> {
        let mut open = self.shared.sessions.lock();
        let found = open.get_mut(id).filter(|open| open.team == team);
        let found = found.ok_or_else(|| Refusal::UnknownSession { session: id.to_owned() })?;
        found.touched_ms = self.shared.runtime.now_ms();
        Ok((found.told.clone(), Arc::clone(&found.guard)))
    }

    /// Runs code in a session; its files stay.
    ///
    /// # Errors
    /// [`Refusal::UnknownSession`], [`Refusal::SessionPaused`], and what the engine says. A session
    /// whose slot is lost is over.
    pub async fn run_in(
        &self,
        id: &str,
        ask: SandboxAsk,
        listener: &mut dyn Listener,
    ) -> Result<SandboxDone, Refusal> {
        let (told, guard) = self.session(&ask.team, id)?;
        if told.is_paused {
            return Err(Refusal::SessionPaused { session: id.to_owned() });
        }
        let execution = Execution {
            source: ask.source,
            arguments: ask.arguments,
            environment: ask.environment,
            input: ask.input,
            files: ask.files,
            collect: ask.collect,
            limits: limits_within(told.tier, ask.within_ms),
        };
        let ran = guard.lock().await.run(&execution, listener).await;
        let outcome = ran.map_err(|error| self.failed(id, error))?;
        self.shared.metrics.ended(told.engine, &outcome);
        if let Some(open) = self.shared.sessions.lock().get_mut(id) {
            open.touched_ms = self.shared.runtime.now_ms();
        }
        Ok(SandboxDone { outcome, engine: told.engine, isolation: told.isolation })
    }

    /// A session whose slot is lost ends.
    fn failed(&self, id: &str, error: EngineError) -> Refusal {
        if let EngineError::Lost { why } = &error {
            self.shared.sessions.lock().remove(id);
            return Refusal::SessionEnded { session: id.to_owned(), why: why.clone() };
        }
        of_engine(TOOL, error)
    }

    async fn with<T: Send>(
        &self,
        team: &str,
        id: &str,
        act: impl for<'s> FnOnce(&'s mut dyn Slot) -> Acting<'s, T> + Send,
    ) -> Result<T, Refusal> {
        let (_, guard) = self.session(team, id)?;
        let guard = guard.lock().await;
        let mut held = guard.held().lock().await;
        let done = match held.as_mut() {
            Some(slot) => act(slot.as_mut()).await,
            None => Err(gone()),
        };
        done.map_err(|error| self.failed(id, error))
    }

    /// # Errors
    /// As [`SandboxHandle::run_in`]. The same of those below.
    pub async fn write_file(&self, team: &str, id: &str, file: &GuestFile) -> Result<(), Refusal> {
        let file = file.clone();
        self.with(team, id, |slot| Box::pin(async move { slot.write(&file).await })).await
    }

    pub async fn read_file(
        &self,
        team: &str,
        id: &str,
        path: &GuestPath,
        bytes_max: u64,
    ) -> Result<GuestFile, Refusal> {
        let path = path.clone();
        self.with(team, id, |slot| Box::pin(async move { slot.read(&path, bytes_max).await })).await
    }

    pub async fn list_files(
        &self,
        team: &str,
        id: &str,
        entries_max: usize,
    ) -> Result<Vec<FileEntry>, Refusal> {
        self.with(team, id, move |slot| Box::pin(async move { slot.list(entries_max).await })).await
    }

    pub async fn usage(&self, team: &str, id: &str) -> Result<Usage, Refusal> {
        self.with(team, id, |slot| slot.usage()).await
    }

    /// Takes a session's processor time away, or gives it back.
    ///
    /// # Errors
    /// As [`SandboxHandle::run_in`].
    pub async fn set_paused(&self, team: &str, id: &str, is_paused: bool) -> Result<(), Refusal> {
        match is_paused {
            true => self.with(team, id, |slot| slot.pause()).await?,
            false => self.with(team, id, |slot| slot.resume()).await?,
        }
        if let Some(open) = self.shared.sessions.lock().get_mut(id) {
            open.told.is_paused = is_paused;
        }
        Ok(())
    }

    /// Ends a session; its slot is closed, and its files are gone.
    ///
    /// # Errors
    /// [`Refusal::UnknownSession`].
    pub fn close(&self, team: &str, id: &str) -> Result<(), Refusal> {
        self.session(team, id)?;
        self.shared.sessions.lock().remove(id);
        Ok(())
    }

    /// Ends all sessions and closes all slots: nothing of them is left on this machine.
    pub async fn drain(&self) {
        self.shared.sessions.lock().clear();
        let pools = self.shared.pools.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for pool in pools.into_values() {
            pool.close().await;
        }
    }

    /// Ends sessions that nobody uses, for as long as the node lives. Paused ones stay.
    pub async fn tidy(self) {
        loop {
            self.shared.runtime.pause(LOOK_MS).await;
            let (now_ms, idle_ms) =
                (self.shared.runtime.now_ms(), self.shared.parts.session_idle_ms);
            self.shared.sessions.lock().retain(|_, open| {
                let is_used = Arc::strong_count(&open.guard) > 1;
                is_used || open.told.is_paused || now_ms.saturating_sub(open.touched_ms) < idle_ms
            });
        }
    }
}
