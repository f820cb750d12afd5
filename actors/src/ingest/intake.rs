//! JSON lines on their way into a job: cut, read and staged batch by batch. Whoever pushes waits
//! until its bytes are staged; so the store's pace is the client's.

use headwater_embedding::ingest::{Line, Lines, Refusal};

use super::handle::IngestHandle;
use super::nouns::{BadLine, IngestError, JobKey, Received};
use super::parse;
use super::staging::{Batch, stage};

/// One client's stream, or the objects of a job's places one after the other.
pub struct Intake {
    handle: IngestHandle,
    key: JobKey,
    lines: Lines,
    /// Where in its object the stream began, in bytes.
    base: u64,
    /// What is in the store.
    staged: Received,
    batch: Batch,
    /// Why the job takes no line that it does not have.
    closed: Option<Refusal>,
}

impl Intake {
    /// The stream's first line is the one behind `offset`; lines that are in the store already
    /// are skipped, and `closed` is told to any other.
    pub(super) fn new(
        handle: IngestHandle,
        key: JobKey,
        offset: u64,
        received: Received,
        closed: Option<Refusal>,
    ) -> Result<Intake, IngestError> {
        if let Some(refusal) = closed
            && offset > received.lines
        {
            return Err(IngestError::Refused(refusal));
        }
        if offset > received.lines {
            return Err(IngestError::Gap { received: received.lines });
        }
        let lines = Lines::after(offset, handle.settings().line_bytes);
        let batch = Batch::after(received.clone());
        Ok(Intake { handle, key, lines, base: 0, staged: received, batch, closed })
    }

    /// What is in the store.
    pub fn received(&self) -> &Received {
        &self.staged
    }

    /// Takes bytes in; returns once all but less than a batch of them is staged.
    ///
    /// # Errors
    /// [`IngestError::Gap`] when another client sends documents of the same job,
    /// [`IngestError::Refused`] when the job takes no more, and the store's.
    pub async fn push(&mut self, bytes: &[u8]) -> Result<(), IngestError> {
        for line in self.lines.push(bytes) {
            self.add(line).await?;
            if self.batch.is_full() {
                self.flush().await?;
            }
        }
        Ok(())
    }

    /// Stages the lines that are complete: the client broke off, or waits.
    ///
    /// # Errors
    /// As [`Intake::push`].
    pub async fn flush(&mut self) -> Result<Received, IngestError> {
        let last = self.batch.lines.last().map(|(line, _)| *line);
        self.flush_to(last.unwrap_or(0)).await
    }

    /// Stages what is left; the last line may end without a line's end.
    ///
    /// # Errors
    /// As [`Intake::push`].
    pub async fn finish(mut self) -> Result<Received, IngestError> {
        self.end_lines().await?;
        Ok(self.staged)
    }

    /// What is pushed next comes from this object of this place, from this byte on.
    pub(super) fn begin_object(&mut self, place: u32, object: &str, offset: u64) {
        self.base = offset;
        self.at(place, Some(object), offset);
    }

    /// The object has ended; its last line may end without a line's end.
    pub(super) async fn end_object(&mut self) -> Result<(), IngestError> {
        self.end_lines().await
    }

    /// The place has ended, the next one begins.
    pub(super) async fn end_place(&mut self, next: u32) -> Result<(), IngestError> {
        self.at(next, None, 0);
        self.flush_to(self.lines.read()).await?;
        Ok(())
    }

    /// The place, or an object of it, cannot be read: that is a dead letter of its own.
    pub(super) async fn refuse(&mut self, problem: &str) -> Result<(), IngestError> {
        self.end_lines().await?;
        let number = self.lines.read() + 1;
        self.lines = Lines::after(number, self.handle.settings().line_bytes);
        let field = format!("source.places[{}]", self.batch.received.place);
        let bad = BadLine { field: Some(field), problem: problem.to_owned() };
        self.batch.add(number, Err(bad));
        Ok(())
    }

    fn at(&mut self, place: u32, object: Option<&str>, object_bytes: u64) {
        let received = &mut self.batch.received;
        received.place = place;
        received.object = object.map(str::to_owned);
        received.object_bytes = object_bytes;
    }

    async fn end_lines(&mut self) -> Result<(), IngestError> {
        let longest = self.handle.settings().line_bytes;
        let lines = std::mem::replace(&mut self.lines, Lines::after(0, longest));
        let before = lines.read();
        let last = lines.finish();
        let read = last.as_ref().map_or(before, |line| line.number);
        self.lines = Lines::after(read, longest);
        if let Some(line) = last {
            self.add(line).await?;
        }
        self.flush_to(read).await?;
        Ok(())
    }

    async fn add(&mut self, line: Line) -> Result<(), IngestError> {
        if line.number <= self.staged.lines {
            return Ok(());
        }
        if let Some(refusal) = self.closed {
            return Err(IngestError::Refused(refusal));
        }
        let document = match line.text {
            Ok(text) => parse::document(&text),
            Err(problem) => Err(parse::unreadable(problem)),
        };
        if !self.batch.has_room(&document) {
            self.flush().await?;
        }
        self.batch.received.object_bytes = self.base + line.end;
        self.batch.add(line.number, document);
        Ok(())
    }

    async fn flush_to(&mut self, lines: u64) -> Result<Received, IngestError> {
        if lines <= self.staged.lines {
            return Ok(self.staged.clone());
        }
        self.batch.received.lines = lines;
        let now_ms = self.handle.runtime().wall_ms();
        let staged = stage(self.handle.retry(), &self.key, &self.batch, now_ms).await?;
        let received = Received { lines, bytes: staged.bytes, ..self.batch.received.clone() };
        self.batch = Batch::after(received.clone());
        self.staged = received.clone();
        Ok(received)
    }
}
