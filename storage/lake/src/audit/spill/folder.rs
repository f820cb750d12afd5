//! The spill's folder: one process's, with the writer's name and the number of its last run.

use std::fs::{File, OpenOptions, TryLockError, create_dir_all, read_dir, read_to_string};
use std::io::{ErrorKind, Result, Write};
use std::path::{Path, PathBuf};

use headwater_storage::audit::AuditError;

use super::super::names::Segment;
use super::broken;

const WRITER: &str = "writer";
const LOCK: &str = "lock";

/// See the module.
pub(super) struct Folder {
    path: PathBuf,
    writer: String,
    run: u64,
    /// Held as long as this process uses the folder.
    _lock: File,
}

impl Folder {
    pub(super) fn open(
        path: &Path,
        now_ms: u64,
        draw: u64,
    ) -> std::result::Result<Folder, AuditError> {
        let cannot = |error: std::io::Error| broken(&format!("use {}", path.display()), &error);
        create_dir_all(path).map_err(cannot)?;
        let lock = File::create(path.join(LOCK)).map_err(cannot)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let folder = path.display();
                return Err(AuditError::Refused(format!(
                    "{folder} is another process's; give each node a data folder of its own"
                )));
            }
            Err(TryLockError::Error(error)) => return Err(cannot(error)),
        }
        let (writer, run) = next_run(path, now_ms, draw).map_err(cannot)?;
        Ok(Folder { path: path.to_owned(), writer, run, _lock: lock })
    }

    /// The name of this run's segment of that number.
    pub(super) fn segment(&self, number: u32) -> Segment {
        Segment { writer: self.writer.clone(), run: self.run, number }
    }

    fn place(&self, segment: &Segment) -> PathBuf {
        self.path.join(segment.file())
    }

    /// All segments there are, by age.
    pub(super) fn segments(&self) -> std::result::Result<Vec<Segment>, AuditError> {
        let list = || {
            let mut segments = Vec::new();
            for entry in read_dir(&self.path)? {
                segments.extend(entry?.file_name().to_str().and_then(Segment::of_file));
            }
            segments.sort();
            Ok(segments)
        };
        list().map_err(|error| broken("be listed", &error))
    }

    pub(super) fn create(&self, segment: &Segment) -> Result<File> {
        let place = self.place(segment);
        let file = OpenOptions::new().append(true).create_new(true).open(place)?;
        self.sync()?;
        Ok(file)
    }

    pub(super) fn read(&self, segment: &Segment) -> Result<File> {
        File::open(self.place(segment))
    }

    /// Gone for good, whatever happens to the machine: a segment that came back after its file in
    /// the lake had been replaced would be a riddle.
    pub(super) fn remove(&self, segment: &Segment) -> Result<()> {
        match std::fs::remove_file(self.place(segment)) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => self.sync(),
        }
    }

    /// Keeps what cannot be read, for a build that can.
    pub(super) fn set_aside(&self, segment: &Segment) {
        let (from, name) = (self.place(segment), segment.file());
        let moved = std::fs::rename(from, self.path.join(format!("{name}.unreadable")));
        let problem = moved.err().map(|error| error.to_string());
        tracing::error!(
            segment = name,
            problem,
            "a segment of the audit's spill was written by another version; it is set aside"
        );
    }

    fn sync(&self) -> Result<()> {
        File::open(&self.path)?.sync_all()
    }
}

/// The writer's name, and a number above that of every earlier run; both are kept first.
fn next_run(folder: &Path, now_ms: u64, draw: u64) -> Result<(String, u64)> {
    let place = folder.join(WRITER);
    let kept = match read_to_string(&place) {
        Ok(kept) => kept,
        Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
        Err(error) => return Err(error),
    };
    let mut parts = kept.split_whitespace();
    let is_good =
        |name: &&str| name.len() == 16 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
    let writer = parts.next().filter(is_good).map(str::to_owned);
    let writer = writer.unwrap_or_else(|| format!("{draw:016x}"));
    let last: u64 = parts.next().and_then(|run| run.parse().ok()).unwrap_or(0);
    let run = now_ms.max(last + 1);
    let new = folder.join("writer.new");
    let mut file = File::create(&new)?;
    file.write_all(format!("{writer} {run}\n").as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&new, &place)?;
    File::open(folder)?.sync_all()?;
    Ok((writer, run))
}
