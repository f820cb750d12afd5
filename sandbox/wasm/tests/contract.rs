//! The engine against the port's contract, on a real module.

use std::path::Path;
use std::time::Duration;

use headwater_sandbox::{
    Channel, Ended, Engine, EngineError, Execution, GuestFile, GuestPath, Image, Limits, Outcome,
    Slot, SlotSpec, Way, WayOut,
};
use headwater_sandbox_wasm::{Settings, WasmEngine};

#[path = "support/module.rs"]
mod module;

struct Bench {
    engine: WasmEngine,
    image: Image,
}

async fn bench() -> Option<Bench> {
    let source = match module::source() {
        Ok(source) => source,
        Err(why) => {
            println!("skipped: {why}");
            return None;
        }
    };
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("wasm-images");
    let image = module::image(&folder, &source);
    // A busy machine starts guests late.
    let settings = Settings { start_ms: 120_000, guests_max: 8, stand_in: None };
    let engine = WasmEngine::new(settings).unwrap();
    engine.prepare(&image).await.unwrap();
    Some(Bench { engine, image })
}

impl Bench {
    fn spec(&self, name: &str, way: Way) -> SlotSpec {
        // The machine of a test may be busy: limits of time are set by the tests that are about
        // them.
        let limits = Limits { wall_ms: 120_000, cpu_ms: 60_000, ..Limits::SMALL };
        let (name, image) = (name.to_owned(), self.image.clone());
        SlotSpec { name, image, limits, way, way_out: None }
    }

