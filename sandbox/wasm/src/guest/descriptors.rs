//! The calls of preview 1 that work on what is open.

use crate::guest::errno::Errno;
use crate::guest::lookup::{Kind, Node, Trees};
use crate::guest::memory::Memory;
use crate::guest::root::Fixed;
use crate::guest::wasi::{Answer, Open, Wasi};

/// Rights of preview 1 that libraries look at.
pub(crate) const READ: u64 = 1 << 1;
const SEEK: u64 = 1 << 2;
const TELL: u64 = 1 << 5;
pub(crate) const WRITE: u64 = 1 << 6;
const ALL: u64 = (1 << 30) - 1;
/// The flag of a descriptor that writes at the end.
pub(crate) const APPEND: u16 = 1;
/// Flags that a guest may set and that mean nothing here: no write waits for a disk.
const FLAGS: u16 = 0b1_1111;

const SET: u16 = 0;
const CURRENT: u16 = 1;
const END: u16 = 2;

/// The most bytes that one call reads or writes.
const PART_BYTES_MAX: u32 = 4 << 20;

/// What `fd_filestat_get` tells, as preview 1 lays it out.
pub(crate) fn stat(trees: &Trees<'_>, node: Node) -> Result<[u8; 64], Errno> {
    let kind = trees.kind(node)?;
    let (device, number, names, length, changed_ns) = match node {
        Node::Fixed(number) => (1, u64::from(number) + 1, 1, trees.root.length(number), 0),
        Node::Own(number) => {
            let entry = trees.files.at(number).ok_or(Errno::NoEntry)?;
            let length = trees.files.length(number);
            (2, u64::from(number) + 1, u64::from(entry.names), length, entry.changed_ns)
        }
    };
    let mut told = [0; 64];
    let rows: [(usize, u64); 8] = [
        (0, device),
        (8, number),
        (16, kind as u64),
        (24, names),
        (32, length),
        (40, changed_ns),
        (48, changed_ns),
        (56, changed_ns),
    ];
    for (place, value) in rows {
        told[place..place + 8].copy_from_slice(&value.to_le_bytes());
    }
    Ok(told)
}

impl Wasi {
    pub(crate) fn fd_advise(
        &mut self,
        _: &mut Memory<'_>,
        descriptor: u32,
        _: u64,
        _: u64,
        _: u32,
    ) -> Answer {
        self.node(descriptor).map(drop).map_err(|_| Errno::BadDescriptor.into())
    }

    pub(crate) fn fd_close(&mut self, _: &mut Memory<'_>, descriptor: u32) -> Answer {
        Ok(self.remove(descriptor)?)
    }

    pub(crate) fn fd_datasync(&mut self, _: &mut Memory<'_>, descriptor: u32) -> Answer {
        Ok(self.open(descriptor).map(drop)?)
    }

    pub(crate) fn fd_sync(&mut self, _: &mut Memory<'_>, descriptor: u32) -> Answer {
        Ok(self.open(descriptor).map(drop)?)
    }

    pub(crate) fn fd_fdstat_get(
        &mut self,
        memory: &mut Memory<'_>,
        descriptor: u32,
        at: u32,
    ) -> Answer {
        let (kind, flags, rights) = match self.open(descriptor)? {
            Open::Input => (Kind::Stream, 0, READ),
            Open::Output(_) => (Kind::Stream, 0, WRITE),
            Open::Node { node, reads, writes, appends, .. } => {
                let kind = self.with(|trees| trees.kind(node))?;
                let mut rights = ALL;
                if kind == Kind::Folder {
                    rights &= !(SEEK | TELL | WRITE);
                }
                if !reads {
                    rights &= !READ;
                }
                if !writes {
                    rights &= !WRITE;
                }
                (kind, if appends { APPEND } else { 0 }, rights)
            }
        };
        let mut told = [0; 24];
        told[0] = kind as u8;
        told[2..4].copy_from_slice(&flags.to_le_bytes());
        told[8..16].copy_from_slice(&rights.to_le_bytes());
        told[16..24].copy_from_slice(&ALL.to_le_bytes());
        Ok(memory.put(at, &told)?)
    }

