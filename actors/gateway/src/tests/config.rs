//! Configurations that take effect, their routes and their prices.

use std::collections::{BTreeMap, BTreeSet};

use headwater_models::chat::Usage;

use crate::{Alias, GatewayConfig, Price, Target, order};

fn target(backend: &str, weight: u32) -> Target {
    let model = "large".to_owned();
    Target { backend: backend.to_owned(), model, weight, price: Price::of(150_000, 600_000) }
}

fn alias(targets: &[(&str, u32)], fallbacks: &[&str]) -> Alias {
    Alias {
        name: "chat".to_owned(),
        targets: targets.iter().map(|(backend, weight)| target(backend, *weight)).collect(),
        fallbacks: fallbacks.iter().map(|backend| target(backend, 1)).collect(),
        output_tokens: 1_000,
        cache_ttl_ms: 0,
    }
}

fn check(aliases: Vec<Alias>) -> String {
    let backends = BTreeSet::from(["a", "b", "c"].map(str::to_owned));
    match (GatewayConfig { aliases }).check(&backends, &BTreeSet::from(["encoder".to_owned()])) {
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
