//! Tests of the guest's world: each call on a memory of its own.

use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};

use headwater_sandbox::{Channel, Ended, GuestFile, GuestPath, Limits};

use crate::guest::errno::Errno;
use crate::guest::files::{ENTRY_BYTES, Files, TEMPORARY, WORK};
use crate::guest::lookup::{Node, Trees};
use crate::guest::memory::Memory;
use crate::guest::pages::{PAGE_BYTES, Pages};
use crate::guest::root::{Root, TOP};
use crate::guest::wasi::{Answer, Halt, Stop, Wasi};

const LIMITS: Limits = Limits { file_bytes: 64 << 10, disk_bytes: 1 << 20, ..Limits::SMALL };

fn root() -> Arc<Root> {
    let folder = tempfile::tempdir().unwrap();
    let at = |path: &str| folder.path().join(path);
    for path in ["work", "tmp", "dev", "etc", "usr/local/lib", "usr/share/matplotlib"] {
        fs::create_dir_all(at(path)).unwrap();
    }
    fs::write(at("etc/passwd"), "sandbox").unwrap();
    fs::write(at("usr/local/lib/python315.zip"), vec![7; (1 << 20) + 1]).unwrap();
    std::os::unix::fs::symlink("../etc/passwd", at("usr/link")).unwrap();
    std::os::unix::fs::symlink("/etc", at("usr/etc")).unwrap();
    Arc::new(Root::load(folder.path()).unwrap())
}

type Heard = Arc<Mutex<Vec<(Channel, Vec<u8>)>>>;

/// A guest whose memory has paths and bytes at fixed places.
struct Desk {
    wasi: Wasi,
    bytes: Vec<u8>,
    heard: Heard,
}

/// Places in the memory: a path, another one, what calls tell, a buffer and its description.
const PATH: u32 = 0;
const OTHER: u32 = 5_000;
const TOLD: u32 = 10_000;
const BUFFER: u32 = 20_000;
const LIST: u32 = 16_000;

impl Desk {
    fn new() -> Self {
        let heard: Arc<Mutex<Vec<_>>> = Arc::default();
        let own = Arc::clone(&heard);
        let voice = Box::new(move |channel, bytes: &[u8]| {
            own.lock().unwrap().push((channel, bytes.to_vec()));
        });
        let mut wasi = Wasi::new(root(), Files::new(&LIMITS), voice);
        wasi.output_left = 10;
        wasi.open_files_max = 10;
        Self { wasi, bytes: vec![0; 200_000], heard }
    }

    fn put(&mut self, at: u32, text: &[u8]) -> u32 {
        self.bytes[at as usize..at as usize + text.len()].copy_from_slice(text);
        text.len() as u32
    }

