//! What waits for the next call: used once, replaced when it dies, gone with its slot.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use headwater_sandbox::{
    Channel, Ended, Engine, EngineError, Execution, GuestFile, GuestPath, Limits, Outcome, Slot,
    SlotSpec, Swept, Way,
};
use headwater_sandbox_jail::{Jail, JailSettings};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

#[path = "support/host.rs"]
mod host;
#[path = "support/image.rs"]
mod image;

use host::{cgroups, descendants};
use image::image;

/// None where this host has no namespaces for us, which is told.
async fn jail(folder: &Path) -> Option<Jail> {
    let launcher = vec![env!("CARGO_BIN_EXE_headwater-jail").into()];
    let jail = Jail::new(JailSettings::new(launcher, folder.join("state"))).unwrap();
    match jail.probe(&image()).await {
        Err(EngineError::Unable { why, mend, .. }) if why.contains("namespaces") => {
            println!("skipped: {why}; {mend}");
            None
        }
        probe => probe.map(|_| Some(jail)).unwrap(),
    }
}

async fn start(jail: &Jail, name: &str, way: Way) -> Box<dyn Slot> {
    let (name, limits) = (name.to_owned(), Limits::SMALL);
    jail.start(SlotSpec { name, image: image(), limits, way, way_out: None }).await.unwrap()
}

fn execution(source: &str) -> Execution {
    Execution::new(source, Limits::SMALL)
}

async fn hear(slot: &mut dyn Slot, execution: &Execution) -> (Outcome, String) {
    let mut heard = Vec::new();
    let mut listener = |_: Channel, bytes: &[u8]| heard.extend_from_slice(bytes);
    let outcome = slot.run(execution, &mut listener).await.unwrap();
    (outcome, String::from_utf8(heard).unwrap())
}

/// The slot's launcher, zygote, keeper and guest, once all of them wait.
async fn waiting(slot: &mut dyn Slot) -> [u32; 4] {
    assert_eq!(slot.usage().await.unwrap().processes, 3);
    let name = format!("\"name\":\"{}\"", slot.name());
    let is_launcher = |process: &u32| {
        let words = fs::read_to_string(format!("/proc/{process}/cmdline"));
        words.is_ok_and(|words| words.contains(&name))
    };
    let all = descendants(std::process::id());
    let launcher = all.into_iter().find(is_launcher).unwrap();
    let below = descendants(launcher);
    <[u32; 4]>::try_from([vec![launcher], below].concat()).unwrap()
}

