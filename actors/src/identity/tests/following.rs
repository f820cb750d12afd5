//! Several nodes over one store: changes travel, and outages do not bring a key back to life.

use std::sync::atomic::Ordering;

use super::world::{STALE_MS, World, new_key, pause, team};
use crate::identity::{KeyRefusal, Stale};

#[tokio::test(start_paused = true)]
async fn a_change_on_one_node_holds_on_the_others() {
    let world = World::new();
    let (here, there) = (world.node(), world.node());
    let late = {
        let (key, secret) = here.create(new_key("acme")).await.expect("made");
        pause(100).await;
        assert_eq!(team(&there, &secret), Ok("acme".to_owned()));
        there.revoke(&key.id).await.expect("revoked");
        pause(100).await;
        assert_eq!(team(&here, &secret), Err(KeyRefusal::Unknown));
        world.node()
    };
    let (_, secret) = there.create(new_key("late")).await.expect("made");
    pause(1_000).await;
    for node in [&here, &there, &late] {
        assert_eq!(team(node, &secret), Ok("late".to_owned()));
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_that_missed_much_reads_it_all() {
    let world = World::new();
    let here = world.node();
    let there = world.deaf_node();
    let mut secrets = Vec::new();
    // Those that everything is read for, those of one step, and those of several.
    for missed in [1, 3, 600] {
        for _ in 0..missed {
            secrets.push(here.create(new_key("acme")).await.expect("made"));
        }
        let (key, _) = &secrets[secrets.len() / 2];
        here.revoke(&key.id).await.expect("revoked");
        there.catch_up(false).await.expect("read");
        for (key, secret) in &secrets {
            let is_revoked = here.get(&key.id).await.expect("there").revoked_ms.is_some();
            assert_eq!(team(&there, secret).is_err(), is_revoked);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_without_its_store_serves_for_a_while_and_then_nobody() {
    let world = World::new();
    let node = world.node();
    let (_, secret) = node.create(new_key("acme")).await.expect("made");
    world.is_down.store(true, Ordering::SeqCst);
    pause(STALE_MS - 1_000).await;
    assert!(team(&node, &secret).is_ok(), "the last good copy serves");
    pause(1_000).await;
    let stale = team(&node, &secret);
    assert!(matches!(stale, Err(KeyRefusal::Stale(Stale { since_ms: Some(_) }))), "{stale:?}");
    assert!(node.is_token_revoked("headwater", "one").is_err());
    world.is_down.store(false, Ordering::SeqCst);
    pause(1_000).await;
    assert!(team(&node, &secret).is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_node_that_never_read_anything_refuses_everybody() {
    let world = World::new();
    let here = world.node();
    let (_, secret) = here.create(new_key("acme")).await.expect("made");
    let deaf = world.deaf_node();
    let refused = team(&deaf, &secret);
    assert_eq!(refused, Err(KeyRefusal::Stale(Stale { since_ms: None })));
}

#[tokio::test(start_paused = true)]
async fn a_key_that_was_revoked_behind_a_deaf_node_ends_there_in_time_and_stays_dead() {
    let world = World::new();
    let (here, deaf) = (world.node(), world.deaf_node());
    let (key, secret) = here.create(new_key("acme")).await.expect("made");
    deaf.catch_up(false).await.expect("read");
    pause(1_000).await;
    here.revoke(&key.id).await.expect("revoked");
    let revoked_ms = world.clock.now_ms();
    let mut last_good_ms = 0;
    for _ in 0..200 {
        if team(&deaf, &secret).is_ok() {
            last_good_ms = world.clock.now_ms();
        }
        pause(100).await;
    }
    assert!(last_good_ms > 0, "the copy served for a while");
    assert!(last_good_ms < revoked_ms + STALE_MS, "{last_good_ms} after {revoked_ms}");
    deaf.catch_up(false).await.expect("read");
    assert_eq!(team(&deaf, &secret), Err(KeyRefusal::Unknown));
}
