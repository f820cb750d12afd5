//! Calls that wait: each is found while it is open, made once, and forgotten a day after its end.

use std::sync::atomic::Ordering;

use headwater_storage::{KeyRange, RangeRead};
use headwater_tools::call::Mode;
use serde_json::json;

use super::super::keys;
use super::{CallRunner, KEPT_MS, WaitingState};
use crate::cluster::tests::world::{until, within};
use crate::tools::agents::tests::world::{Turn, World, caller};
use crate::tools::{ToolAsk, ToolsError};

fn ask(id: &str) -> ToolAsk {
    ToolAsk {
        id: Some(id.to_owned()),
        tool: "order".parse().unwrap(),
        arguments: json!({"query": id}),
        session: None,
        mode: Mode::Async,
        is_dry_run: false,
        timeout_ms: None,
        tells: false,
        request: "r".to_owned(),
        route: "/v1/tool-calls",
        trace_parent: None,
    }
}

async fn count(world: &World, range: KeyRange) -> usize {
    let store = world.cluster.retry(1_000);
    let rows = store.read(|transaction| {
        let read = RangeRead::all(range.clone());
        Box::pin(async move { transaction.range(read).await })
    });
    rows.await.unwrap().len()
}

#[tokio::test(start_paused = true)]
async fn a_call_is_looked_for_while_it_is_open_and_forgotten_a_day_after_its_end() {
    let world = World::new(&[Turn::Says("unused")]).await;
    let (one, two) = (world.node("one").await, world.node("two").await);
    for id in ["a", "b", "c"] {
        within(one.tools.begin_call(&caller("anna"), ask(id))).await.unwrap();
    }
    within(one.tools.cancel_call(&caller("anna"), "c")).await.unwrap();
    let all = KeyRange { begin: Vec::new(), end: vec![0xff] };
    assert_eq!(count(&world, keys::open_calls()).await, 2);
    assert_eq!(count(&world, keys::ended_calls(u64::MAX)).await, 1);
    // Two nodes look at once; each call is made by one of them.
    let runners = [CallRunner::new(one.tools.clone()), CallRunner::new(two.tools.clone())];
    let (first, second) = tokio::join!(runners[0].look(), runners[1].look());
    first.and(second).unwrap();
    until(|| world.backend.effects().len() == 2).await;
    for (id, state) in
        [("a", WaitingState::Done), ("b", WaitingState::Done), ("c", WaitingState::Cancelled)]
    {
        let mut told = within(two.tools.waiting_call(&caller("anna"), id)).await.unwrap();
        while !told.state.is_end() {
            two.tools.shared.runtime.pause(10).await;
            told = within(two.tools.waiting_call(&caller("anna"), id)).await.unwrap();
        }
        assert_eq!(told.state, state, "{id}");
        assert_eq!(world.backend.effects_of(id), u64::from(state == WaitingState::Done));
    }
    assert_eq!(count(&world, keys::open_calls()).await, 0, "nothing is looked for any more");
    assert_eq!(count(&world, keys::ended_calls(u64::MAX)).await, 3);
    for (hours_ms, is_there) in [(KEPT_MS - 60_000, true), (KEPT_MS + 60_000, false)] {
        two.node.wall.ahead_ms.store(hours_ms.cast_signed(), Ordering::SeqCst);
        let before = count(&world, all.clone()).await;
        within(runners[1].forget()).await.unwrap();
        let gone = before - count(&world, all.clone()).await;
        // The row, the mark of its end, the arguments; of two also the answer.
        assert_eq!(gone, if is_there { 0 } else { 3 * 3 + 2 });
        let told = within(two.tools.waiting_call(&caller("anna"), "a")).await;
        assert_eq!(matches!(told, Err(ToolsError::Unknown { .. })), !is_there, "{told:?}");
    }
}