/// Until they have ended, though a parent may not have heard of it yet.
async fn gone(processes: &[u32]) {
    let deadline = Instant::now() + Duration::from_secs(10);
    let stays = |process: &&u32| {
        let text = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
        text.rsplit(')').next().is_some_and(|text| !text.is_empty() && !text.starts_with(" Z"))
    };
    while let Some(process) = processes.iter().find(stays) {
        assert!(Instant::now() < deadline, "process {process} stays");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// When a process began, as the kernel tells it.
fn began(process: u32) -> String {
    let text = fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    text.rsplit(')').next().unwrap().split(' ').nth(20).unwrap().to_owned()
}

const MARKS: &str = "
import builtins, os, sys
began = open('/proc/self/stat').read().rsplit(')')[1].split(' ')[20]
left = [hasattr(builtins, 'mark'), 'MARK' in os.environ, 'mark' in sys.modules]
print(began, any(left), os.listdir('/tmp'), os.listdir('/work'))
builtins.mark, os.environ['MARK'], sys.modules['mark'] = 1, '1', os
open('/tmp/mark', 'w').close()
open(os.path.expanduser('~/mark'), 'w').close()
";

#[tokio::test]
async fn what_waits_runs_one_call() {
    let folder = tempfile::tempdir().unwrap();
    let Some(jail) = jail(folder.path()).await else { return };
    let mut slot = start(&jail, "once", Way::Single).await;
    let mut used = BTreeSet::new();
    for _ in 0..4 {
        let [launcher, zygote, keeper, guest] = waiting(slot.as_mut()).await;
        assert!(used.insert(keeper) && used.insert(guest), "{keeper}, {guest}: {used:?}");
        let expected = format!("{} False [] []\n", began(guest));
        // A guest that was only made for the call would have begun later.
        tokio::time::sleep(Duration::from_millis(50)).await;
        let (outcome, heard) = hear(slot.as_mut(), &execution(MARKS)).await;
        assert_eq!((outcome.ended, heard), (Ended::Exit(0), expected));
        // What it used while it waited is not the call's.
        assert!(outcome.cpu_us <= outcome.wall_us, "{outcome:?}");
        gone(&[keeper, guest]).await;
        assert_eq!(waiting(slot.as_mut()).await[..2], [launcher, zygote]);
    }
    // A call that nothing waits for yet finds the same.
    for _ in 0..4 {
        let (outcome, heard) = hear(slot.as_mut(), &execution(MARKS)).await;
        assert_eq!(outcome.ended, Ended::Exit(0));
        assert!(heard.ends_with(" False [] []\n"), "{heard}");
    }
    slot.close().await.unwrap();
}

#[tokio::test]
async fn what_died_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let Some(jail) = jail(folder.path()).await else { return };
    let mut slot = start(&jail, "died", Way::Single).await;
    let end = |process: u32| kill(Pid::from_raw(process as i32), Signal::SIGKILL).unwrap();
    let [_, zygote, keeper, guest] = waiting(slot.as_mut()).await;
    end(guest);
    gone(&[guest]).await;
    let (outcome, heard) = hear(slot.as_mut(), &execution("print('on')")).await;
    assert_eq!((outcome.ended, heard.as_str()), (Ended::Exit(0), "on\n"));
    for is_asked in [false, true] {
        let before = waiting(slot.as_mut()).await;
        end(before[2]);
        gone(&before[2..]).await;
        if is_asked {
            let after = waiting(slot.as_mut()).await;
            assert!(after[1] == zygote && after[2] != before[2] && after[3] != before[3]);
        }
        let (outcome, heard) = hear(slot.as_mut(), &execution("print('on')")).await;
        assert_eq!((outcome.ended, heard.as_str()), (Ended::Exit(0), "on\n"));
    }
    assert!(!Path::new(&format!("/proc/{keeper}")).exists());
    slot.close().await.unwrap();
}

#[tokio::test]
async fn what_dies_while_it_takes_the_call_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let Some(jail) = jail(folder.path()).await else { return };
    let mut slot = start(&jail, "taking", Way::Single).await;
    let call = Execution { input: b"in".to_vec(), ..execution("print(open(0).read())") };
    for place in [2, 3] {
        // Stopped, it has the call but does nothing with it.
        let process = Pid::from_raw(waiting(slot.as_mut()).await[place] as i32);
        kill(process, Signal::SIGSTOP).unwrap();
        let end = async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            kill(process, Signal::SIGKILL).unwrap();
        };
        let ((outcome, heard), ()) = tokio::join!(hear(slot.as_mut(), &call), end);
        assert_eq!((outcome.ended, heard.as_str()), (Ended::Exit(0), "in\n"), "{place}");
    }
    slot.close().await.unwrap();
}

const LEFT: &str = "
import os, time
print('begun', flush=True)
own = os.path.expanduser('~/self')
os.kill(os.getpid(), 9) if os.path.exists(own) else time.sleep(60)
";

#[tokio::test]
async fn a_program_that_has_begun_is_not_begun_again() {
    let folder = tempfile::tempdir().unwrap();
    let Some(jail) = jail(folder.path()).await else { return };
    let path = GuestPath::new("self").unwrap();
    let files = vec![GuestFile { path, bytes: Vec::new() }];
    let mut slot = start(&jail, "begun", Way::Single).await;
    let (outcome, heard) = hear(slot.as_mut(), &Execution { files, ..execution(LEFT) }).await;
    assert_eq!((outcome.ended, heard.as_str()), (Ended::Signal(9), "begun\n"));
    let [_, _, keeper, _] = waiting(slot.as_mut()).await;
    let (told, mut begun) = tokio::sync::oneshot::channel();
    let (mut told, mut count) = (Some(told), 0);
    let mut listener = |_: Channel, _: &[u8]| {
        count += 1;
        told.take().map(|told| told.send(()));
    };
    let end = async {
        (&mut begun).await.unwrap();
        kill(Pid::from_raw(keeper as i32), Signal::SIGKILL).unwrap();
    };
    let call = execution(LEFT);
    let (outcome, ()) = tokio::join!(slot.run(&call, &mut listener), end);
    assert!(matches!(outcome, Err(EngineError::Lost { .. })), "{outcome:?}");
    assert_eq!(count, 1);
    slot.close().await.unwrap();
}

