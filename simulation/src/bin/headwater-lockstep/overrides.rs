//! The operating system's chance, clocks and drawn ports, replaced by the run's own.
//!
//! The linker prefers these definitions to libc's. They stand in this binary alone: nothing that
//! ships can contain them. Until they are switched on they ask the kernel.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// What every bound socket says its port is.
const SHOWN_PORT: u16 = 17_999;
const NS_PER_SECOND: u64 = 1_000_000_000;

static IS_ON: AtomicBool = AtomicBool::new(false);
static CHANCE: AtomicU64 = AtomicU64::new(0);
static MONOTONIC_NS: AtomicU64 = AtomicU64::new(0);
static WALL_NS: AtomicU64 = AtomicU64::new(0);

/// From now on chance comes from this seed, and the clocks show what they are set to.
pub(crate) fn switch_on(seed: u64) {
    CHANCE.store(seed, Ordering::SeqCst);
    IS_ON.store(true, Ordering::SeqCst);
}

/// Sets the clocks.
pub(crate) fn set_clocks(monotonic_ns: u64, wall_ns: u64) {
    MONOTONIC_NS.store(monotonic_ns, Ordering::SeqCst);
    WALL_NS.store(wall_ns, Ordering::SeqCst);
}

/// SplitMix64: each call takes the next number of the sequence.
fn draw() -> u64 {
    const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
    let state = CHANCE.fetch_add(STEP, Ordering::SeqCst).wrapping_add(STEP);
    let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// # Safety
/// As libc's: `buffer` must be valid for `length` bytes.
#[unsafe(no_mangle)]
unsafe extern "C" fn getrandom(buffer: *mut u8, length: usize, flags: u32) -> isize {
    if !IS_ON.load(Ordering::SeqCst) {
        // SAFETY: the arguments are the caller's own.
        return unsafe { libc::syscall(libc::SYS_getrandom, buffer, length, flags) as isize };
    }
    // SAFETY: the caller says that the buffer is valid for so many bytes.
    let bytes = unsafe { std::slice::from_raw_parts_mut(buffer, length) };
    for chunk in bytes.chunks_mut(8) {
        let drawn = draw().to_le_bytes();
        chunk.copy_from_slice(&drawn[..chunk.len()]);
    }
    length as isize
}

/// # Safety
/// As libc's: `buffer` must be valid for `length` bytes.
#[unsafe(no_mangle)]
unsafe extern "C" fn getentropy(buffer: *mut u8, length: usize) -> i32 {
    // SAFETY: the arguments are the caller's own.
    let filled = unsafe { getrandom(buffer, length, 0) };
    if filled == length as isize { 0 } else { -1 }
}

/// # Safety
/// As libc's: `time` must be valid for one write.
#[unsafe(no_mangle)]
unsafe extern "C" fn clock_gettime(clock: libc::clockid_t, time: *mut libc::timespec) -> i32 {
    if !IS_ON.load(Ordering::SeqCst) {
        // SAFETY: the arguments are the caller's own.
        return unsafe { libc::syscall(libc::SYS_clock_gettime, clock, time) as i32 };
    }
    let shown = match clock {
        libc::CLOCK_REALTIME | libc::CLOCK_REALTIME_COARSE | libc::CLOCK_TAI => &WALL_NS,
        _ => &MONOTONIC_NS,
    };
    let ns = shown.load(Ordering::SeqCst);
    let tv_sec = (ns / NS_PER_SECOND) as libc::time_t;
    let tv_nsec = (ns % NS_PER_SECOND) as libc::c_long;
    // SAFETY: the caller says that the place is valid for one write.
    unsafe { time.write(libc::timespec { tv_sec, tv_nsec }) };
    0
}

/// `ractor_cluster` binds a listener that nobody dials, and nodes tell each other its port. The
/// kernel draws that port, so it would differ from run to run: one port is shown for all.
///
/// # Safety
/// As libc's: `length` must be valid, and `address` for so many bytes.
#[unsafe(no_mangle)]
unsafe extern "C" fn getsockname(
    socket: libc::c_int,
    address: *mut libc::sockaddr,
    length: *mut libc::socklen_t,
) -> libc::c_int {
    // SAFETY: the arguments are the caller's own.
    let told = unsafe { libc::syscall(libc::SYS_getsockname, socket, address, length) };
    if told == 0 && IS_ON.load(Ordering::SeqCst) {
        // SAFETY: the kernel has written an address there; the family comes first in each kind,
        // and the port stands at the same place in both kinds of internet address.
        unsafe {
            let family = libc::c_int::from((*address).sa_family);
            if family == libc::AF_INET || family == libc::AF_INET6 {
                (*address.cast::<libc::sockaddr_in>()).sin_port = SHOWN_PORT.to_be();
            }
        }
    }
    told as libc::c_int
}
