//! A stream of JSON lines on its way into a job: cut, read and staged batch by batch. Whoever
//! pushes waits until its bytes are staged; so the store's pace is the client's.

use headwater_embedding::ingest::{Line, Lines};

use super::handle::IngestHandle;
use super::nouns::{IngestError, JobKey, Received};
use super::parse;
use super::staging::{Batch, stage};

/// One client's stream.
pub struct Intake {
    handle: IngestHandle,
    key: JobKey,
    lines: Lines,
    /// What is in the store.
    staged: Received,
    batch: Batch,
}

impl Intake {
    /// The stream's first line is the one behind `offset`; lines that are in the store already
    /// are skipped.
    pub(super) fn new(
        handle: IngestHandle,
        key: JobKey,
        offset: u64,
        received: Received,
    ) -> Result<Intake, IngestError> {
        if offset > received.lines {
            return Err(IngestError::Gap { received: received.lines });
        }
        let lines = Lines::after(offset, handle.settings().line_bytes);
        let batch = Batch { from_lines: received.lines, ..Batch::default() };
        Ok(Intake { handle, key, lines, staged: received, batch })
    }

    /// What is in the store.
    pub fn received(&self) -> Received {
        self.staged
    }

    /// The bytes that were read so far came from here.
    pub(super) fn at(&mut self, place: u32, place_bytes: u64) {
        (self.batch.received.place, self.batch.received.place_bytes) = (place, place_bytes);
    }

    /// Takes bytes in; returns once all but less than a batch of them is staged.
    ///
    /// # Errors
    /// [`IngestError::Gap`] when another client sends documents of the same job,
    /// [`IngestError::Refused`] when the job takes no more, and the store's.
    pub async fn push(&mut self, bytes: &[u8]) -> Result<(), IngestError> {
        for line in self.lines.push(bytes) {
            self.add(line);
            if self.batch.is_full() {
                self.flush(None).await?;
            }
        }
        Ok(())
    }

    /// Stages what is left: the last line may end without a line's end.
    ///
    /// # Errors
    /// As [`Intake::push`].
    pub async fn finish(mut self) -> Result<Received, IngestError> {
        self.end_place().await?;
        Ok(self.staged)
    }

    /// Everything up to here is whole lines: stages them.
    pub(super) async fn end_place(&mut self) -> Result<(), IngestError> {
        let longest = self.handle.settings().line_bytes;
        let lines = std::mem::replace(&mut self.lines, Lines::after(0, longest));
        let before = lines.read();
        let last = lines.finish();
        let read = last.as_ref().map_or(before, |line| line.number);
        self.lines = Lines::after(read, longest);
        if let Some(line) = last {
            self.add(line);
        }
        self.flush(Some(read)).await
    }

    /// Stages the lines that are complete.
    ///
    /// # Errors
    /// As [`Intake::push`].
    pub async fn flush_lines(&mut self) -> Result<(), IngestError> {
        self.flush(None).await
    }

    fn add(&mut self, line: Line) {
        if line.number <= self.staged.lines {
            return;
        }
        let document = match line.text {
            Ok(text) => parse::document(&text),
            Err(problem) => Err(parse::unreadable(problem)),
        };
        self.batch.add(line.number, document);
    }

    async fn flush(&mut self, read: Option<u64>) -> Result<(), IngestError> {
        let last = self.batch.lines.last().map(|(line, _)| *line);
        // Blank lines at the end count once the next line, or the end, is known.
        let lines = read.or(last).unwrap_or(0).max(self.staged.lines);
        if lines == self.staged.lines {
            return Ok(());
        }
        self.batch.received.lines = lines;
        let now_ms = self.handle.runtime().wall_ms();
        let staged = stage(self.handle.retry(), &self.key, &self.batch, now_ms).await?;
        let (place, place_bytes) = (self.batch.received.place, self.batch.received.place_bytes);
        self.batch = Batch { from_lines: lines, ..Batch::default() };
        self.at(place, place_bytes);
        self.staged = Received { lines, ..staged };
        Ok(())
    }
}
