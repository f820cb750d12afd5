//! What a request uses: requests, tokens and money.

/// What a limit counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unit {
    Requests,
    Tokens,
    /// Millionths of a US dollar.
    MicroUsd,
}

impl Unit {
    pub const ALL: [Unit; 3] = [Unit::Requests, Unit::Tokens, Unit::MicroUsd];

    /// The name in settings, records and errors.
    pub fn name(self) -> &'static str {
        match self {
            Unit::Requests => "requests",
            Unit::Tokens => "tokens",
            Unit::MicroUsd => "micro_usd",
        }
    }

    pub fn named(name: &str) -> Option<Unit> {
        Unit::ALL.into_iter().find(|unit| unit.name() == name)
    }
}

/// An amount of each unit. [`Amounts::UNLIMITED`] in a field stands for "no limit": adding to it
/// and taking from it leave it as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Amounts {
    pub requests: u64,
    pub tokens: u64,
    pub micro_usd: u64,
}

impl Amounts {
    /// The amount of a unit that no limit counts.
    pub const UNLIMITED: u64 = u64::MAX;
    pub const ZERO: Amounts = Amounts { requests: 0, tokens: 0, micro_usd: 0 };

    pub fn get(&self, unit: Unit) -> u64 {
        match unit {
            Unit::Requests => self.requests,
            Unit::Tokens => self.tokens,
            Unit::MicroUsd => self.micro_usd,
        }
    }

    pub fn set(&mut self, unit: Unit, amount: u64) {
        match unit {
            Unit::Requests => self.requests = amount,
            Unit::Tokens => self.tokens = amount,
            Unit::MicroUsd => self.micro_usd = amount,
        }
    }

    fn zip(self, other: Amounts, join: impl Fn(u64, u64) -> u64) -> Amounts {
        Amounts {
            requests: join(self.requests, other.requests),
            tokens: join(self.tokens, other.tokens),
            micro_usd: join(self.micro_usd, other.micro_usd),
        }
    }

    /// The sum; a unit without a limit stays so.
    pub fn plus(self, other: Amounts) -> Amounts {
        self.zip(other, u64::saturating_add)
    }

    /// What is left after taking `other` away, at least zero; a unit without a limit stays so.
    pub fn minus(self, other: Amounts) -> Amounts {
        self.zip(other, |have, take| match have {
            Amounts::UNLIMITED => have,
            _ => have.saturating_sub(take),
        })
    }

    pub fn at_most(self, other: Amounts) -> Amounts {
        self.zip(other, u64::min)
    }

    pub fn at_least(self, other: Amounts) -> Amounts {
        self.zip(other, u64::max)
    }

    /// Whether `need` fits in every unit.
    pub fn covers(&self, need: Amounts) -> bool {
        Unit::ALL.into_iter().all(|unit| self.get(unit) >= need.get(unit))
    }

    pub fn is_zero(&self) -> bool {
        *self == Amounts::ZERO
    }

    /// Each unit times `percent` / 100, rounded down.
    pub fn percent(self, percent: u64) -> Amounts {
        self.zip(Amounts::ZERO, |amount, _| match amount {
            Amounts::UNLIMITED => amount,
            _ => (u128::from(amount) * u128::from(percent) / 100) as u64,
        })
    }
}
