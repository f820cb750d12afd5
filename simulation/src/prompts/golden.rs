//! Golden sets with a night each, and what must have become of both.

use std::sync::Arc;

use headwater_actors::prompts::{Case, GoldenAsk, Judge, PromptError, PromptKey, PromptsHandle};

use super::book::Book;
use super::node::{BASE_MS, Node, prompt};
use super::people::{PATIENCE_MS, actor, some_node};
use super::{Options, flags};
use crate::world::World;

/// Day of the world's night, counted from 1970, and its ms of the world's time.
const NIGHT: u64 = (BASE_MS + NIGHT_MS) / 86_400_000;
const NIGHT_MS: u64 = 15_000;

fn cases() -> Vec<Case> {
    let case = |id: &str| Case {
        id: id.to_owned(),
        variables: Default::default(),
        messages: Vec::new(),
        expected: String::new(),
        judge: Judge::Contains { texts: vec!["good".to_owned()] },
        rubric: String::new(),
        weight: 1.0,
    };
    ["first", "second"].map(case).into()
}

/// Each prompt has a set of its own name, which is asked at midnight.
pub(super) async fn set_up(world: World, nodes: Arc<Vec<Node>>, options: Options) {
    for number in 0..options.prompts {
        let PromptKey { team, name } = prompt(number);
        loop {
            let Some(handle) = some_node(&world, &nodes).and_then(Node::handle) else { return };
            let ann = actor("ann");
            let ask =
                GoldenAsk { nightly: Some("00:00".to_owned()), ..GoldenAsk::of(cases(), Some(0)) };
            let put = handle.put_golden_set(&ann, &team, &name, ask);
            // One that is there was put by a try whose fate nobody knew.
            match world.within(PATIENCE_MS, put).await {
                Some(Ok(_) | Err(PromptError::Moved { .. })) => break,
                _ => world.sleep(world.between(50, 500)).await,
            }
        }
    }
}

/// Holds a prompt's night and its flags against what must have become of them.
pub(super) async fn check(world: &World, nodes: &[Node], book: &Book, prompt: &PromptKey) {
    let Some(handle) = nodes.first().and_then(Node::handle) else { return };
    check_night(world, &handle, prompt).await;
    flags::check(world, &handle, book, prompt).await;
}

async fn check_night(world: &World, handle: &PromptsHandle, prompt: &PromptKey) {
    let (Ok(head), Ok(evals)) = (handle.head(prompt).await, handle.evals(prompt).await) else {
        return;
    };
    let Ok(set) = handle.golden_set(&prompt.team, &prompt.name).await else { return };
    let runs = evals.iter().filter(|eval| eval.night == Some(NIGHT)).count();
    let counted = usize::from(head.last_night == Some(NIGHT));
    if runs != counted || evals.iter().any(|eval| eval.night.is_some_and(|day| day != NIGHT)) {
        let told = format_args!("{prompt:?}: {runs} runs, counted {:?}", head.last_night);
        world.violated("a_night_is_run_once", told);
    }
    let now_ms = BASE_MS + world.now_ms();
    let is_due = set.nightly.is_some_and(|nightly| nightly.due(now_ms, head.last_night).is_some());
    if is_due && head.production.is_some() && head.gates.golden_set.is_some() {
        world.violated("no_night_is_left_out", format_args!("{prompt:?}: {:?}", head.last_night));
    }
    (0..counted).for_each(|_| world.count("night counted"));
}
