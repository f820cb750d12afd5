//! A client: asks, listens, and sometimes leaves.

use std::future::poll_fn;
use std::pin::Pin;

use futures_core::Stream;
use headwater_actors::gateway::{
    Ask, CacheWish, Cached, Caller, ChatEvent, ChatRequest, Chunk, GatewayError, Message, Role,
};

use super::backend::TOO_MANY;
use super::book::{Book, Heard};
use super::node::{CHAT, Node, TENANT};
use super::options::SILENT_MS;
use super::wording;
use crate::world::World;

/// Most words of an answer.
const WORDS: u64 = 12;
const FEW_WORDS: u64 = 3;
/// What a request takes at most beside its budget, in ms: its last try, which may be silent, the
/// wait for the quota and that for another's answer.
const REST_MS: u64 = SILENT_MS + 40_000;

pub(super) async fn run(node: Node, book: Book, number: u64) {
    for turn in 0..node.options.requests {
        node.world.sleep(node.world.between(0, 3_000)).await;
        ask(&node, &book, format!("{number}/{turn}")).await;
    }
}

/// What a client calls itself.
fn name_of(id: &str) -> String {
    format!("client-{}@example.com", id.replace('/', "-"))
}

/// So many words, please, in this wording.
fn question(node: &Node, id: &str, words: u64, wording: usize) -> Ask {
    let own = name_of(id);
    let messages = vec![
        Message::text(Role::User, format!("I am {own}.")),
        Message::text(Role::User, format!("{} to {own}.", wording::begin(wording))),
    ];
    let mut request = ChatRequest::new(CHAT, messages);
    (request.max_tokens, request.user, request.stream) = (Some(words), Some(id.to_owned()), true);
    // Others ask for as many words, and some of them take an answer that was given before.
    let prefers = node.world.percent(node.options.takes_kept);
    let cache = CacheWish { prefers, ..CacheWish::default() };
    let caller = Caller { tenant: TENANT.to_owned(), ..Caller::default() };
    let (id, key) = (id.to_owned(), id.to_owned());
    Ask { id, caller, route: "simulated", key, cache, trace_parent: None, prompt: None, request }
}

async fn ask(node: &Node, book: &Book, id: String) {
    let world = &node.world;
    // Where questions are compared, more of them ask for as many words.
    let most = if node.options.compares.is_some() { FEW_WORDS } else { WORDS };
    let words = if world.percent(3) { TOO_MANY } else { world.between(1, most) };
    let leaves = world.percent(node.options.leaves).then(|| world.between(0, words));
    let wording = node.options.compares.map_or(0, |_| world.between(0, 2)) as usize;
    let ask = question(node, &id, words, wording);
    world.note(format_args!("{id} asks for {words} words"));
    let began_ms = world.now_ms();
    let asked = node.gateway.chat(ask).await;
    let took_ms = world.now_ms() - began_ms;
    if took_ms > node.options.settings.retry.budget_ms + REST_MS {
        world.violated(
            "a_request_is_answered_within_its_budget",
            format_args!("{id}: {took_ms} ms"),
        );
    }
    let mut answer = match asked {
        Ok(answer) => answer,
        Err(error) => {
            refused(node, &id, words, &error);
            return book.hear(&id, Heard::Refused);
        }
    };
    if answer.served.retries > 0 {
        world.count("tried again");
    }
    let is_kept = is_kept(world, answer.served.cache);
    let mut heard = 0;
    loop {
        if leaves == Some(heard) {
            world.count("answer left");
            drop(answer);
            return match is_kept {
                true => book.hear(&id, Heard::Kept),
                false => book.hear(&id, Heard::Left { words: heard, at_ms: world.now_ms() }),
            };
        }
        let next = poll_fn(|context| Pin::new(&mut answer.chunks).poll_next(context)).await;
        match next {
            Some(Ok(chunk)) => {
                heard += words_of(&chunk);
                has_own(world, &chunk, &name_of(&id));
                wording::check(world, &chunk, wording, is_kept);
            }
            Some(Err(error)) => {
                world.count("answer cut");
                if is_kept {
                    world.violated("a_kept_answer_is_a_whole_one", format_args!("{id}: {error}"));
                }
                if !matches!(error, GatewayError::Cut { .. }) {
                    world.violated("a_broken_answer_is_told_as_cut", format_args!("{id}: {error}"));
                }
                return book.hear(&id, Heard::Cut(heard));
            }
            None => {
                world.count("answer whole");
                if heard != words {
                    let seen = format!("{id}: {heard} of {words} words");
                    world.violated("a_clean_end_means_a_whole_answer", seen);
                }
                return match is_kept {
                    true => book.hear(&id, Heard::Kept),
                    false => book.hear(&id, Heard::Whole(heard)),
                };
            }
        }
    }
}

fn refused(node: &Node, id: &str, words: u64, error: &GatewayError) {
    let world = &node.world;
    world.note(format_args!("{id} is refused: {error}"));
    match error {
        GatewayError::OverQuota { .. } => world.count("refused by the quota"),
        GatewayError::Refused { .. } if words >= TOO_MANY => {}
        GatewayError::Limited { .. } | GatewayError::Unavailable { .. } => {
            world.count("unavailable")
        }
        GatewayError::TimedOut { .. } => world.count("unavailable"),
        other => world.violated("a_refusal_has_its_reason", format_args!("{id}: {other:?}")),
    }
}

/// Whether an answer is given again.
fn is_kept(world: &World, cache: Cached) -> bool {
    match cache {
        Cached::Off | Cached::Miss => return false,
        Cached::Hit { .. } => world.count("given again"),
        Cached::Near { .. } => world.count("given again in other words"),
    }
    true
}

/// What a backend says of its client is the client's own value again.
fn has_own(world: &World, chunk: &Chunk, own: &str) {
    for text in texts(chunk).filter(|text| text.contains(['<', '@'])) {
        world.count("own words came back");
        if text.trim() != own {
            let seen = format!("{text:?} instead of {own}");
            world.violated("a_client_gets_its_own_words_back", seen);
        }
    }
}

fn words_of(chunk: &Chunk) -> u64 {
    texts(chunk).count() as u64
}

/// The words of a part.
pub(super) fn texts(chunk: &Chunk) -> impl Iterator<Item = &str> {
    chunk.events.iter().filter_map(|event| match event {
        ChatEvent::Text { text, .. } => Some(text.as_str()),
        _ => None,
    })
}
