//! The stream to an agent: frames that go to it and come from it, and what its machine complains of.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use headwater_sandbox::WayOut;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::relay::Relays;
use crate::wire::{Frame, Frames, Kind};

const COMPLAINT_BYTES: usize = 4_096;

/// Both ways of one stream.
pub struct Link {
    frames: Frames<Box<dyn AsyncRead + Send + Sync + Unpin>>,
    outbound: UnboundedSender<Vec<u8>>,
    relays: Relays,
}

impl Link {
    /// Begins to write; the task ends with the link, or with the stream.
    #[must_use]
    pub fn new(
        reader: impl AsyncRead + Send + Sync + Unpin + 'static,
        writer: impl AsyncWrite + Send + Unpin + 'static,
        way_out: Option<WayOut>,
    ) -> Self {
        let (outbound, waiting) = unbounded_channel();
        tokio::spawn(write_frames(writer, waiting));
        let relays = Relays::new(way_out, outbound.clone());
        Self { frames: Frames::new(Box::new(reader)), outbound, relays }
    }

    /// A sender of frames, for what happens when a call is given up.
    pub(crate) fn outbound(&self) -> UnboundedSender<Vec<u8>> {
        self.outbound.clone()
    }

    /// What waits here is bounded by what a call may carry, and by the windows of the way out.
    pub fn send(&self, frame: Vec<u8>) {
        // A stream that is gone is told by the next read.
        drop(self.outbound.send(frame));
    }

    /// The next frame that is not the way out's. May be given up at any point.
    ///
    /// # Errors
    /// The stream's end, and what is no frame.
    pub async fn next(&mut self) -> io::Result<Frame> {
        loop {
            let frame = self.frames.next().await?;
            match frame.kind {
                Kind::Open | Kind::Data | Kind::Credit | Kind::Close => self.relays.heard(frame),
                _ => return Ok(frame),
            }
        }
    }
}

async fn write_frames(
    mut writer: impl AsyncWrite + Unpin,
    mut waiting: UnboundedReceiver<Vec<u8>>,
) {
    while let Some(frame) = waiting.recv().await {
        if writer.write_all(&frame).await.is_err() {
            return;
        }
    }
}

/// The end of what a process has complained about.
#[derive(Debug, Clone, Default)]
pub struct Complaints(Arc<Mutex<Vec<u8>>>);

impl Complaints {
    /// Reads to the stream's end, in the background.
    pub fn keep(&self, mut stream: impl AsyncRead + Send + Unpin + 'static) {
        let kept = Arc::clone(&self.0);
        tokio::spawn(async move {
            let mut piece = [0; 1_024];
            while let Ok(count @ 1..) = stream.read(&mut piece).await {
                let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                kept.extend_from_slice(&piece[..count]);
                let more = kept.len().saturating_sub(COMPLAINT_BYTES);
                kept.drain(..more);
            }
        });
    }

    /// The last lines, as one.
    #[must_use]
    pub fn last_words(&self) -> String {
        last_words(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The end of what a program complained about, on one line.
#[must_use]
pub fn last_words(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(&bytes[bytes.len().saturating_sub(1_000)..]);
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let shown = lines[lines.len().saturating_sub(4)..].join("; ");
    if shown.is_empty() {
        return "it told nothing".to_owned();
    }
    shown.chars().filter(|letter| !letter.is_control()).collect()
}

#[cfg(test)]
mod tests;
