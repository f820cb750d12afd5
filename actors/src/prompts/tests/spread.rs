//! Evals that several nodes ask.

use std::sync::atomic::Ordering;

use headwater_storage::{RangeRead, StoreError};
use serde_json::{Value, json};

use super::world::{World, node, prompt};
use crate::cluster::tests::world::pause;
use crate::prompts::keys;
use crate::prompts::{Eval, PromptsHandle};

/// Cases of a set: seven batches, the last of which is not full.
const CASES: usize = 100;
/// What one case costs: 5 tokens of input, and one of output.
const CASE_MICRO_USD: u64 = 15;

/// A prompt with two versions, and a set of many cases; every other one is answered well.
async fn world() -> World {
    let world = World::new().await;
    let judge = json!({"type": "regex", "pattern": "[02468]$"});
    let case = |id: usize| json!({"id": id.to_string(), "variables": {"who": id.to_string()}, "judge": judge});
    for text in ["Hello {{ who }}", "Dear {{ who }}"] {
        world.commit("greeting", text, &["who"]).await;
    }
    world.put_set("greetings", (0..CASES).map(case).collect::<Value>()).await;
    world.echo.slow_ms.store(1_000, Ordering::SeqCst);
    world
}

fn other(world: &World) -> PromptsHandle {
    node(&world.gateway, world.gateway.gateway.clone())
}

/// A node that helps for as long as it is polled; how many batches it took.
async fn helping(node: PromptsHandle, batches: &mut u64) {
    loop {
        *batches += node.help().await.unwrap();
        pause(200).await;
    }
}

/// The eval, while another node helps, and how many batches that took.
async fn helped(world: &World, budget_micro_usd: Option<u64>) -> (Eval, u64) {
    let mut batches = 0;
    let run = world.eval("greeting", |ask| ask.budget_micro_usd = budget_micro_usd);
    let eval = tokio::select! {
        eval = run => eval.unwrap(),
        () = helping(other(world), &mut batches) => panic!("it helps for ever"),
    };
    (eval, batches)
}

/// Rows of runs that are under way.
async fn rows(world: &World) -> usize {
    let read = world.prompts.shared.retry.read(|transaction| {
        Box::pin(async move {
            let jobs = transaction.range(RangeRead::all(keys::jobs())).await?;
            let mut rows = jobs.len();
            for (key, _) in jobs {
                let cases = RangeRead::all(keys::job_cases(keys::job_of(&key)?));
                rows += transaction.range(cases).await?.len();
            }
            Ok::<usize, StoreError>(rows)
        })
    });
    read.await.unwrap()
}

fn whole(eval: &Eval) {
    assert_eq!((eval.stopped.as_deref(), eval.finished, eval.score), (None, CASES, Some(0.5)));
    let named: Vec<String> = eval.results.iter().map(|result| result.case.clone()).collect();
    assert_eq!(named, (0..CASES).map(|id| id.to_string()).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn nodes_share_the_cases_and_each_is_asked_once() {
    let world = world().await;
    let (eval, batches) = helped(&world, None).await;
    whole(&eval);
    assert!((2..=5).contains(&batches), "{batches} of 7");
    assert_eq!(world.echo.asked("Dear"), CASES);
    assert_eq!(eval.micro_usd, CASES as u64 * CASE_MICRO_USD);
    assert_eq!(rows(&world).await, 0);
    let kept = world.prompts.eval(&prompt("greeting"), eval.id).await.unwrap();
    assert_eq!(kept.results, eval.results);
    // It is paid for, whoever asked it.
    let (again, _) = helped(&world, None).await;
    whole(&again);
    assert_eq!((again.micro_usd, world.echo.asked("Dear")), (0, CASES));
}

#[tokio::test(start_paused = true)]
async fn a_batch_of_a_node_that_died_is_taken_over() {
    let world = world().await;
    let dying = other(&world);
    let dies = async {
        let mut batches = 0;
        // In the middle of its first batch.
        tokio::select! {
            () = helping(dying, &mut batches) => {}
            () = pause(2_500) => {}
        }
    };
    let (eval, ()) = tokio::join!(world.eval("greeting", |_| {}), dies);
    whole(&eval.unwrap());
    // What it had under way was lost with it, and no more.
    let asked = world.echo.asked("Dear");
    assert!((CASES + 1..=CASES + 4).contains(&asked), "{asked}");
    assert_eq!(rows(&world).await, 0);
}

#[tokio::test(start_paused = true)]
async fn no_node_begins_anything_once_the_budget_is_used_up() {
    let world = world().await;
    let budget = 30 * CASE_MICRO_USD;
    // Whether the helper's batch ends before the budget does is chance.
    let (eval, _) = helped(&world, Some(budget)).await;
    // Each of two nodes finishes what it has under way.
    let most = budget + 2 * 4 * CASE_MICRO_USD;
    assert!((budget..=most).contains(&eval.micro_usd), "{}", eval.micro_usd);
    assert_eq!(eval.micro_usd, eval.finished as u64 * CASE_MICRO_USD);
    let told = format!("its budget is used up after {} cases", eval.finished);
    assert_eq!((eval.stopped, eval.score), (Some(told), None));
    assert_eq!(world.echo.asked("Dear"), eval.finished);
    // The next run goes on from there.
    let (rest, _) = helped(&world, None).await;
    whole(&rest);
    assert_eq!(world.echo.asked("Dear"), CASES);
    assert_eq!(rest.micro_usd + eval.micro_usd, CASES as u64 * CASE_MICRO_USD);
}

#[tokio::test(start_paused = true)]
async fn nobody_goes_on_with_a_run_whose_lead_is_gone() {
    let world = world().await;
    let mut batches = 0;
    tokio::select! {
        eval = world.eval("greeting", |_| {}) => panic!("{eval:?}"),
        () = helping(other(&world), &mut batches) => {}
        () = pause(2_500) => {}
    }
    assert!(rows(&world).await > 0);
    pause(31_000).await;
    let asked = world.echo.asked("Dear");
    assert_eq!(other(&world).help().await.unwrap(), 0);
    pause(61_000).await;
    assert_eq!(other(&world).help().await.unwrap(), 0);
    assert_eq!((rows(&world).await, world.echo.asked("Dear")), (0, asked));
    // Somebody asks for it again, and what was asked is kept.
    let (eval, _) = helped(&world, None).await;
    whole(&eval);
    assert!(world.echo.asked("Dear") < CASES + 9, "{}", world.echo.asked("Dear"));
}

#[tokio::test(start_paused = true)]
async fn a_node_that_serves_other_models_does_not_help() {
    let world = world().await;
    let other = node(&world.gateway, world.gateway.beside(world.echo.clone()));
    let mut batches = 0;
    tokio::select! {
        eval = world.eval("greeting", |_| {}) => whole(&eval.unwrap()),
        () = helping(other, &mut batches) => {}
    }
    assert_eq!((batches, world.echo.asked("Dear")), (0, CASES));
}
