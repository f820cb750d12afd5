//! The past under other prices.

use headwater_models::chat::Usage;

use crate::{Alias, Choice, Price, Target, what_if};

/// Backend, share and cost of each portion.
fn portions(choice: Choice, targets: Vec<Target>) -> Vec<(String, f64, u64)> {
    let used = Usage { input: 1_000_000, output: 2_000_000, ..Usage::default() };
    let alias = Alias { choice, ..Alias::of("chat", targets) };
    let told = what_if(&alias, |target| target.price.cost(&used));
    told.iter().map(|one| (one.target.backend.clone(), one.share, one.micro_usd)).collect()
}

#[test]
fn spend_follows_weights_and_prices() {
    let usd = |input: u64, output: u64| Price::of(input * 1_000_000, output * 1_000_000);
    let target = |backend: &str, weight| Target::of(backend, "m", weight, usd(1, 2));
    let dear = Target { price: usd(10, 20), ..target("dear", 1) };
    let canary = Target { is_canary: true, ..target("canary", 1) };
    let own = |name: &str, share: f64, usd: u64| (name.to_owned(), share, usd * 1_000_000);
    let cases = [
        (
            Choice::Weight,
            vec![target("a", 3), dear.clone()],
            vec![("a".to_owned(), 0.75, 3_750_000), ("dear".to_owned(), 0.25, 12_500_000)],
        ),
        (Choice::Weight, vec![target("a", 1), target("off", 0)], vec![own("a", 1.0, 5)]),
        (Choice::Cost, vec![target("a", 1), dear.clone()], vec![own("a", 1.0, 5)]),
        (Choice::Cost, vec![dear.clone(), target("a", 3)], vec![own("a", 1.0, 5)]),
        (
            Choice::Cost,
            vec![Target { weight: 3, ..dear }, canary],
            vec![("dear".to_owned(), 0.75, 37_500_000), ("canary".to_owned(), 0.25, 1_250_000)],
        ),
        (Choice::Load, vec![], vec![]),
    ];
    for (choice, targets, expected) in cases {
        assert_eq!(portions(choice, targets), expected, "{choice:?}");
    }
}
