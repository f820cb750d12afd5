//! The engine against the port's contract: doubles of the programs, the real agent.

use headwater_sandbox::{
    Channel, Ended, Engine, EngineError, Execution, GuestFile, GuestPath, Limits, SlotSpec, Way,
    WayOut,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixListener;

#[allow(dead_code, reason = "each file of tests uses a part of it")]
#[path = "support/bench.rs"]
mod bench;
#[path = "support/image.rs"]
mod image;

use bench::{bench, execution, run, spec};

fn path(text: &str) -> GuestPath {
    GuestPath::new(text).unwrap()
}

fn file(name: &str, bytes: &[u8]) -> GuestFile {
    GuestFile { path: path(name), bytes: bytes.to_vec() }
}

#[tokio::test(flavor = "multi_thread")]
async fn programs_end_as_they_do_outside() {
    let Some(bench) = bench("") else { return };
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
        ("not python", Ended::Exit(1), ""),
        ("import os; os._exit(9)", Ended::Exit(9), ""),
        ("import os; os.kill(os.getpid(), 11)", Ended::Signal(11), ""),
        ("import atexit; atexit.register(print, 'end')", Ended::Exit(0), "end\n"),
        (
            "import threading as t; t.Thread(target=lambda: print('in')).start()",
            Ended::Exit(0),
            "in\n",
        ),
        (
            "import os; print(os.listdir('.'), os.getuid(), os.getppid())",
            Ended::Exit(0),
            "[] 1000 1\n",
        ),
        ("x = bytearray(8 << 30)", Ended::Memory, ""),
        ("open('a', 'w').write('x'); import os; os.fork()", Ended::Exit(0), ""),
        ("import os; print(os.listdir('.'))", Ended::Exit(0), "[]\n"),
        ("import socket; print(socket.gethostname())", Ended::Exit(0), "guest\n"),
        ("try: open('/usr/x', 'w')\nexcept OSError as e: print(e.errno)", Ended::Exit(0), "30\n"),
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
async fn limits_end_calls_and_the_slot_goes_on() {
    let Some(bench) = bench("") else { return };
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
            "[open(f'{i}', 'w').write('x') for i in range(100000)]",
            Limits { open_files: 32, ..base },
            "28\n",
        ),
    ];
    for (body, limits, expected) in rows {
        let source = caught.replace("BODY", body);
        let (_, heard, errors) = run(&mut slot, &Execution { limits, ..execution(&source) }).await;
        assert_eq!(heard, expected, "{body}: {errors}");
    }
    let more = Limits { memory_bytes: base.memory_bytes * 2, ..base };
    let call = Execution { limits: more, ..execution("print(1)") };
    let error = slot.run(&call, &mut |_: Channel, _: &[u8]| {}).await.unwrap_err();
    assert!(matches!(error, EngineError::Limit(_)), "{error}");
    slot.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn files_go_in_and_out_and_links_lead_nowhere() {
    // Small frames come byte by byte.
    let Some(bench) = bench("\"restored\": {\"slow\": true}") else { return };
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
async fn slots_of_one_snapshot_have_files_and_numbers_of_their_own() {
    let Some(bench) = bench("") else { return };
    let mut one = bench.engine.start(spec("one", Way::Session)).await.unwrap();
    let mut other = bench.engine.start(spec("other", Way::Session)).await.unwrap();
    one.write(&file("mine", b"secret")).await.unwrap();
    let source =
        "import os, random, uuid; print(os.listdir('/work'), random.random(), uuid.uuid4())";
    let (_, first, _) = run(&mut one, &execution(source)).await;
    let (_, second, _) = run(&mut other, &execution(source)).await;
    assert!(first.starts_with("['mine'] ") && second.starts_with("[] "), "{first}{second}");
    let words = |text: &str| text.split_whitespace().skip(1).map(str::to_owned).collect::<Vec<_>>();
    assert!(words(&first).iter().all(|word| !words(&second).contains(word)), "{first}{second}");
    assert_eq!(bench.roots().len(), 2, "the snapshot's own machine is gone");
    one.close().await.unwrap();
    other.close().await.unwrap();
    bench.is_empty().await;
    assert_eq!(bench.engine.sweep().await.unwrap(), headwater_sandbox::Swept::default());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_slot_stands_still() {
    let Some(bench) = bench("") else { return };
    let mut slot = bench.engine.start(spec("paused", Way::Single)).await.unwrap();
    slot.pause().await.unwrap();
    let error = slot.run(&execution("print(1)"), &mut |_: Channel, _: &[u8]| {}).await.unwrap_err();
    assert!(matches!(error, EngineError::Unsupported { .. }), "{error}");
    slot.usage().await.unwrap();
    slot.resume().await.unwrap();
    assert_eq!(run(&mut slot, &execution("print(1)")).await.1, "1\n");
    for error in [slot.recycle().await.unwrap_err(), slot.list(9).await.unwrap_err()] {
        assert!(matches!(error, EngineError::Unsupported { .. }), "{error}");
    }
    slot.pause().await.unwrap();
    slot.close().await.unwrap();
    bench.is_empty().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_way_out_is_two_sockets_and_nothing_else() {
    let Some(bench) = bench("") else { return };
    let folder = tempfile::tempdir().unwrap();
    let way_out = WayOut { proxy: folder.path().join("proxy"), names: folder.path().join("names") };
    for path in [&way_out.proxy, &way_out.names] {
        tokio::spawn(echo(UnixListener::bind(path).unwrap()));
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
