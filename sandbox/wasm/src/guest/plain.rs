//! The calls of preview 1 that touch no file: arguments, clocks, waiting, random bytes, sockets.

use crate::guest::clock::{Clock, STEP_NS};
use crate::guest::errno::Errno;
use crate::guest::memory::Memory;
use crate::guest::wasi::{Answer, Halt, Open, Stop, Wasi};

/// The most things that a guest waits for at once.
const WAITS_MAX: u32 = 4_096;
const WAIT_BYTES: u32 = 48;
const EVENT_BYTES: usize = 32;
/// The most random bytes of one call.
const RANDOM_BYTES_MAX: u32 = 1 << 20;

/// What `poll_oneoff` answers, and after how long.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Wait {
    pub(crate) for_ns: u64,
    events: Vec<[u8; EVENT_BYTES]>,
}

fn event(about: [u8; 8], kind: u8, bytes: u64) -> [u8; EVENT_BYTES] {
    let mut event = [0; EVENT_BYTES];
    event[..8].copy_from_slice(&about);
    event[10] = kind;
    event[16..24].copy_from_slice(&bytes.to_le_bytes());
    event
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let part = bytes.get(at..at + 8).and_then(|part| part.try_into().ok());
    part.map_or(0, u64::from_le_bytes)
}

impl Wasi {
    pub(crate) fn args_sizes_get(
        &mut self,
        memory: &mut Memory<'_>,
        count: u32,
        bytes: u32,
    ) -> Answer {
        put_sizes(memory, &self.arguments, count, bytes)
    }

    pub(crate) fn args_get(&mut self, memory: &mut Memory<'_>, list: u32, texts: u32) -> Answer {
        Ok(memory.put_list(list, texts, &self.arguments)?)
    }

    pub(crate) fn environ_sizes_get(
        &mut self,
        memory: &mut Memory<'_>,
        count: u32,
        bytes: u32,
    ) -> Answer {
        put_sizes(memory, &self.environment, count, bytes)
    }

    pub(crate) fn environ_get(&mut self, memory: &mut Memory<'_>, list: u32, texts: u32) -> Answer {
        Ok(memory.put_list(list, texts, &self.environment)?)
    }

    pub(crate) fn clock_res_get(&mut self, memory: &mut Memory<'_>, clock: u32, at: u32) -> Answer {
        self.clock.read(clock)?;
        Ok(memory.put_u64(at, STEP_NS)?)
    }

    pub(crate) fn clock_time_get(
        &mut self,
        memory: &mut Memory<'_>,
        clock: u32,
        _precision: u64,
        at: u32,
    ) -> Answer {
        let time_ns = self.clock.read(clock)?;
        Ok(memory.put_u64(at, time_ns)?)
    }

    pub(crate) fn random_get(&mut self, memory: &mut Memory<'_>, at: u32, count: u32) -> Answer {
        if count > RANDOM_BYTES_MAX {
            return Err(Errno::Invalid.into());
        }
        Ok(getrandom::fill(memory.bytes_mut(at, count)?).map_err(|_| Errno::Io)?)
    }

    pub(crate) fn sched_yield(&mut self, _: &mut Memory<'_>) -> Answer {
        Ok(())
    }

    pub(crate) fn proc_exit(&mut self, _: &mut Memory<'_>, status: u32) -> Answer {
        Err(Halt::Stop(Stop::Exit(status)))
    }

    /// Reads what the guest waits for. Streams and files are always ready.
    pub(crate) fn plan_wait(
        &self,
        memory: &Memory<'_>,
        list: u32,
        count: u32,
    ) -> Result<Wait, Errno> {
        if count == 0 || count > WAITS_MAX {
            return Err(Errno::Invalid);
        }
        let (mut ready, mut clocks) = (Vec::new(), Vec::new());
        for one in memory.bytes(list, count * WAIT_BYTES)?.chunks_exact(WAIT_BYTES as usize) {
            let about: [u8; 8] = one[..8].try_into().map_err(|_| Errno::Fault)?;
            let number = u64_at(one, 16) as u32;
            match one[8] {
                0 => clocks.push((due_ns(&self.clock, number, one)?, about)),
                kind @ (1 | 2) => {
                    match (kind, self.open(number)?) {
                        (1, Open::Output(_)) | (2, Open::Input) => {
                            return Err(Errno::BadDescriptor);
                        }
                        _ => {}
                    }
                    ready.push(event(about, kind, 1));
                }
                _ => return Err(Errno::Invalid),
            }
        }
        if !ready.is_empty() {
            return Ok(Wait { for_ns: 0, events: ready });
        }
        let for_ns = clocks.iter().map(|(due_ns, _)| *due_ns).min().unwrap_or(0);
        let due = clocks.into_iter().filter(|(due_ns, _)| *due_ns <= for_ns);
        Ok(Wait { for_ns, events: due.map(|(_, about)| event(about, 0, 0)).collect() })
    }

    pub(crate) fn end_wait(memory: &mut Memory<'_>, wait: &Wait, events: u32, at: u32) -> Answer {
        memory.put(events, &wait.events.concat())?;
        Ok(memory.put_u32(at, wait.events.len() as u32)?)
    }

    pub(crate) fn sock_accept(
        &mut self,
        _: &mut Memory<'_>,
        descriptor: u32,
        _flags: u32,
        _at: u32,
    ) -> Answer {
        self.no_socket(descriptor)
    }

    #[allow(clippy::too_many_arguments, reason = "the call has these in preview 1")]
    pub(crate) fn sock_recv(
        &mut self,
        _: &mut Memory<'_>,
        descriptor: u32,
        _list: u32,
        _count: u32,
        _flags: u32,
        _at: u32,
        _told: u32,
    ) -> Answer {
        self.no_socket(descriptor)
    }

    pub(crate) fn sock_send(
        &mut self,
        _: &mut Memory<'_>,
        descriptor: u32,
        _list: u32,
        _count: u32,
        _flags: u32,
        _at: u32,
    ) -> Answer {
        self.no_socket(descriptor)
    }

    pub(crate) fn sock_shutdown(&mut self, _: &mut Memory<'_>, descriptor: u32, _: u32) -> Answer {
        self.no_socket(descriptor)
    }

    /// No guest has a socket.
    fn no_socket(&self, descriptor: u32) -> Answer {
        self.open(descriptor)?;
        Err(Errno::NotSocket.into())
    }
}

fn put_sizes(memory: &mut Memory<'_>, texts: &[Vec<u8>], count: u32, bytes: u32) -> Answer {
    memory.put_u32(count, texts.len() as u32)?;
    let sum: usize = texts.iter().map(|text| text.len() + 1).sum();
    Ok(memory.put_u32(bytes, sum as u32)?)
}

/// How long it is until a clock's time, in nanoseconds.
fn due_ns(clock: &Clock, number: u32, wait: &[u8]) -> Result<u64, Errno> {
    if number > 1 {
        return Err(Errno::NotSupported);
    }
    let time_ns = u64_at(wait, 24);
    let is_absolute = u64_at(wait, 40) & 1 != 0;
    Ok(if is_absolute { time_ns.saturating_sub(clock.read(number)?) } else { time_ns })
}
