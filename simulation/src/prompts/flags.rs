//! People who flag answers, and editors who take or drop what was flagged.

use std::collections::BTreeSet;
use std::sync::Arc;

use headwater_actors::prompts::{
    Acceptance, Flag, Flagged, MessageTemplate, PromptError, PromptKey, PromptsHandle, Role,
};

use super::book::Book;
use super::node::{Node, prompt};
use super::people::{PATIENCE_MS, actor, some_node, told};
use super::{Options, STOP_MS};
use crate::world::World;

/// Part of an address that users write and nobody may keep.
pub(super) const PERSONAL: &str = "@example.com";

/// What became of a prompt's flags, by their ids.
#[derive(Default)]
pub(super) struct Flags {
    /// Somebody was told that it waits.
    waits: BTreeSet<String>,
    /// An editor was told that it is a case.
    taken: BTreeSet<String>,
    /// Somebody tried to take or drop it, whatever came of it.
    touched: BTreeSet<String>,
    /// Takings of unknown fate.
    unknown: u64,
}

/// Flags answers, the same ones again and again, and has an editor look at them.
pub(super) async fn flag(world: World, nodes: Arc<Vec<Node>>, book: Book, options: Options) {
    while world.now_ms() < STOP_MS {
        world.sleep(world.between(10, 800)).await;
        let Some(handle) = some_node(&world, &nodes).and_then(Node::handle) else { continue };
        let prompt = prompt(world.between(0, options.prompts - 1));
        match world.percent(70) {
            true => flag_one(&world, &handle, &prompt, &book).await,
            false => look(&world, &handle, &prompt, &book).await,
        }
    }
}

async fn flag_one(world: &World, handle: &PromptsHandle, prompt: &PromptKey, book: &Book) {
    let question = format!("I am user{}{PERSONAL}", world.between(0, 12));
    let flag = Flag {
        variables: Default::default(),
        messages: vec![MessageTemplate { role: Role::User, content: question }],
        answer: format!("bad, user{PERSONAL}"),
        expected: format!("good {}", world.between(0, 12)),
        reason: String::new(),
    };
    let taken = world.within(PATIENCE_MS, handle.take_flag(&actor("eve"), prompt, flag)).await;
    match told(world, taken) {
        Some(Flagged::Waits(proposal)) => {
            world.count("flag waits");
            book.flags(prompt, |flags| {
                // Since it was dropped it was flagged again.
                if !flags.touched.contains(&proposal.id) {
                    flags.waits.insert(proposal.id.clone());
                }
            });
        }
        Some(Flagged::Taken { id }) if !book.flags(prompt, |flags| flags.touched.contains(&id)) => {
            world.violated("a_flag_is_taken_by_an_editor", format_args!("{prompt:?}: {id}"));
        }
        Some(Flagged::Taken { .. }) | None => {}
    }
}

async fn look(world: &World, handle: &PromptsHandle, prompt: &PromptKey, book: &Book) {
    let Some(Ok(waiting)) = world.within(PATIENCE_MS, handle.proposals(prompt)).await else {
        return;
    };
    let Some(proposal) = waiting.first() else { return };
    let (id, bo) = (proposal.id.clone(), actor("bo"));
    book.flags(prompt, |flags| flags.touched.insert(id.clone()));
    if world.percent(30) {
        let dropped = world.within(PATIENCE_MS, handle.drop_proposal(prompt, &id)).await;
        if told(world, dropped).is_some() {
            world.count("flag dropped");
        }
        return;
    }
    let taken = handle.accept_proposal(&bo, prompt, &id, Acceptance::default());
    match world.within(PATIENCE_MS, taken).await {
        Some(Ok(_)) => {
            world.count("flag taken by an editor");
            book.flags(prompt, |flags| flags.taken.insert(id));
        }
        Some(Err(PromptError::Invalid(_) | PromptError::Unknown { .. })) => {}
        _ => book.flags(prompt, |flags| flags.unknown += 1),
    }
}

/// What waited waits, what was taken is one case, and nothing else became one.
pub(super) async fn check(world: &World, handle: &PromptsHandle, book: &Book, prompt: &PromptKey) {
    let Ok(set) = handle.golden_set(&prompt.team, &prompt.name).await else { return };
    let Ok(waiting) = handle.proposals(prompt).await else { return };
    let waiting: BTreeSet<String> = waiting.into_iter().map(|one| one.id).collect();
    let cases: BTreeSet<String> = set.cases.into_iter().map(|case| case.id).collect();
    book.flags(prompt, |flags| {
        for id in flags.waits.difference(&flags.touched) {
            if !waiting.contains(id) {
                world.violated("what_was_flagged_waits", format_args!("{prompt:?}: {id}"));
            }
        }
        for id in &flags.taken {
            if !cases.contains(&format!("flagged-{id}")) || waiting.contains(id) {
                world.violated("what_an_editor_took_is_a_case", format_args!("{prompt:?}: {id}"));
            }
        }
        let (made, taken) = (set.version - 1, flags.taken.len() as u64);
        if made < taken || made > taken + flags.unknown {
            let told = format_args!("{prompt:?}: {made} versions for {taken} that were taken");
            world.violated("flags_alone_change_no_set", told);
        }
    });
}
