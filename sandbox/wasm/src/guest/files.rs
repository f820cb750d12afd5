//! The guest's own files, in memory: the folders `/work` and `/tmp`, within limits.

use std::collections::BTreeMap;

use headwater_sandbox::Limits;

use crate::guest::errno::Errno;
use crate::guest::pages::Pages;

/// What an entry takes of the limit of all files beside its bytes, so that nobody makes entries
/// without end.
pub(crate) const ENTRY_BYTES: u64 = 1_024;
const NAME_BYTES_MAX: usize = 255;
const LINKS_MAX: u32 = 1_000;

/// The numbers of the two folders.
pub(crate) const WORK: u32 = 0;
pub(crate) const TEMPORARY: u32 = 1;

#[derive(Debug)]
pub(crate) enum Own {
    Folder(BTreeMap<String, u32>),
    File(Pages),
    Link(String),
}

#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) what: Own,
    /// The folder above; of a folder only.
    pub(crate) parent: u32,
    /// Names of this entry.
    pub(crate) names: u32,
    /// Descriptors of it: bytes without a name stay while one is open.
    open: u32,
    /// Of the last change, in nanoseconds since 1970.
    pub(crate) changed_ns: u64,
}

/// The tree of files that a guest may write. Everything in it counts against the limits.
#[derive(Debug)]
pub(crate) struct Files {
    entries: Vec<Option<Entry>>,
    free: Vec<u32>,
    used_bytes: u64,
    file_bytes_max: u64,
    disk_bytes_max: u64,
    /// What the memory of the guest leaves for its files.
    pub(crate) memory_bytes_max: u64,
}

impl Files {
    pub(crate) fn new(limits: &Limits) -> Self {
        let folder = |number| {
            let what = Own::Folder(BTreeMap::new());
            Some(Entry { what, parent: number, names: 1, open: 0, changed_ns: 0 })
        };
        Self {
            entries: vec![folder(WORK), folder(TEMPORARY)],
            free: Vec::new(),
            used_bytes: 0,
            file_bytes_max: limits.file_bytes,
            disk_bytes_max: limits.disk_bytes,
            memory_bytes_max: u64::MAX,
        }
    }

    /// Takes the limits of another call; what is there stays.
    pub(crate) fn limit(&mut self, limits: &Limits) {
        self.file_bytes_max = limits.file_bytes;
        self.disk_bytes_max = limits.disk_bytes;
        self.memory_bytes_max = u64::MAX;
    }

    /// What all files take of memory, in bytes.
    pub(crate) fn used_bytes(&self) -> u64 {
        self.used_bytes
    }

    pub(crate) fn at(&self, number: u32) -> Option<&Entry> {
        self.entries.get(number as usize)?.as_ref()
    }

    pub(crate) fn at_mut(&mut self, number: u32) -> Option<&mut Entry> {
        self.entries.get_mut(number as usize)?.as_mut()
    }

    pub(crate) fn names(&self, number: u32) -> Result<&BTreeMap<String, u32>, Errno> {
        match &self.at(number).ok_or(Errno::NoEntry)?.what {
            Own::Folder(names) => Ok(names),
            _ => Err(Errno::NotFolder),
        }
    }

    fn names_mut(&mut self, number: u32) -> Result<&mut BTreeMap<String, u32>, Errno> {
        match &mut self.at_mut(number).ok_or(Errno::NoEntry)?.what {
            Own::Folder(names) => Ok(names),
            _ => Err(Errno::NotFolder),
        }
    }

    pub(crate) fn child(&self, folder: u32, name: &str) -> Option<u32> {
        self.names(folder).ok()?.get(name).copied()
    }

    fn take(&mut self, bytes: u64) -> Result<(), Errno> {
        let used = self.used_bytes.saturating_add(bytes);
        if used > self.disk_bytes_max.min(self.memory_bytes_max) {
            return Err(Errno::NoSpace);
        }
        self.used_bytes = used;
        Ok(())
    }

    /// Whether a folder is one of the two, or below them: one that was removed takes nothing more.
    fn is_there(&self, folder: u32) -> bool {
        self.at(folder).is_some_and(|entry| entry.names > 0)
    }

