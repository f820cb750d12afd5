//! Answers that users got, judged in the background, and a guard that watches the scores.

use std::sync::atomic::Ordering;

use serde_json::{Value, json};

use super::world::{VERDICT, World, prompt};
use crate::cluster::tests::world::pause;
use crate::prompts::keys::{Mark, Of};
use crate::prompts::{Promotion, PromptError, Stage};

/// Says that an answer is good when it is kind.
const JUDGE: &str = "{\"score\": {% if 'Dear' in answer %}1.0{% else %}0.0{% endif %}}";
/// How long a promoted version is watched.
const GUARD_MS: u64 = 60_000;

fn judge(version: u64) -> Value {
    json!({"type": "llm", "model": "chat", "prompt": "judge", "version": version})
}

fn set(judges: &[Value]) -> Value {
    let case = |(place, judge): (usize, &Value)| json!({"id": place.to_string(), "variables": {"who": "x"}, "judge": judge});
    judges.iter().enumerate().map(case).collect()
}

fn gates(live: Value) -> Value {
    json!({"golden_set": "greetings", "min_score": 0.0, "guard_ms": GUARD_MS, "live_judge": live})
}

fn every_answer() -> Value {
    json!({"per_mille": 1_000, "per_minute": 600, "budget_micro_usd": 1_000_000})
}

/// Version 1 serves, and is kind; what users are told from now on is judged.
async fn world(live: Value) -> World {
    let world = World::new().await;
    world.commit("judge", JUDGE, &["answer"]).await;
    world.commit("greeting", "Dear {{ who }}", &["who"]).await;
    world.promote("greeting", 1).await;
    world.put_set("greetings", set(&[judge(1)])).await;
    world.set_gates("greeting", gates(live)).await.unwrap();
    world.run();
    world
}

/// Users ask so often.
async fn users(world: &World, count: usize) {
    for number in 0..count {
        world.user("greeting", &format!("user {number}")).await;
        pause(100).await;
    }
}

/// Promotes a version, and has users ask while it is watched.
async fn watched(world: &World, text: &str) -> Promotion {
    let version = world.commit("greeting", text, &["who"]).await;
    let id = world.promote("greeting", version).await;
    // Long after the end of its watch.
    for _ in 0..2 * GUARD_MS / 100 {
        let promotion = world.promotion("greeting", id).await;
        match promotion.stage {
            stage if stage.is_end() => return promotion,
            Stage::Guard => users(world, 1).await,
            _ => pause(100).await,
        }
    }
    panic!("{:?}", world.promotion("greeting", id).await);
}

fn detail(promotion: &Promotion) -> &str {
    &promotion.results[&Stage::Guard].1
}

#[tokio::test(start_paused = true)]
async fn a_version_whose_answers_a_judge_finds_bad_is_taken_back() {
    let world = world(every_answer()).await;
    users(&world, 60).await;
    let rude = watched(&world, "Go away {{ who }}").await;
    assert_eq!(rude.stage, Stage::RolledBack, "{rude:?}");
    assert_eq!(detail(&rude), "bad answers 100.0 % against 0.0 %");
    // It was found out within the watch.
    let guarded_ms =
        rude.steps.iter().find(|step| step.what.contains("promoted by")).unwrap().at_ms;
    assert!(rude.entered_ms < guarded_ms + GUARD_MS, "{rude:?}");
    assert_eq!(world.prompts.head(&prompt("greeting")).await.unwrap().production, Some(1));
    assert_eq!(world.user("greeting", "ann").await, "Dear ann");
}

#[tokio::test(start_paused = true)]
async fn a_version_whose_answers_are_as_good_stays() {
    let world = world(every_answer()).await;
    users(&world, 60).await;
    let kind = watched(&world, "Dear friend {{ who }}").await;
    assert_eq!(kind.stage, Stage::Done, "{kind:?}");
    assert!(detail(&kind).contains("judge score 1.000 over"), "{}", detail(&kind));
    assert!(detail(&kind).contains("against 1.000 over 60"), "{}", detail(&kind));
}