    pub(crate) fn fd_fdstat_set_flags(
        &mut self,
        _: &mut Memory<'_>,
        descriptor: u32,
        flags: u32,
    ) -> Answer {
        if flags & !u32::from(FLAGS) != 0 {
            return Err(Errno::Invalid.into());
        }
        if let Open::Node { appends, .. } = self.open_mut(descriptor)? {
            *appends = flags & u32::from(APPEND) != 0;
        }
        Ok(())
    }

    pub(crate) fn fd_filestat_get(
        &mut self,
        memory: &mut Memory<'_>,
        descriptor: u32,
        at: u32,
    ) -> Answer {
        let told = match self.open(descriptor)? {
            Open::Node { node, .. } => self.with(|trees| stat(trees, node))?,
            _ => [0; 64],
        };
        Ok(memory.put(at, &told)?)
    }

    pub(crate) fn fd_filestat_set_size(
        &mut self,
        _: &mut Memory<'_>,
        descriptor: u32,
        length: u64,
    ) -> Answer {
        let now_ns = self.clock.now_ns();
        match self.open(descriptor)? {
            Open::Node { node: Node::Own(number), writes: true, .. } => {
                Ok(self.files().set_length(number, length, now_ns)?)
            }
            _ => Err(Errno::Invalid.into()),
        }
    }

    pub(crate) fn fd_filestat_set_times(
        &mut self,
        _: &mut Memory<'_>,
        descriptor: u32,
        _accessed_ns: u64,
        changed_ns: u64,
        flags: u32,
    ) -> Answer {
        let node = self.node(descriptor).map_err(|_| Errno::BadDescriptor)?;
        Ok(self.set_times(node, changed_ns, flags)?)
    }

    /// Sets the one time that a file of the guest has.
    pub(crate) fn set_times(&self, node: Node, changed_ns: u64, flags: u32) -> Result<(), Errno> {
        let Node::Own(number) = node else { return Err(Errno::ReadOnly) };
        let changed_ns = match flags {
            flags if flags & 0b1000 != 0 => self.clock.now_ns(),
            flags if flags & 0b100 != 0 => changed_ns,
            _ => return Ok(()),
        };
        let mut files = self.files();
        files.at_mut(number).ok_or(Errno::NoEntry)?.changed_ns = changed_ns;
        Ok(())
    }

    pub(crate) fn fd_prestat_get(
        &mut self,
        memory: &mut Memory<'_>,
        descriptor: u32,
        at: u32,
    ) -> Answer {
        // A folder, and the bytes of its name.
        let length = self.given(descriptor)?.len() as u64;
        Ok(memory.put_u64(at, length << 32)?)
    }

    pub(crate) fn fd_prestat_dir_name(
        &mut self,
        memory: &mut Memory<'_>,
        descriptor: u32,
        at: u32,
        count: u32,
    ) -> Answer {
        let name = self.given(descriptor)?;
        match name.len() <= count as usize {
            true => Ok(memory.put(at, name.as_bytes())?),
            false => Err(Errno::NameTooLong.into()),
        }
    }

    pub(crate) fn fd_read(
        &mut self,
        memory: &mut Memory<'_>,
        descriptor: u32,
        list: u32,
        count: u32,
        at: u32,
    ) -> Answer {
        let buffers = memory.buffers(list, count)?;
        let (place, length) = first(&buffers);
        let into = memory.bytes_mut(place, length)?;
        let done = match self.open(descriptor)? {
            Open::Input => {
                let (bytes, position) = &mut self.input;
                let from = &bytes[*position..];
                let done = from.len().min(into.len());
                into[..done].copy_from_slice(&from[..done]);
                *position += done;
                done
            }
            Open::Output(_) => return Err(Errno::BadDescriptor.into()),
            Open::Node { position, .. } => {
                let done = self.read_node(descriptor, position, into)?;
                self.seek(descriptor, position + done as u64);
                done
            }
        };
        Ok(memory.put_u32(at, done as u32)?)
    }

    pub(crate) fn fd_pread(
        &mut self,
        memory: &mut Memory<'_>,
        descriptor: u32,
        list: u32,
        count: u32,
        offset: u64,
        at: u32,
    ) -> Answer {
        let buffers = memory.buffers(list, count)?;
        let (place, length) = first(&buffers);
        let into = memory.bytes_mut(place, length)?;
        let done = self.read_node(descriptor, offset, into)?;
        Ok(memory.put_u32(at, done as u32)?)
    }

