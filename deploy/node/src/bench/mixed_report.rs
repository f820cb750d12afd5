//! What a mixed load saw: each round, and the spread of what matters.

use std::fmt::Write;

use super::queries::Latencies;

/// One turn of the three phases.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Round {
    pub(super) alone: Latencies,
    /// Processor cores that the server used for the queries alone.
    pub(super) alone_cores: f64,
    pub(super) both: Latencies,
    /// The bulk load's tokens per second, alone and beside the queries.
    pub(super) bulk_alone_per_s: f64,
    pub(super) bulk_both_per_s: f64,
    /// Bulk requests refused for want of room.
    pub(super) refused: u64,
}

/// One server's mixed load.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Mixed {
    pub(super) peer: String,
    /// Queries per second that 64 clients got.
    pub(super) capacity_per_s: f64,
    pub(super) rate_per_s: f64,
    /// Whether the bulk load asked for a service level of its own.
    pub(super) tier: bool,
    /// Whether the generator went before the server on the processor.
    pub(super) favoured: bool,
    pub(super) rounds: Vec<Round>,
}

/// The middle, the least and the most of some figures.
struct Spread {
    median: f64,
    least: f64,
    most: f64,
}

impl Mixed {
    fn spread(&self, value: impl Fn(&Round) -> f64) -> Spread {
        let mut values: Vec<f64> = self.rounds.iter().map(value).collect();
        values.sort_by(f64::total_cmp);
        let at = |place: usize| values.get(place).copied().unwrap_or(f64::NAN);
        Spread {
            median: at(values.len() / 2),
            least: at(0),
            most: at(values.len().saturating_sub(1)),
        }
    }

    /// All rounds' latencies as one, in ms.
    fn pooled(&self, of: fn(&Round) -> &Latencies, share: f64) -> f64 {
        let mut all: Vec<f64> =
            self.rounds.iter().flat_map(|round| of(round).answered_ms.iter().copied()).collect();
        all.sort_by(f64::total_cmp);
        super::load::quantile(&all, share)
    }

    /// The share of the server that the queries leave, by their rate over its capacity.
    fn idle_share(&self) -> f64 {
        (1.0 - self.rate_per_s / self.capacity_per_s).max(0.0)
    }
}

/// A Markdown table of the rounds and the figures under it.
pub(super) fn table(mixed: &Mixed) -> String {
    let mut text = String::from(
        "| server | round | p50 alone ms | p50 with bulk | p99 alone ms | p99 with bulk | p99 ratio \
         | bulk tokens/s alone | with queries |\n| --- | --: | --: | --: | --: | --: | --: | --: | \
         --: |\n",
    );
    for (number, round) in mixed.rounds.iter().enumerate() {
        let (alone, both) = (&round.alone, &round.both);
        let _ = writeln!(
            text,
            "| {} | {} | {:.2} | {:.2} | {:.2} | {:.2} | {:.2} | {:.0} | {:.0} |",
            mixed.peer,
            number + 1,
            alone.at(0.5),
            both.at(0.5),
            alone.at(0.99),
            both.at(0.99),
            both.at(0.99) / alone.at(0.99),
            round.bulk_alone_per_s,
            round.bulk_both_per_s,
        );
    }
    text.push('\n');
    text.push_str(&summary(mixed));
    text
}

fn summary(mixed: &Mixed) -> String {
    let mut text = String::new();
    let name = &mixed.peer;
    let idle = mixed.idle_share();
    let cores = mixed.spread(|round| round.alone_cores).median;
    let _ = writeln!(
        text,
        "{name}: {:.0} queries/s of at most {:.0}; they leave {:.0} % idle ({cores:.2} cores used)",
        mixed.rate_per_s,
        mixed.capacity_per_s,
        idle * 100.0,
    );
    for (label, share) in [("p50", 0.5), ("p99", 0.99)] {
        let ratio = mixed.spread(|round| round.both.at(share) / round.alone.at(share));
        let _ = writeln!(
            text,
            "{name}: {label} with bulk / alone, median {:.2} ({:.2} to {:.2}); all rounds as one \
             {:.2} / {:.2} ms = {:.2}",
            ratio.median,
            ratio.least,
            ratio.most,
            mixed.pooled(|round| &round.both, share),
            mixed.pooled(|round| &round.alone, share),
            mixed.pooled(|round| &round.both, share) / mixed.pooled(|round| &round.alone, share),
        );
    }
    let kept = mixed.spread(|round| round.bulk_both_per_s / round.bulk_alone_per_s);
    let _ = writeln!(
        text,
        "{name}: bulk beside queries / bulk alone, median {:.2} ({:.2} to {:.2}): {:.0} % of the \
         idle share",
        kept.median,
        kept.least,
        kept.most,
        kept.median / idle * 100.0,
    );
    let sum = |count: fn(&Round) -> u64| mixed.rounds.iter().map(count).sum::<u64>();
    let _ = writeln!(
        text,
        "{name}: queries refused {}, not sent {}; bulk requests refused {}; bulk {}; generator {}",
        sum(|round| round.alone.refused + round.both.refused),
        sum(|round| round.alone.unsent + round.both.unsent),
        sum(|round| round.refused),
        if mixed.tier { "asked for service_tier flex" } else { "asked for no service level" },
        if mixed.favoured { "goes first on the cores" } else { "waits for the cores like others" },
    );
    text
}
