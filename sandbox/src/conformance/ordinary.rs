//! What programs that mean no harm may count on, and tricks with files that need several calls.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;

use crate::conformance::run::{Seen, execution, hear, report, spec, told};
use crate::conformance::{Report, Witness};
use crate::engine::{Engine, Slot, Way};
use crate::error::EngineError;
use crate::execution::{Channel, Execution};
use crate::image::Image;
use crate::limits::Limits;
use crate::outcome::{Ended, GuestFile, Outcome};
use crate::path::GuestPath;

fn path(text: &str) -> Result<GuestPath, String> {
    GuestPath::new(text).map_err(|error| error.to_string())
}

fn file(name: &str, bytes: &[u8]) -> Result<GuestFile, String> {
    Ok(GuestFile { path: path(name)?, bytes: bytes.to_vec() })
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, left: T, right: T) -> Result<(), String> {
    if left == right { Ok(()) } else { Err(format!("{what} is {left:?}, it must be {right:?}")) }
}

/// Programs, what they must write to their output, and how they must end.
const PLAIN: &[(&str, &str, &str, Ended)] = &[
    ("hello", "print('hi')", "hi\n", Ended::Exit(0)),
    ("unicode", "print('grüße \\u4f60 \\U0001f30a')", "grüße 你 🌊\n", Ended::Exit(0)),
    ("exit_code", "import sys; sys.exit(41)", "", Ended::Exit(41)),
    ("exit_text", "import sys; sys.exit('no')", "", Ended::Exit(1)),
    ("raises", "raise ValueError('x')", "", Ended::Exit(1)),
    ("broken_source", "def (:", "", Ended::Exit(1)),
    ("nul_in_source", "print(1)\0print(2)", "", Ended::Exit(1)),
    ("garbage_source", "\u{fffd}\u{1}\u{2}\u{7f}\u{80}\u{ffff}", "", Ended::Exit(1)),
    ("main", "print(__name__)", "__main__\n", Ended::Exit(0)),
    ("at_exit", "import atexit; atexit.register(print, 'bye')", "bye\n", Ended::Exit(0)),
    ("no_input", "import sys; print(repr(sys.stdin.read()))", "''\n", Ended::Exit(0)),
    (
        "encoding",
        "import sys; print(sys.stdout.encoding.lower(), sys.getfilesystemencoding())",
        "utf-8 utf-8\n",
        Ended::Exit(0),
    ),
    ("working_folder", "import os; print(os.getcwd())", "/work\n", Ended::Exit(0)),
    // The last one: a guest without threads shows all the others.
    (
        "threads",
        "import threading as t\nx=t.Thread(target=print,args=(3,)); x.start()",
        "3\n",
        Ended::Exit(0),
    ),
];

/// Runs the cases, each in a slot of its own.
pub(super) async fn all(
    engine: &dyn Engine,
    image: &Image,
    witness: &mut dyn Witness,
    only: &str,
) -> Vec<Report> {
    let before = witness.counts().await;
    let mut reports = Vec::new();
    macro_rules! cases {
        ($($way:ident $case:ident),* $(,)?) => {
            $(if stringify!($case).contains(only) {
                let seen = match engine.start(spec(image, stringify!($case), Way::$way)).await {
                    Err(error) => Err(format!("starting: {error}")),
                    Ok(mut slot) => {
                        let seen = $case(slot.as_mut()).await;
                        let closed = slot.close().await.map_err(told("closing"));
                        seen.and_then(|()| closed.map(|()| "as it must be".to_owned()))
                    }
                };
                reports.push(report(stringify!($case), seen));
            })*
        };
    }
    cases![
        Single plain_programs,
        Single input_arguments_and_environment,
        Single great_arguments,
        Single files_go_in_and_come_out,
        Single tricks_with_files_that_come_out,
        Single limits_above_the_slots_are_refused,
        Single a_call_can_have_less,
        Single output_comes_as_it_is_written,
        Single a_dropped_call_is_killed,
        Single input_that_nobody_reads,
    ];
    if engine.abilities().sessions {
        cases![
            Session sessions_keep_files,
            Session tricks_with_files_of_a_session,
            Session a_recycled_session_is_empty,
        ];
    }
    if engine.abilities().pauses {
        cases![Single pauses_and_resumes];
    }
    let faults = witness.faults().await;
    let seen: Seen =
        if faults.is_empty() { Ok("nothing".to_owned()) } else { Err(faults.join("; ")) };
    reports.push(report("ordinary_programs_on_the_host", seen));
    let after = witness.counts().await;
    let seen = same("what the host has", after, before).map(|()| format!("{after:?}"));
    reports.push(report("nothing_is_left_on_the_host", seen));
    reports
}

