//! How targets are doing: breakers, answers under way, times of late, and canaries on trial.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use headwater_gateway::{
    Alias, Breaker, BreakerSettings, CanaryWatch, GatewayConfig, Party, Standing, Target,
};

/// After so long without an answer, in ms, half of what was known of a target's times is forgotten,
/// so that one that was slow is asked again.
const FORGOTTEN_MS: f64 = 10_000.0;
/// Share of a new time in the average.
const NEWEST: f64 = 0.2;

/// Backend and model.
type Name = (String, String);

fn name_of(target: &Target) -> Name {
    (target.backend.clone(), target.model.clone())
}

struct Health {
    breaker: Breaker,
    in_flight: u32,
    /// Average time to the first part, in ms, and when the last one came.
    first_ms: f64,
    seen_ms: u64,
}

struct Trial {
    canary: Name,
    watch: CanaryWatch,
}

#[derive(Default)]
struct State {
    targets: BTreeMap<Name, Health>,
    /// By alias.
    trials: BTreeMap<String, Trial>,
}

/// A canary that is worse than the others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Condemned {
    pub(super) alias: String,
    pub(super) backend: String,
    pub(super) model: String,
    pub(super) reason: String,
}

/// Of all targets of one node; cheap to clone.
#[derive(Clone)]
pub(super) struct Healths {
    settings: BreakerSettings,
    state: Arc<Mutex<State>>,
}

impl Healths {
    pub(super) fn new(settings: BreakerSettings, config: &GatewayConfig) -> Healths {
        let healths = Healths { settings, state: Arc::default() };
        healths.serve(config);
        healths
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Other targets are served. A trial goes on as long as its alias's canary is the same.
    pub(super) fn serve(&self, config: &GatewayConfig) {
        let mut state = self.lock();
        let is_there = |name: &Name| {
            let all = config.aliases.iter().flat_map(Alias::all);
            all.into_iter().any(|target| target.backend == name.0 && target.model == name.1)
        };
        state.targets.retain(|name, health| is_there(name) || health.in_flight > 0);
        let mut before = std::mem::take(&mut state.trials);
        for alias in &config.aliases {
            let Some(canary) = alias.canary().map(name_of) else { continue };
            let known = before.remove(&alias.name).filter(|trial| trial.canary == canary);
            let trial = known.unwrap_or(Trial { canary, watch: CanaryWatch::default() });
            state.trials.insert(alias.name.clone(), trial);
        }
    }

    fn with<T>(&self, target: &Target, act: impl FnOnce(&mut Health) -> T) -> T {
        let mut state = self.lock();
        let health = state.targets.entry(name_of(target)).or_insert_with(|| Health {
            breaker: Breaker::new(self.settings),
            in_flight: 0,
            first_ms: 0.0,
            seen_ms: 0,
        });
        act(health)
    }

    /// Does this with a target's breaker; whether that was closed before and is closed after.
    pub(super) fn breaker<T>(
        &self,
        target: &Target,
        act: impl FnOnce(&mut Breaker) -> T,
    ) -> (T, bool, bool) {
        self.with(target, |health| {
            let was_closed = health.breaker.is_closed();
            let done = act(&mut health.breaker);
            (done, was_closed, health.breaker.is_closed())
        })
    }

    pub(super) fn standing(&self, target: &Target, now_ms: u64) -> Standing {
        let state = self.lock();
        let Some(health) = state.targets.get(&name_of(target)) else { return Standing::default() };
        let age_ms = now_ms.saturating_sub(health.seen_ms) as f64;
        let first_ms = health.first_ms * 0.5f64.powf(age_ms / FORGOTTEN_MS);
        Standing { in_flight: health.in_flight, first_ms }
    }

    /// An answer is under way until what this returns is dropped.
    pub(super) fn busy(&self, target: &Target) -> Busy {
        self.with(target, |health| health.in_flight += 1);
        Busy { healths: self.clone(), target: target.clone() }
    }

    fn tell(&self, alias: &str, target: &Target, act: impl FnOnce(&mut CanaryWatch, Party)) {
        let mut state = self.lock();
        if let Some(Trial { canary, watch }) = state.trials.get_mut(alias) {
            let is_canary = canary.0 == target.backend && canary.1 == target.model;
            act(watch, if is_canary { Party::Canary } else { Party::Others });
        }
    }

    /// An answer began so long after its target was asked.
    pub(super) fn begun(&self, alias: &str, target: &Target, first_ms: u64, now_ms: u64) {
        self.with(target, |health| {
            let before = if health.seen_ms == 0 { first_ms as f64 } else { health.first_ms };
            health.first_ms = before + NEWEST * (first_ms as f64 - before);
            health.seen_ms = now_ms.max(1);
        });
        self.tell(alias, target, |watch, party| watch.begun(party, first_ms));
    }

    /// A try failed, and not by the request's fault.
    pub(super) fn failed(&self, alias: &str, target: &Target) {
        self.tell(alias, target, CanaryWatch::failed);
    }

    /// An answer that had begun broke off.
    pub(super) fn broke_off(&self, alias: &str, target: &Target) {
        self.tell(alias, target, CanaryWatch::broke_off);
    }

    /// Canaries that are known to be worse.
    pub(super) fn condemned(&self) -> Vec<Condemned> {
        let state = self.lock();
        let verdict = |(alias, trial): (&String, &Trial)| {
            let (backend, model) = trial.canary.clone();
            let reason = trial.watch.verdict()?;
            Some(Condemned { alias: alias.clone(), backend, model, reason })
        };
        state.trials.iter().filter_map(verdict).collect()
    }
}

/// An answer under way.
pub(super) struct Busy {
    healths: Healths,
    target: Target,
}

impl Drop for Busy {
    fn drop(&mut self) {
        let less = |health: &mut Health| health.in_flight = health.in_flight.saturating_sub(1);
        self.healths.with(&self.target, less);
    }
}
