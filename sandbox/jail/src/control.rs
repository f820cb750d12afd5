//! The host's end of a slot's control socket.

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

use nix::cmsg_space;
use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg};
use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::time::timeout;

/// A message: its kind, the call that it is about, a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) kind: u8,
    pub(crate) call: u64,
    pub(crate) value: i64,
}

/// The zygote waits for calls.
pub(crate) const READY: u8 = b'r';
/// Sockets of a way out come along.
pub(crate) const WAYS: u8 = b'w';
/// A call to begin: its own socket and three streams go along.
pub(crate) const CALL: u8 = b'c';
/// Every process of a call is gone. The value is its keeper's end, as `wait` tells it, or
/// [`UNBEGUN`].
pub(crate) const DONE: u8 = b'd';
/// The end of a keeper that handed no program on.
pub(crate) const UNBEGUN: i64 = -1;
/// A call could not begin; the value is the system's error.
pub(crate) const FAILED: u8 = b'f';
/// Kill a call's keeper.
pub(crate) const KILL: u8 = b'k';
/// Make the next call's processes now; answered when they wait. The value is the system's error
/// where there are none.
pub(crate) const SPARE: u8 = b's';
/// Look whether anything is left; the next call's processes are made anew then, when asked for.
pub(crate) const CLEAN: u8 = b'z';

const BYTES: usize = 17;

impl Message {
    pub(crate) const fn new(kind: u8, call: u64) -> Self {
        Self { kind, call, value: 0 }
    }

    fn bytes(self) -> [u8; BYTES] {
        let mut bytes = [0; BYTES];
        bytes[0] = self.kind;
        bytes[1..9].copy_from_slice(&self.call.to_le_bytes());
        bytes[9..].copy_from_slice(&self.value.to_le_bytes());
        bytes
    }

    fn of(bytes: &[u8; BYTES]) -> Self {
        let (mut call, mut value) = ([0; 8], [0; 8]);
        call.copy_from_slice(&bytes[1..9]);
        value.copy_from_slice(&bytes[9..]);
        Self { kind: bytes[0], call: u64::from_le_bytes(call), value: i64::from_le_bytes(value) }
    }
}

/// The socket. Messages are so small that each goes as a whole.
pub(crate) struct Control {
    stream: UnixStream,
}

impl Control {
    pub(crate) fn new(stream: std::os::unix::net::UnixStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Self { stream: UnixStream::from_std(stream)? })
    }

    pub(crate) async fn send(&self, message: Message, handles: &[RawFd]) -> io::Result<()> {
        let bytes = message.bytes();
        let socket = self.stream.as_raw_fd();
        self.stream
            .async_io(Interest::WRITABLE, || {
                let parts = [IoSlice::new(&bytes)];
                let rights = [ControlMessage::ScmRights(handles)];
                let extra = if handles.is_empty() { &[][..] } else { &rights[..] };
                let sent = sendmsg::<()>(socket, &parts, extra, MsgFlags::MSG_NOSIGNAL, None)?;
                if sent == BYTES { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
            })
            .await
    }

    /// The next message, and descriptors that came along.
    pub(crate) async fn receive(&self) -> io::Result<(Message, Vec<OwnedFd>)> {
        let socket = self.stream.as_raw_fd();
        self.stream.async_io(Interest::READABLE, || receive_now(socket)).await
    }

    /// Waits for a message of a call, and drops older ones.
    pub(crate) async fn await_kind(
        &self,
        kind: u8,
        call: u64,
        most: Duration,
    ) -> io::Result<Message> {
        let wait = async {
            loop {
                let (message, _) = self.receive().await?;
                if message.kind == kind && message.call == call {
                    return Ok(message);
                }
            }
        };
        timeout(most, wait).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }
}

fn receive_now(socket: RawFd) -> io::Result<(Message, Vec<OwnedFd>)> {
    let mut bytes = [0; BYTES];
    let mut space = cmsg_space!([RawFd; 4]);
    let mut parts = [IoSliceMut::new(&mut bytes)];
    let flags = MsgFlags::MSG_CMSG_CLOEXEC;
    let received = recvmsg::<()>(socket, &mut parts, Some(&mut space), flags)?;
    let mut handles = Vec::new();
    for extra in received.cmsgs()? {
        if let ControlMessageOwned::ScmRights(numbers) = extra {
            // SAFETY: the kernel has just made these descriptors for this process, nobody else
            // knows their numbers.
            handles.extend(numbers.into_iter().map(|raw| unsafe { OwnedFd::from_raw_fd(raw) }));
        }
    }
    match received.bytes {
        BYTES => Ok((Message::of(&bytes), handles)),
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Err(io::Error::other("half a message came")),
    }
}
