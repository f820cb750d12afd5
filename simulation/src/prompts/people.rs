//! People who change prompts, and requests that are made of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use headwater_actors::gateway::{Caller, ChatRequest, Observed};
use headwater_actors::prompts::{
    Actor, Ask, Begin, Better, Chosen, Commit, ExperimentAsk, Gates, Goal, GoalKind, ModelSettings,
    Options as Set, PromptDocument, PromptError, PromptKey, Segment, ShadowAsk, Share, Source,
    Unit, Variant, Wish,
};

use super::book::{Book, Seen};
use super::model::CHAT;
use super::node::{Node, prompt};
use super::{CHECK_MS, Options, STOP_MS};
use crate::world::World;

/// Longest time for one operation, in ms; what takes longer has an unknown fate.
pub(super) const PATIENCE_MS: u64 = 3_000;
/// What a bad version says; each of its answers fails.
const BAD: &str = "bad";

pub(super) fn some_node<'a>(world: &World, nodes: &'a [Node]) -> Option<&'a Node> {
    let last = nodes.len().checked_sub(1)? as u64;
    nodes.get(world.between(0, last) as usize)
}

pub(super) fn actor(name: &str) -> Actor {
    let (team, user) = ("acme".to_owned(), Some(name.to_owned()));
    let is_whole_team = false;
    Actor { team, user, is_whole_team, is_operator: true, name: name.to_owned() }
}

pub(super) fn told<T>(world: &World, outcome: Option<Result<T, PromptError>>) -> Option<T> {
    match outcome {
        Some(Ok(done)) => return Some(done),
        Some(Err(PromptError::Conflict(_) | PromptError::Moved { .. })) => {
            world.count("moved elsewhere meanwhile");
        }
        Some(Err(PromptError::Store(error))) if !error.is_retryable() => {
            world.count("change of unknown fate");
        }
        None => world.count("change of unknown fate"),
        Some(Err(_)) => world.count("change failed"),
    }
    None
}

/// One change after the other.
pub(super) async fn write(world: World, nodes: Arc<Vec<Node>>, book: Book, options: Options) {
    while world.now_ms() < STOP_MS {
        world.sleep(world.between(10, 1_500)).await;
        let Some(handle) = some_node(&world, &nodes).and_then(Node::handle) else { continue };
        let prompt = prompt(world.between(0, options.prompts - 1));
        match world.between(0, 9) {
            0..=3 => commit_and_promote(&world, &handle, &prompt, &options, &book).await,
            4 => {
                let bo = actor("bo");
                let asked = handle.roll_back(&bo, &prompt, None, "no".to_owned());
                let back = world.within(PATIENCE_MS, asked).await;
                if let Some(head) = told(&world, back) {
                    world.count("stepped back by hand");
                    book.acknowledged(&prompt, head.moves);
                }
            }
            5 => promote_ready(&world, &handle, &prompt, &book).await,
            6 => withdraw(&world, &handle, &prompt).await,
            7 | 8 => {
                if world.percent(40) {
                    begin_beside(&world, &nodes, &options);
                }
                experiment(&world, &handle, &prompt).await;
            }
            _ => {
                let bo = actor("bo");
                let gates = gates(&options, &prompt);
                let set = Set { gates: Some(gates), ..Set::default() };
                told(&world, world.within(PATIENCE_MS, handle.set(&bo, &prompt, set)).await);
            }
        }
    }
}

/// Any score passes: what is bad is found out among users.
fn gates(options: &Options, prompt: &PromptKey) -> Gates {
    Gates {
        golden_set: options.evals.then(|| prompt.name.clone()),
        min_score: 0.0,
        guard_ms: options.guard_ms,
        ..Gates::default()
    }
}

async fn commit_and_promote(
    world: &World,
    handle: &headwater_actors::prompts::PromptsHandle,
    prompt: &PromptKey,
    options: &Options,
    book: &Book,
) {
    let is_bad = world.percent(30);
    let text = format!("{} {}", if is_bad { BAD } else { "good" }, world.draw());
    let commit = Commit {
        document: PromptDocument {
            text: Some(text),
            model: ModelSettings { model: Some(CHAT.to_owned()), ..ModelSettings::default() },
            ..PromptDocument::default()
        },
        message: String::new(),
        tags: Vec::new(),
        parent: None,
        expected_newest: None,
        overrides: Vec::new(),
    };
    let committed = world.within(PATIENCE_MS, handle.commit(&actor("ann"), prompt, commit)).await;
    let Some((info, _)) = told(world, committed) else { return };
    world.count("committed");
    let ann = actor("ann");
    if info.number == 1 {
        let gates = gates(options, prompt);
        let set = Set { gates: Some(gates), ..Set::default() };
        told(world, world.within(PATIENCE_MS, handle.set(&ann, prompt, set)).await);
    }
    let canary_per_mille = world.percent(30).then(|| world.between(50, 500) as u32);
    let begin = Begin {
        version: info.number,
        reason: "better".to_owned(),
        canary_per_mille,
        is_auto: world.percent(60),
    };
    let begun =
        world.within(PATIENCE_MS, handle.begin_promotion(&actor("ann"), prompt, begin)).await;
    if let Some(promotion) = told(world, begun) {
        world.count("promotion began");
        book.acknowledged(prompt, promotion.epoch);
    }
}

async fn promote_ready(
    world: &World,
    handle: &headwater_actors::prompts::PromptsHandle,
    prompt: &PromptKey,
    book: &Book,
) {
    let Some(Ok(head)) = world.within(PATIENCE_MS, handle.head(prompt)).await else { return };
    let Some(id) = head.promotion else { return };
    let bo = actor("bo");
    let asked = handle.ask_promotion(&bo, prompt, id, Ask::Promote);
    if let Some(promotion) = told(world, world.within(PATIENCE_MS, asked).await) {
        book.acknowledged(prompt, promotion.epoch);
    }
}

