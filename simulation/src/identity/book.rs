//! What is known of every secret: since when it is dead, by the commit that ended it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use headwater_actors::identity::KeyRefusal;
use headwater_storage::tuple::{self, Element};

use super::node::{Node, Place};
use crate::world::World;

/// See the module; cheap to clone.
#[derive(Clone)]
pub(super) struct Book {
    world: World,
    stale_ms: u64,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// By the text that is sent.
    secrets: BTreeMap<String, Held>,
    /// When a key's row was last written, by its id.
    written_ms: BTreeMap<String, u64>,
}

struct Held {
    id: String,
    /// From when on it opens nothing, in ms.
    dead_ms: Option<u64>,
    /// Whether something was begun whose fate is not known.
    unsure: bool,
    /// Processes that have refused it after its death.
    refused_by: BTreeSet<Place>,
}

impl Book {
    pub(super) fn new(world: &World, stale_ms: u64) -> Book {
        Book { world: world.clone(), stale_ms, state: Arc::default() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A row is written, at this instant.
    pub(super) fn written(&self, key: &[u8]) {
        let Ok(elements) = tuple::unpack(key) else { return };
        if let [Element::Text(area), Element::Text(kind), Element::Text(id)] = &elements[..]
            && area == "identity"
            && kind == "key"
        {
            let now_ms = self.world.now_ms();
            self.lock().written_ms.insert(id.clone(), now_ms);
        }
    }

    pub(super) fn made(&self, id: &str, secret: &str) {
        let held =
            Held { id: id.to_owned(), dead_ms: None, unsure: false, refused_by: BTreeSet::new() };
        self.lock().secrets.insert(secret.to_owned(), held);
        self.world.note(format_args!("key {id} has a secret"));
    }

    /// Somebody begins to change the key.
    pub(super) fn unsure(&self, id: &str) {
        for held in self.lock().secrets.values_mut().filter(|held| held.id == id) {
            held.unsure = true;
        }
    }

    pub(super) fn rotated(&self, id: &str, secret: &str, grace_ms: u64) {
        self.end(id, grace_ms);
        self.made(id, secret);
    }

    pub(super) fn revoked(&self, id: &str) {
        self.end(id, 0);
        self.world.note(format_args!("key {id} is revoked"));
    }

    /// All secrets of the key that are not dead yet die by what was last written.
    fn end(&self, id: &str, grace_ms: u64) {
        let mut state = self.lock();
        let Some(at_ms) = state.written_ms.get(id).copied() else {
            return self.world.violated("a_change_is_written", format_args!("key {id}"));
        };
        for held in state.secrets.values_mut().filter(|held| held.id == id) {
            let dead_ms = at_ms.saturating_add(grace_ms);
            held.dead_ms = Some(held.dead_ms.map_or(dead_ms, |before| before.min(dead_ms)));
        }
    }

    /// Any secret, drawn.
    pub(super) fn some_key(&self) -> Option<String> {
        let state = self.lock();
        let last = state.secrets.len().checked_sub(1)? as u64;
        let place = self.world.between(0, last) as usize;
        state.secrets.keys().nth(place).cloned()
    }

    /// A process was shown a secret at this instant.
    pub(super) fn tried(&self, by: Place, secret: &str, found: Result<(), KeyRefusal>) {
        let now_ms = self.world.now_ms();
        let mut state = self.lock();
        let Some(held) = state.secrets.get_mut(secret) else { return };
        let id = held.id.clone();
        match (found, held.dead_ms) {
            (Ok(()), Some(dead_ms)) if now_ms >= dead_ms.saturating_add(self.stale_ms) => {
                let late_ms = now_ms - dead_ms;
                let seen = format!(
                    "key {id}, dead since {dead_ms}, was accepted by {by:?} {late_ms} ms later, \
                     and the bound is {} ms",
                    self.stale_ms
                );
                self.world.violated("a_revoked_key_is_refused_in_time", seen);
            }
            (Ok(()), Some(_)) if held.refused_by.contains(&by) => {
                let seen = format!("key {id} was accepted by {by:?} again");
                self.world.violated("no_revoked_key_comes_back", seen);
            }
            (Ok(()), Some(_)) => self.world.count("accepted after its revocation"),
            (Ok(()), None) => self.world.count("accepted"),
            (Err(KeyRefusal::Unknown), dead) => {
                self.world.count("refused as unknown");
                let is_dead = dead.is_some_and(|dead_ms| now_ms >= dead_ms);
                if is_dead && held.refused_by.insert(by) {
                    self.world.note(format_args!("{by:?} knows that key {id} is dead"));
                }
            }
            (Err(KeyRefusal::Stale(_)), _) => self.world.count("refused as stale"),
            (Err(refusal), _) => {
                let seen = format!("key {id}: {refusal:?} by {by:?}");
                self.world.violated("a_refusal_has_its_reason", seen);
            }
        }
    }

    /// All is well again: this node must know every key.
    pub(super) fn check(&self, node: &Node) {
        for (secret, held) in &self.lock().secrets {
            let (found, id) = (node.find(secret), &held.id);
            let place = node.place();
            match held.dead_ms {
                Some(_) if found != Err(KeyRefusal::Unknown) => {
                    let seen = format!("key {id} is dead, but {place:?} says {found:?}");
                    self.world.violated("a_revoked_key_is_refused_in_time", seen);
                }
                None if !held.unsure && found.is_err() => {
                    let seen = format!("key {id} is good, but {place:?} says {found:?}");
                    self.world.violated("a_good_key_is_good_everywhere", seen);
                }
                _ => {}
            }
        }
    }
}