async fn plain_programs(slot: &mut dyn Slot) -> Result<(), String> {
    for (name, source, output, ended) in PLAIN {
        let (outcome, heard, errors) = hear(slot, &execution(*source)).await?;
        same(&format!("the output of {name} ({errors:?})"), heard.as_str(), *output)?;
        same(&format!("the end of {name} ({errors:?})"), outcome.ended, *ended)?;
    }
    Ok(())
}

async fn input_arguments_and_environment(slot: &mut dyn Slot) -> Result<(), String> {
    let source = "import os,sys\nprint(sys.argv[1:], os.environ['KEY'], len(sys.stdin.buffer.read()), sorted(os.environ))";
    let call = Execution {
        arguments: vec!["a b".to_owned(), String::new(), "ü".to_owned()],
        environment: vec![("KEY".to_owned(), "välue".to_owned())],
        input: vec![0xff; 300_000],
        ..execution(source)
    };
    let (_, heard, errors) = hear(slot, &call).await?;
    let expected = "['a b', '', 'ü'] välue 300000 ['HOME', 'KEY', 'LANG', 'PATH']\n";
    same(&format!("the output ({errors:?})"), heard.as_str(), expected)
}

async fn great_arguments(slot: &mut dyn Slot) -> Result<(), String> {
    let call = Execution {
        arguments: vec!["x".repeat(1 << 20); 4],
        environment: vec![("KEY".to_owned(), "y".repeat(1 << 20))],
        ..execution(format!(
            "import sys,os\n#{}\nprint(len(sys.argv[4]), len(os.environ['KEY']))",
            "z".repeat(4 << 20)
        ))
    };
    let (_, heard, errors) = hear(slot, &call).await?;
    same(&format!("the output ({errors:?})"), heard.as_str(), "1048576 1048576\n")
}

async fn files_go_in_and_come_out(slot: &mut dyn Slot) -> Result<(), String> {
    let source = "import os\nos.makedirs('out/deep')\nopen('out/deep/b','wb').write(open('in/a','rb').read()*2)\nopen('empty','w')";
    let call = Execution {
        files: vec![file("in/a", &[0, 1, 255])?, file("big", &vec![7; 3 << 20])?],
        collect: vec![
            path("missing")?,
            path("out/deep/b")?,
            path("empty")?,
            path("big")?,
            path("out")?,
        ],
        ..execution(source)
    };
    let (outcome, _, errors) = hear(slot, &call).await?;
    let expected = vec![
        file("out/deep/b", &[0, 1, 255, 0, 1, 255])?,
        file("empty", &[])?,
        file("big", &vec![7; 3 << 20])?,
    ];
    if outcome.files != expected {
        let names: Vec<_> =
            outcome.files.iter().map(|f| (f.path.as_str(), f.bytes.len())).collect();
        return Err(format!("the files are {names:?} ({errors:?})"));
    }
    let (outcome, _, _) =
        hear(slot, &Execution { collect: vec![path("big")?], ..execution("") }).await?;
    same("the files of the next call", outcome.files, Vec::new())?;
    let full = Execution { files: vec![file("a", &vec![0; 33 << 20])?], ..execution("") };
    match hear_error(slot, &full).await {
        Some(EngineError::File { .. }) => Ok(()),
        other => Err(format!("a file that is too large gave {other:?}")),
    }
}

async fn hear_error(slot: &mut dyn Slot, call: &Execution) -> Option<EngineError> {
    slot.run(call, &mut |_: Channel, _: &[u8]| {}).await.err()
}

