//! Nodes that die while they run an agent: another one goes on, and nothing is done twice.

use std::sync::atomic::Ordering;

use headwater_backends::memory::Fault;
use headwater_storage::RangeRead;
use headwater_tools::agent::{Entry, Finish, Message};

use super::super::follower::AgentFollower;
use super::super::journal::{Hold, RunKey};
use super::world::{LEASE_MS, Running, TEAM, Turn, World, ask, caller, calls, word};
use crate::cluster::tests::world::{pause, until, within};
use crate::tools::{Decided, RunAsk, ToolsError, keys};

const DAY_MS: i64 = 86_400_000;

fn buys() -> Vec<Turn> {
    vec![
        calls(&[("find_v1", "tea"), ("pay_v1", "tea"), ("order_v1", "tea")]),
        calls(&[("pay_v1", "cake")]),
        Turn::Says("all is bought"),
    ]
}

/// A run whose node dies when so many entries stand, and the node that goes on.
async fn killed_after(world: &World, entries: u64) -> (Running, String) {
    let (one, two) = (world.node("one").await, world.node("two").await);
    let id = one.begin(ask("buy")).await.id;
    one.events(&id, entries).await;
    one.node.kill();
    two.follow();
    (two, id)
}

#[tokio::test(start_paused = true)]
async fn a_run_goes_on_after_its_node_died_at_any_entry() {
    for entries in 0..7 {
        let world = World::new(&buys()).await;
        let (two, id) = killed_after(&world, entries).await;
        let ended = two.end(&id).await;
        assert_eq!(ended.finish, Some(Finish::Answered), "{entries}: {ended:?}");
        assert_eq!(ended.steps, 3, "{entries}");
        for call in ["0.1", "0.2", "1.0"] {
            let effects = world.backend.effects_of(&format!("{id}.{call}"));
            assert_eq!(effects, 1, "{entries}: {call}");
        }
        // Every entry is told once, in its order.
        let events = two.events(&id, u64::MAX).await;
        let places: Vec<u64> = events.iter().map(|event| event.index).collect();
        assert!(places.is_sorted(), "{places:?}");
        assert_eq!(events.iter().filter(|event| word(event) == "call_ended").count(), 4);
        assert_eq!(events.iter().filter(|event| word(event) == "finished").count(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_was_under_way_is_the_same_call_again() {
    // What it came to is known to the tool itself, or to nobody.
    for (tool, result) in [("order_v1", "echo"), ("pay_v1", "may or may not have been done")] {
        let world = World::new(&[calls(&[(tool, "tea")]), Turn::Says("done")]).await;
        world.backend.inject(Fault::HangAfterEffect);
        let (one, two) = (world.node("one").await, world.node("two").await);
        let id = one.begin(ask("buy")).await.id;
        until(|| world.backend.calls().len() == 1).await;
        one.node.kill();
        two.follow();
        let ended = two.end(&id).await;
        assert_eq!(ended.finish, Some(Finish::Answered), "{tool}: {ended:?}");
        assert_eq!(world.backend.effects_of(&format!("{id}.0.0")), 1, "{tool}");
        let results = two.results(&id).await;
        assert!(results[0].contains(result), "{results:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_approval_outlives_the_node() {
    let world = World::new(&[calls(&[("delete_v1", "all")]), Turn::Says("done")]).await;
    let (two, id) = killed_after(&world, 2).await;
    let told = two.tools.agent_run(&caller("anna"), &id).await.unwrap();
    pause(3 * LEASE_MS).await;
    let same = two.tools.agent_run(&caller("anna"), &id).await.unwrap();
    assert_eq!((same.finish, &same.approvals), (None, &told.approvals));
    two.tools.decide(&caller("boss"), &told.approvals[0].1, Decided::Approve).await.unwrap();
    assert_eq!(two.end(&id).await.finish, Some(Finish::Answered));
    assert_eq!(world.backend.effects_of(&format!("{id}.0.0")), 1);
}

#[tokio::test(start_paused = true)]
async fn a_run_that_nobody_runs_is_cancelled_or_over_when_somebody_does() {
    for wait_ms in [0, 700_000] {
        let world = World::new(&[Turn::Hangs]).await;
        let (one, two) = (world.node("one").await, world.node("two").await);
        let id = one.begin(ask("think")).await.id;
        one.node.kill();
        let expected = match wait_ms {
            0 => {
                two.tools.cancel_run(&caller("boss"), &id).await.unwrap();
                Finish::Cancelled
            }
            _ => Finish::Deadline,
        };
        pause(wait_ms).await;
        two.follow();
        assert_eq!(two.end(&id).await.finish, Some(expected));
    }
}

#[tokio::test(start_paused = true)]
async fn an_outage_of_the_store_holds_a_run_up() {
    let world = World::new(&buys()).await;
    let one = world.node("one").await;
    one.follow();
    let id = one.begin(ask("buy")).await.id;
    one.events(&id, 1).await;
    world.cluster.store_down();
    pause(20_000).await;
    world.cluster.heal();
    let ended = one.end(&id).await;
    assert_eq!(ended.finish, Some(Finish::Answered), "{ended:?}");
    for call in ["0.1", "0.2", "1.0"] {
        assert_eq!(world.backend.effects_of(&format!("{id}.{call}")), 1, "{call}");
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_lost_a_run_writes_nothing_of_it() {
    let world = World::new(&[Turn::Hangs]).await;
    let (one, two) = (world.node("one").await, world.node("two").await);
    let id = one.begin(ask("think")).await.id;
    one.node.kill();
    let key = RunKey::new(TEAM, &id);
    assert_eq!(two.tools.take_run(&key).await.unwrap(), None, "it is held");
    pause(2 * LEASE_MS).await;
    let old = Hold { key: key.clone(), epoch: 1 };
    let (new, row) = two.tools.take_run(&key).await.unwrap().expect("nobody holds it");
    assert_eq!((new.epoch, row.entries), (2, 1));
    let entry =
        |text: &str| Entry::Finished { reason: Finish::Error, text: text.to_owned(), at_ms: 1 };
    let none = Default::default();
    assert!(!one.tools.append(&old, 1, entry("old"), (0, 0)).await.unwrap());
    assert_eq!(one.tools.look_at_run(&old, &none).await.unwrap(), None);
    // Neither does another process that knows the epoch, nor who has lost count.
    assert!(!one.tools.append(&new, 1, entry("old"), (0, 0)).await.unwrap());
    assert!(!two.tools.append(&new, 2, entry("gap"), (0, 0)).await.unwrap());
    assert!(!two.tools.append(&new, 0, entry("again"), (0, 0)).await.unwrap());
    assert!(two.tools.append(&new, 1, entry("new"), (0, 0)).await.unwrap());
    let told = one.tools.agent_run(&caller("anna"), &id).await.unwrap();
    assert_eq!((told.finish, told.output.as_deref()), (Some(Finish::Error), Some("new")));
    assert_eq!(two.tools.take_run(&key).await.unwrap(), None, "it has ended");
}

#[tokio::test(start_paused = true)]
async fn long_texts_stand_in_pieces_and_old_runs_are_forgotten() {
    let world = World::new(&[Turn::Says("read")]).await;
    let one = world.node("one").await;
    let text = "é".repeat(200_000);
    let asked = RunAsk { id: Some("long".to_owned()), ..ask(&text) };
    one.begin(asked).await;
    one.end("long").await;
    let messages = one.tools.run_messages(&caller("anna"), "long").await.unwrap();
    assert_eq!(messages[0], Message::User { text });
    let store = world.cluster.retry(1_000);
    let pieces = store.read(|transaction| {
        let range = keys::run_entries(TEAM, "long", 0, u64::MAX);
        Box::pin(async move { transaction.range(RangeRead::all(range)).await })
    });
    let pieces = pieces.await.unwrap();
    assert!(pieces.len() > 5, "{}", pieces.len());
    assert!(pieces.iter().all(|(_, piece)| piece.len() <= 100_000));
    let two = world.node("two").await;
    let follower = AgentFollower::new(two.tools.clone());
    for (days, is_there) in [(6, true), (8, false)] {
        two.node.wall.ahead_ms.store(days * DAY_MS, Ordering::SeqCst);
        within(follower.forget()).await.unwrap();
        let found = two.tools.agent_run(&caller("anna"), "long").await;
        assert_eq!(found.is_ok(), is_there, "{days}: {found:?}");
        assert_eq!(matches!(found, Err(ToolsError::Unknown { .. })), !is_there);
    }
}
