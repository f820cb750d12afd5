//! A client: it begins runs, asks for them again and otherwise, listens, and has some end.

use headwater_actors::tools::{AgentSettings, RunMessage, ToolCaller, ToolsError};

use super::RUN_MS;
use super::book::{Heard, Runs, Wanted};
use crate::tools::agent::{caller, on_node, on_some_node};
use crate::tools::node::Node;
use crate::tools::{STOP_MS, Stage};
use crate::world::World;

/// Longest wait for an answer, in ms.
pub(super) const PATIENCE_MS: u64 = 10_000;
/// The pause before something is asked again, in ms.
const AGAIN_MS: u64 = 500;
/// Tries of a beginning; what has not begun then may begin when it is asked for again.
const TRIES: u64 = 3;
/// The team's name for whoever begins and cancels.
const CLIENT: &str = "swarm";

/// One client, until faults have stopped.
pub(in crate::tools) async fn run(stage: Stage, runs: Runs, number: u64) {
    let Stage { world, options, book, .. } = &stage;
    while !book.is_published() {
        world.sleep(100).await;
    }
    let mut begun = 0;
    while begun < runs.options.runs {
        world.sleep(world.between(1, 5_000)).await;
        if world.now_ms() >= STOP_MS {
            return;
        }
        if world.percent(options.repeats) {
            if let Some(wanted) = runs.some() {
                again(&stage, &runs, &wanted).await;
            }
            continue;
        }
        begun += 1;
        let key = runs.some_key().filter(|_| world.percent(60));
        let wanted = Wanted { key, ..fresh(world, &format!("run-{number}-{begun}")) };
        runs.add(wanted.clone());
        let (listening, heard, id) = (stage.clone(), runs.clone(), wanted.id.clone());
        world.spawn(async move { follow(&listening, &heard, &id).await });
        for _ in 0..TRIES {
            if world.now_ms() >= STOP_MS || begin(&stage, &runs, &wanted).await {
                break;
            }
            world.sleep(AGAIN_MS).await;
        }
    }
}

fn fresh(world: &World, id: &str) -> Wanted {
    let is_stuck = world.percent(15);
    let settings = AgentSettings {
        iterations_max: world.between(1, 10),
        parallel_max: world.between(1, 4) as u32,
        calls_max: world.between(1, 4) as u32,
        microdollars_max: match world.percent(30) {
            true => world.between(20, 200),
            false => world.between(1, 6) * world.between(50, 8_000),
        },
        wall_ms_max: world.between(4_000, RUN_MS),
        bad_calls_max: world.between(0, 4) as u32,
        ..AgentSettings::default()
    };
    let settings = match is_stuck {
        true => AgentSettings {
            iterations_max: 12,
            microdollars_max: 50_000,
            wall_ms_max: RUN_MS,
            ..settings
        },
        false => settings,
    };
    let tools = world.percent(30).then(|| {
        let changes = if world.percent(50) { "send" } else { "reserve" };
        vec!["look".to_owned(), changes.to_owned()]
    });
    Wanted { id: id.to_owned(), settings, tools, is_stuck, key: None }
}

/// Asks some node for a run. True when it tells of it.
async fn begin(stage: &Stage, runs: &Runs, wanted: &Wanted) -> bool {
    let (ask, runs, id) = (wanted.ask(), runs.clone(), wanted.id.clone());
    let by = ToolCaller { key_id: wanted.key.clone(), ..caller(CLIENT) };
    let begun = on_some_node(stage, PATIENCE_MS, |tools, place| async move {
        match tools.begin_run(&by, ask).await {
            Ok(told) => runs.told(place, &told),
            Err(error) => {
                runs.refused(place, &id, &error);
                return false;
            }
        }
        true
    });
    begun.await.unwrap_or(false)
}

