//! What was seen of every prompt, held against its history when the world has healed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use headwater_actors::prompts::{
    Chosen, Ending, Experiment, ExperimentState, Move, Outcome, Pointer, Promotion, PromptKey,
    PromptsHandle, Stage, Wish, experiment_of,
};
use headwater_actors::tenancy::{About, PendingNotice, pending_id};

use super::HEAL_MS;
use super::flags::{Flags, PERSONAL};
use super::node::{BASE_MS, Node, Place};
use crate::shared_store::Commit;
use crate::world::World;

/// Requests by which a guard can tell a version whose answers all fail.
const SEEN_WELL: usize = 25;

/// What one request got.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub(super) version: u64,
    pub(super) chosen: Chosen,
    /// Moves of the pointers as its node knew them.
    pub(super) moves: u64,
    pub(super) user: String,
    pub(super) at_ms: u64,
}

/// See the module; cheap to clone.
#[derive(Clone)]
pub(super) struct Book {
    world: World,
    guard_ms: u64,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// The most moves that each process knew of each prompt.
    known: BTreeMap<(Place, PromptKey), u64>,
    seen: BTreeMap<PromptKey, Vec<Seen>>,
    /// Moves that somebody was told of.
    acknowledged: BTreeMap<PromptKey, u64>,
    notices: BTreeSet<String>,
    /// What owners were told of ends.
    expired: BTreeSet<String>,
    /// Experiments that began and have not ended, by prompt and name.
    running: BTreeMap<(String, String), Experiment>,
    /// Which variant a user got, by prompt, experiment and user.
    variants: BTreeMap<(PromptKey, String, String), String>,
    flags: BTreeMap<PromptKey, Flags>,
}

impl Book {
    pub(super) fn new(world: &World, guard_ms: u64) -> Book {
        Book { world: world.clone(), guard_ms, state: Arc::default() }
    }