    fn call(&mut self, call: impl FnOnce(&mut Wasi, &mut Memory<'_>) -> Answer) -> Answer {
        call(&mut self.wasi, &mut Memory(&mut self.bytes))
    }

    fn told(&self) -> u32 {
        u32::from_le_bytes(self.bytes[TOLD as usize..TOLD as usize + 4].try_into().unwrap())
    }

    /// Opens a path: `r` reads, `w` writes, `c` makes, `x` makes a new one, `t` cuts, `a` adds.
    fn open(&mut self, path: &str, how: &str) -> Result<u32, Halt> {
        let length = self.put(PATH, path.as_bytes());
        let flag = |letter, value| if how.contains(letter) { value } else { 0 };
        let rights = flag('r', 1 << 1) | flag('w', 1 << 6);
        let open = (flag('c', 1) | flag('x', 5) | flag('d', 2) | flag('t', 8)) as u32;
        let adds = flag('a', 1) as u32;
        self.call(|wasi, memory| {
            wasi.path_open(memory, 3, 1, PATH, length, open, rights, 0, adds, TOLD)
        })?;
        Ok(self.told())
    }

    fn write(&mut self, descriptor: u32, bytes: &[u8]) -> Result<u32, Halt> {
        let length = self.put(BUFFER, bytes);
        self.put(LIST, &[BUFFER.to_le_bytes(), length.to_le_bytes()].concat());
        self.call(|wasi, memory| wasi.fd_write(memory, descriptor, LIST, 1, TOLD))?;
        Ok(self.told())
    }

    fn read(&mut self, descriptor: u32, count: u32) -> Result<Vec<u8>, Halt> {
        self.put(LIST, &[BUFFER.to_le_bytes(), count.to_le_bytes()].concat());
        self.call(|wasi, memory| wasi.fd_read(memory, descriptor, LIST, 1, TOLD))?;
        Ok(self.bytes[BUFFER as usize..(BUFFER + self.told()) as usize].to_vec())
    }

    fn path(
        &mut self,
        path: &str,
        call: impl FnOnce(&mut Wasi, &mut Memory<'_>, u32) -> Answer,
    ) -> Answer {
        let length = self.put(PATH, path.as_bytes());
        self.call(|wasi, memory| call(wasi, memory, length))
    }

    fn rename(&mut self, from: &str, to: &str) -> Answer {
        let (length, other) = (self.put(PATH, from.as_bytes()), self.put(OTHER, to.as_bytes()));
        self.call(|wasi, memory| wasi.path_rename(memory, 3, PATH, length, 3, OTHER, other))
    }

    fn symlink(&mut self, target: &str, path: &str) -> Answer {
        let (length, other) = (self.put(PATH, target.as_bytes()), self.put(OTHER, path.as_bytes()));
        self.call(|wasi, memory| wasi.path_symlink(memory, PATH, length, 3, OTHER, other))
    }

    fn make_folder(&mut self, path: &str) -> Answer {
        self.path(path, |wasi, memory, length| wasi.path_create_directory(memory, 3, PATH, length))
    }

    fn unlink(&mut self, path: &str) -> Answer {
        self.path(path, |wasi, memory, length| wasi.path_unlink_file(memory, 3, PATH, length))
    }

    fn names(&mut self, path: &str) -> Vec<String> {
        let folder = self.open(path, "r").unwrap();
        let mut cookie = 0_u64;
        let mut names = Vec::new();
        loop {
            // Room for two or three names, so that the listing goes on from a place.
            self.call(|wasi, memory| wasi.fd_readdir(memory, folder, BUFFER, 80, cookie, TOLD))
                .unwrap();
            let told = self.bytes[BUFFER as usize..(BUFFER + self.told()) as usize].to_vec();
            let mut rest = told.as_slice();
            while rest.len() > 24 {
                let length = u32::from_le_bytes(rest[16..20].try_into().unwrap()) as usize;
                let Some(name) = rest.get(24..24 + length) else { break };
                cookie = u64::from_le_bytes(rest[..8].try_into().unwrap());
                names.push(String::from_utf8(name.to_vec()).unwrap());
                rest = &rest[24 + length..];
            }
            if told.len() < 80 {
                break;
            }
        }
        self.call(|wasi, memory| wasi.fd_close(memory, folder)).unwrap();
        names
    }
}

fn no(error: Errno) -> Answer {
    Err(Halt::Errno(error))
}

#[test]
fn pages_have_holes_and_cost_what_was_written() {
    let mut pages = Pages::default();
    pages.set_length(1 << 40);
    assert_eq!((pages.length(), pages.held_bytes()), (1 << 40, 0));
    assert_eq!(pages.more_bytes(PAGE_BYTES - 1, 2), 2 * PAGE_BYTES);
    pages.write(PAGE_BYTES - 1, b"ab");
    assert_eq!(pages.more_bytes(0, 3 * PAGE_BYTES), PAGE_BYTES);
    let mut read = [1; 4];
    assert_eq!(pages.read(PAGE_BYTES - 2, &mut read), 4);
    assert_eq!(&read, b"\0ab\0");
    pages.set_length(PAGE_BYTES);
    assert_eq!(pages.held_bytes(), PAGE_BYTES);
    pages.set_length(2 * PAGE_BYTES);
    assert_eq!(pages.read(PAGE_BYTES - 1, &mut read), 4);
    assert_eq!(&read, b"a\0\0\0");
    assert_eq!(pages.read(2 * PAGE_BYTES, &mut read), 0);
}

#[test]
fn paths_lead_nowhere_but_into_the_trees() {
    let (root, mut files) = (root(), Files::new(&LIMITS));
    let trees = Trees { root: &root, files: &mut files };
    let rows: &[(&str, Result<Option<Node>, Errno>)] = &[
        ("/", Ok(Some(Node::Fixed(TOP)))),
        ("../../..", Ok(Some(Node::Fixed(TOP)))),
        ("work", Ok(Some(Node::Own(WORK)))),
        ("/tmp/../tmp/.", Ok(Some(Node::Own(TEMPORARY)))),
        ("work/new", Ok(None)),
        ("work/none/new", Err(Errno::NoEntry)),
        ("etc/passwd/x", Err(Errno::NotFolder)),
        ("usr/local/lib/python315.zip/matplotlib", Err(Errno::NotFolder)),
        ("", Err(Errno::NoEntry)),
    ];
    for (path, expected) in rows {
        let found = trees.find(Node::Fixed(TOP), path, true).map(|found| found.node);
        assert_eq!(found, *expected, "{path}");
    }
    let passwd = trees.find(Node::Fixed(TOP), "etc/passwd", true).unwrap().node;
    for path in ["usr/link", "usr/etc/passwd", "usr/local/../etc/../etc/passwd"] {
        assert_eq!(trees.find(Node::Fixed(TOP), path, true).unwrap().node, passwd, "{path}");
    }
    assert_ne!(trees.find(Node::Fixed(TOP), "usr/link", false).unwrap().node, passwd);
}

#[test]
fn the_root_is_read_and_never_written() {
    let mut desk = Desk::new();
    let file = desk.open("etc/passwd", "r").unwrap();
    assert_eq!(desk.read(file, 99).unwrap(), b"sandbox");
    assert_eq!(desk.write(file, b"x"), Err(Halt::Errno(Errno::BadDescriptor)));
    let large = desk.open("usr/local/lib/python315.zip", "r").unwrap();
    assert_eq!(desk.read(large, 3).unwrap(), [7; 3]);
    for (path, how) in [("etc/passwd", "w"), ("etc/passwd", "rt"), ("etc/new", "wc")] {
        assert_eq!(desk.open(path, how), Err(Halt::Errno(Errno::ReadOnly)), "{path}");
    }
    assert_eq!(desk.open("etc", "w"), Err(Halt::Errno(Errno::IsFolder)));
    assert_eq!(desk.open("etc/passwd", "rd"), Err(Halt::Errno(Errno::NotFolder)));
    assert_eq!(desk.unlink("etc/passwd"), no(Errno::ReadOnly));
    assert_eq!(desk.rename("etc/passwd", "work/a"), no(Errno::ReadOnly));
    assert_eq!(desk.rename("work", "tmp/work"), no(Errno::ReadOnly));
    assert_eq!(desk.symlink("/etc", "usr/new"), no(Errno::ReadOnly));
    assert_eq!(desk.make_folder("new"), no(Errno::ReadOnly));
    let null = desk.open("dev/null", "rw").unwrap();
    assert_eq!((desk.write(null, b"x").unwrap(), desk.read(null, 9).unwrap().len()), (1, 0));
    assert_eq!(desk.names("/"), [".", "..", "dev", "etc", "tmp", "usr", "work"]);
}

#[test]
fn own_files_live_as_files_do() {
    let mut desk = Desk::new();
    let file = desk.open("work/a", "rwx").unwrap();
    assert_eq!(desk.open("work/a", "rwx"), Err(Halt::Errno(Errno::Exists)));
    assert_eq!(desk.write(file, b"hello"), Ok(5));
    let more = desk.open("work/a", "wa").unwrap();
    assert_eq!(desk.write(more, b"!"), Ok(1));
    assert_eq!(desk.read(more, 1), Err(Halt::Errno(Errno::BadDescriptor)));
    desk.call(|wasi, memory| wasi.fd_seek(memory, file, 1, 0, TOLD)).unwrap();
    assert_eq!(desk.read(file, 99).unwrap(), b"ello!");
    desk.make_folder("work/d").unwrap();
    assert_eq!(desk.make_folder("work/d"), no(Errno::Exists));
    desk.rename("work/a", "work/d/b").unwrap();
    assert_eq!(desk.rename("work/d", "work/d/e"), no(Errno::Invalid));
    assert_eq!(desk.rename("work/none", "work/d/e"), no(Errno::NoEntry));
    desk.symlink("d/b", "work/link").unwrap();
    desk.symlink("loop", "work/loop").unwrap();
    assert_eq!(desk.open("work/loop", "r"), Err(Halt::Errno(Errno::Loop)));
    let linked = desk.open("work/link", "r").unwrap();
    assert_eq!(desk.read(linked, 99).unwrap(), b"hello!");
    assert_eq!(desk.names("work"), [".", "..", "d", "link", "loop"]);
    desk.unlink("work/d/b").unwrap();
    // The bytes stay while somebody has them open, and go with the last one.
    assert_eq!(desk.read(linked, 99).unwrap(), b"");
    let used = desk.wasi.files().used_bytes();
    for descriptor in [file, more, linked] {
        desk.call(|wasi, memory| wasi.fd_close(memory, descriptor)).unwrap();
    }
    assert_eq!(used - desk.wasi.files().used_bytes(), ENTRY_BYTES + PAGE_BYTES);
    assert_eq!(desk.unlink("work/d"), no(Errno::IsFolder));
    desk.path("work/d", |wasi, memory, length| wasi.path_remove_directory(memory, 3, PATH, length))
        .unwrap();
}

#[test]
fn limits_of_files_hold() {
    let mut desk = Desk::new();
    let file = desk.open("work/a", "rwc").unwrap();
    assert_eq!(desk.write(file, &[1; 70_000]), Ok(64 << 10));
    assert_eq!(desk.write(file, &[1; 1]), Err(Halt::Errno(Errno::FileTooLarge)));
    let size = |length| {
        move |wasi: &mut Wasi, memory: &mut Memory<'_>| {
            wasi.fd_filestat_set_size(memory, file, length)
        }
    };
    assert_eq!(desk.call(size(1 << 40)), no(Errno::FileTooLarge));
    desk.call(size(0)).unwrap();
    desk.call(|wasi, memory| wasi.fd_seek(memory, file, 0, 0, TOLD)).unwrap();
    assert_eq!(desk.wasi.files().used_bytes(), ENTRY_BYTES);
    let mut made = 1;
    let error = loop {
        match desk.make_folder(&format!("tmp/{made}")) {
            Ok(()) => made += 1,
            Err(error) => break error,
        }
    };
    assert_eq!((error, made), (Halt::Errno(Errno::NoSpace), (1 << 20) / ENTRY_BYTES));
    assert_eq!(desk.write(file, b"x"), Err(Halt::Errno(Errno::NoSpace)));
    desk.wasi.files().empty_temporary(0);
    assert_eq!(desk.write(file, b"x"), Ok(1));
    desk.wasi.files().memory_bytes_max = 0;
    assert_eq!(desk.make_folder("work/d"), no(Errno::NoSpace));
    let mut opened = Vec::new();
    let error = loop {
        match desk.open("etc/passwd", "r") {
            Ok(descriptor) => opened.push(descriptor),
            Err(error) => break error,
        }
    };
    assert_eq!((error, opened.len()), (Halt::Errno(Errno::TooManyOpen), 4));
}

#[test]
fn streams_are_heard_to_their_limit() {
    let mut desk = Desk::new();
    assert_eq!(desk.write(1, b"hello"), Ok(5));
    assert_eq!(desk.write(2, b"word!!"), Err(Halt::Stop(Stop::Limit(Ended::Output))));
    let heard = desk.heard.lock().unwrap().clone();
    assert_eq!(heard, [(Channel::Output, b"hello".to_vec()), (Channel::Error, b"word!".to_vec())]);
    desk.wasi.input = (b"given".to_vec(), 0);
    assert_eq!(desk.read(0, 3).unwrap(), b"giv");
    assert_eq!(desk.read(0, 9).unwrap(), b"en");
    assert_eq!(desk.read(0, 9).unwrap(), b"");
    assert_eq!(desk.write(0, b"x"), Err(Halt::Errno(Errno::BadDescriptor)));
    assert_eq!(desk.read(1, 1), Err(Halt::Errno(Errno::BadDescriptor)));
}

#[test]
fn no_place_outside_the_memory_is_touched() {
    let mut desk = Desk::new();
    let (end, most) = (200_000, u32::MAX);
    for at in [end, end - 3, most, most - 3] {
        assert_eq!(desk.call(|w, m| w.clock_time_get(m, 0, 0, at)), no(Errno::Fault));
        assert_eq!(desk.call(|w, m| w.random_get(m, at, 8)), no(Errno::Fault));
        assert_eq!(desk.call(|w, m| w.fd_read(m, 0, at, 1, TOLD)), no(Errno::Fault));
        assert_eq!(desk.call(|w, m| w.fd_filestat_get(m, 3, at)), no(Errno::Fault));
        assert_eq!(desk.call(|w, m| w.fd_fdstat_get(m, 3, at)), no(Errno::Fault));
        assert_eq!(desk.call(|w, m| w.fd_readdir(m, 3, at, 80, 0, TOLD)), no(Errno::Fault));
        assert_eq!(desk.call(|w, m| w.path_unlink_file(m, 3, at, 8)), no(Errno::Fault));
        assert_eq!(
            desk.call(|w, m| w.plan_wait(m, at, 1).map(drop).map_err(Halt::from)),
            no(Errno::Fault)
        );
        desk.wasi.arguments = vec![b"argument".to_vec(); 2];
        assert_eq!(desk.call(|w, m| w.args_get(m, at, TOLD)), no(Errno::Fault));
        assert_eq!(desk.call(|w, m| w.args_get(m, TOLD, at)), no(Errno::Fault));
        desk.put(LIST, &[at.to_le_bytes(), 9_u32.to_le_bytes()].concat());
        assert_eq!(desk.call(|w, m| w.fd_write(m, 1, LIST, 1, TOLD)), no(Errno::Fault));
    }
    assert_eq!(desk.call(|w, m| w.fd_write(m, 1, LIST, most, TOLD)), no(Errno::Invalid));
    assert_eq!(desk.call(|w, m| w.path_unlink_file(m, 3, 0, most)), no(Errno::NameTooLong));
    assert_eq!(desk.call(|w, m| w.random_get(m, 0, most)), no(Errno::Invalid));
    assert_eq!(
        desk.call(|w, m| w.plan_wait(m, 0, most).map(drop).map_err(Halt::from)),
        no(Errno::Invalid)
    );
    assert_eq!(desk.call(|w, m| w.fd_close(m, most)), no(Errno::BadDescriptor));
    assert_eq!(desk.call(|w, m| w.fd_seek(m, 3, u64::MAX, 0, TOLD)), no(Errno::Invalid));
    desk.put(PATH, b"a\0b\xff");
    assert_eq!(desk.call(|w, m| w.path_unlink_file(m, 3, PATH, 3)), no(Errno::Invalid));
    assert_eq!(desk.call(|w, m| w.path_unlink_file(m, 3, PATH, 4)), no(Errno::IllegalBytes));
}

#[test]
fn waits_end_with_the_first_that_is_due() {
    let mut desk = Desk::new();
    let clock = |about: u8, time_ns: u64| {
        let mut wait = [0; 48];
        (wait[0], wait[16]) = (about, 1);
        wait[24..32].copy_from_slice(&time_ns.to_le_bytes());
        wait
    };
    desk.put(PATH, &[clock(7, 900), clock(8, 500), clock(9, 500)].concat());
    let wait = desk.wasi.plan_wait(&Memory(&mut desk.bytes), PATH, 3).unwrap();
    assert_eq!(wait.for_ns, 500);
    desk.call(|_, memory| Wasi::end_wait(memory, &wait, BUFFER, TOLD)).unwrap();
    let events = [desk.bytes[BUFFER as usize], desk.bytes[BUFFER as usize + 32]];
    assert_eq!((desk.told(), events), (2, [8, 9]));
    let mut stream = [0; 48];
    (stream[8], stream[16]) = (2, 1);
    desk.put(PATH, &[clock(7, 900), stream].concat());
    assert_eq!(desk.wasi.plan_wait(&Memory(&mut desk.bytes), PATH, 2).unwrap().for_ns, 0);
    stream[8] = 1;
    desk.put(PATH, &stream);
    let wait = desk.wasi.plan_wait(&Memory(&mut desk.bytes), PATH, 1);
    assert_eq!(wait, Err(Errno::BadDescriptor));
}

#[test]
fn the_host_follows_no_link_of_a_guest() {
    let mut desk = Desk::new();
    let file = |path: &str, bytes: &[u8]| GuestFile {
        path: GuestPath::new(path).unwrap(),
        bytes: bytes.to_vec(),
    };
    desk.wasi.files().put(&file("a/b/c", b"abc"), 0).unwrap();
    desk.symlink("a", "work/link").unwrap();
    desk.symlink("/etc/passwd", "work/passwd").unwrap();
    let mut files = desk.wasi.files();
    for path in ["link/b/c", "passwd", "a", "none", "a/b/c/d"] {
        files.get(&GuestPath::new(path).unwrap(), 99).unwrap_err();
    }
    for path in ["link/new", "passwd", "a", "a/b/c/d"] {
        files.put(&file(path, b"x"), 0).unwrap_err();
    }
    files.put(&file("large", &[0; 70_000]), 0).unwrap_err();
    let wanted: Vec<GuestPath> =
        ["none", "link", "a/b/c"].map(|path| GuestPath::new(path).unwrap()).to_vec();
    assert_eq!(files.collect(&wanted, 99), [file("a/b/c", b"abc")]);
    assert_eq!(files.collect(&wanted, 2), []);
    let listed: Vec<String> =
        files.list(3).into_iter().map(|entry| entry.path.as_str().to_owned()).collect();
    assert_eq!(listed, ["a", "a/b", "a/b/c"]);
}

#[test]
fn a_root_without_its_folders_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let error = Root::load(folder.path()).unwrap_err().to_string();
    assert!(error.contains("no folder work"), "{error}");
    Root::load(Path::new("/none")).unwrap_err();
}
