//! What one guest sees of the world, and the table of what it has open.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use headwater_sandbox::{Channel, Ended};

use crate::guest::clock::Clock;
use crate::guest::errno::Errno;
use crate::guest::files::Files;
use crate::guest::lookup::{Node, Trees};
use crate::guest::root::{Root, TOP};

/// Why a guest goes no further.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Stop {
    /// It asked for its end, with this status.
    #[error("the program ended with status {0}")]
    Exit(u32),
    /// A limit.
    #[error("a limit ended the program: {0:?}")]
    Limit(Ended),
    /// Nobody waits for it any more.
    #[error("the call was given up")]
    Abandoned,
}

/// What a call does not answer with success: a number for the guest, or its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Halt {
    Errno(Errno),
    Stop(Stop),
}

impl From<Errno> for Halt {
    fn from(error: Errno) -> Self {
        Self::Errno(error)
    }
}

pub(crate) type Answer = Result<(), Halt>;

/// Hears what the guest writes.
pub(crate) type Voice = Box<dyn FnMut(Channel, &[u8]) + Send>;

/// One open thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Open {
    Input,
    Output(Channel),
    Node { node: Node, position: u64, reads: bool, writes: bool, appends: bool },
}

/// The number of the first folder that a guest has from its start: the top.
pub(crate) const TOP_DESCRIPTOR: u32 = 3;
/// The number of the second, where the root has one: see [`Root::data`].
pub(crate) const DATA_DESCRIPTOR: u32 = 4;

/// A guest's side of preview 1.
pub(crate) struct Wasi {
    pub(crate) root: Arc<Root>,
    pub(crate) files: Arc<Mutex<Files>>,
    pub(crate) arguments: Vec<Vec<u8>>,
    pub(crate) environment: Vec<Vec<u8>>,
    /// Standard input, and how much of it was read.
    pub(crate) input: (Vec<u8>, usize),
    pub(crate) voice: Voice,
    /// How many bytes the guest may still write to its streams.
    pub(crate) output_left: u64,
    pub(crate) open_files_max: usize,
    pub(crate) clock: Clock,
    table: Vec<Option<Open>>,
    open_count: usize,
}

impl Wasi {
    pub(crate) fn new(root: Arc<Root>, files: Files, voice: Voice) -> Self {
        let folder = |number| {
            let node = Node::Fixed(number);
            Open::Node { node, position: 0, reads: true, writes: false, appends: false }
        };
        let mut table =
            vec![Open::Input, Open::Output(Channel::Output), Open::Output(Channel::Error)];
        table.push(folder(TOP));
        table.extend(root.data.as_ref().map(|(_, number)| folder(*number)));
        Self {
            root,
            files: Arc::new(Mutex::new(files)),
            arguments: Vec::new(),
            environment: Vec::new(),
            input: (Vec::new(), 0),
            voice,
            output_left: 0,
            open_files_max: 64,
            clock: Clock::new(),
            open_count: table.len(),
            table: table.into_iter().map(Some).collect(),
        }
    }

    pub(crate) fn files(&self) -> MutexGuard<'_, Files> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes other files of its own; what was open of the ones before is closed.
    pub(crate) fn adopt(&mut self, files: Arc<Mutex<Files>>) {
        for descriptor in 0..self.table.len() as u32 {
            if let Ok(Open::Node { node: Node::Own(_), .. }) = self.open(descriptor) {
                let _ = self.remove(descriptor);
            }
        }
        self.files = files;
    }

    /// The path and descriptor of each folder that the guest has from its start.
    pub(crate) fn given(&self, descriptor: u32) -> Result<&str, Errno> {
        match (descriptor, &self.root.data) {
            (TOP_DESCRIPTOR, _) => Ok("/"),
            (DATA_DESCRIPTOR, Some((path, _))) => Ok(path),
            _ => Err(Errno::BadDescriptor),
        }
    }

    /// Does something with both trees.
    pub(crate) fn with<T>(&self, work: impl FnOnce(&mut Trees<'_>) -> T) -> T {
        let mut files = self.files();
        work(&mut Trees { root: &self.root, files: &mut files })
    }

    pub(crate) fn open(&self, descriptor: u32) -> Result<Open, Errno> {
        let open = self.table.get(descriptor as usize).copied().flatten();
        open.ok_or(Errno::BadDescriptor)
    }

    pub(crate) fn open_mut(&mut self, descriptor: u32) -> Result<&mut Open, Errno> {
        let open = self.table.get_mut(descriptor as usize).and_then(Option::as_mut);
        open.ok_or(Errno::BadDescriptor)
    }

    pub(crate) fn node(&self, descriptor: u32) -> Result<Node, Errno> {
        match self.open(descriptor)? {
            Open::Node { node, .. } => Ok(node),
            _ => Err(Errno::NotFolder),
        }
    }

    pub(crate) fn has_room(&self) -> Result<(), Errno> {
        match self.open_count < self.open_files_max {
            true => Ok(()),
            false => Err(Errno::TooManyOpen),
        }
    }

    /// Gives something the lowest number that is free.
    pub(crate) fn add(&mut self, open: Open) -> Result<u32, Errno> {
        self.has_room()?;
        if let Open::Node { node: Node::Own(number), .. } = open {
            self.files().opened(number);
        }
        self.open_count += 1;
        match self.table.iter().position(Option::is_none) {
            Some(place) => {
                self.table[place] = Some(open);
                Ok(place as u32)
            }
            None => {
                self.table.push(Some(open));
                Ok(self.table.len() as u32 - 1)
            }
        }
    }

    pub(crate) fn remove(&mut self, descriptor: u32) -> Result<(), Errno> {
        let open = self.table.get_mut(descriptor as usize).and_then(Option::take);
        let open = open.ok_or(Errno::BadDescriptor)?;
        self.open_count -= 1;
        if let Open::Node { node: Node::Own(number), .. } = open {
            self.files().closed(number);
        }
        Ok(())
    }

    /// Tells what the guest wrote; what is more than it may write ends it.
    pub(crate) fn say(&mut self, channel: Channel, bytes: &[u8]) -> Answer {
        let room = self.output_left.min(bytes.len() as u64) as usize;
        if room > 0 {
            (self.voice)(channel, &bytes[..room]);
            self.output_left -= room as u64;
        }
        match room < bytes.len() {
            true => Err(Halt::Stop(Stop::Limit(Ended::Output))),
            false => Ok(()),
        }
    }
}

impl Drop for Wasi {
    /// A guest that was stopped has closed nothing.
    fn drop(&mut self) {
        for descriptor in 0..self.table.len() as u32 {
            let _ = self.remove(descriptor);
        }
    }
}