#[tokio::test(start_paused = true)]
async fn without_scores_of_the_version_before_the_judge_decides_nothing() {
    let world = world(every_answer()).await;
    // Users asked version 1 before anybody judged what it says.
    world.set_gates("greeting", json!({"golden_set": "greetings"})).await.unwrap();
    users(&world, 60).await;
    assert_eq!(world.echo.asked(VERDICT), 0, "off by default");
    world.set_gates("greeting", gates(every_answer())).await.unwrap();
    let rude = watched(&world, "Go away {{ who }}").await;
    assert_eq!(rude.stage, Stage::Done, "{rude:?}");
    assert!(detail(&rude).contains("too few judged answers to compare"), "{}", detail(&rude));
}

#[tokio::test(start_paused = true)]
async fn scores_of_another_judge_are_not_compared() {
    let world = world(every_answer()).await;
    users(&world, 60).await;
    // A judge that finds nothing good would find the new version bad, and the old one as well.
    world.commit("judge", "{\"score\": {% if answer %}0.0{% endif %}}", &["answer"]).await;
    world.put_set("greetings", set(&[judge(2)])).await;
    let same = watched(&world, "Dear old {{ who }}").await;
    assert_eq!(same.stage, Stage::Done, "{same:?}");
    assert!(detail(&same).contains("too few judged answers to compare"), "{}", detail(&same));
}

#[tokio::test(start_paused = true)]
async fn no_more_is_judged_than_the_minute_and_the_day_allow() {
    let few = json!({"per_mille": 1_000, "per_minute": 5, "budget_micro_usd": 1_000_000});
    let world = world(few).await;
    // The first minute of the world has not gone by: 60 answers are told within 6 s.
    users(&world, 60).await;
    assert_eq!(world.echo.asked(VERDICT), 5);
    pause(60_000).await;
    users(&world, 60).await;
    assert_eq!(world.echo.asked(VERDICT), 10);
    // A budget that some judgings use up: what they cost is known once they are paid.
    let cheap = json!({"per_mille": 1_000, "per_minute": 600, "budget_micro_usd": 400});
    world.set_gates("greeting", gates(cheap)).await.unwrap();
    let before = world.echo.asked(VERDICT);
    pause(60_000).await;
    users(&world, 120).await;
    let more = world.echo.asked(VERDICT) - before;
    // 5 tokens of input, and one of output at 10 micro-USD, each; 10 were paid for today.
    assert_eq!(more, 400usize.div_ceil(15) - 10);
    let day_ms = 24 * 60 * 60_000;
    world.gateway.site.node.wall.ahead_ms.store(day_ms, Ordering::SeqCst);
    users(&world, 1).await;
    assert_eq!(world.echo.asked(VERDICT), before + more + 1);
}

#[tokio::test(start_paused = true)]
async fn users_wait_for_no_judge() {
    let world = world(every_answer()).await;
    world.echo.judges_hang.store(true, Ordering::SeqCst);
    for number in 0..40 {
        let told = world.user("greeting", &number.to_string()).await;
        assert_eq!(told, format!("Dear {number}"));
    }
    pause(1_000).await;
    // No more than so many wait at a time; the others are left out.
    assert_eq!(world.echo.asked(VERDICT), 8);
    let since = world.prompts.head(&prompt("greeting")).await.unwrap().production_since;
    let mark = Mark { prompt: prompt("greeting"), version: 1, of: Of::Served(since) };
    assert_eq!(world.prompts.watched(&mark).await.unwrap().watched.errors.count, 40);
}

#[tokio::test(start_paused = true)]
async fn what_nobody_could_judge_by_is_refused() {
    let world = world(every_answer()).await;
    let regex = json!({"type": "regex", "pattern": "Dear"});
    let cases = [
        (set(&[regex.clone()]), "needs a golden set with a case whose judge is llm"),
        (set(&[judge(1), judge(2)]), "needs a golden set with one llm judge"),
    ];
    for (number, (cases, told)) in cases.into_iter().enumerate() {
        let name = format!("set-{number}");
        world.put_set(&name, cases).await;
        let mut gates = gates(every_answer());
        gates["golden_set"] = json!(name);
        match world.set_gates("greeting", gates).await {
            Err(PromptError::Invalid(problem)) => {
                assert_eq!(problem.field, "gates.live_judge");
                assert!(problem.problem.contains(told), "{problem}");
            }
            other => panic!("{other:?}"),
        }
    }
    let mut gates = gates(every_answer());
    gates["golden_set"] = json!("nowhere");
    let told = world.set_gates("greeting", gates).await.unwrap_err().to_string();
    assert!(told.contains("'nowhere', which is not there"), "{told}");
}
