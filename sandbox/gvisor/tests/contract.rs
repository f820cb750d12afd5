//! The engine against the port's contract, on a real runsc.

use std::path::Path;
use std::time::Duration;

use headwater_sandbox::{
    Channel, Ended, Engine, EngineError, Execution, GuestFile, GuestPath, Limits, Outcome, Slot,
    SlotSpec, Way, WayOut,
};
use headwater_sandbox_gvisor::{GvisorEngine, Settings};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixListener;

#[path = "support/root.rs"]
mod root;

struct Bench {
    engine: GvisorEngine,
    state: TempDir,
}

fn bench() -> Option<Bench> {
    if let Some(why) = root::missing() {
        println!("skipped: {why}");
        return None;
    }
    let state = tempfile::tempdir().unwrap();
    let settings = Settings { start_ms: 60_000, ..Settings::new(state.path()) };
    Some(Bench { engine: GvisorEngine::new(settings).unwrap(), state })
}

fn spec(name: &str, way: Way) -> SlotSpec {
    let image =
        root::image(&Path::new(env!("CARGO_TARGET_TMPDIR")).join("gvisor-images"), &["json"]);
    // The machine of a test may be busy: limits of time are set by the tests that are about them.
    let limits = Limits { wall_ms: 120_000, cpu_ms: 60_000, ..Limits::SMALL };
    SlotSpec { name: name.to_owned(), image, limits, way, way_out: None }
}

fn execution(source: &str) -> Execution {
    Execution::new(source, Limits { wall_ms: 60_000, cpu_ms: 30_000, ..Limits::SMALL })
}

async fn run(slot: &mut Box<dyn Slot>, execution: &Execution) -> (Outcome, String, String) {
    let (mut output, mut errors) = (Vec::new(), Vec::new());
    let mut listen = |channel: Channel, bytes: &[u8]| match channel {
        Channel::Output => output.extend_from_slice(bytes),
        Channel::Error => errors.extend_from_slice(bytes),
    };
    let outcome = slot.run(execution, &mut listen).await.unwrap();
    (outcome, String::from_utf8(output).unwrap(), String::from_utf8(errors).unwrap())
}

fn path(text: &str) -> GuestPath {
    GuestPath::new(text).unwrap()
}

