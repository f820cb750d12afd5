//! Records on this node's disk on their way to the lake: segments of frames, the last one open.

mod folder;
mod ids;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};

use headwater_storage::audit::{AuditError, AuditRecord, Backlog};

use super::names::Segment;
use super::settings::SpillSettings;
use super::{frame, records};
use folder::Folder;
use ids::Ids;

/// See the module.
pub(super) struct Spill {
    settings: SpillSettings,
    folder: Folder,
    state: Mutex<State>,
}

struct State {
    /// All that is not in the lake yet, by age; an open one is the last.
    segments: BTreeMap<Segment, Held>,
    open: Option<Open>,
    /// Of the next segment.
    number: u32,
    ids: Ids,
}

struct Open {
    segment: Segment,
    file: File,
}

/// What is known of a segment.
#[derive(Clone, Copy, Default)]
struct Held {
    bytes: u64,
    records: u64,
    oldest_ms: u64,
}

impl Held {
    fn add(&mut self, records: &[AuditRecord]) {
        let oldest = records.iter().map(|one| one.time_ms).min();
        self.merge(Held {
            bytes: 0,
            records: records.len() as u64,
            oldest_ms: oldest.unwrap_or(u64::MAX),
        });
    }

    fn merge(&mut self, new: Held) {
        self.oldest_ms = match self.records {
            0 => new.oldest_ms,
            _ => self.oldest_ms.min(new.oldest_ms),
        };
        self.bytes += new.bytes;
        self.records += new.records;
    }
}

/// A segment that can still be read when its file is gone.
pub(super) struct Reader {
    pub(super) segment: Segment,
    file: File,
    bytes: u64,
}

fn broken(what: &str, error: &std::io::Error) -> AuditError {
    AuditError::Unavailable(format!("the audit's spill cannot {what}: {error}"))
}

impl Spill {
    /// # Errors
    /// As [`super::ParquetAudit::open`].
    pub(super) fn open(
        settings: &SpillSettings,
        now_ms: u64,
        draw: u64,
    ) -> Result<Spill, AuditError> {
        let folder = Folder::open(&settings.folder, now_ms, draw)?;
        let mut state =
            State { segments: BTreeMap::new(), open: None, number: 0, ids: Ids::default() };
        for segment in folder.segments()? {
            let mut bytes = Vec::new();
            let mut file = folder.read(&segment).map_err(|error| broken("be read", &error))?;
            file.read_to_end(&mut bytes).map_err(|error| broken("be read", &error))?;
            let (frames, good) = frame::unwrap(&bytes);
            if good < bytes.len() {
                let lost = bytes.len() - good;
                tracing::warn!(
                    segment = segment.file(),
                    bytes = lost,
                    "the spill ends in what was never completely appended; it is dropped"
                );
            }
            let Some(records) = decode(&frames) else {
                folder.set_aside(&segment);
                continue;
            };
            let mut held = Held { bytes: good as u64, ..Held::default() };
            held.add(&records);
            records.iter().for_each(|one| state.ids.add(&one.id));
            match records.is_empty() {
                true => folder.remove(&segment).map_err(|error| broken("be tidied", &error))?,
                false => {
                    state.segments.insert(segment, held);
                }
            }
        }
        let waiting: u64 = state.segments.values().map(|held| held.records).sum();
        if waiting > 0 {
            tracing::info!(records = waiting, "taking up what an earlier process left");
        }
        Ok(Spill { settings: settings.clone(), folder, state: Mutex::new(state) })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends what is new; all of it, or nothing.
    pub(super) fn append(&self, mut records: Vec<AuditRecord>) -> Result<u64, AuditError> {
        let mut state = self.lock();
        let mut own = std::collections::BTreeSet::new();
        records.retain(|one| !state.ids.holds(&one.id) && own.insert(one.id.clone()));
        if records.is_empty() {
            return Ok(0);
        }
        let mut new = Held::default();
        new.add(&records);
        let frame = frame::wrap(&records::encode(records)?)
            .ok_or_else(|| AuditError::Refused("the batch is too long; append less".to_owned()))?;
        let waiting_bytes = state.backlog().bytes;
        let limit_bytes = self.settings.limit_bytes;
        if waiting_bytes + frame.len() as u64 > limit_bytes {
            return Err(AuditError::Full { waiting_bytes, limit_bytes });
        }
        self.write(&mut state, &frame).map_err(|error| broken("be written", &error))?;
        own.iter().for_each(|id| state.ids.add(id));
        new.bytes = frame.len() as u64;
        if state.add(new) >= self.settings.segment_bytes {
            // What fails here fails again when it is read.
            let _ = state.open.take().map(|open| open.file.sync_data());
        }
        Ok(new.records)
    }

    fn write(&self, state: &mut State, frame: &[u8]) -> std::io::Result<()> {
        if state.open.is_none() {
            let segment = self.folder.segment(state.number);
            let file = self.folder.create(&segment)?;
            state.number += 1;
            state.segments.insert(segment.clone(), Held::default());
            state.open = Some(Open { segment, file });
        }
        let Some(open) = &mut state.open else { return Ok(()) };
        let written = open.file.write_all(frame);
        if written.is_err() {
            // What stands there in part would hide all that comes behind it.
            let before = state.segments.get(&open.segment).map_or(0, |held| held.bytes);
            if open.file.set_len(before).is_err() {
                state.open = None;
            }
        }
        written
    }

    /// Whether this spill's writer made the segment.
    pub(super) fn is_own(&self, segment: &Segment) -> bool {
        self.folder.segment(0).writer == segment.writer
    }

    pub(super) fn backlog(&self) -> Backlog {
        self.lock().backlog()
    }

    /// From now on records go into a new segment; all before it, by age. They are on the disk,
    /// whatever happens to the machine.
    pub(super) fn seal(&self) -> Result<Vec<Segment>, AuditError> {
        let mut state = self.lock();
        if let Some(open) = state.open.take() {
            open.file.sync_data().map_err(|error| broken("be written", &error))?;
        }
        Ok(state.segments.keys().cloned().collect())
    }

    /// A sealed segment's records. None when it is gone, or cannot be read by this build.
    pub(super) fn read(&self, segment: &Segment) -> Result<Option<Vec<AuditRecord>>, AuditError> {
        let reader = self.reader(&self.lock(), segment)?;
        let Some(reader) = reader else {
            if self.lock().segments.remove(segment).is_some() {
                tracing::error!(segment = segment.file(), "a segment of the spill is gone");
            }
            return Ok(None);
        };
        let records = reader.records()?;
        if records.is_none() {
            self.folder.set_aside(segment);
            self.lock().segments.remove(segment);
        }
        Ok(records)
    }

    fn reader(&self, state: &State, segment: &Segment) -> Result<Option<Reader>, AuditError> {
        let Some(held) = state.segments.get(segment) else { return Ok(None) };
        let file = match self.folder.read(segment) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            file => file.map_err(|error| broken("be read", &error))?,
        };
        Ok(Some(Reader { segment: segment.clone(), file, bytes: held.bytes }))
    }

