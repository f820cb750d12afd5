//! Golden sets of the teams, in versions.

use headwater_prompts::{Case, GoldenSet, Nightly, Problem, judge_changes};
use headwater_storage::retry::Applied;
use headwater_storage::{RangeRead, ReadMode, StoreError, Transaction};
use serde::{Deserialize, Serialize};

use super::handle::PromptsHandle;
use super::keys;
use super::nouns::{Actor, PromptError};
use super::records;

/// Bytes of cases in one row; the store takes 100,000.
const PIECE_BYTES: usize = 80_000;

/// A golden set without its cases.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GoldenInfo {
    pub name: String,
    pub version: u64,
    pub cases: usize,
    pub by: String,
    pub updated_ms: u64,
    /// See [`GoldenSet::baseline`]; 0 in rows of before, whose judges decide.
    #[serde(default)]
    baseline: u64,
    #[serde(default)]
    pub nightly: Option<Nightly>,
}

impl GoldenInfo {
    /// The version whose judges may decide.
    pub fn baseline(&self) -> u64 {
        if self.baseline == 0 { self.version } else { self.baseline }
    }
}

/// What becomes a set's next version.
#[derive(Debug, Clone, PartialEq)]
pub struct GoldenAsk {
    pub cases: Vec<Case>,
    /// The newest version must be this one; 0 for a set that must be new.
    pub expected: Option<u64>,
    /// A time of the day, such as `02:30`, or `off`; none leaves it as it is.
    pub nightly: Option<String>,
    pub nightly_budget_micro_usd: Option<u64>,
}

impl GoldenAsk {
    pub fn of(cases: Vec<Case>, expected: Option<u64>) -> GoldenAsk {
        GoldenAsk { cases, expected, nightly: None, nightly_budget_micro_usd: None }
    }

    /// What is asked of the nights; none leaves them as they are.
    fn nights(&self, now_ms: u64) -> Result<Option<Option<Nightly>>, Problem> {
        match (self.nightly.as_deref(), self.nightly_budget_micro_usd) {
            (None, None) => Ok(None),
            (None, Some(_)) => {
                Err(Problem::new("nightly_budget_micro_usd", "is given without nightly; give both"))
            }
            (Some("off"), _) => Ok(Some(None)),
            (Some(text), budget) => Nightly::read(text, budget, now_ms).map(|one| Some(Some(one))),
        }
    }
}

/// What is written as a set's next version.
#[derive(Clone)]
pub(super) struct NextSet {
    pub(super) cases: Vec<Case>,
    pub(super) expected: Option<u64>,
    pub(super) nights: Option<Option<Nightly>>,
    pub(super) by: String,
    pub(super) now_ms: u64,
}

/// A set as a transaction sees it.
pub(super) async fn info(
    transaction: &mut dyn Transaction,
    team: &str,
    set: &str,
) -> Result<Option<GoldenInfo>, StoreError> {
    let row = transaction.get(&keys::golden(team, set), ReadMode::Serializable).await?;
    row.as_deref().map(records::decode).transpose()
}

pub(super) async fn cases_of(
    transaction: &mut dyn Transaction,
    team: &str,
    set: &str,
    version: u64,
) -> Result<Vec<Case>, StoreError> {
    let range = keys::golden_pieces(team, set, version);
    let pieces = transaction.range(RangeRead::all(range)).await?;
    let json: Vec<u8> = pieces.into_iter().flat_map(|(_, piece)| piece).collect();
    serde_json::from_slice(&json)
        .map_err(|error| StoreError::Corrupt(format!("golden set {set}: {error}")))
}

/// Writes a set's next version. Judges that are not those of the version whose judges decide leave
/// the decision with it, once anybody has been judged by the set.
pub(super) async fn write_set(
    transaction: &mut dyn Transaction,
    team: &str,
    set: &str,
    next: NextSet,
) -> Result<Result<GoldenInfo, PromptError>, StoreError> {
    let NextSet { cases, expected, nights, by, now_ms } = next;
    let before = info(transaction, team, set).await?;
    let current = before.as_ref().map_or(0, |info| info.version);
    if let Some(expected) = expected.filter(|expected| *expected != current) {
        return Ok(Err(PromptError::Moved { expected, current }));
    }
    if let Err(problem) = GoldenSet::check(&cases) {
        return Ok(Err(problem.into()));
    }
    let version = current + 1;
    let used = transaction.get(&keys::golden_used(team, set), ReadMode::Serializable).await?;
    let baseline = match before.as_ref().filter(|_| used.is_some()) {
        Some(before) => {
            let decided = cases_of(transaction, team, set, before.baseline()).await?;
            if judge_changes(&decided, &cases).is_empty() { version } else { before.baseline() }
        }
        None => version,
    };
    let had = before.and_then(|before| before.nightly);
    let nightly = nights.map_or(had, |asked| asked.map(|asked| asked.after(had)));
    let (name, count) = (set.to_owned(), cases.len());
    let info =
        GoldenInfo { name, version, cases: count, by, updated_ms: now_ms, baseline, nightly };
    let json = serde_json::to_vec(&cases)
        .map_err(|error| StoreError::Usage(format!("a golden set: {error}")))?;
    for (place, piece) in json.chunks(PIECE_BYTES).enumerate() {
        transaction.set(&keys::golden_piece(team, set, version, place as u64), piece)?;
    }
    transaction.set(&keys::golden(team, set), &records::encode(&info)?)?;
    Ok(Ok(info))
}