async fn withdraw(
    world: &World,
    handle: &headwater_actors::prompts::PromptsHandle,
    prompt: &PromptKey,
) {
    let Some(Ok(head)) = world.within(PATIENCE_MS, handle.head(prompt)).await else { return };
    let Some(id) = head.promotion else { return };
    let ask = Ask::Withdraw { reason: "later".to_owned() };
    let bo = actor("bo");
    let asked = handle.ask_promotion(&bo, prompt, id, ask);
    if told(world, world.within(PATIENCE_MS, asked).await).is_some() {
        world.count("promotion withdrawn");
    }
}

/// Some quarters of the users.
fn part(world: &World) -> Share {
    let from = world.between(0, 3);
    let until = world.between(from + 1, 4);
    Share { from: from as u16 * 2_500, until: until as u16 * 2_500 }
}

/// A colleague begins an experiment at the same moment, of any prompt, at any node.
fn begin_beside(world: &World, nodes: &[Node], options: &Options) {
    let Some(handle) = some_node(world, nodes).and_then(Node::handle) else { return };
    let prompt = prompt(world.between(0, options.prompts - 1));
    let own = world.clone();
    world.spawn(async move { experiment(&own, &handle, &prompt).await });
}

/// Two versions that were committed, over some users, for a while.
async fn experiment(
    world: &World,
    handle: &headwater_actors::prompts::PromptsHandle,
    prompt: &PromptKey,
) {
    let Some(Ok(head)) = world.within(PATIENCE_MS, handle.head(prompt)).await else { return };
    let (newest, Some(production)) = (head.newest as u32, head.production) else { return };
    let variant = |name: &str, version| Variant { name: name.to_owned(), version, weight: 1 };
    let ask = ExperimentAsk {
        name: format!("e{}", world.draw() % 1_000_000),
        owner: "ann".to_owned(),
        variants: vec![variant("control", production as u32), variant("other", newest)],
        control: "control".to_owned(),
        unit: Unit::User,
        segments: vec![Segment {
            field: "plan".to_owned(),
            values: BTreeSet::from(["pro".to_owned()]),
        }],
        layer: world.percent(70).then(|| "words".to_owned()),
        share: Some(part(world)),
        holdout: None,
        duration_ms: Some(world.between(500, 6_000)),
        goals: vec![Goal {
            name: "thumbs".to_owned(),
            kind: GoalKind::Binary,
            better: Better::Higher,
        }],
    };
    let eve = actor("eve");
    let begun = world.within(PATIENCE_MS, handle.begin_experiment(&eve, prompt, ask)).await;
    if let Some(Err(PromptError::Invalid(problem))) = &begun
        && problem.problem.contains("overlaps")
    {
        return world.count("layer was taken");
    }
    let Some(begun) = told(world, begun) else { return };
    world.count("experiment began");
    if world.percent(60) {
        return;
    }
    world.sleep(world.between(200, 3_000)).await;
    let ann = actor("ann");
    let stopped = handle.stop_experiment(&ann, prompt, &begun.name, "enough");
    told(world, world.within(PATIENCE_MS, stopped).await);
}

/// Asks nodes what they serve, and answers as the versions deserve.
pub(super) async fn read(world: World, nodes: Arc<Vec<Node>>, book: Book, options: Options) {
    while world.now_ms() < CHECK_MS - 1_000 {
        world.sleep(world.between(5, 120)).await;
        let Some(node) = some_node(&world, &nodes) else { return };
        let Some(handle) = node.handle() else { continue };
        let (place, prompt) = (node.place(), prompt(world.between(0, options.prompts - 1)));
        let least = match world.percent(10) {
            true => {
                let least = book.acknowledged_moves(&prompt);
                let fresh = world.within(PATIENCE_MS, handle.refresh()).await;
                if !matches!(fresh, Some(Ok(()))) {
                    continue;
                }
                world.count("fresh read");
                least
            }
            false => 0,
        };
        let user = format!("user-{}", world.between(0, 30));
        let plan = if world.percent(30) { "pro" } else { "free" };
        let wish = Wish {
            user: Some(user.clone()),
            request: world.draw().to_string(),
            attributes: BTreeMap::from([("plan".to_owned(), plan.to_owned())]),
            ..Wish::default()
        };
        let Ok(resolved) = handle.resolve(&prompt, &wish).await else { continue };
        if resolved.source == Source::LastGood {
            world.count("last good served");
        }
        if let Chosen::Variant { .. } = &resolved.chosen {
            world.count("variant served");
        }
        let seen = Seen {
            version: resolved.ready.number,
            chosen: resolved.chosen.clone(),
            moves: resolved.moves,
            user,
            at_ms: world.now_ms(),
        };
        book.seen(place, &prompt, seen, least);
        let said = resolved.ready.document.text.clone().unwrap_or_default();
        let ask = || ShadowAsk {
            request: ChatRequest::new("m", Vec::new()),
            own_messages: 0,
            variables: Default::default(),
            caller: Caller::default(),
        };
        let Ok(used) = handle.use_of(&prompt, &resolved, ask).await else { continue };
        if let Some(watcher) = used.watcher {
            let failed = said.starts_with(BAD);
            let (latency_ms, micro_usd) = (100, 50);
            (watcher.hear)(Observed { failed, latency_ms, micro_usd, said: String::new() });
        }
    }
}