fn file(name: &str, bytes: &[u8]) -> GuestFile {
    GuestFile { path: path(name), bytes: bytes.to_vec() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_probe_sees_the_kernel_of_gvisor() {
    let Some(bench) = bench() else { return };
    let probe = bench.engine.probe(&spec("a", Way::Single).image).await.unwrap();
    println!("runsc {}, cold {} us, {:?}", probe.version, probe.cold_us, probe.warnings);
    assert!(probe.cold_us > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn programs_end_as_they_do_outside() {
    let Some(bench) = bench() else { return };
    let mut slot = bench.engine.start(spec("ends", Way::Single)).await.unwrap();
    let rows = [
        ("print('é')", Ended::Exit(0), "é\n"),
        ("import sys; print(sys.argv[1:], sys.stdin.read())", Ended::Exit(0), "['-x'] given\n"),
        (
            "import os; print(os.environ['KEY'], os.environ['HOME'])",
            Ended::Exit(0),
            "value /work\n",
        ),
        ("raise SystemExit(7)", Ended::Exit(7), ""),
        ("raise SystemExit('words')", Ended::Exit(1), ""),
        ("1/0", Ended::Exit(1), ""),
        ("not python", Ended::Exit(1), ""),
        ("import os; os._exit(9)", Ended::Exit(9), ""),
        ("import os; os.kill(os.getpid(), 11)", Ended::Signal(11), ""),
        ("import atexit; atexit.register(print, 'end')", Ended::Exit(0), "end\n"),
        (
            "import threading as t; t.Thread(target=lambda: print('in')).start()",
            Ended::Exit(0),
            "in\n",
        ),
        ("import os; print(os.listdir('.'), os.getuid())", Ended::Exit(0), "[] 1000\n"),
        ("x = bytearray(8 << 30)", Ended::Memory, ""),
        ("open('a', 'w').write('x'); import os; os.fork()", Ended::Exit(0), ""),
        ("import os; print(os.listdir('.'))", Ended::Exit(0), "[]\n"),
    ];
    for (source, ended, output) in rows {
        let mut execution = execution(source);
        execution.arguments.push("-x".to_owned());
        execution.environment.push(("KEY".to_owned(), "value".to_owned()));
        execution.input = b"given".to_vec();
        let (outcome, heard, errors) = run(&mut slot, &execution).await;
        assert_eq!((outcome.ended, heard.as_str()), (ended, output), "{source}: {errors}");
    }
    let (_, _, errors) = run(&mut slot, &execution("def f():\n  1/0\nf()")).await;
    assert!(errors.contains("ZeroDivisionError") && errors.contains("line 2, in f"), "{errors}");
    slot.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn devices_and_echoes_are_refused_whatever_else_an_argument_holds() {
    let Some(bench) = bench() else { return };
    let mut slot = bench.engine.start(spec("refused", Way::Single)).await.unwrap();
    let source = "import ctypes, os\nlibc = ctypes.CDLL(None, use_errno=True)\n\
        def ask(*words):\n  made = libc.syscall(*map(ctypes.c_ulong, words))\n  return made if made < 0 else 0, ctypes.get_errno()\n\
        node, socket = (259, 41) if os.uname().machine == 'x86_64' else (33, 198)\n\
        path = ctypes.create_string_buffer(os.path.abspath('node').encode())\nhigh = 1 << 32\n\
        for kind in (0o020600, 0o060600, 0o060600 | high):\n  print(ask(node, 0, ctypes.addressof(path), kind, 0x103))\n\
        for family, protocol in ((2, 1), (10, 58), (2 | high, 1), (2, 1 | high)):\n  print(ask(socket, family, 2, protocol))\n\
        ctypes.set_errno(0)\nprint(ask(node, 0, ctypes.addressof(path), 0o010600, 0), ask(socket, 2, 2, 0), ask(socket, 2, 1, 6))\n";
    let (_, heard, errors) = run(&mut slot, &execution(source)).await;
    let refused = "(-1, 1)\n".repeat(7);
    assert_eq!(heard, format!("{refused}(0, 0) (0, 0) (0, 0)\n"), "{errors}");
    slot.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_end_calls_and_the_slot_goes_on() {
    let Some(bench) = bench() else { return };
    let mut slot = bench.engine.start(spec("limits", Way::Session)).await.unwrap();
    let base = execution("").limits;
    let spawn = "import os\nfor i in range(9):\n  if os.fork() == 0: break\n";
    let spin = format!("{spawn}while True: pass");
    let rows = [
        ("import time; time.sleep(90)", Limits { wall_ms: 300, ..base }, Ended::WallTime),
        ("while True: pass", Limits { cpu_ms: 300, ..base }, Ended::CpuTime),
        (&spin, Limits { cpu_ms: 900, ..base }, Ended::CpuTime),
        ("while True: print('x' * 99)", Limits { output_bytes: 5_000, ..base }, Ended::Output),
        (
            "a = []\nwhile True: a.append(bytearray(4 << 20))",
            Limits { memory_bytes: 64 << 20, ..base },
            Ended::Memory,
        ),
        (
            "import os, signal; signal.signal(15, signal.SIG_IGN); os.fork() or os.setsid()\n\
          while True: pass",
            Limits { wall_ms: 500, ..base },
            Ended::WallTime,
        ),
    ];
    for (source, limits, ended) in rows {
        let (outcome, heard, errors) =
            run(&mut slot, &Execution { limits, ..execution(source) }).await;
        assert_eq!(outcome.ended, ended, "{source}: {errors}");
        assert!(heard.len() as u64 <= limits.output_bytes);
        assert_eq!(slot.usage().await.unwrap().processes, 0, "{source}");
    }
    let caught = "try:\n  BODY\nexcept OSError as error: print(error.errno)";
    let rows = [
        ("open('big', 'wb').write(bytes(2 << 20))", Limits { file_bytes: 1 << 20, ..base }, "27\n"),
        (
            "[open('/dev/null') for i in range(40)]; x = [open('/dev/null') for i in range(40)]",
            Limits { open_files: 32, ..base },
            "24\n",
        ),
        (
            "import os; [os.fork() or os._exit(__import__('time').sleep(9)) for i in range(9)]",
            Limits { processes: 4, ..base },
            "11\n",
        ),
    ];
    for (body, limits, expected) in rows {
        let source = caught.replace("BODY", body);
        let (_, heard, errors) = run(&mut slot, &Execution { limits, ..execution(&source) }).await;
        assert_eq!(heard, expected, "{body}: {errors}");
    }
    slot.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn files_go_in_and_out_and_links_lead_nowhere() {
    let Some(bench) = bench() else { return };
    let mut slot = bench.engine.start(spec("files", Way::Session)).await.unwrap();
    let large: Vec<u8> = (0..3_000_000_u32).map(|number| number as u8).collect();
    let source = "import os\nprint(open('in/a').read())\nopen('out', 'wb').write(open('large', 'rb')\
                  .read()[::-1])\nos.symlink('/proc/version', 'link')\nos.symlink('/etc', 'etc')\n\
                  os.mkfifo('pipe')\nopen('/tmp/t', 'w').write('x')\nos.mkdir('folder')";
    let mut call = execution(source);
    call.files = vec![file("in/a", b"inside"), file("large", &large), file("empty", b"")];
    call.collect = ["out", "link", "pipe", "none", "empty", "folder"].map(path).to_vec();
    let (outcome, heard, errors) = run(&mut slot, &call).await;
    assert_eq!((outcome.ended, heard.as_str()), (Ended::Exit(0), "inside\n"), "{errors}");
    let turned: Vec<u8> = large.iter().rev().copied().collect();
    assert_eq!(outcome.files, [file("out", &turned), file("empty", b"")]);
    let kept = slot.read(&path("in/a"), 6).await.unwrap();
    assert_eq!(kept.bytes, b"inside");
    slot.write(&file("in/b/c", b"new")).await.unwrap();
    let listed = slot.list(100).await.unwrap();
    let names: Vec<(&str, u64, bool)> =
        listed.iter().map(|entry| (entry.path.as_str(), entry.bytes, entry.folder)).collect();
    let expected = [
        ("empty", 0, false),
        ("folder", 0, true),
        ("in", 0, true),
        ("in/a", 6, false),
        ("in/b", 0, true),
        ("in/b/c", 3, false),
        ("large", 3_000_000, false),
        ("out", 3_000_000, false),
    ];
    assert_eq!(names, expected);
    assert_eq!(slot.list(2).await.unwrap().len(), 2);
    for (name, bytes_max) in [("in/a", 5), ("link", 99), ("etc/passwd", 99), ("pipe", 9), ("no", 9)]
    {
        let error = slot.read(&path(name), bytes_max).await.unwrap_err();
        assert!(matches!(error, EngineError::File { .. }), "{name}: {error}");
    }
    for name in ["link", "etc/new", "pipe", "folder", "in"] {
        let error = slot.write(&file(name, b"x")).await.unwrap_err();
        assert!(matches!(error, EngineError::File { .. }), "{name}: {error}");
    }
    let (_, heard, _) = run(&mut slot, &execution("import os; print(os.listdir('/tmp'))")).await;
    assert_eq!(heard, "[]\n");
    slot.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_call_is_killed_and_the_session_goes_on() {
    let Some(bench) = bench() else { return };
    let mut slot = bench.engine.start(spec("dropped", Way::Session)).await.unwrap();
    let source = "open('began', 'w').close()\nimport time\ntime.sleep(90)";
    let call = execution(source);
    let mut listen = |_: Channel, _: &[u8]| {};
    let run_call = slot.run(&call, &mut listen);
    assert!(tokio::time::timeout(Duration::from_secs(3), run_call).await.is_err());
    assert_eq!(slot.usage().await.unwrap().processes, 0);
    let (_, heard, _) = run(&mut slot, &execution("import os; print(os.listdir('.'))")).await;
    assert_eq!(heard, "['began']\n");
    slot.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_slot_stands_still() {
    let Some(bench) = bench() else { return };
    let mut slot = bench.engine.start(spec("paused", Way::Single)).await.unwrap();
    slot.pause().await.unwrap();
    let mut listen = |_: Channel, _: &[u8]| {};
    let error = slot.run(&execution("print(1)"), &mut listen).await.unwrap_err();
    assert!(matches!(error, EngineError::Unsupported { .. }), "{error}");
    slot.usage().await.unwrap();
    slot.resume().await.unwrap();
    assert_eq!(run(&mut slot, &execution("print(1)")).await.1, "1\n");
    let error = slot.recycle().await.unwrap_err();
    assert!(matches!(error, EngineError::Unsupported { .. }), "{error}");
    let error = slot.list(9).await.unwrap_err();
    assert!(matches!(error, EngineError::Unsupported { .. }), "{error}");
    slot.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_slot_held_is_gone_after_it() {
    let Some(bench) = bench() else { return };
    let slots = |bench: &Bench| {
        let own = std::fs::read_dir(bench.state.path()).unwrap().next().unwrap().unwrap().path();
        std::fs::read_dir(own.join("slots")).unwrap().count()
            + std::fs::read_dir(own.join("containers")).unwrap().count()
    };
    bench.engine.start(spec("closed", Way::Single)).await.unwrap().close().await.unwrap();
    assert_eq!(slots(&bench), 0);
    let slot = bench.engine.start(spec("dropped", Way::Single)).await.unwrap();
    let twice = bench.engine.start(spec("dropped", Way::Single)).await;
    assert!(matches!(twice.err(), Some(EngineError::Busy { .. })));
    drop(slot);
    let start = bench.engine.start(spec("never", Way::Single));
    assert!(tokio::time::timeout(Duration::from_millis(20), start).await.is_err());
    let mut tries = 0;
    while slots(&bench) > 0 {
        tries += 1;
        assert!(tries < 400, "a dropped slot stays");
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    let swept = bench.engine.sweep().await.unwrap();
    assert_eq!((swept.folders, swept.processes), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_way_out_is_two_sockets_and_nothing_else() {
    let Some(bench) = bench() else { return };
    let folder = tempfile::tempdir().unwrap();
    let way_out = WayOut { proxy: folder.path().join("proxy"), names: folder.path().join("names") };
    for path in [&way_out.proxy, &way_out.names] {
        let listener = UnixListener::bind(path).unwrap();
        tokio::spawn(echo(listener));
    }
    let spec = SlotSpec { way_out: Some(way_out), ..spec("out", Way::Single) };
    let mut slot = bench.engine.start(spec).await.unwrap();
    let source = "import socket\ns = socket.create_connection(('127.0.0.1', 3128))\n\
        s.sendall(bytes(700000)); s.shutdown(1)\nn = 0\nwhile True:\n  d = s.recv(65536)\n  if not d: break\n  n += len(d)\n\
        print(n)\nu = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\nu.settimeout(20)\n\
        u.sendto(b'question', ('127.0.0.1', 53)); print(u.recv(99))\n\
        try: socket.create_connection(('192.0.2.1', 80), 5)\nexcept OSError as e: print(e.errno in (101, 113))\n";
    for _ in 0..2 {
        let (_, heard, errors) = run(&mut slot, &execution(source)).await;
        assert_eq!(heard, "700000\nb'question'\nTrue\n", "{errors}");
    }
    slot.close().await.unwrap();
}

async fn echo(listener: UnixListener) {
    while let Ok((mut stream, _)) = listener.accept().await {
        tokio::spawn(async move {
            let mut piece = [0; 4_096];
            while let Ok(count @ 1..) = stream.read(&mut piece).await {
                if stream.write_all(&piece[..count]).await.is_err() {
                    return;
                }
            }
        });
    }
}
