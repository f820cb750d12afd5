//! Pairwise evals: what is compared with what, in which orders, and what is asked again.

use serde_json::{Value, json};

use super::world::{World, ask, prompt};
use crate::prompts::{Pairs, PromptError};

/// Likes the answer that holds the rubric's word, wherever it stands; the first one where both do.
const FAIR: &str = "{% if rubric in first and rubric in second %}{\"winner\": \"first\"}\
    {% elif rubric in first %}{\"winner\": \"first\", \"reason\": \"has it\"}\
    {% elif rubric in second %}{\"winner\": \"second\", \"reason\": \"has it\"}\
    {% else %}{\"winner\": \"tie\"}{% endif %}";

/// Version 1 is kind to everyone but cy, version 2 to everyone but bo.
async fn world() -> World {
    let world = World::new().await;
    let kind_but = |who: &str| {
        format!(
            "{{% if who == '{who}' %}}Go {{{{ who }}}}{{% else %}}Dear {{{{ who }}}}{{% endif %}}"
        )
    };
    world.commit("greeting", &kind_but("cy"), &["who"]).await;
    world.commit("greeting", &kind_but("bo"), &["who"]).await;
    world.commit("compare", FAIR, &["first", "second", "rubric"]).await;
    world
}

fn case(who: &str, rubric: &str) -> Value {
    let judge = json!({"type": "pairwise", "model": "chat", "prompt": "compare", "version": 1});
    json!({"id": who, "variables": {"who": who}, "judge": judge, "rubric": rubric})
}

/// A tie, an order that decides, a loss, a win, and a case that asks no pair.
fn cases() -> Value {
    json!([
        case("ann", "none of both"),
        case("dee", "Dear"),
        case("bo", "Dear"),
        case("cy", "Dear"),
        {"id": "plain", "variables": {"who": "eve"}, "judge": {"type": "regex", "pattern": "^Dear"}},
    ])
}

#[tokio::test(start_paused = true)]
async fn answers_are_compared_with_the_baselines_in_both_orders() {
    let world = world().await;
    world.put_set("greetings", cases()).await;
    let eval = world.eval("greeting", |ask| ask.baseline = Some(1)).await.unwrap();
    assert_eq!(eval.stopped, None);
    let scores: Vec<f64> = eval.results.iter().map(|result| result.score).collect();
    assert_eq!(scores, [0.5, 0.5, 0.0, 1.0, 1.0]);
    let agree: Vec<Option<bool>> =
        eval.results.iter().map(|one| Some(one.pair.as_ref()?.orders_agree)).collect();
    assert_eq!(agree, [Some(true), Some(false), Some(true), Some(true), None]);
    let pairs = Pairs { baseline: 1, wins: 1, ties: 2, losses: 1, orders_disagreed: 1 };
    assert_eq!(eval.pairs, Some(pairs));
    let lost = &eval.results[2];
    assert_eq!(lost.pair.as_ref().map(|pair| pair.answer.as_str()), Some("Dear bo"));
    assert_eq!((lost.answer.as_str(), lost.reason.as_str()), ("Go bo", "has it"));
    assert!(eval.results[1].reason.starts_with("the two orders disagree"), "{:?}", eval.results[1]);
    // Each of the four asked both versions, and the judge twice.
    assert_eq!((world.echo.asked("winner"), world.echo.asked(" ann")), (8, 2));
    // It is kept with what the pairs came to.
    let kept = world.prompts.eval(&prompt("greeting"), eval.id).await.unwrap();
    assert_eq!((kept.pairs, &kept.results), (eval.pairs, &eval.results));
}

#[tokio::test(start_paused = true)]
async fn a_pair_is_not_paid_for_twice_and_another_baseline_is() {
    let world = world().await;
    world.put_set("greetings", cases()).await;
    let first = world.eval("greeting", |ask| ask.baseline = Some(1)).await.unwrap();
    let asked = world.echo.asked("");
    let again = world.eval("greeting", |ask| ask.baseline = Some(1)).await.unwrap();
    assert_eq!((again.micro_usd, world.echo.asked("")), (0, asked));
    assert_eq!((again.score, again.pairs), (first.score, first.pairs));
    assert!(again.results.iter().all(|result| result.is_kept));
    // The same words under another number are the same baseline; other words are another one.
    world.commit("greeting", "Dear {{ who }}", &["who"]).await;
    let other = world.eval("greeting", |ask| ask.baseline = Some(3)).await.unwrap();
    assert_eq!(other.pairs.map(|pairs| (pairs.baseline, pairs.wins)), Some((3, 0)));
    assert_eq!(world.echo.asked("winner"), 16);
}

