//! Operators who change keys, and users who try them.

use std::sync::Arc;

use headwater_actors::identity::{Holder, IdentityError, NewKey};

use super::book::Book;
use super::node::Node;
use super::{CHECK_MS, STOP_MS};
use crate::world::World;

/// Longest time for one operation of an operator, in ms; what takes longer has an unknown fate.
const PATIENCE_MS: u64 = 3_000;

fn some_node<'a>(world: &World, nodes: &'a [Node]) -> Option<&'a Node> {
    let last = nodes.len().checked_sub(1)? as u64;
    nodes.get(world.between(0, last) as usize)
}

pub(crate) fn new_key() -> NewKey {
    let holder = Holder {
        team: "acme".to_owned(),
        project: None,
        user: None,
        models: vec!["*".to_owned()],
        tier: "standard".to_owned(),
    };
    NewKey { holder, note: String::new(), expires_ms: None }
}

/// One key after the other: made, perhaps rotated, perhaps revoked.
pub(super) async fn operate(world: World, nodes: Arc<Vec<Node>>, book: Book) {
    while world.now_ms() < STOP_MS {
        world.sleep(world.between(10, 1_500)).await;
        let Some(node) = some_node(&world, &nodes) else { return };
        let made = world.within(PATIENCE_MS, node.handle().create(new_key())).await;
        let Some((key, secret)) = told(&world, made) else { continue };
        world.count("key made");
        book.made(&key.id, secret.reveal());
        world.sleep(world.between(10, 3_000)).await;
        if world.percent(40) {
            rotate(&world, &nodes, &book, &key.id).await;
            world.sleep(world.between(10, 2_000)).await;
        }
        if world.percent(70) {
            revoke(&world, &nodes, &book, &key.id).await;
        }
    }
}

async fn rotate(world: &World, nodes: &[Node], book: &Book, id: &str) {
    let Some(node) = some_node(world, nodes) else { return };
    let grace_ms = if world.percent(50) { 0 } else { world.between(1, 2_000) };
    // Whatever becomes of it, the old secret may be dead from now on.
    book.unsure(id);
    let rotated = world.within(PATIENCE_MS, node.handle().rotate(id, grace_ms)).await;
    if let Some((key, secret)) = told(world, rotated) {
        world.count("key rotated");
        book.rotated(&key.id, secret.reveal(), grace_ms);
    }
}

/// Tries until it is done: somebody's key is in the wrong hands.
async fn revoke(world: &World, nodes: &[Node], book: &Book, id: &str) {
    book.unsure(id);
    loop {
        let Some(node) = some_node(world, nodes) else { return };
        let revoked = world.within(PATIENCE_MS, node.handle().revoke(id)).await;
        if told(world, revoked).is_some() {
            world.count("key revoked");
            return book.revoked(id);
        }
        world.sleep(world.between(50, 500)).await;
    }
}

fn told<T>(world: &World, outcome: Option<Result<T, IdentityError>>) -> Option<T> {
    match outcome {
        Some(Ok(done)) => return Some(done),
        Some(Err(IdentityError::Unknown { .. })) | None => world.count("change of unknown fate"),
        Some(Err(_)) => world.count("change failed"),
    }
    None
}

/// Tries keys, good ones and dead ones, at all nodes.
pub(super) async fn use_keys(world: World, nodes: Arc<Vec<Node>>, book: Book) {
    while world.now_ms() < CHECK_MS - 1_000 {
        world.sleep(world.between(5, 60)).await;
        let Some(node) = some_node(&world, &nodes) else { return };
        if let Some(key) = book.some_key() {
            book.tried(node.place(), &key, node.find(&key));
        }
    }
}
