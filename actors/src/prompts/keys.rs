//! Keys of the prompt service's rows.

use headwater_storage::tuple::{self, Element};
use headwater_storage::{KeyRange, StoreError};

const PROMPTS: &str = "prompts";

fn key(kind: &str, rest: &[Element]) -> Vec<u8> {
    tuple::pack(&[&[PROMPTS.into(), kind.into()], rest].concat())
}

fn below(kind: &str, rest: &[Element]) -> KeyRange {
    tuple::below(&[&[PROMPTS.into(), kind.into()], rest].concat())
}

fn number(number: u64) -> Element {
    Element::Integer(i64::try_from(number).unwrap_or(i64::MAX))
}

/// Names a prompt among all teams'.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PromptKey {
    pub team: String,
    pub name: String,
}

impl PromptKey {
    pub fn new(team: &str, name: &str) -> PromptKey {
        PromptKey { team: team.to_owned(), name: name.to_owned() }
    }

    fn path(&self, rest: &[Element]) -> Vec<Element> {
        [&[self.team.as_str().into(), self.name.as_str().into()], rest].concat()
    }

    pub(super) fn head(&self) -> Vec<u8> {
        key("head", &self.path(&[]))
    }

    pub(super) fn version(&self, version: u64) -> Vec<u8> {
        key("version", &self.path(&[number(version)]))
    }

    pub(super) fn versions(&self) -> KeyRange {
        below("version", &self.path(&[]))
    }

    /// Pieces of a version's document, in their order.
    pub(super) fn pieces(&self, version: u64) -> KeyRange {
        below("document", &self.path(&[number(version)]))
    }

    pub(super) fn piece(&self, version: u64, place: u64) -> Vec<u8> {
        key("document", &self.path(&[number(version), number(place)]))
    }

    pub(super) fn moved(&self, move_number: u64) -> Vec<u8> {
        key("move", &self.path(&[number(move_number)]))
    }

    pub(super) fn moves(&self) -> KeyRange {
        below("move", &self.path(&[]))
    }

    pub(super) fn promotion(&self, id: u64) -> Vec<u8> {
        key("promotion", &self.path(&[number(id)]))
    }

    pub(super) fn promotions(&self) -> KeyRange {
        below("promotion", &self.path(&[]))
    }
}

/// Heads of a team behind a name, or all of it; of every team without one.
pub(super) fn heads(team: Option<&str>, after: Option<&str>) -> KeyRange {
    let Some(team) = team else { return below("head", &[]) };
    let all = below("head", &[team.into()]);
    match after {
        Some(name) => {
            KeyRange { begin: KeyRange::of_key(&PromptKey::new(team, name).head()).end, ..all }
        }
        None => all,
    }
}

pub(super) fn access(team: &str) -> Vec<u8> {
    key("access", &[team.into()])
}

pub(super) fn all_access() -> KeyRange {
    below("access", &[])
}

/// How many changes there were: what every node watches.
pub(super) fn revision() -> Vec<u8> {
    key("revision", &[])
}

/// What the change with this number was about.
pub(super) fn log(revision: u64) -> Vec<u8> {
    key("log", &[number(revision)])
}

/// The changes behind `after`, up to `last`.
pub(super) fn log_rows(after: u64, last: u64) -> KeyRange {
    KeyRange { begin: log(after.saturating_add(1)), end: KeyRange::of_key(&log(last)).end }
}

/// The changes before this one.
pub(super) fn log_before(revision: u64) -> KeyRange {
    KeyRange { begin: below("log", &[]).begin, end: log(revision) }
}

/// What an observation belongs to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Mark {
    pub(super) prompt: PromptKey,
    pub(super) version: u64,
    pub(super) of: Of,
}

/// When a version was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Of {
    /// By users, since the move with this number.
    Served(u64),
    /// Beside production, in the promotion with this id.
    Shadow(u64),
    /// By users since the move with this number, where the measure with this fingerprint judged
    /// what they got.
    Judged(u64, u64),
}

impl Mark {
    fn path(&self, rest: &[Element]) -> Vec<Element> {
        let (kind, of, measure) = match self.of {
            Of::Served(since) => ("served", since, None),
            Of::Shadow(promotion) => ("shadow", promotion, None),
            Of::Judged(since, measure) => ("judged", since, Some(measure)),
        };
        let own = [number(self.version), kind.into(), number(of)];
        let measure: Vec<Element> = measure.map(number).into_iter().collect();
        self.prompt.path(&[&own, measure.as_slice(), rest].concat())
    }

    /// What one process observed; `life` is another one for each.
    pub(super) fn row(&self, life: u64) -> Vec<u8> {
        let life = Element::Bytes(life.to_be_bytes().to_vec());
        key("watched", &self.path(&[life]))
    }

    pub(super) fn rows(&self) -> KeyRange {
        below("watched", &self.path(&[]))
    }
}

/// A team's golden sets behind a name, or all of them.
pub(super) fn golden_sets(team: &str) -> KeyRange {
    below("golden", &[team.into()])
}

/// What is known of a golden set but its cases.
pub(super) fn golden(team: &str, set: &str) -> Vec<u8> {
    key("golden", &[team.into(), set.into()])
}

/// Pieces of a version's cases, in their order.
pub(super) fn golden_pieces(team: &str, set: &str, version: u64) -> KeyRange {
    below("golden_cases", &[team.into(), set.into(), number(version)])
}

