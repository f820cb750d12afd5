//! An agent of the swarm: it calls tools, sends calls again, asks several nodes at once, leaves.

use headwater_actors::tools::{
    Ending, Mode, SessionBudget, ToolAsk, ToolCaller, ToolReference, ToolsHandle, WaitingTold,
};
use serde_json::json;
use tokio::sync::oneshot;

use super::book::{Ask, Budget, Place};
use super::catalog::{CATALOG, Entry, Nature, TEAM};
use super::node::Node;
use super::{STOP_MS, Stage};

/// Longest wait for an answer, in ms; what takes longer is asked for again.
const PATIENCE_MS: u64 = 12_000;

pub(super) fn caller(subject: &str) -> ToolCaller {
    ToolCaller {
        team: TEAM.to_owned(),
        project: None,
        user: None,
        agent: None,
        key_id: None,
        subject: subject.to_owned(),
        is_operator: true,
    }
}

fn tool_ask(ask: &Ask) -> Option<ToolAsk> {
    Some(ToolAsk {
        id: Some(ask.id.clone()),
        tool: ask.tool.name.parse::<ToolReference>().ok()?,
        arguments: json!({"n": ask.number}),
        session: ask.session.clone(),
        mode: if ask.is_async { Mode::Async } else { Mode::Sync },
        is_dry_run: false,
        timeout_ms: None,
        tells: false,
        request: "simulated".to_owned(),
        route: "/v1/tools",
        trace_parent: None,
    })
}

/// Does something on one of the nodes, as [`on_node`] does.
pub(super) async fn on_some_node<T: Send + 'static, F: Future<Output = T> + Send + 'static>(
    stage: &Stage,
    patience_ms: u64,
    act: impl FnOnce(ToolsHandle, Place) -> F,
) -> Option<T> {
    on_node(stage, stage.some_node()?, patience_ms, act).await
}

/// Does something on a node, as a request that it serves: it freezes and dies with the node. None
/// when no answer comes in time.
pub(super) async fn on_node<T: Send + 'static, F: Future<Output = T> + Send + 'static>(
    stage: &Stage,
    node: &Node,
    patience_ms: u64,
    act: impl FnOnce(ToolsHandle, Place) -> F,
) -> Option<T> {
    let life = node.life();
    let (reply, answer) = oneshot::channel();
    let acting = act(life.tools?, life.place);
    stage.world.spawn_in(life.group, async move {
        let _ = reply.send(acting.await);
    });
    stage.world.within(patience_ms, answer).await?.ok()
}

/// Calls once, on some node.
pub(super) async fn call(stage: &Stage, ask: &Ask, patience_ms: u64) -> Option<Ending> {
    let (asked, book, ask) = (tool_ask(ask)?, stage.book.clone(), ask.clone());
    on_some_node(stage, patience_ms, |tools, place| async move {
        book.began(place, &ask.id);
        let ending = tools.call(caller("swarm"), asked).await.ending;
        book.ended(place, &ask, &ending);
        ending
    })
    .await
}

/// Writes an asynchronous call down, on some node. False when it may not stand.
pub(super) async fn begin(stage: &Stage, ask: &Ask) -> bool {
    let Some(asked) = tool_ask(ask) else { return false };
    let begun = on_some_node(stage, PATIENCE_MS, |tools, _| async move {
        tools.begin_call(&caller("swarm"), asked).await.is_ok()
    });
    begun.await.unwrap_or(false)
}

/// Asks some node after an asynchronous call.
pub(super) async fn look(stage: &Stage, ask: &Ask) -> Option<WaitingTold> {
    let id = ask.id.clone();
    let looked = on_some_node(stage, PATIENCE_MS, |tools, _| async move {
        tools.waiting_call(&caller("swarm"), &id).await.ok()
    });
    looked.await.flatten()
}

