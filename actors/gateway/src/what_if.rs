//! What past requests would have cost under other prices and weights.

use crate::config::{Alias, Choice, Target};

/// A target's part of the requests, and of their cost.
#[derive(Debug, Clone, PartialEq)]
pub struct Portion<'a> {
    pub target: &'a Target,
    /// Above 0, up to 1.
    pub share: f64,
    pub micro_usd: u64,
}

/// How an alias would share out the requests of a span of time, when all its targets are well: by
/// weight, or to the cheapest one where the cheapest is chosen. Latency and load are not known of
/// the past, so their targets are shared by weight, too. `cost` tells what all of the requests would
/// have cost at one target, each of them rounded up as a charge is.
pub fn what_if<'a>(alias: &'a Alias, cost: impl Fn(&Target) -> u64) -> Vec<Portion<'a>> {
    let weighted: Vec<&Target> = alias.targets.iter().filter(|one| one.weight > 0).collect();
    let canary: u32 = weighted.iter().filter(|one| one.is_canary).map(|one| one.weight).sum();
    let all: u32 = weighted.iter().map(|one| one.weight).sum();
    let ordinary = weighted.iter().filter(|one| !one.is_canary);
    let cheapest = ordinary.min_by_key(|one| cost(one)).copied();
    let share_of = |target: &Target| {
        let weight = match alias.choice {
            // A canary keeps its weight's share, and the cheapest takes the rest.
            Choice::Cost if target.is_canary => target.weight,
            Choice::Cost if Some(target) == cheapest => all - canary,
            Choice::Cost => 0,
            _ => target.weight,
        };
        f64::from(weight) / f64::from(all.max(1))
    };
    let portion = |target: &&'a Target| {
        let share = share_of(target);
        let micro_usd = (cost(target) as f64 * share).round() as u64;
        (share > 0.0).then_some(Portion { target, share, micro_usd })
    };
    weighted.iter().filter_map(portion).collect()
}
