//! The invariants that are checked when the world has come to rest.

use std::collections::BTreeMap;

use headwater_embedding::Pool;
use headwater_storage::memory::MemoryStore;
use headwater_storage::retry::OperationId;
use headwater_storage::tuple::{self, Element};

use super::client::{Book, Fate};
use super::node::NodeState;
use crate::world::World;

/// The row that counts how often a request was charged.
pub(super) fn charge_key(id: OperationId) -> Vec<u8> {
    tuple::pack(&["charge".into(), Element::Bytes(id.nonce.to_be_bytes().to_vec())])
}

/// The row that sums a tenant's tokens.
pub(super) fn tenant_key(tenant: u64) -> Vec<u8> {
    tuple::pack(&["tenant".into(), Element::Integer(tenant as i64)])
}

fn number(bytes: Option<&Vec<u8>>) -> u64 {
    bytes.map_or(0, |bytes| bytes.iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte)))
}

pub(super) fn after(world: &World, book: &Book, memory: &MemoryStore, state: &NodeState) {
    let rows: BTreeMap<Vec<u8>, Vec<u8>> = memory.contents().into_iter().collect();
    let mut sums: BTreeMap<u64, u64> = BTreeMap::new();
    for (order, fate) in book.lock().values() {
        let charged = number(rows.get(&charge_key(order.id)));
        let client = order.client;
        if charged > 1 {
            let seen = format!("client {client}'s request was charged {charged} times");
            world.violated("a_request_is_charged_at_most_once", seen);
        }
        if *fate == Fate::Answered && charged == 0 {
            let seen = format!("client {client}'s request was answered for nothing");
            world.violated("an_answered_request_is_charged", seen);
        }
        if *fate == Fate::Waiting {
            let seen = format!("client {client} still waits");
            if order.pool == Pool::Ingest {
                world.violated("ingest_makes_progress", &seen);
            }
            world.violated("every_request_ends", seen);
        }
        if charged > 0 {
            *sums.entry(order.tenant).or_default() += order.tokens();
        }
    }
    for (tenant, sum) in sums {
        let ledger = number(rows.get(&tenant_key(tenant)));
        if ledger != sum {
            let seen = format!("tenant {tenant} stands at {ledger} tokens, its requests at {sum}");
            world.violated("the_ledger_adds_up", seen);
        }
    }
    let left = state.left();
    if left != (0, 0) {
        let seen = format!("{} requests and {} queued tokens are left", left.0, left.1);
        world.violated("nothing_is_left_behind", seen);
    }
}