    fn read_node(&self, descriptor: u32, at: u64, into: &mut [u8]) -> Result<usize, Errno> {
        match self.open(descriptor)? {
            Open::Node { reads: false, .. } => Err(Errno::BadDescriptor),
            Open::Node { node: Node::Fixed(number), .. } => self.root.read(number, at, into),
            Open::Node { node: Node::Own(number), .. } => self.files().read(number, at, into),
            _ => Err(Errno::NoSeek),
        }
    }

    fn seek(&mut self, descriptor: u32, to: u64) {
        if let Ok(Open::Node { position, .. }) = self.open_mut(descriptor) {
            *position = to;
        }
    }

    pub(crate) fn fd_write(
        &mut self,
        memory: &mut Memory<'_>,
        descriptor: u32,
        list: u32,
        count: u32,
        at: u32,
    ) -> Answer {
        let buffers = memory.buffers(list, count)?;
        let mut done = 0_u32;
        match self.open(descriptor)? {
            Open::Input => return Err(Errno::BadDescriptor.into()),
            Open::Output(channel) => {
                for (place, length) in buffers {
                    let length = length.min(PART_BYTES_MAX - done);
                    self.say(channel, memory.bytes(place, length)?)?;
                    done += length;
                }
            }
            Open::Node { node, position, appends, .. } => {
                let end = match node {
                    Node::Own(number) if appends => self.files().length(number),
                    _ => position,
                };
                let (place, length) = first(&buffers);
                done = self.write_node(descriptor, end, memory.bytes(place, length)?)?;
                self.seek(descriptor, end + u64::from(done));
            }
        }
        Ok(memory.put_u32(at, done)?)
    }

    pub(crate) fn fd_pwrite(
        &mut self,
        memory: &mut Memory<'_>,
        descriptor: u32,
        list: u32,
        count: u32,
        offset: u64,
        at: u32,
    ) -> Answer {
        let buffers = memory.buffers(list, count)?;
        let (place, length) = first(&buffers);
        let done = self.write_node(descriptor, offset, memory.bytes(place, length)?)?;
        Ok(memory.put_u32(at, done)?)
    }

    fn write_node(&self, descriptor: u32, at: u64, bytes: &[u8]) -> Result<u32, Errno> {
        let now_ns = self.clock.now_ns();
        match self.open(descriptor)? {
            Open::Node { writes: false, .. } => Err(Errno::BadDescriptor),
            Open::Node { node: Node::Own(number), .. } => {
                self.files().write(number, at, bytes, now_ns).map(|done| done as u32)
            }
            Open::Node { node: Node::Fixed(number), .. } => match self.root.at(number) {
                Some(Fixed::Null) => Ok(bytes.len() as u32),
                _ => Err(Errno::BadDescriptor),
            },
            _ => Err(Errno::NoSeek),
        }
    }

    pub(crate) fn fd_seek(
        &mut self,
        memory: &mut Memory<'_>,
        descriptor: u32,
        offset: u64,
        whence: u32,
        at: u32,
    ) -> Answer {
        let Open::Node { node, position, .. } = self.open(descriptor)? else {
            return Err(Errno::NoSeek.into());
        };
        let base = match u16::try_from(whence) {
            Ok(SET) => 0,
            Ok(CURRENT) => position,
            Ok(END) => self.with(|trees| match node {
                Node::Fixed(number) => trees.root.length(number),
                Node::Own(number) => trees.files.length(number),
            }),
            _ => return Err(Errno::Invalid.into()),
        };
        let place = base.checked_add_signed(offset.cast_signed()).ok_or(Errno::Invalid)?;
        if i64::try_from(place).is_err() {
            return Err(Errno::Invalid.into());
        }
        self.seek(descriptor, place);
        Ok(memory.put_u64(at, place)?)
    }

    pub(crate) fn fd_tell(&mut self, memory: &mut Memory<'_>, descriptor: u32, at: u32) -> Answer {
        self.fd_seek(memory, descriptor, 0, u32::from(CURRENT), at)
    }
}

/// The first buffer that has any bytes, cut to what one call moves.
fn first(buffers: &[(u32, u32)]) -> (u32, u32) {
    let found = buffers.iter().find(|(_, length)| *length > 0);
    found.map_or((0, 0), |(place, length)| (*place, (*length).min(PART_BYTES_MAX)))
}
