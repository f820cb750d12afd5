//! The calls of preview 1 that take a path, and the listing of folders.

use std::collections::BTreeMap;

use crate::guest::descriptors::{APPEND, READ, WRITE, stat};
use crate::guest::errno::Errno;
use crate::guest::files::Own;
use crate::guest::lookup::{Found, Kind, Node, Trees};
use crate::guest::memory::Memory;
use crate::guest::pages::Pages;
use crate::guest::wasi::{Answer, Open, Wasi};

const FOLLOW: u32 = 1;
const CREATE: u32 = 1;
const FOLDER: u32 = 2;
const EXCLUSIVE: u32 = 4;
const TRUNCATE: u32 = 8;
/// The rights to set a size by its descriptor.
const SET_SIZE: u64 = 1 << 22;

/// The folder of a new or a changed name: one of the guest's own.
fn own(found: &Found) -> Result<(u32, &str), Errno> {
    match found.folder {
        _ if found.name.is_empty() => Err(Errno::Busy),
        Node::Own(folder) => Ok((folder, &found.name)),
        Node::Fixed(_) => Err(Errno::ReadOnly),
    }
}

impl Wasi {
    fn find(&self, descriptor: u32, path: &str, follow: bool) -> Result<Found, Errno> {
        let from = self.node(descriptor)?;
        self.with(|trees| trees.find(from, path, follow))
    }

    /// What a path leads to.
    fn there(&self, descriptor: u32, path: &str, follow: bool) -> Result<Node, Errno> {
        let found = self.find(descriptor, path, follow)?;
        let node = found.node.ok_or(Errno::NoEntry)?;
        if found.slash && self.with(|trees| trees.kind(node))? != Kind::Folder {
            return Err(Errno::NotFolder);
        }
        Ok(node)
    }

    #[allow(clippy::too_many_arguments, reason = "the call has these in preview 1")]
    pub(crate) fn path_open(
        &mut self,
        memory: &mut Memory<'_>,
        descriptor: u32,
        lookup: u32,
        path: u32,
        length: u32,
        how: u32,
        rights: u64,
        _inherited: u64,
        flags: u32,
        at: u32,
    ) -> Answer {
        memory.bytes(at, 4)?;
        let path = memory.path(path, length)?;
        let (reads, writes) = (rights & READ != 0, rights & (WRITE | SET_SIZE) != 0);
        let appends = flags & u32::from(APPEND) != 0;
        let follow = lookup & FOLLOW != 0 && how & EXCLUSIVE == 0;
        let found = self.find(descriptor, &path, follow)?;
        let now_ns = self.clock.now_ns();
        // Nothing is made or cut for a descriptor that is not given then.
        self.has_room()?;
        let node = self.with(|trees| reach(trees, &found, how, writes, now_ns))?;
        let open = Open::Node { node, position: 0, reads, writes, appends };
        let number = self.add(open)?;
        Ok(memory.put_u32(at, number)?)
    }

    pub(crate) fn path_create_directory(
        &mut self,
        memory: &mut Memory<'_>,
        descriptor: u32,
        path: u32,
        length: u32,
    ) -> Answer {
        let found = self.find(descriptor, &memory.path(path, length)?, false)?;
        if found.node.is_some() {
            return Err(Errno::Exists.into());
        }
        let (folder, name) = own(&found)?;
        let what = Own::Folder(BTreeMap::new());
        let now_ns = self.clock.now_ns();
        Ok(self.files().make(folder, name, what, now_ns).map(drop)?)
    }

    pub(crate) fn path_filestat_get(
        &mut self,
        memory: &mut Memory<'_>,
        descriptor: u32,
        lookup: u32,
        path: u32,
        length: u32,
        at: u32,
    ) -> Answer {
        let node = self.there(descriptor, &memory.path(path, length)?, lookup & FOLLOW != 0)?;
        let told = self.with(|trees| stat(trees, node))?;
        Ok(memory.put(at, &told)?)
    }

    #[allow(clippy::too_many_arguments, reason = "the call has these in preview 1")]
    pub(crate) fn path_filestat_set_times(
        &mut self,
        memory: &mut Memory<'_>,
        descriptor: u32,
        lookup: u32,
        path: u32,
        length: u32,
        _accessed_ns: u64,
        changed_ns: u64,
        flags: u32,
    ) -> Answer {
        let node = self.there(descriptor, &memory.path(path, length)?, lookup & FOLLOW != 0)?;
        Ok(self.set_times(node, changed_ns, flags)?)
    }

