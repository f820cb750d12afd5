//! Golden sets of the teams, in versions.

use headwater_prompts::{Case, GoldenSet, Problem};
use headwater_storage::retry::Applied;
use headwater_storage::{RangeRead, ReadMode, StoreError};
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
                let row =
                    transaction.get(&keys::golden(&team, &set), ReadMode::Serializable).await?;
                let Some(row) = row else { return Ok(None) };
                let info: GoldenInfo = records::decode(&row)?;
                let range = keys::golden_pieces(&team, &set, info.version);
                let pieces = transaction.range(RangeRead::all(range)).await?;
                let json: Vec<u8> = pieces.into_iter().flat_map(|(_, piece)| piece).collect();
                let cases: Vec<Case> = serde_json::from_slice(&json)
                    .map_err(|error| StoreError::Corrupt(format!("golden set {set}: {error}")))?;
                let GoldenInfo { version, by, updated_ms, .. } = info;
                Ok(Some(GoldenSet { version, cases, by, updated_ms }))
            })
        });
        let unknown = || PromptError::Unknown { what: format!("the golden set '{set}'") };
        read.await?.ok_or_else(unknown)
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
        cases: Vec<Case>,
        expected: Option<u64>,
    ) -> Result<GoldenInfo, PromptError> {
        if !headwater_prompts::is_prompt_name(set) {
            return Err(
                Problem::new("set", format!("must be {}", headwater_prompts::NAME_RULE)).into()
            );
        }
        GoldenSet::check(&cases)?;
        let json = serde_json::to_vec(&cases)
            .map_err(|error| StoreError::Usage(format!("a golden set: {error}")))?;
        let updated_ms = self.shared.runtime.wall_ms();
        let id = self.shared.operation();
        let (by, count) = (actor.name.clone(), cases.len());
        let written = self.shared.retry.write(id, |transaction| {
            let (team, set, json, by) = (team.to_owned(), set.to_owned(), json.clone(), by.clone());
            Box::pin(async move {
                let key = keys::golden(&team, &set);
                let row = transaction.get(&key, ReadMode::Serializable).await?;
                let before: Option<GoldenInfo> = row.as_deref().map(records::decode).transpose()?;
                let current = before.map_or(0, |info| info.version);
                if let Some(expected) = expected.filter(|expected| *expected != current) {
                    return Ok(Err(PromptError::Moved { expected, current }));
                }
                let version = current + 1;
                let info = GoldenInfo { name: set.clone(), version, cases: count, by, updated_ms };
                for (place, piece) in json.chunks(PIECE_BYTES).enumerate() {
                    let key = keys::golden_piece(&team, &set, version, place as u64);
                    transaction.set(&key, piece)?;
                }
                transaction.set(&key, &records::encode(&info)?)?;
                Ok(Ok(info))
            })
        });
        match written.await? {
            Applied::Now(outcome) => outcome,
            Applied::Earlier => Err(StoreError::CommitUnknown.into()),
        }
    }
}
