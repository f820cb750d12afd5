//! Which model an alias stands for: one, or several with a share of the callers each.

/// One model behind an alias.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The model's own name.
    pub model: String,
    /// Its share of the callers, in percent.
    pub percent: u32,
}

/// Why an alias cannot point where it should.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AliasProblem {
    #[error("targets is empty; name at least one model")]
    NoTargets,
    #[error("the targets' percents sum to {0}; they must sum to 100")]
    Sum(u64),
    #[error("the target '{0}' has 0 percent; leave it out or give it a share")]
    NoShare(String),
    #[error("the model '{0}' is named twice; name each target once")]
    Twice(String),
}

/// Where an alias points.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alias {
    targets: Vec<Target>,
}

impl Alias {
    /// An alias of one model.
    pub fn of(model: &str) -> Self {
        Alias { targets: vec![Target { model: model.to_owned(), percent: 100 }] }
    }

    /// An alias of these models, whose shares sum to 100.
    ///
    /// # Errors
    /// See [`AliasProblem`].
    pub fn new(targets: Vec<Target>) -> Result<Self, AliasProblem> {
        if targets.is_empty() {
            return Err(AliasProblem::NoTargets);
        }
        for (place, target) in targets.iter().enumerate() {
            if target.percent == 0 {
                return Err(AliasProblem::NoShare(target.model.clone()));
            }
            if targets[..place].iter().any(|earlier| earlier.model == target.model) {
                return Err(AliasProblem::Twice(target.model.clone()));
            }
        }
        let sum = targets.iter().map(|target| u64::from(target.percent)).sum();
        if sum == 100 { Ok(Alias { targets }) } else { Err(AliasProblem::Sum(sum)) }
    }

    pub fn targets(&self) -> &[Target] {
        &self.targets
    }

    /// Whether this model is one of the targets.
    pub fn names(&self, model: &str) -> bool {
        self.targets.iter().any(|target| target.model == model)
    }

    /// The target with the largest share, the first of equals: what the alias stands for when
    /// nobody in particular asks.
    pub fn main(&self) -> &str {
        let by_share = self.targets.iter().rev().max_by_key(|target| target.percent);
        by_share.map_or("", |target| &target.model)
    }

    /// The target for this caller. It depends on the alias's name and the key alone, so a caller
    /// stays with its model, here and on every other node; and a share that grows at one end of
    /// the list takes callers away only from its neighbour.
    pub fn choose(&self, alias: &str, key: &str) -> &str {
        let mut left = bucket(alias, key);
        for target in &self.targets {
            match left.checked_sub(target.percent) {
                None => return &target.model,
                Some(rest) => left = rest,
            }
        }
        self.main()
    }
}

/// A number from 0 to 99, evenly spread over keys.
fn bucket(alias: &str, key: &str) -> u32 {
    // FNV-1a, 64 bits (Fowler, Noll, Vo; RFC 9923). Its low bits mix little for short keys, so
    // the finaliser of MurmurHash3 follows.
    let bytes = alias.bytes().chain([0]).chain(key.bytes());
    let mut hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    for multiplier in [0xff51_afd7_ed55_8ccd_u64, 0xc4ce_b9fe_1a85_ec53] {
        hash = (hash ^ (hash >> 33)).wrapping_mul(multiplier);
    }
    ((hash ^ (hash >> 33)) % 100) as u32
}