pub(super) fn golden_piece(team: &str, set: &str, version: u64, place: u64) -> Vec<u8> {
    key("golden_cases", &[team.into(), set.into(), number(version), number(place)])
}

/// Set once anybody was judged by the set.
pub(super) fn golden_used(team: &str, set: &str) -> Vec<u8> {
    key("golden_used", &[team.into(), set.into()])
}

/// A comparison of a set's judges with those before.
pub(super) fn judge_check(team: &str, set: &str, id: u64) -> Vec<u8> {
    key("judge_check", &[team.into(), set.into(), number(id)])
}

pub(super) fn judge_checks(team: &str, set: &str) -> KeyRange {
    below("judge_check", &[team.into(), set.into()])
}

/// Who has which part of a layer.
pub(super) fn layer(team: &str, layer: &str) -> Vec<u8> {
    key("layer", &[team.into(), layer.into()])
}

/// What one case came to, by a fingerprint of all that it hangs on.
pub(super) fn case_result(team: &str, fingerprint: &str) -> Vec<u8> {
    key("case", &[team.into(), fingerprint.into()])
}

/// A run that several nodes ask.
pub(super) fn job(id: u64) -> Vec<u8> {
    key("job", &[number(id)])
}

pub(super) fn jobs() -> KeyRange {
    below("job", &[])
}

/// The run that a row of [`jobs`] is.
pub(super) fn job_of(key: &[u8]) -> Result<u64, StoreError> {
    match tuple::unpack(key)?.pop() {
        Some(Element::Integer(id)) => Ok(id.unsigned_abs()),
        _ => Err(StoreError::Corrupt("the key of an eval that is under way".to_owned())),
    }
}

/// Who has which of its batches.
pub(super) fn job_state(id: u64) -> Vec<u8> {
    key("job_state", &[number(id)])
}

/// What the case at this place came to in it.
pub(super) fn job_case(id: u64, place: u64) -> Vec<u8> {
    key("job_case", &[number(id), number(place)])
}

pub(super) fn job_cases(id: u64) -> KeyRange {
    below("job_case", &[number(id)])
}

impl PromptKey {
    pub(super) fn eval(&self, id: u64) -> Vec<u8> {
        key("eval", &self.path(&[number(id)]))
    }

    /// Pieces of a run's results, in their order.
    pub(super) fn eval_pieces(&self, id: u64) -> KeyRange {
        below("eval_results", &self.path(&[number(id)]))
    }

    pub(super) fn eval_piece(&self, id: u64, place: u64) -> Vec<u8> {
        key("eval_results", &self.path(&[number(id), number(place)]))
    }

    /// What one case came to in one night.
    pub(super) fn night_case(&self, day: u64, fingerprint: &str) -> Vec<u8> {
        key("night_case", &self.path(&[number(day), fingerprint.into()]))
    }

    /// What the cases of nights up to this one came to.
    pub(super) fn nights_through(&self, day: u64) -> KeyRange {
        let begin = below("night_case", &self.path(&[])).begin;
        KeyRange { begin, end: below("night_case", &self.path(&[number(day)])).end }
    }

    /// What somebody says of a case's answer.
    pub(super) fn label(&self, eval: u64, case: &str, by: &str) -> Vec<u8> {
        key("label", &self.path(&[number(eval), case.into(), by.into()]))
    }

    /// What was said of an eval's answers, or of all.
    pub(super) fn labels(&self, eval: Option<u64>) -> KeyRange {
        let eval: Vec<Element> = eval.map(number).into_iter().collect();
        below("label", &self.path(&eval))
    }

    /// A flagged answer that waits for an editor.
    pub(super) fn proposal(&self, id: &str) -> Vec<u8> {
        key("proposal", &self.path(&[id.into()]))
    }

    pub(super) fn proposals(&self) -> KeyRange {
        below("proposal", &self.path(&[]))
    }

    /// How many wait.
    pub(super) fn proposal_count(&self) -> Vec<u8> {
        key("proposal_count", &self.path(&[]))
    }

    /// Set once an editor has taken a flagged answer into a golden set.
    pub(super) fn proposal_taken(&self, id: &str) -> Vec<u8> {
        key("proposal_taken", &self.path(&[id.into()]))
    }

    /// What judging its live answers took.
    pub(super) fn judgings(&self) -> Vec<u8> {
        key("judgings", &self.path(&[]))
    }

    pub(super) fn evals(&self) -> KeyRange {
        below("eval", &self.path(&[]))
    }

    pub(super) fn experiment(&self, name: &str) -> Vec<u8> {
        key("experiment", &self.path(&[name.into()]))
    }

    pub(super) fn experiments(&self) -> KeyRange {
        below("experiment", &self.path(&[]))
    }

    /// What was told of a unit's goal, once.
    pub(super) fn feedback(&self, experiment: &str, goal: &str, unit: &str) -> Vec<u8> {
        key("feedback", &self.path(&[experiment.into(), goal.into(), unit.into()]))
    }

    /// What some of the units came to.
    pub(super) fn tally(&self, experiment: &str, shard: u64) -> Vec<u8> {
        key("tally", &self.path(&[experiment.into(), number(shard)]))
    }

    pub(super) fn tallies(&self, experiment: &str) -> KeyRange {
        below("tally", &self.path(&[experiment.into()]))
    }
}