const TRICKS: &str = "import os
os.symlink('/etc/passwd', 'a')
os.symlink('/proc/self/environ', 'b')
os.symlink('/', 'c')
try: os.mkfifo('d')
except (OSError, AttributeError): pass
os.symlink('/dev/zero', 'e')
os.symlink('/proc/1/root', 'f')
os.mkdir('g'); os.rmdir('g'); os.symlink('/etc', 'g')
for i in range(8):
    with open('s%d' % i, 'wb') as f: f.truncate(16 << 20)
open('plain', 'w').write('x')
";

async fn tricks_with_files_that_come_out(slot: &mut dyn Slot) -> Result<(), String> {
    let names = [
        "a",
        "b",
        "c/etc/passwd",
        "d",
        "e",
        "f/etc/passwd",
        "g/passwd",
        "s0",
        "s1",
        "s2",
        "s3",
        "s4",
        "plain",
    ];
    let collect = names.iter().map(|name| path(name)).collect::<Result<Vec<_>, _>>()?;
    let (outcome, _, errors) = hear(slot, &Execution { collect, ..execution(TRICKS) }).await?;
    let sum: usize = outcome.files.iter().map(|file| file.bytes.len()).sum();
    if sum > 32 << 20 {
        return Err(format!("{sum} bytes came out"));
    }
    for file in &outcome.files {
        let name = file.path.as_str();
        if !(name.starts_with('s') || name == "plain") {
            return Err(format!("{name} came out ({errors:?})"));
        }
    }
    Ok(())
}

async fn limits_above_the_slots_are_refused(slot: &mut dyn Slot) -> Result<(), String> {
    let limits = execution("").limits;
    for more in [
        Limits { wall_ms: limits.wall_ms + 1, ..limits },
        Limits { memory_bytes: limits.memory_bytes * 2, ..limits },
        Limits { output_bytes: 0, ..limits },
    ] {
        match hear_error(slot, &Execution { limits: more, ..execution("print(1)") }).await {
            Some(EngineError::Limit(_)) => {}
            other => return Err(format!("{more:?} gave {other:?}")),
        }
    }
    Ok(())
}

async fn a_call_can_have_less(slot: &mut dyn Slot) -> Result<(), String> {
    let limits = execution("").limits;
    let rows = [
        (Limits { wall_ms: 300, ..limits }, "import time; time.sleep(9)", Ended::WallTime),
        (Limits { output_bytes: 1_024, ..limits }, "print('x' * 5000)", Ended::Output),
        (limits, "print('x' * 5000)", Ended::Exit(0)),
    ];
    for (limits, source, ended) in rows {
        let (outcome, _, errors) = hear(slot, &Execution { limits, ..execution(source) }).await?;
        same(&format!("the end of {source} ({errors:?})"), outcome.ended, ended)?;
    }
    Ok(())
}

/// Runs a call until it has written something, then lets go of it.
async fn run_until_heard(slot: &mut dyn Slot, call: &Execution) -> Result<Option<Outcome>, String> {
    let heard = AtomicBool::new(false);
    let mut listener = |_: Channel, _: &[u8]| heard.store(true, Ordering::Release);
    let mut running = pin!(slot.run(call, &mut listener));
    poll_fn(|context| match running.as_mut().poll(context) {
        Poll::Ready(outcome) => Poll::Ready(outcome.map(Some).map_err(told("running"))),
        Poll::Pending if heard.load(Ordering::Acquire) => Poll::Ready(Ok(None)),
        Poll::Pending => Poll::Pending,
    })
    .await
}

async fn output_comes_as_it_is_written(slot: &mut dyn Slot) -> Result<(), String> {
    let call = execution("import time\nprint('now', flush=True)\ntime.sleep(3)");
    same("the end", run_until_heard(slot, &call).await?, None)
}