    /// What became of a prompt's flags.
    pub(super) fn flags<T>(&self, prompt: &PromptKey, act: impl FnOnce(&mut Flags) -> T) -> T {
        act(self.lock().flags.entry(prompt.clone()).or_default())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Webhooks will be told of this: of each experiment's end once, of each event by an id of its
    /// own.
    pub(super) fn written(&self, commit: &Commit<'_>) {
        for (key, value) in commit.writes {
            if let Some(value) = value {
                self.row_written(key, value);
            }
            let (Some(id), Some(value)) = (pending_id(key), value) else { continue };
            let Ok(notice) = PendingNotice::decode(value) else { continue };
            let About::Event(event) = notice.about else { continue };
            self.world.note(&event.text);
            let mut state = self.lock();
            if !state.notices.insert(id) {
                self.world.violated("a_notice_has_an_id_of_its_own", format_args!("{event:?}"));
            }
            if event.kind == "prompt.experiment_expired"
                && !state.expired.insert(event.text.clone())
            {
                self.world.violated("an_expiry_is_told_once", format_args!("{}", event.text));
            }
        }
    }

    /// Whoever begins an experiment has its part of the layer to itself, in the order in which the
    /// store takes them; and what was flagged is kept without its addresses.
    fn row_written(&self, key: &[u8], value: &[u8]) {
        if value.windows(PERSONAL.len()).any(|part| part == PERSONAL.as_bytes()) {
            self.world.violated("nothing_personal_is_kept_of_a_flag", format_args!("{key:?}"));
        }
        let Some(experiment) = experiment_of(key, value) else { return };
        let named = (experiment.prompt.clone(), experiment.name.clone());
        let mut state = self.lock();
        if experiment.state != ExperimentState::Running {
            state.running.remove(&named);
            return;
        }
        let meets = |other: &&Experiment| {
            experiment.layer.is_some()
                && experiment.layer == other.layer
                && experiment.start_ms < other.ends_ms
                && other.start_ms < experiment.ends_ms
                && experiment.share.from < other.share.until
                && other.share.from < experiment.share.until
        };
        if let Some(other) = state.running.values().find(meets) {
            let told = format_args!("{named:?} and {} of {}", other.name, other.prompt);
            self.world.violated("one_part_of_a_layer_has_one_experiment", told);
        }
        state.running.insert(named, experiment);
    }

    /// Somebody was told that the pointers have made so many moves.
    pub(super) fn acknowledged(&self, prompt: &PromptKey, moves: u64) {
        self.world.note(format_args!("{}: {moves} moves are acknowledged", prompt.name));
        let mut state = self.lock();
        let held = state.acknowledged.entry(prompt.clone()).or_default();
        *held = moves.max(*held);
    }

    pub(super) fn acknowledged_moves(&self, prompt: &PromptKey) -> u64 {
        self.lock().acknowledged.get(prompt).copied().unwrap_or_default()
    }

    /// A request got this; it must know at least so many moves.
    pub(super) fn seen(&self, place: Place, prompt: &PromptKey, seen: Seen, least: u64) {
        let Seen { version, chosen, moves, user, .. } = &seen;
        let name = &prompt.name;
        self.world.note(format_args!(
            "{place:?} {name}: {user} gets {version}, {chosen:?} after {moves} moves"
        ));
        let mut state = self.lock();
        let known = state.known.entry((place, prompt.clone())).or_default();
        if seen.moves < *known {
            let told = format_args!("{prompt:?}: {} moves after {known} at {place:?}", seen.moves);
            self.world.violated("pointer_goes_not_back", told);
        }
        *known = seen.moves.max(*known);
        if seen.moves < least {
            let told = format_args!("{prompt:?}: {} moves, {least} were acknowledged", seen.moves);
            self.world.violated("fresh_read_is_not_older", told);
        }
        if let Chosen::Variant { experiment, variant } = &seen.chosen {
            let key = (prompt.clone(), experiment.clone(), seen.user.clone());
            let held = state.variants.entry(key).or_insert_with(|| variant.clone());
            if held != variant {
                let told = format_args!("{}: {held}, then {variant}", seen.user);
                self.world.violated("assignment_is_sticky", told);
            }
        }
        state.seen.entry(prompt.clone()).or_default().push(seen);
    }

    /// Holds everything against the history.
    pub(super) async fn check(&self, nodes: &[Node], prompt: &PromptKey) {
        let Some(handle) = nodes.first().and_then(Node::handle) else { return };
        let Ok(head) = handle.head(prompt).await else { return };
        let Ok(mut moves) = handle.history(prompt).await else { return };
        moves.reverse();
        self.check_history(prompt, &moves, head.moves);
        // The list holds so many.
        if head.moves <= 200 {
            self.check_seen(prompt, &moves);
        }
        let Ok(promotions) = handle.promotions(prompt).await else { return };
        for promotion in &promotions {
            self.check_promotion(&handle, prompt, promotion, &moves).await;
        }
        let Ok(experiments) = handle.experiments(prompt).await else { return };
        let now_ms = BASE_MS + self.world.now_ms();
        for experiment in &experiments {
            let runs = head.experiments.iter().any(|one| one.name == experiment.name);
            match experiment.state {
                ExperimentState::Ended { .. } if runs => self.world.violated(
                    "ended_experiment_serves_nobody",
                    format_args!("{prompt:?}: {}", experiment.name),
                ),
                ExperimentState::Ended { reason: Ending::Expired, .. } => {
                    self.world.count("experiment expired");
                    let named = format!("{:?}", experiment.name);
                    if !self.lock().expired.iter().any(|text| text.contains(&named)) {
                        let told = format_args!("{prompt:?}: {named}");
                        self.world.violated("an_expiry_is_told_once", told);
                    }
                }
                ExperimentState::Running if now_ms > experiment.ends_ms + 10_000 => {
                    self.world.violated(
                        "expired_experiment_ends",
                        format_args!("{prompt:?}: {}", experiment.name),
                    );
                }
                _ => {}
            }
        }
        self.check_nodes(nodes, prompt, head.production, head.moves).await;
    }

    /// One line of moves: no gap, no move twice, each from where the one before led.
    fn check_history(&self, prompt: &PromptKey, moves: &[Move], last: u64) {
        let mut at: BTreeMap<Pointer, Option<u64>> = BTreeMap::new();
        let first = moves.first().map_or(1, |one| one.number);
        for (place, one) in moves.iter().enumerate() {
            let held = at.insert(one.pointer, one.to);
            let follows = held.is_none_or(|held| held == one.from);
            if one.number != first + place as u64 || !(follows || first > 1) {
                let told = format_args!("{prompt:?}: move {one:?}");
                self.world.violated("history_is_one_line", told);
            }
        }
        if moves.last().map_or(0, |one| one.number) != last {
            self.world.violated("history_is_one_line", format_args!("{prompt:?}: {last} moves"));
        }
    }

    /// What a request got is what the pointers said after as many moves as its node knew.
    fn check_seen(&self, prompt: &PromptKey, moves: &[Move]) {
        let seen = self.lock().seen.get(prompt).cloned().unwrap_or_default();
        let acknowledged = self.acknowledged_moves(prompt);
        if acknowledged > moves.len() as u64 {
            let told = format_args!("{prompt:?}: {acknowledged} of {}", moves.len());
            self.world.violated("what_was_acknowledged_stays", told);
        }
        for one in seen {
            let pointer = match one.chosen {
                Chosen::Production => Pointer::Production,
                Chosen::Canary => Pointer::Canary,
                _ => continue,
            };
            let mut known = moves.iter().filter(|own| own.number <= one.moves);
            let at = known.rfind(|own| own.pointer == pointer).and_then(|own| own.to);
            if at != Some(one.version) {
                self.world.violated("no_request_sees_a_mix", format_args!("{one:?}, not {at:?}"));
            }
        }
    }

    /// Every promotion has ended, or waits for a person; each of its steps was taken once.
    async fn check_promotion(
        &self,
        handle: &PromptsHandle,
        prompt: &PromptKey,
        promotion: &Promotion,
        moves: &[Move],
    ) {
        let told = || format!("{prompt:?} promotion {} {:?}", promotion.id, promotion.stage);
        if promotion.stage.is_gate() {
            return self.world.violated("every_promotion_ends", format_args!("{}", told()));
        }
        let own = moves.iter().filter(|one| one.promotion == Some(promotion.id));
        let served = own
            .clone()
            .filter(|one| one.pointer == Pointer::Production && one.to == Some(promotion.version));
        let back = own
            .filter(|one| one.pointer == Pointer::Production && one.to != Some(promotion.version));
        let (served, back) = (served.count(), back.count());
        let ends = promotion.steps.iter().filter(|step| step.what.starts_with("ended as"));
        let expected = usize::from(promotion.stage.is_end());
        if served > 1 || back > 1 || ends.count() != expected {
            let told = format_args!("{}: served {served}, back {back}", told());
            self.world.violated("no_step_is_doubled", told);
        }
        let promoted = promotion.steps.iter().find(|step| step.what.starts_with("promoted by"));
        let is_watched = matches!(promotion.results.get(&Stage::Guard), Some((Outcome::Passed, _)));
        if let (Some(promoted), true) = (promoted, is_watched && promotion.stage == Stage::Done)
            && promotion.entered_ms < promoted.at_ms + promotion.gates.guard_ms.min(self.guard_ms)
        {
            self.world.violated("guard_is_not_cut_short", format_args!("{}", told()));
        }
        self.check_judgement(handle, prompt, promotion).await;
    }

    /// The guard takes back what is bad and nothing else.
    async fn check_judgement(
        &self,
        handle: &PromptsHandle,
        prompt: &PromptKey,
        promotion: &Promotion,
    ) {
        let is_bad = is_bad_version(handle, prompt, promotion.version).await;
        // What replaces a bad version is no worse than it: somebody had ended that one's watch.
        let was_bad = match promotion.from {
            Some(before) => is_bad_version(handle, prompt, before).await,
            None => false,
        };
        for stage in [Stage::Guard, Stage::Canary] {
            let result = promotion.results.get(&stage).map(|(outcome, _)| *outcome);
            match (result, is_bad, stage) {
                (Some(Outcome::Failed), true, Stage::Guard) => {
                    self.world.count("bad version taken back");
                }
                (Some(Outcome::Failed), true, _) => self.world.count("canary taken back"),
                (Some(Outcome::Failed), false, _) => self.world.violated(
                    "good_version_is_not_taken_back",
                    format_args!("{prompt:?} version {}", promotion.version),
                ),
                (Some(Outcome::Passed), true, Stage::Guard)
                    if !was_bad && self.was_seen(prompt, promotion) =>
                {
                    self.world.violated(
                        "bad_version_is_taken_back",
                        format_args!("{prompt:?} version {}", promotion.version),
                    );
                }
                (Some(Outcome::Passed), false, Stage::Guard) => {
                    self.world.count("good version kept");
                }
                (Some(Outcome::Passed), false, _) => self.world.count("canary promoted"),
                _ => {}
            }
        }
    }

    /// Whether the guard had something to judge by: its watch began after the world had healed, and
    /// enough users got the version in it.
    fn was_seen(&self, prompt: &PromptKey, promotion: &Promotion) -> bool {
        let promoted = promotion.steps.iter().find(|step| step.what.starts_with("promoted by"));
        let Some(promoted) = promoted.map(|step| step.at_ms - BASE_MS) else { return false };
        // What comes later than this is written down too late to be looked at.
        let judged = promoted..promoted + promotion.gates.guard_ms.saturating_sub(2_500);
        let state = self.lock();
        let seen = state.seen.get(prompt).into_iter().flatten().filter(|one| {
            one.version == promotion.version
                && one.chosen == Chosen::Production
                && judged.contains(&one.at_ms)
        });
        promoted > HEAL_MS + 2_000 && seen.count() >= SEEN_WELL
    }

    /// Every node serves what the store says.
    async fn check_nodes(
        &self,
        nodes: &[Node],
        prompt: &PromptKey,
        production: Option<u64>,
        moves: u64,
    ) {
        for node in nodes {
            let Some(handle) = node.handle() else { continue };
            let wish = Wish { request: "0".to_owned(), ..Wish::default() };
            let resolved = handle.resolve(prompt, &wish).await;
            let known = resolved.as_ref().map(|resolved| resolved.moves).ok();
            let version = resolved.map(|resolved| (resolved.ready.number, resolved.chosen)).ok();
            let is_right = match &version {
                Some((version, Chosen::Production)) => Some(*version) == production,
                Some(_) => true,
                None => production.is_none(),
            };
            if !is_right || known.is_some_and(|known| known != moves) {
                let place = node.place();
                let told = format_args!(
                    "{place:?}: {version:?} after {known:?}, not {production:?} after {moves}"
                );
                self.world.violated("all_nodes_serve_the_same", told);
            }
        }
    }
}

async fn is_bad_version(handle: &PromptsHandle, prompt: &PromptKey, version: u64) -> bool {
    let Ok((_, ready)) = handle.version(prompt, version).await else { return false };
    ready.document.text.as_deref().is_some_and(|text| text.starts_with("bad"))
}
