//! Pairs: a version's answer beside a baseline's, judged in both orders. A model likes what it
//! reads first, or last, so what it says in one order alone counts for nobody.

use serde::{Deserialize, Serialize};

use crate::agreement::Interval;
use crate::judge::{Score, without_fence};
use crate::problem::Problem;

/// Which of two answers a judging model likes better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Preference {
    First,
    Second,
    Tie,
}

impl Preference {
    /// Of a model that judged: JSON with `winner`, which is `first`, `second` or `tie`, and
    /// `reason`.
    ///
    /// # Errors
    /// When it said something else; it is asked again then.
    pub fn read(said: &str) -> Result<(Preference, String), Problem> {
        #[derive(Deserialize)]
        struct Said {
            winner: Preference,
            #[serde(default)]
            reason: String,
        }
        let said: Said = serde_json::from_str(without_fence(said)).map_err(|error| {
            let problem =
                format!("did not say JSON with winner (first, second or tie) and reason: {error}");
            Problem::new("judge", problem)
        })?;
        Ok((said.winner, said.reason))
    }

    /// The same where the answers change their places.
    fn turned(self) -> Preference {
        match self {
            Preference::First => Preference::Second,
            Preference::Second => Preference::First,
            Preference::Tie => Preference::Tie,
        }
    }
}

/// How a version's answer came out against the baseline's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PairOutcome {
    Win,
    Tie,
    Loss,
}

/// Two answers to one case, compared.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Pair {
    /// The version that the other answer is of.
    pub baseline: u64,
    /// The beginning of it.
    pub answer: String,
    pub outcome: PairOutcome,
    /// Whether the judge said the same in both orders.
    pub orders_agree: bool,
}

/// What a judge said of two answers, each time in another order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BothOrders {
    /// With the version's answer first.
    pub version_first: Preference,
    /// With the baseline's answer first.
    pub baseline_first: Preference,
}

impl BothOrders {
    /// Whether both orders say the same of the answers.
    pub fn agree(self) -> bool {
        self.version_first == self.baseline_first.turned()
    }

    /// What both orders say; a tie where they do not say the same.
    pub fn outcome(self) -> PairOutcome {
        match self.version_first {
            Preference::First if self.agree() => PairOutcome::Win,
            Preference::Second if self.agree() => PairOutcome::Loss,
            _ => PairOutcome::Tie,
        }
    }
}

impl PairOutcome {
    /// What the version's answer is worth: 1, a half or nothing.
    pub fn score(self, reason: &str) -> Score {
        let value = match self {
            PairOutcome::Win => 1.0,
            PairOutcome::Tie => 0.5,
            PairOutcome::Loss => 0.0,
        };
        Score { value, ..Score::none(reason.to_owned()) }
    }
}

/// What the pairs of one run came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Pairs {
    /// The version that all were compared with.
    pub baseline: u64,
    pub wins: u64,
    pub ties: u64,
    pub losses: u64,
    /// Those that the judge saw differently in the other order; ties all of them.
    pub orders_disagreed: u64,
}

impl Pairs {
    pub fn of<'a>(baseline: u64, pairs: impl IntoIterator<Item = &'a Pair>) -> Pairs {
        let mut counted = Pairs { baseline, ..Pairs::default() };
        for pair in pairs {
            match pair.outcome {
                PairOutcome::Win => counted.wins += 1,
                PairOutcome::Tie => counted.ties += 1,
                PairOutcome::Loss => counted.losses += 1,
            }
            counted.orders_disagreed += u64::from(!pair.orders_agree);
        }
        counted
    }

    pub fn compared(&self) -> u64 {
        self.wins + self.ties + self.losses
    }

    /// The share of pairs that the version won, a tie counting half, and where it lies. Cases
    /// count alike here, whatever their weight. None without pairs.
    pub fn win_rate(&self) -> Option<Interval> {
        let compared = self.compared();
        let points = self.wins as f64 + self.ties as f64 / 2.0;
        Interval::of_share(points / compared.max(1) as f64, compared)
    }
}