async fn a_dropped_call_is_killed(slot: &mut dyn Slot) -> Result<(), String> {
    let call =
        execution("import os,time\nprint('now', flush=True)\nopen('x','w')\ntime.sleep(1000)");
    for _ in 0..3 {
        same("the end", run_until_heard(slot, &call).await?, None)?;
    }
    let (outcome, heard, _) =
        hear(slot, &execution("import os; print(os.listdir('/work'))")).await?;
    same("the next call", (outcome.ended, heard.as_str()), (Ended::Exit(0), "[]\n"))
}

async fn input_that_nobody_reads(slot: &mut dyn Slot) -> Result<(), String> {
    let call = Execution { input: vec![b'x'; 8 << 20], ..execution("print('done')") };
    let (outcome, heard, _) = hear(slot, &call).await?;
    same("the call", (outcome.ended, heard.as_str()), (Ended::Exit(0), "done\n"))
}

async fn sessions_keep_files(slot: &mut dyn Slot) -> Result<(), String> {
    slot.write(&file("data/in", b"abc")?).await.map_err(told("writing"))?;
    let (outcome, heard, errors) =
        hear(slot, &execution("s=open('data/in').read()\nopen('out','w').write(s*2)\nprint(s)"))
            .await?;
    same(
        &format!("the call ({errors:?})"),
        (outcome.ended, heard.as_str()),
        (Ended::Exit(0), "abc\n"),
    )?;
    let (_, heard, _) = hear(slot, &execution("print(open('out').read())")).await?;
    same("the next call", heard.as_str(), "abcabc\n")?;
    let read = slot.read(&path("out")?, 100).await.map_err(told("reading"))?;
    same("the file", read.bytes.as_slice(), b"abcabc".as_slice())?;
    let entries = slot.list(10).await.map_err(told("listing"))?;
    let entries: Vec<_> = entries.iter().map(|e| (e.path.as_str(), e.bytes, e.folder)).collect();
    same("the list", entries, vec![("data", 0, true), ("data/in", 3, false), ("out", 6, false)])?;
    for (name, most) in [("none", 100), ("data", 100), ("out", 5)] {
        match slot.read(&path(name)?, most).await {
            Err(EngineError::File { .. }) => {}
            other => return Err(format!("reading {name} gave {other:?}")),
        }
    }
    Ok(())
}

async fn tricks_with_files_of_a_session(slot: &mut dyn Slot) -> Result<(), String> {
    let (outcome, _, errors) = hear(slot, &execution(TRICKS)).await?;
    same(&format!("the end ({errors:?})"), outcome.ended, Ended::Exit(0))?;
    for name in ["a", "b", "c/etc/passwd", "d", "e", "f/etc/passwd", "g/passwd", "c/work/x"] {
        if let Ok(file) = slot.read(&path(name)?, 1 << 20).await {
            return Err(format!("{name} was read: {} bytes", file.bytes.len()));
        }
        if slot.write(&file(name, b"x")?).await.is_ok() && name != "d" {
            return Err(format!("{name} was written"));
        }
    }
    let (_, heard, _) = hear(slot, &execution("print(open('plain').read())")).await?;
    same("the session", heard.as_str(), "x\n")
}

async fn a_recycled_session_is_empty(slot: &mut dyn Slot) -> Result<(), String> {
    slot.write(&file("secret", b"abc")?).await.map_err(told("writing"))?;
    match slot.recycle().await {
        // The slot is closed then, and no other tenant sees it.
        Err(EngineError::Unsupported { .. }) => return Ok(()),
        recycled => recycled.map_err(told("recycling"))?,
    }
    same("the list", slot.list(10).await.map_err(told("listing"))?, Vec::new())
}

async fn pauses_and_resumes(slot: &mut dyn Slot) -> Result<(), String> {
    for _ in 0..3 {
        slot.pause().await.map_err(told("pausing"))?;
        slot.usage().await.map_err(told("usage"))?;
        slot.resume().await.map_err(told("resuming"))?;
        let (outcome, heard, _) = hear(slot, &execution("print('on')")).await?;
        same("the call", (outcome.ended, heard.as_str()), (Ended::Exit(0), "on\n"))?;
    }
    slot.pause().await.map_err(told("pausing"))
}
