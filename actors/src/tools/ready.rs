//! A call that may go on: everything that is decided from memory, before anything is reserved.

use std::sync::Arc;

use headwater_tools::call::{Call, Caller, Mode, Problem, Refusal, Request, ToolReference};
use headwater_tools::idempotency::{self, Repeat};
use headwater_tools::{Decision, Definition, Kind, ResolveError, Tool, decide};

use super::handle::ToolsHandle;
use super::keys::CallKey;
use super::nouns::{ToolAsk, ToolCaller};

/// Most bytes of a call's arguments.
const ARGUMENTS_BYTES_MAX: usize = 256 << 10;
/// Longest waiting call of a premium tool and of others, in ms.
const PREMIUM_MS: u64 = 30_000;
const WAITING_MS: u64 = 10_000;

/// See the module.
#[derive(Debug, Clone)]
pub(super) struct Ready {
    pub(super) caller: ToolCaller,
    pub(super) call: Call,
    pub(super) key: CallKey,
    /// What its session holds back for it; calls that may be made twice at once hold twice.
    pub(super) reservation: String,
    pub(super) definition: Arc<Definition>,
    /// Such as `web-search@2`.
    pub(super) version: String,
    pub(super) repeat: Repeat,
    /// A person is asked first.
    pub(super) asks: bool,
    pub(super) deprecation: Option<String>,
}

impl Ready {
    pub(super) fn request(&self) -> idempotency::Request<'_> {
        idempotency::Request {
            id: &self.call.id,
            tool: &self.call.tool,
            arguments_sha256: &self.call.arguments_sha256,
            is_dry_run: self.call.is_dry_run,
            repeat: self.repeat,
        }
    }

    /// What it costs when the tool does it.
    pub(super) fn price(&self) -> u64 {
        match self.call.is_dry_run {
            true => 0,
            false => self.definition.cost_microdollars,
        }
    }

    /// Whether a row tells what became of it: what changes something is done once.
    pub(super) fn has_row(&self) -> bool {
        self.repeat != Repeat::ReadOnly && !self.call.is_dry_run
    }
}

impl ToolsHandle {
    /// Finds the tool and checks all that needs no store.
    pub(super) fn ready(&self, caller: &ToolCaller, ask: &ToolAsk) -> Result<Ready, Refusal> {
        let now_ms = self.shared.runtime.wall_ms();
        // A tool that is not known yet is not unknown.
        if !self.shared.is_known() {
            return Err(Refusal::StorageDown { retry_after_ms: 1_000 });
        }
        let served = self.shared.served();
        let tool = served.registry.resolve(&ask.tool, now_ms).map_err(unresolved)?;
        let definition = Arc::clone(&tool.definition);
        let version = format!("{}@{}", tool.name(), tool.version);
        let agent = caller.agent.as_deref().unwrap_or_default();
        let who = headwater_tools::Caller { team: &caller.team, agent };
        let of = (&*definition, tool.version);
        let allowed = match decide(&served.grants, who, of, Some(&ask.arguments), now_ms) {
            Decision::Allowed(allowed) => allowed,
            Decision::Denied(denied) => {
                let who = format!("{} ({})", caller.team, denied.reason);
                return Err(Refusal::NotPermitted { who, tool: version });
            }
        };
        let call = self.call_of(caller, ask, tool, now_ms)?;
        check_arguments(&definition, &version, &call)?;
        if call.is_dry_run && !definition.dry_run {
            return Err(Refusal::NoDryRun { tool: version });
        }
        let repeat = match (definition.kind, definition.idempotent) {
            (Kind::ReadOnly, _) => Repeat::ReadOnly,
            (_, true) => Repeat::SafeWithId,
            (Kind::Stateful | Kind::Code, false) => Repeat::Unsafe,
        };
        let asks = !call.is_dry_run
            && (allowed.confirm.is_some() || definition.confirmation.asks(&call.arguments));
        let key = CallKey {
            team: caller.team.clone(),
            session: call.session.clone(),
            id: call.id.clone(),
        };
        let is_once = repeat != Repeat::ReadOnly && !call.is_dry_run;
        let reservation = if is_once { call.id.clone() } else { self.shared.draw_id("read") };
        let deprecation = tool.notice(now_ms).map(|notice| notice.text);
        let caller = caller.clone();
        Ok(Ready { caller, call, key, reservation, definition, version, repeat, asks, deprecation })
    }