/// Does something with a run that somebody has asked for before.
async fn again(stage: &Stage, runs: &Runs, wanted: &Wanted) {
    let world = &stage.world;
    match world.between(0, 4) {
        0 => {
            // On two nodes at once, perhaps.
            let (other, of_other, same) = (stage.clone(), runs.clone(), wanted.clone());
            world.spawn(async move {
                begin(&other, &of_other, &same).await;
            });
            if begin(stage, runs, wanted).await {
                world.count("run asked for again");
            }
        }
        1 => otherwise(stage, runs, wanted).await,
        2 => cancel(stage, runs, &wanted.id).await,
        3 => {
            let id = wanted.id.clone();
            let within_ms = world.between(0, PATIENCE_MS);
            tell(stage, runs, &id, within_ms).await;
        }
        _ => {
            listen(stage, stage.some_node(), runs, &wanted.id).await;
        }
    }
}

/// Asks for something else with the id of a run that has begun.
async fn otherwise(stage: &Stage, runs: &Runs, wanted: &Wanted) {
    if runs.run(&wanted.id).is_none_or(|run| run.told.is_none()) {
        return;
    }
    let mut ask = wanted.ask();
    ask.messages.push(RunMessage::User { text: "and something else".to_owned() });
    let (world, id) = (stage.world.clone(), wanted.id.clone());
    on_some_node(stage, PATIENCE_MS, |tools, place| async move {
        match tools.begin_run(&caller(CLIENT), ask).await {
            Ok(told) => {
                let seen = format!("{place:?} takes another question for {id}: {told:?}");
                world.violated("the_same_id_is_the_same_run", seen);
            }
            Err(ToolsError::Conflict(_)) => world.count("run asked for otherwise"),
            Err(error) => world.note(format_args!("{place:?} refuses another {id}: {error}")),
        }
    })
    .await;
}

async fn cancel(stage: &Stage, runs: &Runs, id: &str) {
    runs.cancelling(id);
    let (world, runs, id) = (stage.world.clone(), runs.clone(), id.to_owned());
    on_some_node(stage, PATIENCE_MS, |tools, place| async move {
        match tools.cancel_run(&caller(CLIENT), &id).await {
            Ok(told) => {
                runs.told(place, &told);
                world.count("run cancelled");
                world.note(format_args!("{place:?} has {id} cancelled"));
            }
            Err(error) => world.note(format_args!("{place:?} does not cancel {id}: {error}")),
        }
    })
    .await;
}

/// Asks some node how far a run is, and waits for its end for so long.
async fn tell(stage: &Stage, runs: &Runs, id: &str, within_ms: u64) {
    let (runs, id) = (runs.clone(), id.to_owned());
    on_some_node(stage, PATIENCE_MS, |tools, place| async move {
        match tools.ended_run(&caller(CLIENT), &id, within_ms).await {
            Ok(told) => runs.told(place, &told),
            Err(error) => runs.unread(place, &id, &error),
        }
    })
    .await;
}

/// Listens to a run until it has ended, here and there.
async fn follow(stage: &Stage, runs: &Runs, id: &str) {
    while stage.world.now_ms() < STOP_MS {
        stage.world.sleep(stage.world.between(1, 2 * AGAIN_MS)).await;
        if listen(stage, stage.some_node(), runs, id).await.is_some() {
            return;
        }
    }
}

/// Listens to a run on a node, from somewhere on. What was heard comes back when that was the end.
async fn listen(stage: &Stage, node: Option<&Node>, runs: &Runs, id: &str) -> Option<Heard> {
    hear(stage, node?, runs, id, runs.somewhere(id)).await
}

/// Listens to a run on a node, until it has ended. None when it was not heard to its end.
pub(super) async fn hear(
    stage: &Stage,
    node: &Node,
    runs: &Runs,
    id: &str,
    mut heard: Heard,
) -> Option<Heard> {
    let (runs, id) = (runs.clone(), id.to_owned());
    let listened = on_node(stage, node, PATIENCE_MS, |tools, place| async move {
        let events = tools.run_events(&caller(CLIENT), &id, heard.after).await;
        let mut events = events.inspect_err(|error| runs.unread(place, &id, error)).ok()?;
        while let Some(event) = events.next().await {
            match event {
                Ok(event) => runs.heard(place, &id, &mut heard, event),
                Err(error) => {
                    runs.unread(place, &id, &error);
                    return None;
                }
            }
        }
        Some(heard)
    });
    listened.await.flatten()
}