#[tokio::test]
async fn a_slot_that_waits_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let Some(jail) = jail(folder.path()).await else { return };
    let mounts = || fs::read_to_string("/proc/self/mountinfo").unwrap().lines().count();
    let before = mounts();
    for (name, is_closed) in [("waits-and-is-closed", true), ("waits-and-is-dropped", false)] {
        let groups = || cgroups(|group| group.starts_with("headwater-") && group.ends_with(name));
        let mut slot = start(&jail, name, Way::Single).await;
        let processes = waiting(slot.as_mut()).await;
        assert_eq!(groups() > 0, jail.abilities().pauses);
        if is_closed {
            slot.close().await.unwrap();
            // What is killed has another parent for a moment, which reaps it.
            gone(&processes).await;
        } else {
            drop(slot);
            gone(&processes).await;
            let deadline = Instant::now() + Duration::from_secs(10);
            while groups() > 0 && Instant::now() < deadline {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
        assert_eq!((groups(), mounts()), (0, before));
    }
    assert_eq!(jail.sweep().await.unwrap(), Swept::default());
}

#[tokio::test]
async fn another_tenants_calls_find_nothing_that_waited_before() {
    let folder = tempfile::tempdir().unwrap();
    let Some(jail) = jail(folder.path()).await else { return };
    for way in [Way::Single, Way::Session] {
        let mut slot = start(&jail, "changes", way).await;
        if way == Way::Session {
            let path = GuestPath::new("secret").unwrap();
            slot.write(&GuestFile { path, bytes: b"abc".to_vec() }).await.unwrap();
        }
        hear(slot.as_mut(), &execution(MARKS)).await;
        let [_, _, keeper, guest] = waiting(slot.as_mut()).await;
        slot.recycle().await.unwrap();
        for process in [keeper, guest] {
            assert!(!Path::new(&format!("/proc/{process}")).exists(), "{way:?}");
        }
        waiting(slot.as_mut()).await;
        let (_, heard) = hear(slot.as_mut(), &execution(MARKS)).await;
        assert!(heard.ends_with(" False [] []\n"), "{way:?}: {heard}");
        slot.close().await.unwrap();
    }
}

const FILL: &str = "
import errno, os
for folder in ('/work', '/tmp'):
    try:
        with open(folder + '/full', 'wb') as file:
            for _ in range(32):
                file.write(bytes(1 << 16))
        print('whole')
    except OSError as error:
        print(errno.errorcode[error.errno])
    os.unlink(folder + '/full')
";

#[tokio::test]
async fn a_call_with_less_disk_has_less() {
    let folder = tempfile::tempdir().unwrap();
    let Some(jail) = jail(folder.path()).await else { return };
    // The files of a session are the slot's, not the call's.
    for (way, less) in [(Way::Single, "ENOSPC\nENOSPC\n"), (Way::Session, "whole\nENOSPC\n")] {
        let mut slot = start(&jail, "disk", way).await;
        let small = Limits { disk_bytes: 1 << 20, ..Limits::SMALL };
        for (limits, expected) in [(small, less), (Limits::SMALL, "whole\nwhole\n")] {
            waiting(slot.as_mut()).await;
            let call = Execution { limits, ..execution(FILL) };
            let (outcome, heard) = hear(slot.as_mut(), &call).await;
            assert_eq!((outcome.ended, heard.as_str()), (Ended::Exit(0), expected), "{way:?}");
        }
        slot.close().await.unwrap();
    }
}

#[tokio::test]
async fn time_that_was_waited_is_not_the_calls() {
    let folder = tempfile::tempdir().unwrap();
    let Some(jail) = jail(folder.path()).await else { return };
    let mut slot = start(&jail, "rests", Way::Single).await;
    waiting(slot.as_mut()).await;
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    let limits = Limits { wall_ms: 2_000, cpu_ms: 1_000, ..Limits::SMALL };
    let call = Execution { limits, ..execution("print('in time')") };
    let (outcome, heard) = hear(slot.as_mut(), &call).await;
    assert_eq!((outcome.ended, heard.as_str()), (Ended::Exit(0), "in time\n"));
    slot.close().await.unwrap();
}