/// One agent, until faults have stopped.
pub(super) async fn run(stage: Stage, number: u64) {
    let Stage { world, options, book, .. } = &stage;
    while !book.is_published() {
        world.sleep(100).await;
    }
    let mut calls = 0;
    while world.now_ms() < STOP_MS && calls < options.calls {
        world.sleep(world.between(1, 4_000)).await;
        let ask = match world.percent(options.repeats) {
            true => earlier(&stage),
            false => {
                calls += 1;
                let ask = fresh(&stage, &format!("call-{number}-{calls}")).await;
                ask.inspect(|ask| book.add(ask.clone()))
            }
        };
        match ask {
            Some(ask) if ask.is_async => later(&stage, &ask).await,
            Some(ask) => at_once(&stage, &ask).await,
            None => {}
        }
    }
}

/// A call that somebody has asked for before; reading is not asked for again by its id.
fn earlier(stage: &Stage) -> Option<Ask> {
    let asks = stage.book.asks().into_iter();
    let asks: Vec<Ask> = asks.filter(|ask| ask.tool.nature != Nature::Reads).collect();
    let last = asks.len().checked_sub(1)? as u64;
    asks.get(stage.world.between(0, last) as usize).cloned()
}

async fn fresh(stage: &Stage, id: &str) -> Option<Ask> {
    let world = &stage.world;
    let tool: Entry = *CATALOG.get(world.between(0, CATALOG.len() as u64 - 1) as usize)?;
    let session = match world.percent(60) {
        true => session(stage).await,
        false => None,
    };
    let is_async = tool.nature != Nature::Reads && world.percent(35);
    let number = world.between(1, 1_000_000);
    Some(Ask { id: id.to_owned(), tool, number, session, is_async })
}

/// One of the sessions that there are; the first ones begin them.
async fn session(stage: &Stage) -> Option<String> {
    let Stage { world, options, book, .. } = stage;
    let begun = book.sessions();
    let place = world.between(0, options.sessions.len() as u64 - 1) as usize;
    if let Some(budget) = begun.get(place) {
        return Some(budget.session.clone());
    }
    let (calls, money) = options.sessions.get(place).copied()?;
    let budget =
        SessionBudget { calls_max: calls, microdollars_max: money, ..SessionBudget::default() };
    let made = on_some_node(stage, PATIENCE_MS, |tools, _| async move {
        tools.begin_session(&caller("swarm"), budget).await.ok()
    });
    let session = made.await.flatten()?.id;
    book.add_session(Budget { session: session.clone(), calls, money });
    Some(session)
}

/// Waits for the answer, or leaves; or asks two nodes at once.
async fn at_once(stage: &Stage, ask: &Ask) {
    let world = &stage.world;
    let patience_ms = world.between(100, PATIENCE_MS);
    if ask.tool.nature != Nature::Reads && world.percent(30) {
        let (stage, ask) = (stage.clone(), ask.clone());
        world.clone().spawn(async move {
            call(&stage, &ask, PATIENCE_MS).await;
        });
    }
    call(stage, ask, patience_ms).await;
}

/// An asynchronous call; some are cancelled, some are asked for at once as well.
async fn later(stage: &Stage, ask: &Ask) {
    let world = &stage.world;
    if !begin(stage, ask).await {
        return;
    }
    world.sleep(world.between(1, 3_000)).await;
    if world.percent(25) {
        let (id, book) = (ask.id.clone(), stage.book.clone());
        let cancelled = on_some_node(stage, PATIENCE_MS, |tools, place| async move {
            let done = tools.cancel_call(&caller("swarm"), &id).await;
            if done.is_ok() {
                book.cancelled(&id);
            }
            (done.is_ok(), place)
        });
        if let Some((true, place)) = cancelled.await {
            world.count("call cancelled");
            world.note(format_args!("{place:?} has cancelled {}", ask.id));
        }
    } else if stage.book.told(&ask.id).cancelled_ms.is_none() && world.percent(30) {
        call(stage, ask, PATIENCE_MS).await;
    }
}
