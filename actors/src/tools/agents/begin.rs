//! Beginning a run: what is asked for is checked, written down in one transaction, and begun here.

use std::collections::BTreeMap;

use headwater_storage::{StoreError, Transaction};
use headwater_tools::Problem;
use headwater_tools::agent::{Agent, AgentSettings, Effect, Entry, Message, ToolOffer, bytes_of};
use headwater_tools::call::{Refusal, check_id, sha256_of_value};
use headwater_tools::session::{Session, SessionBudget, Standing};
use serde_json::json;

use super::journal::{self, Hold, RunKey};
use super::runner::Runner;
use super::{RunAsk, RunTold, told};
use crate::mutants::{Mutant, planted};
use crate::tools::handle::ToolsHandle;
use crate::tools::keys;
use crate::tools::nouns::{ToolCaller, ToolsError};
use crate::tools::records::{self, CallerRow, Held, LeaseRow, OfferedRow, RunRow, SessionRow};

/// Messages that a run may begin with, and their bytes.
const MESSAGES_MAX: usize = 1_000;
const MESSAGES_BYTES_MAX: u64 = 1_000_000;
/// How much longer than its run a session lives that was begun for it, in ms.
const SESSION_REST_MS: u64 = 600_000;
const WEEK_MS: u64 = 7 * 86_400_000;

/// What one transaction needs to know.
#[derive(Clone)]
struct Beginning {
    key: RunKey,
    row: RunRow,
    lease: LeaseRow,
    first: Entry,
    /// The one that is begun for the run.
    session: Option<Session>,
    now_ms: u64,
}

/// What the store says of a run that is to begin.
enum Begun {
    /// It is this node's.
    New,
    /// It was begun before.
    Before,
}

impl ToolsHandle {
    /// Begins a run, which goes on whoever listens. What was begun before with the same id is told as
    /// it is.
    ///
    /// # Errors
    /// [`ToolsError::Invalid`], [`ToolsError::Conflict`] when the id is another run's,
    /// [`ToolsError::Refused`] without room or session, the store's.
    pub async fn begin_run(&self, caller: &ToolCaller, ask: RunAsk) -> Result<RunTold, ToolsError> {
        check(&ask)?;
        match self.shared.gateway.get() {
            None => {
                let problem = "cannot be asked: this node has no models; ask another one";
                return Err(Problem::new("model", problem).into());
            }
            Some(gateway) if !gateway.has(&ask.model) => {
                let problem = format!("'{}' is not served here; look at /v1/models", ask.model);
                return Err(Problem::new("model", problem).into());
            }
            Some(_) => {}
        }
        let offered = self.offered(caller, ask.tools.as_deref(), &ask.messages).await?;
        let now_ms = self.shared.runtime.wall_ms();
        let (beginning, agent, effects) = self.beginning(caller, &ask, offered, now_ms)?;
        let (key, row) = (beginning.key.clone(), beginning.row.clone());
        let Some(running) = self.room_for(&caller.team) else {
            let what = format!("runs of agents of team {}", caller.team);
            return Err(Refusal::Overloaded { what, retry_after_ms: 1_000 }.into());
        };
        let written = self.shared.write_once(|transaction| {
            let beginning = beginning.clone();
            Box::pin(async move { beginning.attempt(transaction).await })
        });
        match written.await?? {
            Begun::Before => self.agent_run(caller, &key.id).await,
            Begun::New => {
                let hold = Hold { key: key.clone(), epoch: beginning.lease.epoch };
                let runner = Runner::new(self.clone(), hold, row.clone(), agent, running);
                self.shared.runtime.spawn(runner.run(effects));
                Ok(told(&key.id, &row, None)?)
            }
        }
    }

    /// What is written, and what is done once it is.
    fn beginning(
        &self,
        caller: &ToolCaller,
        ask: &RunAsk,
        offered: Vec<OfferedRow>,
        now_ms: u64,
    ) -> Result<(Beginning, Agent, Vec<Effect>), ToolsError> {
        let id = ask.id.clone().unwrap_or_else(|| self.shared.draw_id("run"));
        let offers =
            offered.iter().map(|one| ToolOffer { name: one.function.clone(), is_polling: false });
        let (messages, settings) = (ask.messages.clone(), ask.settings.clone());
        let begun = Agent::start(&id, settings, messages, offers.collect(), now_ms);
        let (agent, mut effects) = begun.map_err(told_field)?;
        let Effect::Persist { entry: first, .. } = effects.remove(0) else {
            return Err(records::corrupt(&"a run begins without an entry").into());
        };
        let session = match &ask.session {
            Some(_) => None,
            None => Some(self.own_session(caller, &ask.settings, now_ms)?),
        };
        let named = session.as_ref().map(|session| session.id().to_owned());
        let row = RunRow {
            asked_sha256: asked_sha256(caller, ask),
            caller: CallerRow::of(caller),
            model: ask.model.clone(),
            owns_session: session.is_some(),
            session: ask.session.clone().or(named).unwrap_or_default(),
            tools: offered,
            trace_parent: ask.trace_parent.clone(),
            created_ms: now_ms,
            deadline_ms: agent.deadline_ms(),
            ended_ms: None,
            entries: 1,
            steps: 0,
            spent_microdollars: 0,
            waiting: BTreeMap::new(),
            cancelled_by: None,
            finish: None,
        };
        let until_ms = now_ms + self.shared.settings.agents.lease_ms;
        let lease = LeaseRow { holder: self.shared.holder.clone(), until_ms, epoch: 1 };
        let key = RunKey::new(&caller.team, &id);
        Ok((Beginning { key, row, lease, first, session, now_ms }, agent, effects))
    }