/// From now on the set's judges decide.
pub(super) async fn confirm_judges(
    transaction: &mut dyn Transaction,
    team: &str,
    set: &str,
    version: u64,
) -> Result<bool, StoreError> {
    let Some(info) = info(transaction, team, set).await?.filter(|info| info.version == version)
    else {
        return Ok(false);
    };
    let confirmed = GoldenInfo { baseline: version, ..info };
    transaction.set(&keys::golden(team, set), &records::encode(&confirmed)?)?;
    Ok(true)
}

impl PromptsHandle {
    /// A team's golden sets.
    ///
    /// # Errors
    /// The store's.
    pub async fn golden_sets(&self, team: &str) -> Result<Vec<GoldenInfo>, PromptError> {
        let read = self.shared.retry.read(|transaction| {
            let range = keys::golden_sets(team);
            Box::pin(async move { transaction.range(RangeRead::all(range).limit(1_000)).await })
        });
        let rows = read.await?;
        Ok(rows.iter().map(|(_, row)| records::decode(row)).collect::<Result<_, StoreError>>()?)
    }

    /// The newest version of a set.
    ///
    /// # Errors
    /// [`PromptError::Unknown`] and the store's.
    pub async fn golden_set(&self, team: &str, set: &str) -> Result<GoldenSet, PromptError> {
        let read = self.shared.retry.read(|transaction| {
            let (team, set) = (team.to_owned(), set.to_owned());
            Box::pin(async move {
                let Some(info) = info(transaction, &team, &set).await? else { return Ok(None) };
                let cases = cases_of(transaction, &team, &set, info.version).await?;
                let baseline = info.baseline();
                let GoldenInfo { version, by, updated_ms, nightly, .. } = info;
                Ok(Some(GoldenSet { version, cases, by, updated_ms, baseline, nightly }))
            })
        });
        let unknown = || PromptError::Unknown { what: format!("the golden set '{set}'") };
        read.await?.ok_or_else(unknown)
    }

    /// What an older version of a set asked.
    ///
    /// # Errors
    /// The store's.
    pub(super) async fn golden_cases(
        &self,
        team: &str,
        set: &str,
        version: u64,
    ) -> Result<Vec<Case>, PromptError> {
        let read = self.shared.retry.read(|transaction| {
            let (team, set) = (team.to_owned(), set.to_owned());
            Box::pin(async move { cases_of(transaction, &team, &set, version).await })
        });
        Ok(read.await?)
    }

    /// Keeps cases as the set's next version.
    ///
    /// # Errors
    /// [`PromptError::Invalid`], [`PromptError::Moved`] and the store's.
    pub async fn put_golden_set(
        &self,
        actor: &Actor,
        team: &str,
        set: &str,
        ask: GoldenAsk,
    ) -> Result<GoldenInfo, PromptError> {
        if !headwater_prompts::is_prompt_name(set) {
            return Err(
                Problem::new("set", format!("must be {}", headwater_prompts::NAME_RULE)).into()
            );
        }
        GoldenSet::check(&ask.cases)?;
        let now_ms = self.shared.runtime.wall_ms();
        let nights = ask.nights(now_ms)?;
        let GoldenAsk { cases, expected, .. } = ask;
        let next = NextSet { cases, expected, nights, by: actor.name.clone(), now_ms };
        let id = self.shared.operation();
        let written = self.shared.retry.write(id, |transaction| {
            let (team, set, next) = (team.to_owned(), set.to_owned(), next.clone());
            Box::pin(async move { write_set(transaction, &team, &set, next).await })
        });
        match written.await? {
            Applied::Now(outcome) => outcome,
            Applied::Earlier => Err(StoreError::CommitUnknown.into()),
        }
    }
}
