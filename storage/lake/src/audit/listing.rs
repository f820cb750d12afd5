//! The lake's files, by their names alone.

use futures_util::{StreamExt, TryStreamExt, stream};
use headwater_storage::audit::AuditError;
use object_store::path::Path;

use super::names::{FileName, Partition, covered, day_of_part, day_part, team_part};
use super::place::Place;

/// Days that are listed at a time.
const LISTS: usize = 8;

/// One file.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) path: Path,
    pub(super) partition: Partition,
    pub(super) name: FileName,
    pub(super) bytes: u64,
    pub(super) modified_ms: u64,
    /// Whether other files hold what it holds.
    pub(super) is_covered: bool,
}

/// Which partitions are asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Bounds {
    /// First and last day, since 1970.
    pub(super) days: (u64, u64),
    pub(super) team: Option<String>,
}

impl Bounds {
    pub(super) const ALL: Bounds = Bounds { days: (0, u64::MAX), team: None };

    fn hold_day(&self, day: u64) -> bool {
        self.days.0 <= day && day <= self.days.1
    }
}

/// All files within bounds, by partition and then by segment.
pub(super) async fn list(place: &Place, bounds: &Bounds) -> Result<Vec<Entry>, AuditError> {
    let days = place.folders().await?;
    let days = days.iter().filter_map(|part| day_of_part(part));
    let mut days: Vec<u64> = days.filter(|day| bounds.hold_day(*day)).collect();
    days.sort_unstable();
    let list = |day: u64| {
        let folder = match &bounds.team {
            Some(team) => format!("{}/{}", day_part(day), team_part(team)),
            None => day_part(day),
        };
        async move { place.list(&folder).await }
    };
    let listed: Vec<_> = stream::iter(days).map(list).buffered(LISTS).try_collect().await?;
    let entries = listed.into_iter().flatten().filter_map(|object| {
        let (partition, name) = Partition::parse(&place.below(&object.location)?)?;
        Some(Entry {
            path: object.location,
            partition,
            name,
            bytes: object.size,
            modified_ms: object.last_modified.timestamp_millis().unsigned_abs(),
            is_covered: false,
        })
    });
    let mut entries: Vec<Entry> = entries.collect();
    entries.sort_by(|a, b| {
        let names = a.name.first.cmp(&b.name.first);
        a.partition.cmp(&b.partition).then(names)
    });
    for partition in entries.chunk_by_mut(|a, b| a.partition == b.partition) {
        let covered = covered(partition.iter().map(|entry| &entry.name));
        partition.iter_mut().zip(covered).for_each(|(entry, is)| entry.is_covered = is);
    }
    Ok(entries)
}
