//! After the world has healed: what was charged is what the backends produced.

use std::collections::BTreeMap;
use std::sync::Arc;

use headwater_actors::tenancy::{Amounts, ledger_rows};
use headwater_storage::retry::{Retry, RetryPolicy};

use super::book::{Book, Ended, Heard, Produced};
use super::lake;
use super::node::{Node, PRICE, TENANT};
use super::options::{CHECK_MS, HEAL_MS};
use crate::shared_store::{DoorStore, SharedStore};
use crate::world::World;

/// Rows in one read of the ledger.
const PAGE: usize = 50;

/// Heals the world, waits until all has been charged, and checks everything.
pub(super) async fn check(node: Node, store: SharedStore, book: Book) {
    let world = node.world.clone();
    world.sleep(HEAL_MS).await;
    world.note("the world heals");
    store.heal();
    world.sleep(CHECK_MS - HEAL_MS).await;
    let expected = (node.options.clients * node.options.requests) as usize;
    let (heard, calls) = (book.heard(), book.calls());
    if heard.len() != expected {
        let seen = format!("{} of {expected} requests ended", heard.len());
        world.violated("every_request_ends", seen);
    }
    let charged = ledger(&world, &store).await;
    let check = Check { world: &world, node: &node, calls: &calls };
    let kept = heard.values().filter(|heard| **heard == Heard::Kept).count();
    check.charges(&charged, kept);
    check.answers(&heard);
    lake::check(&world, &node.records.records(), &heard, &charged);
    world.count("everything checked");
}

async fn ledger(world: &World, store: &SharedStore) -> Vec<Amounts> {
    let policy =
        RetryPolicy { tries: 20, first_pause_ms: 5, longest_pause_ms: 200, total_ms: 3_000 };
    let door = store.door(0);
    let retry = Retry::new(Arc::new(DoorStore(Arc::clone(&door))), world.environment(), policy);
    let (mut used, mut last) = (Vec::new(), None);
    loop {
        match ledger_rows(&retry, TENANT, last, PAGE).await {
            Ok(page) => {
                let Some(end) = page.last() else { break };
                last = Some(end.entry.id.0);
                used.extend(page.iter().map(|row| row.entry.used));
            }
            Err(error) => {
                world.violated("the_ledger_can_be_read", error);
                break;
            }
        }
    }
    door.close();
    used
}

struct Check<'a> {
    world: &'a World,
    node: &'a Node,
    calls: &'a [Produced],
}

impl Check<'_> {
    /// One row for each answer that began, and their sums are what the backends counted; one of no
    /// tokens for each that was given again.
    fn charges(&self, charged: &[Amounts], kept: usize) {
        let once = Amounts { requests: 1, ..Amounts::default() };
        let free = charged.iter().filter(|amounts| **amounts == once).count();
        if free != kept {
            let seen = format!("{free} rows for {kept} of them");
            self.world.violated("a_kept_answer_is_one_request_of_no_tokens", seen);
        }
        if charged.len() != self.calls.len() + kept {
            let answers = self.calls.len() + kept;
            let seen = format!("{} rows for {answers} answers", charged.len());
            self.world.violated("an_answer_is_charged_once_and_a_failure_never", seen);
        }
        // A backend that tells only at the end leaves the rest to an estimate.
        let exact = |one: &&Produced| self.node.options.tells_always || one.ended == Ended::Whole;
        let own = |one: &Produced| {
            let usage = headwater_actors::gateway::Usage {
                input: one.input,
                output: one.output,
                ..Default::default()
            };
            Amounts { requests: 1, tokens: one.input + one.output, micro_usd: PRICE.cost(&usage) }
        };
        let mut open: BTreeMap<Amounts, i64> = BTreeMap::new();
        for amounts in charged {
            *open.entry(*amounts).or_default() += 1;
        }
        for produced in self.calls.iter().filter(exact) {
            let left = open.entry(own(produced)).or_default();
            *left -= 1;
            if *left < 0 {
                let seen = format!("{produced:?} is nowhere among {charged:?}");
                self.world.violated("what_was_produced_is_what_is_charged", seen);
            }
        }
        for amounts in charged.iter().filter(|amounts| amounts.requests != 1) {
            self.world.violated("a_row_is_one_request", format_args!("{amounts:?}"));
        }
    }

    /// What clients heard is what a backend said to them.
    fn answers(&self, heard: &BTreeMap<String, Heard>) {
        for (id, heard) in heard {
            let of_request = self.calls.iter().filter(|one| one.request == *id);
            let calls: Vec<&Produced> = of_request.collect();
            let is_good = match (heard, calls.as_slice()) {
                (Heard::Refused | Heard::Kept, []) => true,
                (Heard::Whole(words), [one]) => one.ended == Ended::Whole && one.output == *words,
                (Heard::Cut(words), [one]) => one.ended == Ended::Cut && one.output == *words,
                // The backend stops in the moment that its client leaves, unless it was through.
                (Heard::Left { words, at_ms }, [one]) => match one.ended {
                    Ended::Dropped => one.ended_ms == *at_ms && one.output >= *words,
                    Ended::Whole => one.ended_ms <= *at_ms,
                    Ended::Cut | Ended::No => false,
                },
                _ => false,
            };
            if !is_good {
                let seen = format!("{id}: {heard:?} of {calls:?}");
                self.world.violated("a_client_hears_what_its_backend_says", seen);
            }
        }
    }
}