#[tokio::test(start_paused = true)]
async fn what_an_eval_may_cost_counts_both_answers_and_both_judgings() {
    let world = world().await;
    world.put_set("greetings", json!([case("bo", "Dear")])).await;
    let key = prompt("greeting");
    let most = world.prompts.estimate_eval(&key, &ask(|ask| ask.baseline = Some(1))).await.unwrap();
    let judge = json!({"type": "llm", "model": "chat", "prompt": "compare", "version": 1});
    let mut alone = case("bo", "Dear");
    alone["judge"] = judge;
    world.put_set("greetings", json!([alone])).await;
    let one = world.prompts.estimate_eval(&key, &ask(|_| {})).await.unwrap();
    // An answer has at most 50 tokens at 10 micro-USD: two answers and two judgings, and one each.
    assert!((2_000..2_500).contains(&most.micro_usd), "{most:?}");
    assert!((1_000..1_250).contains(&one.micro_usd), "{one:?}");
    // Judges read answers: two of them in each order, or one.
    assert!(
        (200..300).contains(&most.tokens) && (50..125).contains(&one.tokens),
        "{most:?} {one:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn without_a_baseline_an_eval_is_refused() {
    let world = world().await;
    world.put_set("greetings", cases()).await;
    let refused = |baseline: Option<u64>, version: u64| {
        let world = &world;
        async move {
            let run = world.eval("greeting", |ask| {
                (ask.baseline, ask.version) = (baseline, version);
            });
            match run.await {
                Err(PromptError::Invalid(problem)) => problem.to_string(),
                other => panic!("{other:?}"),
            }
        }
    };
    let told = refused(None, 2).await;
    assert!(told.starts_with("baseline: is missing, and no version is in production"), "{told}");
    assert!(refused(Some(2), 2).await.starts_with("baseline: is version 2 itself"));
    assert!(refused(Some(9), 2).await.starts_with("baseline: names version 9"));
    let asked = world.echo.asked("");
    assert_eq!(asked, 0);
    world.promote("greeting", 1).await;
    // From now on production is what is compared with.
    let eval = world.eval("greeting", |_| {}).await.unwrap();
    assert_eq!(eval.pairs.map(|pairs| pairs.baseline), Some(1));
    let told = refused(None, 1).await;
    assert!(told.contains("version 1 is the one in production"), "{told}");
    let plain =
        json!([{"id": "a", "variables": {"who": "a"}, "judge": {"type": "regex", "pattern": "D"}}]);
    world.put_set("greetings", plain).await;
    assert!(refused(Some(1), 2).await.contains("no case that is asked is judged pairwise"));
    // By night production is asked, and pairs would compare it with itself.
    world.put_set("greetings", cases()).await;
    let night =
        world.eval("greeting", |ask| (ask.version, ask.night) = (1, Some(5))).await.unwrap();
    assert_eq!((night.cases, night.pairs, night.score), (1, None, Some(1.0)));
}

#[tokio::test(start_paused = true)]
async fn whoever_gives_no_answer_loses_against_whoever_does() {
    let world = world().await;
    // Version 3 takes no `who`.
    world.commit("greeting", "Dear all", &[]).await;
    world.put_set("greetings", json!([case("bo", "Dear")])).await;
    for (version, baseline, score) in [(3, 2, 0.0), (2, 3, 1.0)] {
        let run = world.eval("greeting", |ask| {
            (ask.version, ask.baseline) = (version, Some(baseline));
        });
        let eval = run.await.unwrap();
        assert_eq!(eval.score, Some(score), "{:?}", eval.results);
        assert_eq!(eval.pairs.map(|pairs| pairs.orders_disagreed), Some(0));
    }
    assert_eq!(world.echo.asked("winner"), 0);
}