    async fn slot(&self, name: &str, way: Way) -> Box<dyn Slot> {
        self.engine.start(self.spec(name, way)).await.unwrap()
    }
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
async fn a_probe_sees_a_module() {
    let Some(bench) = bench().await else { return };
    let probe = bench.engine.probe(&bench.image).await.unwrap();
    println!("{}, cold {} us, {:?}", probe.version, probe.cold_us, probe.warnings);
    assert!(probe.cold_us > 0 && probe.version.contains("CPython 3."));
    let native = Image { python: "/usr/bin/python3".to_owned(), ..bench.image.clone() };
    let error = bench.engine.probe(&native).await.unwrap_err();
    assert!(matches!(error, EngineError::Unable { .. }), "{error}");
    let settings = Settings { stand_in: Some(bench.image.clone()), ..Settings::default() };
    WasmEngine::new(settings).unwrap().probe(&native).await.unwrap();
    let broken = Image { preload: vec!["no_such_module".to_owned()], ..bench.image.clone() };
    let spec = SlotSpec { image: broken, ..bench.spec("broken", Way::Single) };
    let error = bench.engine.start(spec).await.err().unwrap();
    assert!(error.to_string().contains("no_such_module"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn programs_end_as_they_do_outside() {
    let Some(bench) = bench().await else { return };
    let mut slot = bench.slot("ends", Way::Single).await;
    let rows = [
        ("print('é')", Ended::Exit(0), "é\n"),
        ("import sys; print(sys.argv[1:], sys.stdin.read())", Ended::Exit(0), "['-x'] given\n"),
        (
            "import os; print(os.environ['KEY'], os.environ['HOME'], os.getcwd())",
            Ended::Exit(0),
            "value /work /work\n",
        ),
        ("raise SystemExit(7)", Ended::Exit(7), ""),
        ("raise SystemExit('words')", Ended::Exit(1), ""),
        ("1/0", Ended::Exit(1), ""),
        ("not python", Ended::Exit(1), ""),
        ("import os; os._exit(9)", Ended::Exit(9), ""),
        ("import os; os.abort()", Ended::Signal(6), ""),
        ("import atexit; atexit.register(print, 'end')", Ended::Exit(0), "end\n"),
        ("print(__name__, end='')", Ended::Exit(0), "__main__"),
        ("open('own.py', 'w').write('a = 3')\nimport own; print(own.a)", Ended::Exit(0), "3\n"),
        (
            "import sys; print(sys.stdout.encoding, sys.getfilesystemencoding())",
            Ended::Exit(0),
            "utf-8 utf-8\n",
        ),
        (
            "f = open('late', 'w'); f.write('x')\nimport atexit, os\natexit.register(lambda: print(os.listdir('.')))",
            Ended::Exit(0),
            "['late']\n",
        ),
        (
            "import os; print(os.listdir('.'), os.listdir('/'))",
            Ended::Exit(0),
            "[] ['dev', 'etc', 'proc', 'tmp', 'usr', 'work']\n",
        ),
        ("import numpy; print(numpy.arange(5).sum())", Ended::Exit(0), "10\n"),
        ("import threading as t; t.Thread(target=print).start()", Ended::Exit(1), ""),
        ("x = bytearray(8 << 30)", Ended::Exit(1), ""),
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
    let expected =
        "Traceback (most recent call last):\n  File \"main.py\", line 3, in <module>\n    f()\n";
    assert!(errors.starts_with(expected) && errors.contains("line 2, in f"), "{errors}");
    let (_, _, errors) = run(&mut slot, &execution("x = bytearray(8 << 30)")).await;
    assert!(errors.contains("MemoryError") || errors.contains("OverflowError"), "{errors}");
    slot.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_end_calls_and_the_slot_goes_on() {
    let Some(bench) = bench().await else { return };
    let mut slot = bench.slot("limits", Way::Session).await;
    let base = execution("").limits;
    let rows = [
        ("import time; time.sleep(90)", Limits { wall_ms: 300, ..base }, Ended::WallTime),
        ("while True: pass", Limits { cpu_ms: 300, ..base }, Ended::CpuTime),
        ("sum(range(10 ** 12))", Limits { cpu_ms: 300, ..base }, Ended::CpuTime),
        ("while True: pass", Limits { cpu_milli: 100, wall_ms: 700, ..base }, Ended::WallTime),
        ("while True: print('x' * 99)", Limits { output_bytes: 5_000, ..base }, Ended::Output),
        (
            "a = []\nwhile True: a.append(bytearray(4 << 20))",
            Limits { memory_bytes: 64 << 20, ..base },
            Ended::Exit(1),
        ),
    ];
    for (source, limits, ended) in rows {
        let (outcome, heard, errors) =
            run(&mut slot, &Execution { limits, ..execution(source) }).await;
        assert_eq!(outcome.ended, ended, "{source}: {errors}");
        assert!(heard.len() as u64 <= limits.output_bytes);
        assert!(outcome.memory_peak_bytes <= limits.memory_bytes, "{source}");
        if limits.cpu_milli < 1_000 {
            assert!(outcome.cpu_us * 2 < outcome.wall_us, "{outcome:?}");
        }
        assert_eq!(slot.usage().await.unwrap().processes, 0, "{source}");
    }
    let caught = "try:\n  BODY\nexcept OSError as error: print(error.errno)";
    let rows = [
        ("open('big', 'wb').write(bytes(2 << 20))", Limits { file_bytes: 1 << 20, ..base }, "22\n"),
        (
            "[open('/dev/null') for i in range(40)]; x = [open('/dev/null') for i in range(40)]",
            Limits { open_files: 32, ..base },
            "33\n",
        ),
        (
            "[open(str(i), 'wb').write(bytes(1 << 20)) for i in range(9)]",
            Limits { disk_bytes: 4 << 20, ..base },
            "51\n",
        ),
        (
            "[open(str(i), 'wb').write(bytes(8 << 20)) for i in range(9)]",
            Limits { memory_bytes: 96 << 20, ..base },
            "51\n",
        ),
        ("[open(str(i), 'w').close() for i in range(10 ** 6)]", base, "51\n"),
        ("open('/etc/new', 'w')", base, "69\n"),
        ("open('/etc/passwd', 'r+')", base, "69\n"),
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
    let Some(bench) = bench().await else { return };
    let mut slot = bench.slot("files", Way::Session).await;
    let large: Vec<u8> = (0..3_000_000_u32).map(|number| number as u8).collect();
    let source = "import os\nprint(open('in/a').read())\nopen('out', 'wb').write(open('large', 'rb')\
                  .read()[::-1])\nos.symlink('/proc/version', 'link')\nos.symlink('/etc', 'etc')\n\
                  open('/tmp/t', 'w').write('x')\nos.mkdir('folder')";
    let mut call = execution(source);
    call.files = vec![file("in/a", b"inside"), file("large", &large), file("empty", b"")];
    call.collect = ["out", "link", "none", "empty", "folder"].map(path).to_vec();
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
    for (name, bytes_max) in [("in/a", 5), ("link", 99), ("etc/passwd", 99), ("no", 9)] {
        let error = slot.read(&path(name), bytes_max).await.unwrap_err();
        assert!(matches!(error, EngineError::File { .. }), "{name}: {error}");
    }
    for name in ["link", "etc/new", "folder", "in"] {
        let error = slot.write(&file(name, b"x")).await.unwrap_err();
        assert!(matches!(error, EngineError::File { .. }), "{name}: {error}");
    }
    let (_, heard, _) = run(&mut slot, &execution("import os; print(os.listdir('/tmp'))")).await;
    assert_eq!(heard, "[]\n");
    slot.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_call_is_killed_and_the_session_goes_on() {
    let Some(bench) = bench().await else { return };
    let mut slot = bench.slot("dropped", Way::Session).await;
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
    let Some(bench) = bench().await else { return };
    let mut slot = bench.slot("paused", Way::Single).await;
    slot.pause().await.unwrap();
    let mut listen = |_: Channel, _: &[u8]| {};
    let error = slot.run(&execution("print(1)"), &mut listen).await.unwrap_err();
    assert!(matches!(error, EngineError::Unsupported { .. }), "{error}");
    slot.usage().await.unwrap();
    slot.resume().await.unwrap();
    assert_eq!(run(&mut slot, &execution("print(1)")).await.1, "1\n");
    let error = slot.list(9).await.unwrap_err();
    assert!(matches!(error, EngineError::Unsupported { .. }), "{error}");
    slot.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recycled_slot_knows_nothing_of_its_calls() {
    let Some(bench) = bench().await else { return };
    let mut slot = bench.slot("recycled", Way::Session).await;
    let source = "import builtins, os, sys\n\
        print(hasattr(builtins, 'mark'), os.listdir('/work'), os.listdir('/tmp'), 'KEY' in os.environ)\n\
        builtins.mark = 1; open(os.path.join('/work', 'a'), 'w'); open('/tmp/b', 'w')";
    let mut call = execution(source);
    call.environment.push(("KEY".to_owned(), "value".to_owned()));
    let rows = [("[]", "True"), ("['a']", "True"), ("['a']", "True")];
    for (files, key) in rows {
        let (_, heard, errors) = run(&mut slot, &call).await;
        assert_eq!(heard, format!("False {files} [] {key}\n"), "{errors}");
    }
    slot.recycle().await.unwrap();
    let (_, heard, errors) = run(&mut slot, &execution(source)).await;
    assert_eq!(heard, "False [] [] False\n", "{errors}");
    slot.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn slots_have_names_of_their_own_and_a_number() {
    let Some(bench) = bench().await else { return };
    let slot = bench.slot("one", Way::Single).await;
    let rows = [bench.spec("one", Way::Single), bench.spec("a b", Way::Single)];
    for (spec, is_busy) in rows.into_iter().zip([true, false]) {
        let error = bench.engine.start(spec).await.err().unwrap();
        assert_eq!(matches!(error, EngineError::Busy { .. }), is_busy, "{error}");
    }
    drop(slot);
    let way_out = WayOut { proxy: "/none".into(), names: "/none".into() };
    let spec = SlotSpec { way_out: Some(way_out), ..bench.spec("out", Way::Single) };
    let error = bench.engine.start(spec).await.err().unwrap();
    assert!(matches!(error, EngineError::Unsupported { .. }), "{error}");
    let mut slots = Vec::new();
    for number in 0..8 {
        slots.push(bench.slot(["a", "b", "c", "d", "e", "f", "g", "h"][number], Way::Single).await);
    }
    let error = bench.engine.start(bench.spec("more", Way::Single)).await.err().unwrap();
    assert!(matches!(error, EngineError::Busy { .. }), "{error}");
    for mut slot in slots {
        assert_eq!(run(&mut slot, &execution("print(1)")).await.1, "1\n");
        slot.close().await.unwrap();
    }
    assert_eq!(bench.engine.sweep().await.unwrap(), headwater_sandbox::Swept::default());
}

#[tokio::test(flavor = "multi_thread")]
async fn modules_to_preload_are_there_and_seeded_anew() {
    let Some(bench) = bench().await else { return };
    let preload = ["random", "numpy.random"].map(str::to_owned).to_vec();
    let image = Image { preload, ..bench.image.clone() };
    let spec = SlotSpec { image, ..bench.spec("preload", Way::Single) };
    let mut slot = bench.engine.start(spec).await.unwrap();
    let source = "import sys; print('numpy' in sys.modules)\n\
        import numpy, random; print(random.random(), numpy.random.random())";
    let mut seen = Vec::new();
    for _ in 0..3 {
        let (_, heard, errors) = run(&mut slot, &execution(source)).await;
        let words: Vec<&str> = heard.split_whitespace().collect();
        assert!(matches!(words[..], ["True", _, _]), "{heard} {errors}");
        seen.extend(words[1..].iter().map(|word| (*word).to_owned()));
    }
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), 6, "{seen:?}");
    slot.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_closes_while_its_next_guest_starts() {
    let Some(bench) = bench().await else { return };
    // Each round takes the name again, which is free when the slot is closed.
    for _ in 0..20 {
        let mut slot = bench.slot("closes", Way::Single).await;
        assert_eq!(run(&mut slot, &execution("print(1)")).await.1, "1\n");
        slot.close().await.unwrap();
    }
}
