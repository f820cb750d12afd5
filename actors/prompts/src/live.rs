//! Judging what users were answered: by which judge, how often, and for how much.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::golden::Case;
use crate::judge::Judge;
use crate::problem::Problem;

const MINUTE_MS: u64 = 60_000;
/// A day of UTC, in ms.
const DAY_MS: u64 = 24 * 60 * MINUTE_MS;
/// Most answers of a minute.
const MOST_PER_MINUTE: u32 = 600;

/// How many of the answers that users got are judged, in the background. The judge is the one
/// judging model of the prompt's golden set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LiveJudge {
    /// Thousandths of the answers.
    pub per_mille: u32,
    /// Answers of a minute on all nodes, at most.
    pub per_minute: u32,
    /// What judging may cost on a day of UTC, in millionths of a US dollar.
    pub budget_micro_usd: u64,
}

impl Default for LiveJudge {
    fn default() -> LiveJudge {
        LiveJudge { per_mille: 50, per_minute: 10, budget_micro_usd: 1_000_000 }
    }
}

impl LiveJudge {
    /// # Errors
    /// The field that is wrong, below `field`.
    pub fn check(&self, field: &str) -> Result<(), Problem> {
        if !(1..=1_000).contains(&self.per_mille) {
            return Err(Problem::new(format!("{field}.per_mille"), "must be 1 to 1000"));
        }
        if !(1..=MOST_PER_MINUTE).contains(&self.per_minute) {
            let problem = format!("must be 1 to {MOST_PER_MINUTE}");
            return Err(Problem::new(format!("{field}.per_minute"), problem));
        }
        if self.budget_micro_usd == 0 {
            let problem = "must be above 0; leave the whole field out to judge nothing";
            return Err(Problem::new(format!("{field}.budget_micro_usd"), problem));
        }
        Ok(())
    }
}

/// What live answers are judged by. Scores of two measures are never compared.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Measure {
    pub judge: Judge,
    /// That of its cases; empty where they have several.
    pub rubric: String,
}

impl Measure {
    /// The one judging model of these cases.
    ///
    /// # Errors
    /// When they have none, or several, so that nobody can say which one counts.
    pub fn of(cases: &[Case]) -> Result<Measure, Problem> {
        let wrong = |problem: String| Problem::new("gates.live_judge", problem);
        let is_model = |case: &&Case| matches!(case.judge, Judge::Llm { .. });
        let mut judged = cases.iter().filter(is_model);
        let Some(first) = judged.next() else {
            let problem = "needs a golden set with a case whose judge is llm; add one";
            return Err(wrong(problem.to_owned()));
        };
        let mut rubric = first.rubric.as_str();
        for case in judged {
            if case.judge != first.judge {
                return Err(wrong(format!(
                    "needs a golden set with one llm judge, and it has '{}' and '{}'; keep one",
                    first.judge.name(),
                    case.judge.name()
                )));
            }
            if case.rubric != first.rubric {
                rubric = "";
            }
        }
        Ok(Measure { judge: first.judge.clone(), rubric: rubric.to_owned() })
    }

    /// Names it among all others, in 63 bits.
    pub fn fingerprint(&self) -> u64 {
        let json = serde_json::to_vec(self).unwrap_or_default();
        let bytes = Sha256::digest(&json);
        bytes.iter().take(8).fold(0u64, |number, byte| number << 8 | u64::from(*byte)) >> 1
    }
}

/// Why an answer is not judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Full {
    /// So many were judged in this minute.
    Minute,
    /// The day's budget is used up.
    Budget,
}

/// What judging the answers of a prompt took so far, on all nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Judgings {
    /// Counted from 1970.
    minute: u64,
    answers: u32,
    /// Counted from 1970.
    day: u64,
    micro_usd: u64,
}

impl Judgings {
    /// Takes one answer's place.
    ///
    /// # Errors
    /// When there is none.
    pub fn take(&mut self, most: &LiveJudge, now_ms: u64) -> Result<(), Full> {
        self.turn(now_ms);
        if self.micro_usd >= most.budget_micro_usd {
            return Err(Full::Budget);
        }
        if self.answers >= most.per_minute {
            return Err(Full::Minute);
        }
        self.answers += 1;
        Ok(())
    }

    /// Adds what a judging cost; it may have begun the day before.
    pub fn pay(&mut self, micro_usd: u64, now_ms: u64) {
        self.turn(now_ms);
        self.micro_usd = self.micro_usd.saturating_add(micro_usd);
    }

    /// A clock that is behind turns nothing back: its answers count for the newest minute.
    fn turn(&mut self, now_ms: u64) {
        let (minute, day) = (now_ms / MINUTE_MS, now_ms / DAY_MS);
        if minute > self.minute {
            (self.minute, self.answers) = (minute, 0);
        }
        if day > self.day {
            (self.day, self.micro_usd) = (day, 0);
        }
    }
}
