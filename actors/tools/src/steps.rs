//! Loops: an agent that does the same again and again is told, then stopped.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;

/// When a loop is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoopSettings {
    /// The same call with the same result so often in a row.
    pub repeats: u32,
    /// The same, of tools that are there to be asked again and again.
    pub polling_repeats: u32,
    /// The longest cycle that is looked for, in calls.
    pub period_max: u32,
    /// A cycle of 2 calls or more so often in a row.
    pub cycles: u32,
    /// So many more repetitions after the warning end the run.
    pub grace: u32,
}

impl Default for LoopSettings {
    fn default() -> Self {
        LoopSettings { repeats: 3, polling_repeats: 60, period_max: 4, cycles: 3, grace: 2 }
    }
}

/// A call that has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    pub tool: String,
    /// SHA-256 of the canonical arguments.
    pub arguments_sha256: String,
    pub result_sha256: String,
    /// The tool says that it is there to be asked again and again.
    pub is_polling: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    Fine,
    /// Tell the model.
    Warn(String),
    /// End the run.
    Stop(String),
}

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoopWatch {
    settings: LoopSettings,
    /// The newest last.
    steps: VecDeque<Step>,
}

impl LoopWatch {
    pub fn new(settings: LoopSettings) -> LoopWatch {
        LoopWatch { settings, steps: VecDeque::new() }
    }

    /// Takes the next call that has ended.
    pub fn see(&mut self, step: Step) -> Verdict {
        self.steps.push_back(step);
        while self.steps.len() > self.remembered() {
            self.steps.pop_front();
        }
        let verdicts = (1..=self.settings.period_max.max(1)).map(|period| self.verdict(period));
        let mut worst = Verdict::Fine;
        for verdict in verdicts {
            match verdict {
                Verdict::Stop(_) => return verdict,
                Verdict::Warn(_) if worst == Verdict::Fine => worst = verdict,
                Verdict::Warn(_) | Verdict::Fine => {}
            }
        }
        worst
    }

    /// The last calls, the oldest first: what [`LoopWatch::see`] takes to come to the same state.
    pub fn steps(&self) -> impl Iterator<Item = &Step> {
        self.steps.iter()
    }

    /// Calls that matter for the longest cycle.
    fn remembered(&self) -> usize {
        let LoopSettings { repeats, polling_repeats, period_max, cycles, grace } = self.settings;
        let most = repeats.max(polling_repeats).max(cycles).saturating_add(grace);
        most.saturating_mul(period_max.max(1)) as usize
    }

    fn verdict(&self, period: u32) -> Verdict {
        let length = period as usize;
        let newest: Vec<&Step> = self.steps.iter().rev().take(length).collect();
        // A cycle of equal calls is one of period 1.
        if newest.len() < length || (period > 1 && is_shorter_cycle(&newest)) {
            return Verdict::Fine;
        }
        let all: Vec<&Step> = self.steps.iter().rev().collect();
        let same = all.iter().zip(all.iter().skip(length)).take_while(|(one, other)| one == other);
        let times = (same.count() / length + 1) as u32;
        let LoopSettings { repeats, polling_repeats, cycles, grace, .. } = self.settings;
        let allowed = match period {
            _ if newest.iter().all(|step| step.is_polling) => polling_repeats,
            1 => repeats,
            _ => cycles,
        };
        if times < allowed {
            return Verdict::Fine;
        }
        let told = told(&newest, times);
        if times >= allowed.saturating_add(grace) {
            Verdict::Stop(told)
        } else {
            Verdict::Warn(format!(
                "{told}; do something else, or answer with what is known: the run ends if this goes \
                 on"
            ))
        }
    }
}

/// Whether the calls are themselves repetitions of fewer calls.
fn is_shorter_cycle(steps: &[&Step]) -> bool {
    let length = steps.len();
    (1..length)
        .filter(|period| length.is_multiple_of(*period))
        .any(|period| steps.iter().zip(steps.iter().skip(period)).all(|(one, other)| one == other))
}

/// `newest` holds one round, the last call first.
fn told(newest: &[&Step], times: u32) -> String {
    let names: Vec<&str> = newest.iter().rev().map(|step| step.tool.as_str()).collect();
    match names.as_slice() {
        [name] => format!("{name} was called {times} times with the same arguments and result"),
        names => format!("the calls {} came {times} times with the same results", names.join(", ")),
    }
}
