//! Names of segments, files and partitions. What follows from a name needs no file to be read.

use std::collections::BTreeMap;

use headwater_storage::audit::{AuditRecord, DAY_MS, Moment, day_of};
use object_store::path::{Path, PathPart};

/// A segment's place among those of its writer; later ones compare higher.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Segment {
    /// 16 hexadecimal digits.
    pub(super) writer: String,
    /// The process that wrote it; later ones have higher numbers.
    pub(super) run: u64,
    pub(super) number: u32,
}

impl Segment {
    /// 24 hexadecimal digits, in the order of segments.
    fn position(&self) -> String {
        format!("{:016x}{:08x}", self.run, self.number)
    }

    fn of_position(writer: &str, position: &str) -> Option<Segment> {
        let (run, number) = position.split_at_checked(16).filter(|_| position.len() == 24)?;
        Some(Segment {
            writer: writer.to_owned(),
            run: u64::from_str_radix(run, 16).ok()?,
            number: u32::from_str_radix(number, 16).ok()?,
        })
    }

    /// The segment's file in the spill.
    pub(super) fn file(&self) -> String {
        format!("{}_{}.spill", self.writer, self.position())
    }

    pub(super) fn of_file(name: &str) -> Option<Segment> {
        let (writer, position) = name.strip_suffix(".spill")?.split_once('_')?;
        Segment::of_position(writer, position)
    }
}

/// What is left of a file's records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Tier {
    All,
    /// What was said only where there is a flag.
    Metadata,
    /// Records with a flag only.
    Flagged,
}

impl Tier {
    const NAMES: [(Tier, &'static str); 3] =
        [(Tier::All, "a"), (Tier::Metadata, "m"), (Tier::Flagged, "f")];

    fn name(self) -> &'static str {
        let found = Tier::NAMES.iter().find(|(tier, _)| *tier == self);
        found.map_or("a", |(_, name)| name)
    }
}

/// A file's name: which segments of one writer it covers, in one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FileName {
    pub(super) first: Segment,
    pub(super) last: Segment,
    pub(super) tier: Tier,
}

impl FileName {
    pub(super) fn of_segment(segment: &Segment, tier: Tier) -> FileName {
        FileName { first: segment.clone(), last: segment.clone(), tier }
    }

    fn text(&self) -> String {
        let FileName { first, last, tier } = self;
        let (from, to) = (first.position(), last.position());
        format!("{}_{from}_{to}_{}.parquet", first.writer, tier.name())
    }

    fn parse(name: &str) -> Option<FileName> {
        let mut parts = name.strip_suffix(".parquet")?.split('_');
        let writer = parts.next()?;
        let first = Segment::of_position(writer, parts.next()?)?;
        let last = Segment::of_position(writer, parts.next()?)?;
        let tier = parts.next()?;
        let (tier, _) = Tier::NAMES.into_iter().find(|(_, name)| *name == tier)?;
        parts.next().is_none().then_some(FileName { first, last, tier })
    }

    /// Whether it came straight from one segment.
    pub(super) fn is_raw(&self) -> bool {
        self.first == self.last && self.tier == Tier::All
    }

    pub(super) fn covers(&self, segment: &Segment) -> bool {
        self.first.writer == segment.writer && self.first <= *segment && *segment <= self.last
    }
}

/// Which of these files, all of one partition, are covered by another one of them.
pub(super) fn covered<'a>(names: impl IntoIterator<Item = &'a FileName>) -> Vec<bool> {
    let names: Vec<&FileName> = names.into_iter().collect();
    let mut order: Vec<usize> = (0..names.len()).collect();
    // Whoever may cover another one comes before it.
    order.sort_by(|a, b| {
        let (a, b) = (names[*a], names[*b]);
        let tiers = b.tier.cmp(&a.tier);
        a.first.cmp(&b.first).then_with(|| b.last.cmp(&a.last)).then(tiers)
    });
    let mut covered = vec![false; names.len()];
    let mut furthest: Option<&Segment> = None;
    for place in order {
        let name = names[place];
        let is_new = furthest.is_none_or(|last| *last < name.last);
        // Segments of another writer compare by their writer first.
        let is_other = furthest.is_some_and(|last| last.writer != name.first.writer);
        if is_new || is_other {
            furthest = Some(&name.last);
        } else {
            covered[place] = true;
        }
    }
    covered
}

/// A day and a team.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Partition {
    /// Since 1970.
    pub(super) day: u64,
    /// The path's part: `team=` and the name, with what paths cannot hold written otherwise.
    pub(super) team: String,
}

impl Partition {
    pub(super) fn new(day: u64, team: &str) -> Partition {
        Partition { day, team: team_part(team) }
    }

    pub(super) fn split(records: &[AuditRecord]) -> BTreeMap<Partition, Vec<&AuditRecord>> {
        let mut parts: BTreeMap<Partition, Vec<&AuditRecord>> = BTreeMap::new();
        for record in records {
            let partition = Partition::new(day_of(record.time_ms), &record.team);
            parts.entry(partition).or_default().push(record);
        }
        parts
    }

    /// The folder, below the lake's own.
    pub(super) fn folder(&self) -> String {
        format!("{}/{}", day_part(self.day), self.team)
    }

    pub(super) fn file(&self, name: &FileName) -> String {
        format!("{}/{}", self.folder(), name.text())
    }

    /// What a path below the lake's own says; none for files that are none of the lake's.
    pub(super) fn parse(path: &str) -> Option<(Partition, FileName)> {
        let mut parts = path.split('/');
        let (day, team, name) = (parts.next()?, parts.next()?, parts.next()?);
        let is_good = team.starts_with("team=") && parts.next().is_none();
        let partition = Partition { day: day_of_part(day)?, team: team.to_owned() };
        is_good.then_some((partition, FileName::parse(name)?))
    }
}

pub(super) fn day_part(day: u64) -> String {
    format!("day={}", Moment { ms: day * DAY_MS }.date())
}

pub(super) fn day_of_part(part: &str) -> Option<u64> {
    Some(day_of(Moment::of_date(part.strip_prefix("day=")?)?.ms))
}

pub(super) fn team_part(team: &str) -> String {
    PathPart::from(format!("team={team}")).as_ref().to_owned()
}

/// A path in the store, of parts that are good as they are.
pub(super) fn path(root: &Path, below: &str) -> Path {
    match Path::parse(format!("{root}/{below}")) {
        Ok(path) => path,
        Err(_) => root.clone().join(below),
    }
}
