//! Processes of this machine: signals, their state, and who began whom.

use std::collections::{BTreeMap, BTreeSet};
use std::{fs, io, thread, time::Duration};

/// How often a stopped process is looked at, a millisecond apart, before it counts as going on.
const FREEZE_LOOKS: u32 = 10_000;

/// A process, told from a later one of the same number by when it began, in ticks since the boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seen {
    pub id: u32,
    pub began: u64,
}

impl Seen {
    /// Whether it is still there; one that has ended and is not waited for yet is not.
    pub fn is_alive(self) -> bool {
        fields(self.id).is_some_and(|own| own.seen(self.id) == self && own.state != "Z")
    }
}

/// What proc(5) tells in `stat`.
struct Fields {
    state: String,
    parent: u32,
    began: u64,
}

impl Fields {
    fn seen(&self, id: u32) -> Seen {
        Seen { id, began: self.began }
    }
}

fn fields(id: u32) -> Option<Fields> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    // The name, which may hold anything, ends with the last bracket; the state is the third field.
    let rest: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let (state, parent, began) = (rest.first()?, rest.get(1)?, rest.get(19)?);
    let (parent, began) = (parent.parse().ok()?, began.parse().ok()?);
    Some(Fields { state: (*state).to_owned(), parent, began })
}

/// All processes that this one began, and theirs.
///
/// # Errors
/// When `/proc` cannot be read.
pub fn descendants(of: u32) -> io::Result<Vec<Seen>> {
    let mut children: BTreeMap<u32, Vec<Seen>> = BTreeMap::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(id) = name.to_str().and_then(|name| name.parse().ok()) else { continue };
        let Some(own) = fields(id).filter(|own| own.state != "Z") else { continue };
        children.entry(own.parent).or_default().push(own.seen(id));
    }
    let (mut found, mut open) = (BTreeSet::new(), vec![of]);
    while let Some(id) = open.pop() {
        for child in children.remove(&id).unwrap_or_default() {
            found.insert(child);
            open.push(child.id);
        }
    }
    Ok(found.into_iter().collect())
}

/// Whether every thread of the process is stopped: state `T` in proc(5).
fn is_still(id: u32) -> io::Result<bool> {
    for task in fs::read_dir(format!("/proc/{id}/task"))? {
        // A thread that has just ended runs no more either.
        let Ok(stat) = fs::read_to_string(task?.path().join("stat")) else { continue };
        let state = stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().next());
        if state != Some("T") {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Waits until a process that was told to stop does.
///
/// # Errors
/// When it is gone, or goes on for long.
pub fn stands_still(id: u32) -> io::Result<()> {
    for _ in 0..FREEZE_LOOKS {
        if is_still(id)? {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(1));
    }
    Err(io::Error::other(format!("process {id} does not stand still")))
}

/// Sends a signal to a process.
///
/// # Errors
/// When it is gone.
pub fn signal(process: u32, signal: i32) -> io::Result<()> {
    let id = i32::try_from(process).map_err(io::Error::other)?;
    // SAFETY: kill reads two numbers; whose process it is, the caller knows.
    match unsafe { libc::kill(id, signal) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
