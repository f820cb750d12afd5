//! Configurations that take effect, their routes and their prices.

use std::collections::{BTreeMap, BTreeSet};

use headwater_models::chat::{ChatRequest, Message, Role, Usage};

use crate::{Alias, Choice, GatewayConfig, Price, Standing, Target, prefix_key};

/// The order of targets of which nothing is known.
fn order(alias: &Alias, key: &str) -> Vec<usize> {
    crate::order(alias, key, |_| Standing::default())
}

fn target(backend: &str, weight: u32) -> Target {
    Target::of(backend, "large", weight, Price::of(150_000, 600_000))
}

fn alias(targets: &[(&str, u32)], fallbacks: &[&str]) -> Alias {
    let targets = targets.iter().map(|(backend, weight)| target(backend, *weight)).collect();
    let fallbacks = fallbacks.iter().map(|backend| target(backend, 1)).collect();
    Alias { fallbacks, ..Alias::of("chat", targets) }
}

fn check(aliases: Vec<Alias>) -> String {
    let backends = BTreeSet::from(["a", "b", "c"].map(str::to_owned));
    match (GatewayConfig { aliases, ..GatewayConfig::default() })
        .check(&backends, &BTreeSet::from(["encoder".to_owned()]))
    {
        Ok(()) => "good".to_owned(),
        Err(problem) => problem.to_string(),
    }
}

#[test]
fn a_configuration_that_leads_nowhere_is_refused_by_its_field() {
    let good = alias(&[("a", 9), ("b", 1)], &["c"]);
    assert_eq!(check(vec![good.clone()]), "good");
    for (aliases, field) in [
        (vec![good.clone(), good.clone()], "models[1].name"),
        (vec![Alias { name: String::new(), ..good.clone() }], "models[0].name"),
        (vec![Alias { name: "encoder".to_owned(), ..good.clone() }], "models[0].name"),
        (vec![alias(&[], &["a"])], "models[0].targets"),
        (vec![alias(&[("a", 0)], &[])], "models[0].targets"),
        (vec![alias(&[("a", 1), ("d", 1)], &[])], "models[0].targets[1].backend"),
        (vec![alias(&[("a", 1)], &["d"])], "models[0].fallbacks[0].backend"),
        (vec![Alias { output_tokens: 0, ..good.clone() }], "models[0].output_tokens"),
    ] {
        let said = check(aliases);
        assert!(said.starts_with(&format!("{field}: ")), "{said}");
    }
}

#[test]
fn a_canary_has_something_beside_it_and_is_alone() {
    let with = |targets: &[(&str, u32, bool)], fallbacks: &[&str]| {
        let mut all = alias(&[], fallbacks);
        let canary = |(backend, weight, is_canary): &(&str, u32, bool)| Target {
            is_canary: *is_canary,
            ..target(backend, *weight)
        };
        all.targets = targets.iter().map(canary).collect();
        check(vec![all])
    };
    assert_eq!(with(&[("a", 9, false), ("b", 1, true)], &["c"]), "good");
    for (targets, field) in [
        (vec![("a", 9, false), ("b", 0, true)], "models[0].targets[1].canary: has weight 0"),
        (vec![("a", 9, true)], "models[0].targets[0].canary: has nothing beside it"),
        (vec![("a", 9, true), ("b", 0, false)], "models[0].targets[0].canary: has nothing"),
        (
            vec![("a", 1, true), ("b", 1, true), ("c", 1, false)],
            "models[0].targets[1].canary: is a second one",
        ),
    ] {
        let said = with(&targets, &[]);
        assert!(said.starts_with(field), "{said}");
    }
    let mut fallback = alias(&[("a", 1)], &["b"]);
    fallback.fallbacks[0].is_canary = true;
    assert!(check(vec![fallback]).starts_with("models[0].fallbacks[0].canary: is a fallback"));
}

