//! The head of a prompt: which versions its pointers name. It is one record, so whoever reads it
//! sees all pointers of one moment. Pointers only move forward: a step back is a move, too.

use serde::{Deserialize, Serialize};

use crate::experiment::Experiment;
use crate::gate::Gates;
use crate::problem::Problem;

/// Versions that were served, as far back as a step back may go without its number.
const SERVED: usize = 50;
/// Share of requests that a canary may get at most, in thousandths.
pub const CANARY_PER_MILLE: u32 = 500;

/// What a pointer is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pointer {
    Staging,
    Canary,
    Production,
    /// No pointer: gates, protection or sharing changed.
    Settings,
    /// No pointer: an experiment began or was stopped.
    Experiment,
}

impl Pointer {
    pub fn name(self) -> &'static str {
        match self {
            Pointer::Staging => "staging",
            Pointer::Canary => "canary",
            Pointer::Production => "production",
            Pointer::Settings => "settings",
            Pointer::Experiment => "experiment",
        }
    }
}

/// A version that some of the requests for production get.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Canary {
    pub version: u64,
    /// Thousandths of the requests.
    pub per_mille: u32,
}

/// Where a prompt was copied from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fork {
    pub team: String,
    pub prompt: String,
    pub version: u64,
}

/// See the module.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Head {
    /// The newest version's number; they count from 1.
    pub newest: u64,
    pub production: Option<u64>,
    pub staging: Option<u64>,
    pub canary: Option<Canary>,
    /// Versions that were in production, the last one at the end.
    pub served: Vec<u64>,
    /// Versions that must not be promoted any more.
    pub archived: Vec<u64>,
    /// Moves of any pointer so far.
    pub moves: u64,
    /// The move since which production names its version.
    pub production_since: u64,
    /// The move since which the canary has its share.
    pub canary_since: u64,
    pub gates: Gates,
    /// Whoever wrote a version may not promote it.
    pub is_protected: bool,
    /// Other teams may fork it.
    pub is_shared: bool,
    pub forked_from: Option<Fork>,
    /// Those that run; each divides production's requests.
    pub experiments: Vec<Experiment>,
    /// The promotion in progress.
    pub promotion: Option<u64>,
    /// Promotions that were begun so far.
    pub promotions: u64,
    /// Changes of the head so far, each of which every node reads.
    pub changes: u64,
    /// The last day, counted from 1970, whose nightly eval has been counted.
    pub last_night: Option<u64>,
    /// Since 1970.
    pub updated_ms: u64,
}

/// Why a pointer moved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Because {
    pub by: String,
    pub reason: String,
    pub promotion: Option<u64>,
    /// Since 1970.
    pub at_ms: u64,
}

/// One entry of a prompt's history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Move {
    /// From 1 on, without a gap.
    pub number: u64,
    pub pointer: Pointer,
    pub from: Option<u64>,
    pub to: Option<u64>,
    pub by: String,
    pub reason: String,
    pub promotion: Option<u64>,
    pub at_ms: u64,
}

/// Where a version stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Draft,
    Staging,
    Production,
    Archived,
}

impl State {
    pub fn name(self) -> &'static str {
        match self {
            State::Draft => "draft",
            State::Staging => "staging",
            State::Production => "production",
            State::Archived => "archived",
        }
    }
}

impl Head {
    /// The version that a pointer names.
    pub fn at(&self, pointer: Pointer) -> Option<u64> {
        match pointer {
            Pointer::Staging => self.staging,
            Pointer::Canary => self.canary.map(|canary| canary.version),
            Pointer::Production => self.production,
            Pointer::Settings | Pointer::Experiment => None,
        }
    }

    /// What a version is now. One that was replaced in production is archived; it may come back.
    pub fn state(&self, version: u64) -> State {
        if self.production == Some(version) {
            State::Production
        } else if self.staging == Some(version) || self.at(Pointer::Canary) == Some(version) {
            State::Staging
        } else if self.archived.contains(&version) || self.served.contains(&version) {
            State::Archived
        } else {
            State::Draft
        }
    }

    /// # Errors
    /// When there is no such version, or it is archived by hand.
    pub fn check_promotable(&self, version: u64) -> Result<(), Problem> {
        if version == 0 || version > self.newest {
            let problem = format!("{version} is not there; the newest version is {}", self.newest);
            return Err(Problem::new("version", problem));
        }
        if self.archived.contains(&version) {
            return Err(Problem::new(
                "version",
                format!("{version} is archived; commit its text again as a new version"),
            ));
        }
        Ok(())
    }

    /// Moves production or staging; none when it is there already.
    pub fn point(&mut self, pointer: Pointer, to: Option<u64>, because: Because) -> Option<Move> {
        let from = self.at(pointer);
        if from == to {
            return None;
        }
        match pointer {
            Pointer::Staging => self.staging = to,
            Pointer::Canary => self.canary = None,
            Pointer::Settings | Pointer::Experiment => {}
            Pointer::Production => {
                self.production = to;
                if let Some(version) = to {
                    self.served.retain(|served| *served != version);
                    self.served.push(version);
                    let over = self.served.len().saturating_sub(SERVED);
                    self.served.drain(..over);
                }
            }
        }
        Some(self.moved(pointer, from, to, because))
    }

    /// Gives a version a share of production's requests.
    pub fn try_out(&mut self, canary: Canary, because: Because) -> Option<Move> {
        if self.canary == Some(canary) {
            return None;
        }
        let from = self.at(Pointer::Canary);
        self.canary = Some(canary);
        Some(self.moved(Pointer::Canary, from, Some(canary.version), because))
    }

    fn moved(
        &mut self,
        pointer: Pointer,
        from: Option<u64>,
        to: Option<u64>,
        because: Because,
    ) -> Move {
        self.moves += 1;
        match pointer {
            Pointer::Staging | Pointer::Settings | Pointer::Experiment => {}
            Pointer::Canary => self.canary_since = self.moves,
            Pointer::Production => self.production_since = self.moves,
        }
        let Because { by, reason, promotion, at_ms } = because;
        Move { number: self.moves, pointer, from, to, by, reason, promotion, at_ms }
    }

    /// Notes a change that moves no pointer.
    pub fn note(&mut self, about: Pointer, because: Because) -> Move {
        self.moved(about, None, None, because)
    }

    /// A version that was taken back is no version to go back to.
    pub fn give_up(&mut self, version: u64) {
        self.served.retain(|served| *served != version);
    }

    /// The version that a step back leads to: the given one, if it was in production, or the one
    /// before.
    ///
    /// # Errors
    /// When there is none.
    pub fn step_back(&self, to: Option<u64>) -> Result<u64, Problem> {
        let before =
            self.served.iter().rev().copied().filter(|served| Some(*served) != self.production);
        match to {
            None => before.clone().next().ok_or_else(|| {
                Problem::new(
                    "to_version",
                    "no other version was in production; there is nothing to go back to",
                )
            }),
            Some(to) if before.clone().any(|served| served == to) => Ok(to),
            Some(to) if self.production == Some(to) => {
                Err(Problem::new("to_version", format!("{to} is in production already")))
            }
            Some(to) => {
                let known: Vec<String> = before.map(|served| served.to_string()).collect();
                let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                Err(Problem::new(
                    "to_version",
                    format!("{to} was not in production; these were: {known}"),
                ))
            }
        }
    }
}
