//! The sockets of a way out, made in the slot's network and handed to the host.

use std::fs;
use std::io::{self, IoSlice};
use std::net::{TcpListener, UdpSocket};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use nix::libc;
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};

use super::{Failure, doing, number};

/// Where guests find the proxy and the name server.
pub(crate) const PROXY_PORT: u16 = 3_128;
pub(crate) const NAMES_PORT: u16 = 53;

/// The bytes that carry the sockets: one message of the agent's size, of kind `w`.
pub(crate) const MESSAGE_BYTES: usize = 17;

/// Opens the sockets and sends them over `control`.
pub(super) fn open(control: i32) -> Result<(), Failure> {
    raise_loopback()?;
    let bind = |port| TcpListener::bind(("127.0.0.1", port)).map_err(doing("listening"));
    let proxy = bind(PROXY_PORT)?;
    let names = bind(NAMES_PORT)?;
    let datagrams = UdpSocket::bind(("127.0.0.1", NAMES_PORT)).map_err(doing("listening"))?;
    let handles = [proxy.as_raw_fd(), names.as_raw_fd(), datagrams.as_raw_fd()];
    let mut message = [0; MESSAGE_BYTES];
    message[0] = b'w';
    let parts = [IoSlice::new(&message)];
    let extra = [ControlMessage::ScmRights(&handles)];
    sendmsg::<()>(control, &parts, &extra, MsgFlags::empty(), None)
        .map_err(doing("handing over the way out"))?;
    Ok(())
}

fn raise_loopback() -> Result<(), Failure> {
    // Nobody has an address beside the loopback's, so no group of addresses needs to be pinged.
    let _ = fs::write("/proc/sys/net/ipv4/ping_group_range", "1 0");
    // SAFETY: plain numbers go in; the result is a new descriptor or an error.
    let socket = unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) };
    if socket < 0 {
        return Err(doing("making a socket")(io::Error::last_os_error()));
    }
    // SAFETY: the descriptor is new and nobody else's.
    let socket = unsafe { OwnedFd::from_raw_fd(socket) };
    // SAFETY: a structure of numbers, for which zeros are valid.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    request.ifr_name[0] = b'l' as libc::c_char;
    request.ifr_name[1] = b'o' as libc::c_char;
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    // SAFETY: the request is of the type that this call takes, and outlives it.
    let result = unsafe { libc::ioctl(number(&socket), libc::SIOCSIFFLAGS, &raw const request) };
    if result == 0 { Ok(()) } else { Err(doing("raising lo")(io::Error::last_os_error())) }
}