    fn call_of(
        &self,
        caller: &ToolCaller,
        ask: &ToolAsk,
        tool: &Tool,
        now_ms: u64,
    ) -> Result<Call, Refusal> {
        let definition = &tool.definition;
        let most_ms = match (ask.mode, definition.asynchronous, definition.premium) {
            (Mode::Async, true, _) => definition.timeout_ms,
            (Mode::Async, false, _) | (Mode::Sync, _, true) => {
                definition.timeout_ms.min(PREMIUM_MS)
            }
            (Mode::Sync, _, false) => definition.timeout_ms.min(WAITING_MS),
        };
        if let Some(timeout_ms) = ask.timeout_ms.filter(|timeout_ms| *timeout_ms > most_ms) {
            let problem = match definition.asynchronous && ask.mode == Mode::Sync {
                true => format!("is {timeout_ms}; at most {most_ms}, or call with mode \"async\""),
                false => format!("is {timeout_ms}; the tool allows at most {most_ms}"),
            };
            return Err(invalid(Problem::new("timeout_ms", problem)));
        }
        let request = Request {
            id: ask.id.clone().unwrap_or_else(|| self.shared.draw_id("call")),
            caller: Caller {
                team: caller.team.clone(),
                subject: caller.subject.clone(),
                agent: caller.agent.clone(),
            },
            session: ask.session.clone(),
            tool: ToolReference {
                name: tool.name().to_string(),
                version: tool.version.to_string(),
                definition_sha256: tool.hash.to_string(),
            },
            arguments: ask.arguments.clone(),
            mode: ask.mode,
            is_dry_run: ask.is_dry_run,
            timeout_ms: Some(ask.timeout_ms.unwrap_or(most_ms)),
            webhook: None,
        };
        Call::new(request, now_ms).map_err(invalid)
    }
}

pub(super) fn invalid(problem: Problem) -> Refusal {
    Refusal::InvalidRequest { field: problem.field, problem: problem.problem }
}

fn check_arguments(definition: &Definition, version: &str, call: &Call) -> Result<(), Refusal> {
    let bytes = call.arguments.to_string().len();
    if bytes > ARGUMENTS_BYTES_MAX {
        let (bytes, bytes_max) = (bytes as u64, ARGUMENTS_BYTES_MAX as u64);
        return Err(Refusal::ArgumentsTooLarge { bytes, bytes_max });
    }
    definition.input.check(&call.arguments).map_err(|misfits| {
        let told = misfits.list.iter().map(|one| (one.pointer.clone(), one.expected.clone()));
        Refusal::InvalidArguments { tool: version.to_owned(), problems: told.collect() }
    })
}

fn unresolved(error: ResolveError) -> Refusal {
    match error {
        ResolveError::UnknownTool { .. }
        | ResolveError::UnknownVersion { .. }
        | ResolveError::NoneServes { .. } => Refusal::UnknownTool { tool: error.to_string() },
        ResolveError::Ended { tool, advice, .. } => {
            Refusal::Retired { tool: tool.to_string(), instead: advice }
        }
        ResolveError::Withdrawn { tool, reason } => {
            Refusal::SwitchedOff { tool: tool.to_string(), why: reason }
        }
        ResolveError::OtherHash { .. } => {
            Refusal::InvalidRequest { field: "tool".to_owned(), problem: error.to_string() }
        }
    }
}