    #[allow(clippy::too_many_arguments, reason = "the call has these in preview 1")]
    pub(crate) fn path_link(
        &mut self,
        memory: &mut Memory<'_>,
        from: u32,
        lookup: u32,
        path: u32,
        length: u32,
        to: u32,
        new_path: u32,
        new_length: u32,
    ) -> Answer {
        let node = self.there(from, &memory.path(path, length)?, lookup & FOLLOW != 0)?;
        let found = self.find(to, &memory.path(new_path, new_length)?, false)?;
        let (folder, name) = own(&found)?;
        let now_ns = self.clock.now_ns();
        match node {
            Node::Own(number) => Ok(self.files().link(number, folder, name, now_ns)?),
            Node::Fixed(_) => Err(Errno::CrossDevice.into()),
        }
    }

    pub(crate) fn path_readlink(
        &mut self,
        memory: &mut Memory<'_>,
        descriptor: u32,
        path: u32,
        length: u32,
        into: u32,
        count: u32,
        at: u32,
    ) -> Answer {
        let node = self.there(descriptor, &memory.path(path, length)?, false)?;
        let target = self.with(|trees| trees.target(node).map(str::to_owned));
        let target = target.ok_or(Errno::Invalid)?;
        let part = &target.as_bytes()[..target.len().min(count as usize)];
        memory.put(into, part)?;
        Ok(memory.put_u32(at, part.len() as u32)?)
    }

    pub(crate) fn path_remove_directory(
        &mut self,
        memory: &mut Memory<'_>,
        descriptor: u32,
        path: u32,
        length: u32,
    ) -> Answer {
        let found = self.find(descriptor, &memory.path(path, length)?, false)?;
        found.node.ok_or(Errno::NoEntry)?;
        let (folder, name) = own(&found)?;
        let now_ns = self.clock.now_ns();
        Ok(self.files().remove_folder(folder, name, now_ns)?)
    }

    pub(crate) fn path_rename(
        &mut self,
        memory: &mut Memory<'_>,
        from: u32,
        path: u32,
        length: u32,
        to: u32,
        new_path: u32,
        new_length: u32,
    ) -> Answer {
        let old = self.find(from, &memory.path(path, length)?, false)?;
        let new = self.find(to, &memory.path(new_path, new_length)?, false)?;
        let node = old.node.ok_or(Errno::NoEntry)?;
        let is_folder = self.with(|trees| trees.kind(node))? == Kind::Folder;
        if (old.slash || new.slash) && !is_folder {
            return Err(Errno::NotFolder.into());
        }
        let now_ns = self.clock.now_ns();
        Ok(self.files().rename(own(&old)?, own(&new)?, now_ns)?)
    }

    pub(crate) fn path_symlink(
        &mut self,
        memory: &mut Memory<'_>,
        target: u32,
        target_length: u32,
        descriptor: u32,
        path: u32,
        length: u32,
    ) -> Answer {
        let target = memory.path(target, target_length)?;
        if target.is_empty() {
            return Err(Errno::NoEntry.into());
        }
        let found = self.find(descriptor, &memory.path(path, length)?, false)?;
        if found.node.is_some() {
            return Err(Errno::Exists.into());
        }
        if found.slash {
            return Err(Errno::NoEntry.into());
        }
        let (folder, name) = own(&found)?;
        let now_ns = self.clock.now_ns();
        Ok(self.files().make(folder, name, Own::Link(target), now_ns).map(drop)?)
    }

    pub(crate) fn path_unlink_file(
        &mut self,
        memory: &mut Memory<'_>,
        descriptor: u32,
        path: u32,
        length: u32,
    ) -> Answer {
        let found = self.find(descriptor, &memory.path(path, length)?, false)?;
        let node = found.node.ok_or(Errno::NoEntry)?;
        if found.slash && self.with(|trees| trees.kind(node))? != Kind::Folder {
            return Err(Errno::NotFolder.into());
        }
        let (folder, name) = own(&found)?;
        let now_ns = self.clock.now_ns();
        Ok(self.files().unlink(folder, name, now_ns)?)
    }

