//! How many replicas a pool should have, by how long its texts wait and how busy its replicas are.
//!
//! Up: the oldest text waits longer than it should and the replicas are busy; then in proportion,
//! as Kubernetes' horizontal autoscaler does (`ceil(replicas × signal / target)`), to twice as
//! many at most. Down: for a while nothing waited for long and one replica less would still have
//! been enough; then by one. Between two changes there is a pause.

/// The bounds and the pace of a pool's replicas.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScaleSettings {
    /// At least this many replicas, and at least 1.
    pub min_replicas: usize,
    /// At most this many; not more than `min_replicas` means that nothing is ever changed.
    pub max_replicas: usize,
    /// How old the oldest waiting text should at most be, in ms.
    pub target_age_ms: u64,
    /// The share of their time that replicas should at most be busy when there is one less, in
    /// percent.
    pub busy_percent: u32,
    /// Shortest time between two changes, in ms.
    pub cool_down_ms: u64,
    /// How long a pool must have had too many replicas before it loses one, in ms.
    pub calm_ms: u64,
}

impl ScaleSettings {
    /// Always this many replicas.
    pub fn fixed(replicas: usize) -> Self {
        ScaleSettings { min_replicas: replicas, max_replicas: replicas, ..Self::default() }
    }
}

impl Default for ScaleSettings {
    fn default() -> Self {
        ScaleSettings {
            min_replicas: 1,
            max_replicas: 1,
            target_age_ms: 200,
            busy_percent: 70,
            cool_down_ms: 15_000,
            calm_ms: 120_000,
        }
    }
}

/// What a pool's state says, measured over the last step of the controller.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Signals {
    /// Texts that wait.
    pub queue_items: usize,
    /// Tokens that wait.
    pub queue_tokens: usize,
    /// How long the oldest waiting text has waited, in ms.
    pub oldest_age_ms: u64,
    /// Tokens of the last batches over their budget, from 0 to 1, lately; more than 1 when single
    /// texts exceed the budget.
    pub batch_fill: f64,
    /// The share of their time in which the replicas ran a batch, from 0 to 1.
    pub busy_share: f64,
    /// Replicas that shall exist.
    pub wanted_replicas: usize,
    /// Replicas that are loaded.
    pub live_replicas: usize,
}

/// One pool's controller: it remembers when it last changed something and since when it is calm.
#[derive(Debug, Clone)]
pub struct Scaler {
    settings: ScaleSettings,
    changed_ms: Option<u64>,
    calm_since_ms: Option<u64>,
}

impl Scaler {
    pub fn new(settings: ScaleSettings) -> Self {
        Scaler { settings, changed_ms: None, calm_since_ms: None }
    }

    /// The number of replicas to have from now on.
    pub fn desired(&mut self, signals: &Signals, now_ms: u64) -> usize {
        let wanted = signals.wanted_replicas;
        let least = self.settings.min_replicas.max(1);
        let most = self.settings.max_replicas.max(least);
        if wanted < least || wanted > most {
            return self.change(wanted.clamp(least, most), now_ms);
        }
        let too_many = self.has_too_many(signals);
        let calm_since_ms = *self.calm_since_ms.get_or_insert(now_ms);
        if !too_many {
            self.calm_since_ms = None;
        }
        let cools = self.changed_ms.is_some_and(|changed_ms| {
            now_ms.saturating_sub(changed_ms) < self.settings.cool_down_ms
        });
        if cools {
            return wanted;
        }
        // What is being started already may be enough.
        let starts = signals.live_replicas < wanted;
        let up = if starts { wanted } else { self.up(signals).clamp(wanted, most) };
        if up > wanted {
            return self.change(up, now_ms);
        }
        let calm = too_many && now_ms.saturating_sub(calm_since_ms) >= self.settings.calm_ms;
        if calm && wanted > least { self.change(wanted - 1, now_ms) } else { wanted }
    }

    fn change(&mut self, replicas: usize, now_ms: u64) -> usize {
        self.changed_ms = Some(now_ms);
        self.calm_since_ms = None;
        replicas
    }

    /// More replicas only when all are busy: an old text beside an idle replica waits for
    /// something else.
    fn up(&self, signals: &Signals) -> usize {
        let target_ms = self.settings.target_age_ms.max(1);
        let busy = signals.busy_share * 100.0 >= f64::from(self.settings.busy_percent);
        if signals.oldest_age_ms <= target_ms || !busy {
            return signals.wanted_replicas;
        }
        let wanted = signals.wanted_replicas as u64;
        let in_proportion = wanted.saturating_mul(signals.oldest_age_ms).div_ceil(target_ms);
        usize::try_from(in_proportion.min(wanted.saturating_mul(2))).unwrap_or(usize::MAX)
    }

    /// Whether one replica less would do: half the target leaves room for what comes with it.
    fn has_too_many(&self, signals: &Signals) -> bool {
        let work = signals.busy_share * 100.0 * signals.live_replicas as f64;
        let rest = signals.wanted_replicas.saturating_sub(1) as f64;
        signals.wanted_replicas > 1
            && signals.oldest_age_ms * 2 <= self.settings.target_age_ms
            && work <= rest * f64::from(self.settings.busy_percent)
    }
}