    fn own_session(
        &self,
        caller: &ToolCaller,
        settings: &AgentSettings,
        now_ms: u64,
    ) -> Result<Session, ToolsError> {
        let calls = settings.iterations_max.saturating_mul(u64::from(settings.calls_max));
        let ttl_ms = settings.wall_ms_max.saturating_add(SESSION_REST_MS).min(WEEK_MS);
        let budget = SessionBudget {
            calls_max: calls.min(100_000),
            iterations_max: settings.iterations_max,
            microdollars_max: settings.microdollars_max,
            wall_ms_max: settings.wall_ms_max,
            // It waits with its run for whoever decides.
            idle_ttl_ms: ttl_ms,
            ttl_ms,
            ..SessionBudget::default()
        };
        let (id, agent) = (self.shared.draw_id("session"), caller.agent.as_deref());
        Ok(Session::new(&id, &caller.team, &caller.subject, agent, budget, now_ms)?)
    }
}

fn check(ask: &RunAsk) -> Result<(), ToolsError> {
    if ask.messages.len() > MESSAGES_MAX {
        let problem = format!("are {}; send at most {MESSAGES_MAX}", ask.messages.len());
        return Err(Problem::new("messages", problem).into());
    }
    let bytes: u64 = ask.messages.iter().map(bytes_of).sum();
    if bytes > MESSAGES_BYTES_MAX {
        let problem = format!("have {bytes} bytes; send at most {MESSAGES_BYTES_MAX}");
        return Err(Problem::new("messages", problem).into());
    }
    match &ask.session {
        Some(session) => Ok(check_id("session", session)?),
        None => Ok(()),
    }
}

/// The loop's own names, as whoever asks for a run knows them.
fn told_field(problem: headwater_tools::call::Problem) -> ToolsError {
    let field = match problem.field.as_str() {
        "run" => "id",
        "wall_ms_max" => "timeout_ms",
        field => field,
    };
    Problem::new(field, problem.problem).into()
}

/// What two requests with one id must have in common.
fn asked_sha256(caller: &ToolCaller, ask: &RunAsk) -> String {
    let said = |message: &Message| match message {
        Message::System { text } => ("system", text.clone()),
        Message::User { text } | Message::Note { text } => ("user", text.clone()),
        Message::Assistant { text, .. } | Message::Tool { text, .. } => ("assistant", text.clone()),
    };
    let settings = &ask.settings;
    sha256_of_value(&json!({
        "agent": caller.agent,
        "model": ask.model,
        "messages": ask.messages.iter().map(said).collect::<Vec<_>>(),
        "tools": ask.tools,
        "session": ask.session,
        "iterations_max": settings.iterations_max,
        "microdollars_max": settings.microdollars_max,
        "wall_ms_max": settings.wall_ms_max,
        "parallel_max": settings.parallel_max,
    }))
}

impl Beginning {
    async fn attempt(
        &self,
        transaction: &mut dyn Transaction,
    ) -> Result<Result<Begun, ToolsError>, StoreError> {
        let Beginning { key, row, lease, first, session, now_ms } = self;
        let before = records::load::<RunRow>(transaction, &key.row()).await?;
        if let Some(before) = before.filter(|_| !planted(Mutant::RunBegunAnew)) {
            if before.asked_sha256 != row.asked_sha256 {
                let why = format!("run {} was asked for otherwise; send another id", key.id);
                return Ok(Err(ToolsError::Conflict(why)));
            }
            return Ok(Ok(Begun::Before));
        }
        let place = keys::session(&key.team, &row.session);
        match session {
            Some(session) => {
                let held = Held::new(session.clone());
                transaction.set(&place, &records::encode(&held.row())?)?;
            }
            None => {
                let id = row.session.clone();
                let Some(found) = records::load::<SessionRow>(transaction, &place).await? else {
                    return Ok(Err(Refusal::UnknownSession { session: id }.into()));
                };
                let mut held = Held::of(&key.team, &id, found, BTreeMap::new())?;
                held.session.tick(*now_ms);
                match held.session.standing() {
                    Standing::Active => {}
                    Standing::Paused { .. } => {
                        return Ok(Err(Refusal::SessionPaused { session: id }.into()));
                    }
                    Standing::Ended { why, .. } => {
                        let why = why.clone();
                        return Ok(Err(Refusal::SessionEnded { session: id, why }.into()));
                    }
                }
            }
        }
        journal::begin(transaction, key, row, lease, first.clone())?;
        Ok(Ok(Begun::New))
    }
}