    fn check_new(&self, folder: u32, name: &str) -> Result<(), Errno> {
        if name.len() > NAME_BYTES_MAX {
            return Err(Errno::NameTooLong);
        }
        if !self.is_there(folder) {
            return Err(Errno::NoEntry);
        }
        match self.names(folder)?.contains_key(name) {
            true => Err(Errno::Exists),
            false => Ok(()),
        }
    }

    /// Makes an entry; there must be none of this name.
    pub(crate) fn make(
        &mut self,
        folder: u32,
        name: &str,
        what: Own,
        now_ns: u64,
    ) -> Result<u32, Errno> {
        self.check_new(folder, name)?;
        let target = if let Own::Link(target) = &what { target.len() as u64 } else { 0 };
        self.take(ENTRY_BYTES + target)?;
        let entry = Some(Entry { what, parent: folder, names: 1, open: 0, changed_ns: now_ns });
        let number = match self.free.pop() {
            Some(number) => {
                self.entries[number as usize] = entry;
                number
            }
            None => {
                self.entries.push(entry);
                self.entries.len() as u32 - 1
            }
        };
        self.names_mut(folder)?.insert(name.to_owned(), number);
        self.touch(folder, now_ns);
        Ok(number)
    }

    fn touch(&mut self, number: u32, now_ns: u64) {
        if let Some(entry) = self.at_mut(number) {
            entry.changed_ns = now_ns;
        }
    }

    /// Takes a name away; the entry goes with its last name and its last descriptor.
    pub(crate) fn unname(&mut self, folder: u32, name: &str, now_ns: u64) -> Result<(), Errno> {
        let number = self.names_mut(folder)?.remove(name).ok_or(Errno::NoEntry)?;
        self.touch(folder, now_ns);
        if let Some(entry) = self.at_mut(number) {
            entry.names = entry.names.saturating_sub(1);
        }
        self.drop_unused(number);
        Ok(())
    }

    fn drop_unused(&mut self, number: u32) {
        let Some(entry) = self.at(number) else { return };
        if number <= TEMPORARY || entry.names > 0 || entry.open > 0 {
            return;
        }
        let bytes = match &entry.what {
            Own::File(pages) => pages.held_bytes(),
            Own::Link(target) => target.len() as u64,
            Own::Folder(_) => 0,
        };
        self.used_bytes = self.used_bytes.saturating_sub(ENTRY_BYTES + bytes);
        self.entries[number as usize] = None;
        self.free.push(number);
    }

    pub(crate) fn unlink(&mut self, folder: u32, name: &str, now_ns: u64) -> Result<(), Errno> {
        let number = self.child(folder, name).ok_or(Errno::NoEntry)?;
        if self.names(number).is_ok() {
            return Err(Errno::IsFolder);
        }
        self.unname(folder, name, now_ns)
    }

    pub(crate) fn remove_folder(
        &mut self,
        folder: u32,
        name: &str,
        now_ns: u64,
    ) -> Result<(), Errno> {
        let number = self.child(folder, name).ok_or(Errno::NoEntry)?;
        if !self.names(number)?.is_empty() {
            return Err(Errno::NotEmpty);
        }
        self.unname(folder, name, now_ns)
    }

    /// Gives a file one more name.
    pub(crate) fn link(
        &mut self,
        number: u32,
        folder: u32,
        name: &str,
        now_ns: u64,
    ) -> Result<(), Errno> {
        self.check_new(folder, name)?;
        let entry = self.at(number).ok_or(Errno::NoEntry)?;
        match (&entry.what, entry.names) {
            (Own::Folder(_), _) => return Err(Errno::NotPermitted),
            (_, LINKS_MAX..) => return Err(Errno::TooManyLinks),
            (_, 0) => return Err(Errno::NoEntry),
            _ => {}
        }
        self.names_mut(folder)?.insert(name.to_owned(), number);
        if let Some(entry) = self.at_mut(number) {
            entry.names += 1;
        }
        self.touch(folder, now_ns);
        Ok(())
    }