#[test]
fn the_preferred_target_is_the_best_by_what_was_chosen() {
    let target = |backend: &str, usd: u64| {
        Target::of(backend, "large", 1, Price::of(usd * 1_000_000, usd * 1_000_000))
    };
    // In flight, and ms to the first part.
    let standings = [("a", 3, 100.0), ("b", 1, 400.0), ("c", 2, 100.0)];
    let first = |choice: Choice, room: Option<u32>| {
        let mut targets = vec![target("a", 1), target("b", 3), target("c", 2)];
        targets[0].room = room;
        let alias = Alias { choice, ..Alias::of("chat", targets) };
        let order = crate::order(&alias, "key", |target| {
            let known = standings.iter().find(|(name, ..)| *name == target.backend);
            known.map_or(Standing::default(), |(_, in_flight, first_ms)| Standing {
                in_flight: *in_flight,
                first_ms: *first_ms,
            })
        });
        alias.targets[order[0]].backend.clone()
    };
    for (choice, room, best) in [
        (Choice::Latency, None, "c"),
        (Choice::Load, None, "b"),
        (Choice::Cost, None, "a"),
        // Cheap, and without room: the next cheapest helps out.
        (Choice::Cost, Some(3), "c"),
        (Choice::Cost, Some(4), "a"),
    ] {
        assert_eq!(first(choice, room), best, "{choice:?} {room:?}");
    }
}

#[test]
fn a_canary_gets_its_share_whatever_is_chosen_by() {
    let mut canary = target("b", 1);
    canary.is_canary = true;
    for choice in [Choice::Weight, Choice::Latency, Choice::Load, Choice::Cost] {
        let targets = vec![target("a", 4), canary.clone(), target("c", 5)];
        let alias = Alias { choice, ..Alias::of("chat", targets) };
        let mut first = 0;
        for key in 0..2_000 {
            let order = order(&alias, &format!("user-{key}"));
            first += u32::from(order[0] == 1);
            assert!(order[0] == 1 || order[2] == 1, "else it is the last that helps out");
        }
        // A tenth of 2,000, and 4 standard deviations of 13.
        assert!((147..=253).contains(&first), "{choice:?}: {first}");
    }
}

#[test]
fn requests_that_begin_alike_have_one_key() {
    let ask = |texts: &[(Role, &str)]| {
        let message = |(role, text): &(Role, &str)| Message::text(*role, *text);
        prefix_key(&ChatRequest::new("chat", texts.iter().map(message).collect()))
    };
    let first = ask(&[(Role::System, "be brief"), (Role::User, "hello")]);
    let later = [(Role::System, "be brief"), (Role::User, "hello"), (Role::Assistant, "hi")];
    assert_eq!(first, ask(&later));
    assert_ne!(first, ask(&[(Role::System, "be brief"), (Role::User, "bye")]));
    assert_ne!(first, ask(&[(Role::User, "hello")]));
}

#[test]
fn keys_are_shared_out_by_weight_and_keep_their_target() {
    let alias = alias(&[("a", 9), ("b", 1), ("c", 0)], &["b"]);
    let mut first: BTreeMap<usize, u32> = BTreeMap::new();
    for key in 0..10_000 {
        let order = order(&alias, &format!("user-{key}"));
        assert_eq!(order.len(), 4);
        assert_eq!(order[2..], [2, 3], "no weight behind weights, fallbacks at the end");
        assert_eq!(order, self::order(&alias, &format!("user-{key}")));
        *first.entry(order[0]).or_default() += 1;
    }
    // 9,000 ± 4 standard deviations of 30.
    assert!((8_880..9_120).contains(&first[&0]), "{first:?}");
}

#[test]
fn a_weight_that_grows_moves_only_keys_towards_it() {
    let (before, after) = (alias(&[("a", 9), ("b", 1)], &[]), alias(&[("a", 9), ("b", 3)], &[]));
    for key in 0..2_000 {
        let key = format!("user-{key}");
        let (old, new) = (order(&before, &key)[0], order(&after, &key)[0]);
        assert!(old == new || new == 1, "{key} moved away from what grew");
    }
}

#[test]
fn prices_count_cached_tokens_apart_and_round_once() {
    let price =
        Price { input: 150_000, output: 600_000, input_cached: 75_000, input_written: 187_500 };
    let usage =
        Usage { input: 1_000, output: 500, input_cached: 400, input_written: 100, reasoning: 90 };
    // 500 × 0.15 + 400 × 0.075 + 100 × 0.1875 + 500 × 0.6 = 423.75
    assert_eq!(price.cost(&usage), 424);
    assert_eq!(price.cost(&Usage::default()), 0);
    assert_eq!(Price::FREE.cost(&usage), 0);
    assert_eq!(price.bound(1_000, 500), 488, "all of it at the dearest input price");
    let endless = Usage { input: u64::MAX, output: u64::MAX, ..Usage::default() };
    assert_eq!(Price::of(u64::MAX, u64::MAX).cost(&endless), u64::MAX);
}