    /// Entries from a place on, as many as fit; the last one may be cut off.
    pub(crate) fn fd_readdir(
        &mut self,
        memory: &mut Memory<'_>,
        descriptor: u32,
        into: u32,
        count: u32,
        cookie: u64,
        at: u32,
    ) -> Answer {
        let folder = self.node(descriptor)?;
        let told = self.with(|trees| entries(trees, folder, cookie, count as usize))?;
        memory.put(into, &told)?;
        Ok(memory.put_u32(at, told.len() as u32)?)
    }
}

/// What an open leads to, made or cut where that is asked for.
fn reach(
    trees: &mut Trees<'_>,
    found: &Found,
    how: u32,
    writes: bool,
    now_ns: u64,
) -> Result<Node, Errno> {
    let Some(node) = found.node else {
        if how & CREATE == 0 {
            return Err(Errno::NoEntry);
        }
        if found.slash || how & FOLDER != 0 {
            return Err(Errno::IsFolder);
        }
        let (folder, name) = own(found)?;
        let what = Own::File(Pages::default());
        return trees.files.make(folder, name, what, now_ns).map(Node::Own);
    };
    if how & CREATE != 0 && how & EXCLUSIVE != 0 {
        return Err(Errno::Exists);
    }
    let kind = trees.kind(node)?;
    match kind {
        Kind::Link => return Err(Errno::Loop),
        Kind::Folder if writes || how & (CREATE | TRUNCATE) != 0 => return Err(Errno::IsFolder),
        Kind::Folder => return Ok(node),
        _ if found.slash || how & FOLDER != 0 => return Err(Errno::NotFolder),
        Kind::Device => return Ok(node),
        _ => {}
    }
    match node {
        Node::Fixed(_) if writes || how & TRUNCATE != 0 => Err(Errno::ReadOnly),
        Node::Own(number) if how & TRUNCATE != 0 => {
            trees.files.set_length(number, 0, now_ns).map(|()| node)
        }
        _ => Ok(node),
    }
}

/// Entries of a folder as `fd_readdir` tells them, from a place in their order on.
fn entries(
    trees: &Trees<'_>,
    folder: Node,
    cookie: u64,
    bytes_max: usize,
) -> Result<Vec<u8>, Errno> {
    let named = |name: &String, number: u32| (name.clone(), number);
    let skipped = usize::try_from(cookie).unwrap_or(usize::MAX);
    // An entry has 24 bytes and a name.
    let most = bytes_max / 25 + 1;
    let both = [(".".to_owned(), folder), ("..".to_owned(), trees.parent(folder))];
    let mut rows: Vec<(String, Node)> = both.into_iter().skip(skipped).collect();
    let skipped = skipped.saturating_sub(2);
    match folder {
        Node::Fixed(number) => match trees.root.at(number) {
            Some(crate::guest::root::Fixed::Folder(names)) => {
                let names = names.iter().skip(skipped).take(most);
                let found = names.map(|(name, number)| named(name, *number));
                let child = |name: String| {
                    let node = trees.child(folder, &name).unwrap_or(folder);
                    (name, node)
                };
                rows.extend(found.map(|(name, _)| child(name)));
            }
            _ => return Err(Errno::NotFolder),
        },
        Node::Own(number) => {
            let names = trees.files.names(number)?.iter().skip(skipped).take(most);
            rows.extend(names.map(|(name, number)| (name.clone(), Node::Own(*number))));
        }
    }
    let mut told = Vec::new();
    for (place, (name, node)) in (cookie.saturating_add(1)..).zip(rows) {
        let number = match node {
            Node::Fixed(number) | Node::Own(number) => u64::from(number) + 1,
        };
        told.extend_from_slice(&place.to_le_bytes());
        told.extend_from_slice(&number.to_le_bytes());
        told.extend_from_slice(&(name.len() as u32).to_le_bytes());
        told.extend_from_slice(&[trees.kind(node)? as u8, 0, 0, 0]);
        told.extend_from_slice(name.as_bytes());
        if told.len() >= bytes_max {
            break;
        }
    }
    told.truncate(bytes_max);
    Ok(told)
}