    pub(crate) fn rename(
        &mut self,
        from: (u32, &str),
        to: (u32, &str),
        now_ns: u64,
    ) -> Result<(), Errno> {
        let number = self.child(from.0, from.1).ok_or(Errno::NoEntry)?;
        let is_folder = self.names(number).is_ok();
        if is_folder && self.is_within(to.0, number) {
            return Err(Errno::Invalid);
        }
        match self.child(to.0, to.1) {
            Some(other) if other == number => return Ok(()),
            Some(other) => match (is_folder, self.names(other).is_ok()) {
                (false, false) => self.unlink(to.0, to.1, now_ns)?,
                (true, true) => self.remove_folder(to.0, to.1, now_ns)?,
                (true, false) => return Err(Errno::NotFolder),
                (false, true) => return Err(Errno::IsFolder),
            },
            None => self.check_new(to.0, to.1)?,
        }
        self.names_mut(from.0)?.remove(from.1);
        self.names_mut(to.0)?.insert(to.1.to_owned(), number);
        if let Some(entry) = self.at_mut(number)
            && is_folder
        {
            entry.parent = to.0;
        }
        self.touch(from.0, now_ns);
        self.touch(to.0, now_ns);
        Ok(())
    }

    /// Whether a folder is another one, or below it.
    fn is_within(&self, folder: u32, other: u32) -> bool {
        let mut place = folder;
        loop {
            if place == other {
                return true;
            }
            match self.at(place) {
                Some(entry) if entry.parent != place => place = entry.parent,
                _ => return false,
            }
        }
    }

    pub(crate) fn opened(&mut self, number: u32) {
        if let Some(entry) = self.at_mut(number) {
            entry.open += 1;
        }
    }

    pub(crate) fn closed(&mut self, number: u32) {
        if let Some(entry) = self.at_mut(number) {
            entry.open = entry.open.saturating_sub(1);
        }
        self.drop_unused(number);
    }

    fn pages(&self, number: u32) -> Result<&Pages, Errno> {
        match &self.at(number).ok_or(Errno::BadDescriptor)?.what {
            Own::File(pages) => Ok(pages),
            Own::Folder(_) => Err(Errno::IsFolder),
            Own::Link(_) => Err(Errno::Invalid),
        }
    }

    fn pages_mut(&mut self, number: u32) -> Result<&mut Pages, Errno> {
        match &mut self.at_mut(number).ok_or(Errno::BadDescriptor)?.what {
            Own::File(pages) => Ok(pages),
            Own::Folder(_) => Err(Errno::IsFolder),
            Own::Link(_) => Err(Errno::Invalid),
        }
    }

    /// The bytes of a file, the length of a link's target, or nothing.
    pub(crate) fn length(&self, number: u32) -> u64 {
        match self.at(number).map(|entry| &entry.what) {
            Some(Own::File(pages)) => pages.length(),
            Some(Own::Link(target)) => target.len() as u64,
            _ => 0,
        }
    }

    pub(crate) fn read(&self, number: u32, at: u64, into: &mut [u8]) -> Result<usize, Errno> {
        Ok(self.pages(number)?.read(at, into))
    }

    /// Writes what fits into the limit of one file; nothing where none of it does.
    pub(crate) fn write(
        &mut self,
        number: u32,
        at: u64,
        bytes: &[u8],
        now_ns: u64,
    ) -> Result<usize, Errno> {
        let room = self.file_bytes_max.saturating_sub(at).min(bytes.len() as u64);
        if room == 0 && !bytes.is_empty() {
            return Err(Errno::FileTooLarge);
        }
        let bytes = &bytes[..room as usize];
        let more = self.pages(number)?.more_bytes(at, room);
        self.take(more)?;
        self.pages_mut(number)?.write(at, bytes);
        self.touch(number, now_ns);
        Ok(bytes.len())
    }

    pub(crate) fn set_length(
        &mut self,
        number: u32,
        length: u64,
        now_ns: u64,
    ) -> Result<(), Errno> {
        if length > self.file_bytes_max {
            return Err(Errno::FileTooLarge);
        }
        let pages = self.pages_mut(number)?;
        let before = pages.held_bytes();
        pages.set_length(length);
        let freed = before - pages.held_bytes();
        self.used_bytes = self.used_bytes.saturating_sub(freed);
        self.touch(number, now_ns);
        Ok(())
    }
}
