//! The sockets of a machine's process: its interface, and the way to ports of its guest.

use std::fs::OpenOptions;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::{Instant, sleep, timeout, timeout_at};

/// The port that the agent listens on.
const PORT: u32 = 52;
/// The longest that one try may take: a restored machine may forget a connection that comes early.
const TRY_WITHIN: Duration = Duration::from_secs(1);
const TRY_EVERY: Duration = Duration::from_millis(2);
const LINE_BYTES_MAX: usize = 32;

/// Connects to a socket in a folder that its process may write to: what lies there must be a socket
/// and no link to another one. The path may be longer than a socket's address.
pub(crate) async fn dial(folder: &Path, name: &str) -> io::Result<UnixStream> {
    let flags = libc::O_PATH | libc::O_NOFOLLOW | libc::O_CLOEXEC;
    let socket = OpenOptions::new().read(true).custom_flags(flags).open(folder.join(name))?;
    if !socket.metadata()?.file_type().is_socket() {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("{name} is no socket")));
    }
    UnixStream::connect(format!("/proc/self/fd/{}", socket.as_raw_fd())).await
}

/// Whether a try may be made again: the socket is not there yet, or nobody listens yet.
pub(crate) fn comes_later(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::BrokenPipe
    )
}

/// A stream to the agent, as soon as it listens.
pub(crate) async fn connect(
    folder: &Path,
    name: &str,
    until: Instant,
) -> Result<UnixStream, String> {
    loop {
        let why = match timeout(TRY_WITHIN, connect_once(folder, name)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) if comes_later(&error) => "nothing listens in the guest".to_owned(),
            Ok(Err(error)) => return Err(format!("vsock: {error}")),
            Err(_) => "the guest does not take a connection".to_owned(),
        };
        if timeout_at(until, sleep(TRY_EVERY)).await.is_err() {
            return Err(format!("vsock: {why}"));
        }
    }
}

async fn connect_once(folder: &Path, name: &str) -> io::Result<UnixStream> {
    let mut stream = dial(folder, name).await?;
    stream.write_all(format!("CONNECT {PORT}\n").as_bytes()).await?;
    // Byte by byte: what stands behind the line is the agent's.
    let mut line = Vec::new();
    while line.last() != Some(&b'\n') && line.len() < LINE_BYTES_MAX {
        line.push(stream.read_u8().await?);
    }
    let port = line.strip_prefix(b"OK ").and_then(|rest| rest.strip_suffix(b"\n"));
    match port {
        Some(port) if !port.is_empty() && port.iter().all(u8::is_ascii_digit) => Ok(stream),
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, "the answer is no `OK PORT`")),
    }
}

#[cfg(test)]
mod tests;