    /// All that is not in the lake yet, as it is now.
    pub(super) fn readers(&self) -> Result<Vec<Reader>, AuditError> {
        let state = self.lock();
        let all: Result<Vec<_>, _> =
            state.segments.keys().map(|segment| self.reader(&state, segment)).collect();
        Ok(all?.into_iter().flatten().collect())
    }

    /// The segment is in the lake.
    pub(super) fn done(
        &self,
        segment: &Segment,
        records: &[AuditRecord],
    ) -> Result<(), AuditError> {
        let mut state = self.lock();
        self.folder.remove(segment).map_err(|error| broken("be tidied", &error))?;
        state.segments.remove(segment);
        state.ids.age(records.iter().map(|one| one.id.as_str()));
        Ok(())
    }
}

impl State {
    fn backlog(&self) -> Backlog {
        let mut backlog = Backlog::default();
        for held in self.segments.values().filter(|held| held.records > 0) {
            backlog.bytes += held.bytes;
            backlog.records += held.records;
            let oldest = backlog.oldest_ms.unwrap_or(u64::MAX).min(held.oldest_ms);
            backlog.oldest_ms = Some(oldest);
        }
        backlog
    }

    /// Counts what was written into the open segment, and tells how long that is, in bytes.
    fn add(&mut self, new: Held) -> u64 {
        let Some(open) = &self.open else { return 0 };
        let held = self.segments.entry(open.segment.clone()).or_default();
        held.merge(new);
        held.bytes
    }
}

impl Reader {
    /// None when this build cannot read them.
    pub(super) fn records(mut self) -> Result<Option<Vec<AuditRecord>>, AuditError> {
        let mut bytes = Vec::new();
        let most = self.bytes;
        let read = (&mut self.file).take(most).read_to_end(&mut bytes);
        read.map_err(|error| broken("be read", &error))?;
        Ok(decode(&frame::unwrap(&bytes).0))
    }
}

fn decode(frames: &[&[u8]]) -> Option<Vec<AuditRecord>> {
    let all: Option<Vec<Vec<AuditRecord>>> =
        frames.iter().map(|body| records::decode(body)).collect();
    Some(all?.into_iter().flatten().collect())
}
