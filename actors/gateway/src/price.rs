//! What tokens cost.

use headwater_models::chat::Usage;

/// Prices of a model, in millionths of a US dollar for a million tokens: $0.15 is 150,000. These
/// are the figures of the providers' price lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Price {
    pub input: u64,
    pub output: u64,
    /// Of input that the provider had cached.
    pub input_cached: u64,
    /// Of input that the provider wrote into its cache.
    pub input_written: u64,
}

impl Price {
    /// Of a model that costs nothing, such as one on this node.
    pub const FREE: Price = Price { input: 0, output: 0, input_cached: 0, input_written: 0 };

    /// Prices without a special one for cached input.
    pub const fn of(input: u64, output: u64) -> Price {
        Price { input, output, input_cached: input, input_written: input }
    }

    /// What this usage costs, in millionths of a US dollar, rounded up once.
    pub fn cost(&self, usage: &Usage) -> u64 {
        let special = usage.input_cached.saturating_add(usage.input_written);
        let plain = usage.input.saturating_sub(special);
        let parts = [
            (plain, self.input),
            (usage.input_cached, self.input_cached),
            (usage.input_written, self.input_written),
            (usage.output, self.output),
        ];
        let cost = |(count, price): &(u64, u64)| u128::from(*count) * u128::from(*price);
        let sum = parts.iter().map(cost).fold(0, u128::saturating_add);
        u64::try_from(sum.div_ceil(1_000_000)).unwrap_or(u64::MAX)
    }

    /// The most that so many tokens may cost.
    pub fn bound(&self, input: u64, output: u64) -> u64 {
        let dearest = self.input.max(self.input_cached).max(self.input_written);
        let price = Price::of(dearest, self.output);
        price.cost(&Usage { input, output, ..Usage::default() })
    }
}
