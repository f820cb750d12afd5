//! The socket of one call's keeper.

use std::io;

use headwater_sandbox::GuestFile;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use crate::wire::{Answer, Request};

/// The longest answer without its files: paths of a long list.
const ANSWER_BYTES_MAX: u32 = 64 << 20;

/// A keeper's answer with its files, each behind its number.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) answer: Answer,
    pub(crate) files: Vec<(usize, Vec<u8>)>,
}

/// The host's end. Closed, it ends the call.
pub(crate) struct Keeper {
    stream: UnixStream,
}

impl Keeper {
    pub(crate) fn new(stream: UnixStream) -> Self {
        Self { stream }
    }

    pub(crate) async fn ask(
        &mut self,
        request: &Request<'_>,
        program: &[u8],
        files: &[GuestFile],
    ) -> io::Result<()> {
        let text = serde_json::to_vec(request)?;
        let length = u32::try_from(text.len()).map_err(io::Error::other)?;
        let head = [&length.to_le_bytes()[..], &text, program].concat();
        self.stream.write_all(&head).await?;
        for file in files {
            self.stream.write_all(&file.bytes).await?;
        }
        Ok(())
    }

    /// Until an answer begins to come, or the keeper's end.
    pub(crate) async fn readable(&self) -> io::Result<()> {
        self.stream.readable().await
    }

    /// Asks for the guest's end.
    pub(crate) fn stop(&self) {
        // A full socket is one that nobody reads; the keeper itself is killed then.
        let _ = self.stream.try_write(b"k");
    }

    /// The answer, with files of at most that many bytes together.
    pub(crate) async fn answer(&mut self, bytes_max: u64) -> io::Result<Reply> {
        let length = self.stream.read_u32_le().await?;
        if length > ANSWER_BYTES_MAX {
            return Err(io::Error::other("its answer is too long"));
        }
        let mut text = vec![0; length as usize];
        self.stream.read_exact(&mut text).await?;
        let answer: Answer = serde_json::from_slice(&text)?;
        let sum = answer.files.iter().fold(0_u64, |sum, (_, bytes)| sum.saturating_add(*bytes));
        if sum > bytes_max {
            return Err(io::Error::other("its files are too large"));
        }
        let mut files = Vec::new();
        for (index, bytes) in &answer.files {
            let mut content = vec![0; *bytes as usize];
            self.stream.read_exact(&mut content).await?;
            files.push((*index, content));
        }
        Ok(Reply { answer, files })
    }
}
