//! The slots of this node: what each prompt serves, in memory.

use std::collections::BTreeMap;
use std::sync::Arc;

use headwater_prompts::{Access, Head, Promotion};

use super::keys::PromptKey;
use super::nouns::Ready;
use crate::mutants::{Mutant, planted};

/// One prompt, as of one moment: replaced as a whole, so no request sees half of a change.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) head: Head,
    /// The versions that a pointer or an experiment names.
    pub(super) ready: BTreeMap<u64, Arc<Ready>>,
    /// The one in progress.
    pub(super) promotion: Option<Promotion>,
}

/// All slots of the node.
#[derive(Debug, Default)]
pub(super) struct Table {
    /// Changes of the store that are in it.
    pub(super) revision: u64,
    teams: BTreeMap<String, BTreeMap<String, Arc<Slot>>>,
    access: BTreeMap<String, Arc<Access>>,
}

impl Table {
    pub(super) fn slot(&self, team: &str, name: &str) -> Option<&Arc<Slot>> {
        self.teams.get(team)?.get(name)
    }

    /// An older state of a prompt never replaces a newer one.
    pub(super) fn put(&mut self, prompt: &PromptKey, slot: Arc<Slot>) {
        let team = self.teams.entry(prompt.team.clone()).or_default();
        let is_older =
            team.get(&prompt.name).is_some_and(|held| held.head.changes > slot.head.changes);
        if !is_older || planted(Mutant::OlderSlotReplaces) {
            team.insert(prompt.name.clone(), slot);
        }
    }

    /// Takes over what was read of the whole store; what is newer here stays, unless the store
    /// went back.
    pub(super) fn take(&mut self, read: Table) {
        if read.revision < self.revision {
            *self = read;
            return;
        }
        for (prompt, slot) in read.all() {
            self.put(&prompt, Arc::clone(slot));
        }
        self.access.extend(read.access);
        self.revision = read.revision;
    }

    pub(super) fn access(&self, team: &str) -> Option<&Arc<Access>> {
        self.access.get(team)
    }

    pub(super) fn put_access(&mut self, team: String, access: Access) {
        self.access.insert(team, Arc::new(access));
    }

    pub(super) fn len(&self) -> usize {
        self.teams.values().map(BTreeMap::len).sum()
    }

    /// Every prompt with its slot.
    pub(super) fn all(&self) -> impl Iterator<Item = (PromptKey, &Arc<Slot>)> {
        self.teams.iter().flat_map(|(team, prompts)| {
            prompts.iter().map(move |(name, slot)| (PromptKey::new(team, name), slot))
        })
    }
}
