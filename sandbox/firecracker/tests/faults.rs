//! What goes wrong with machines: each is told, and nothing stays.

use std::fs;
use std::time::Duration;

use headwater_sandbox::{Channel, Ended, Engine, EngineError, Execution, Limits, Way};

#[allow(dead_code, reason = "each file of tests uses a part of it")]
#[path = "support/bench.rs"]
mod bench;
#[path = "support/image.rs"]
mod image;

use bench::{agent_of, bench, execution, run, signal, spec};

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_does_not_become_a_slot_is_told_and_taken_away() {
    let rows = [
        ("\"deaf\": true", 15_000, "no guest booted", "nothing listens in the guest"),
        ("\"mute\": true", 15_000, "no guest booted", "does not take a connection"),
        ("\"babble\": true", 60_000, "no guest booted", "a frame is larger than any"),
        ("\"restored\": {\"deaf\": true}", 15_000, "was not restored", "nothing listens"),
        ("\"restored\": {\"mute\": true}", 15_000, "was not restored", "take a connection"),
        ("\"restored\": {\"babble\": true}", 60_000, "was not restored", "a frame is larger"),
        ("\"restored\": {\"stuck\": true}", 15_000, "was not restored", "no answer in time"),
        ("\"restored\": {\"refuse\": true}", 60_000, "was not restored", "the CPU is another"),
    ];
    let mut tests = tokio::task::JoinSet::new();
    for (ways, ms, why, more) in rows {
        tests.spawn(async move {
            let Some(bench) = bench(ways) else { return };
            let engine = bench.with(|settings| match ways.starts_with("\"restored") {
                true => settings.start_ms = ms,
                false => settings.boot_ms = ms,
            });
            let error = engine.start(spec("a", Way::Single)).await.err().expect(ways);
            let told = error.to_string();
            assert!(matches!(error, EngineError::Unable { .. }), "{ways}: {told}");
            assert!(told.contains(why) && told.contains(more), "{ways}: {told}");
            bench.is_empty().await;
        });
    }
    while let Some(ended) = tests.join_next().await {
        ended.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kernel_that_firecracker_refuses_is_told_in_its_words() {
    let Some(bench) = bench("") else { return };
    let mut kernel = vec![0; 0x300];
    kernel[0x202..0x206].copy_from_slice(b"HdrS");
    fs::write(&bench.settings.kernel, kernel).unwrap();
    let error = bench.engine.prepare(&bench::guest_image()).await.unwrap_err().to_string();
    assert!(error.contains("PUT /actions: 400 Bad Request, Start microvm error"), "{error}");
    // The next one who asks tries again.
    let error = bench.engine.prepare(&bench::guest_image()).await.unwrap_err().to_string();
    assert!(error.contains("Start microvm error"), "{error}");
    bench.is_empty().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_probe_does_not_believe_a_guest_of_the_hosts_own_kernel() {
    let Some(bench) = bench("") else { return };
    let error = bench.engine.probe(&bench::guest_image()).await.unwrap_err();
    let told = error.to_string();
    assert!(matches!(error, EngineError::Unable { .. }), "{told}");
    assert!(told.contains("a guest was not held (Exit(0)): {\"boot\":"), "{told}");
    bench.is_empty().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_dies_takes_its_machine_and_its_slot_along() {
    let Some(bench) = bench("") else { return };
    let mut slot = bench.engine.start(spec("dies", Way::Session)).await.unwrap();
    let root = bench.roots().pop().unwrap();
    let call = execution("print('now', flush=True)\nimport time; time.sleep(1000)");
    let mut listen = |_: Channel, _: &[u8]| signal(agent_of(&root), libc::SIGKILL);
    let error = slot.run(&call, &mut listen).await.unwrap_err();
    assert!(matches!(error, EngineError::Lost { .. }), "{error}");
    assert!(error.to_string().contains("Attempted to kill init"), "{error}");
    let error = slot.usage().await.unwrap_err();
    assert!(matches!(error, EngineError::Lost { .. }), "{error}");
    slot.close().await.unwrap();
    bench.is_empty().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_that_hangs_is_ended_by_the_host() {
    let Some(bench) = bench("") else { return };
    let mut slot = bench.engine.start(spec("hangs", Way::Single)).await.unwrap();
    let root = bench.roots().pop().unwrap();
    let limits = Limits { wall_ms: 300, ..execution("").limits };
    let call = Execution { limits, ..execution("print('now', flush=True)\nwhile True: pass") };
    let mut listen = |_: Channel, _: &[u8]| signal(agent_of(&root), libc::SIGSTOP);
    let outcome = slot.run(&call, &mut listen).await.unwrap();
    assert_eq!(outcome.ended, Ended::WallTime);
    let error = slot.run(&execution("print(1)"), &mut |_: Channel, _: &[u8]| {}).await.unwrap_err();
    assert!(matches!(error, EngineError::Lost { .. }), "{error}");
    slot.close().await.unwrap();
    bench.is_empty().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_is_cut_at_its_limit() {
    let Some(bench) = bench("") else { return };
    let mut slot = bench.engine.start(spec("floods", Way::Single)).await.unwrap();
    let source = "import os\nos.fork()\nwhile True: os.write(1, b'x' * 65536)";
    let limits = Limits { output_bytes: 100_000, ..execution("").limits };
    for _ in 0..3 {
        let (outcome, heard, _) = run(&mut slot, &Execution { limits, ..execution(source) }).await;
        assert_eq!((outcome.ended, heard.len()), (Ended::Output, 100_000));
    }
    assert_eq!(run(&mut slot, &execution("print('on')")).await.1, "on\n");
    slot.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_call_is_killed_and_the_session_goes_on() {
    let Some(bench) = bench("") else { return };
    let mut slot = bench.engine.start(spec("dropped", Way::Session)).await.unwrap();
    let call =
        execution("open('began', 'w').close()\nimport time\nprint(1, flush=True); time.sleep(90)");
    let heard = tokio::sync::Notify::new();
    let mut listen = |_: Channel, _: &[u8]| heard.notify_one();
    tokio::select! {
        ended = slot.run(&call, &mut listen) => panic!("{ended:?}"),
        () = heard.notified() => {}
    }
    assert_eq!(slot.usage().await.unwrap().processes, 0);
    let (_, heard, _) = run(&mut slot, &execution("import os; print(os.listdir('.'))")).await;
    assert_eq!(heard, "['began']\n");
    slot.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_dropped_on_the_way_leaves_nothing() {
    let Some(bench) = bench("\"restored\": {\"stuck\": true}") else { return };
    bench.engine.prepare(&spec("a", Way::Single).image).await.unwrap();
    bench.is_empty().await;
    // Closed while it is restored: its load never answers.
    let start = bench.engine.start(spec("restoring", Way::Single));
    let met = async {
        while !bench.roots().iter().any(|root| root.join("firecracker.pid").exists()) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        started = start => panic!("{:?}", started.err()),
        () = met => {}
    }
    bench.is_empty().await;
    let Some(bench) = self::bench::bench("") else { return };
    let slot = bench.engine.start(spec("dropped", Way::Single)).await.unwrap();
    let twice = bench.engine.start(spec("dropped", Way::Single)).await;
    assert!(matches!(twice.err(), Some(EngineError::Busy { .. })));
    drop(slot);
    bench.is_empty().await;
    assert_eq!(bench.engine.sweep().await.unwrap().folders, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sweep_takes_away_what_a_dead_service_left() {
    let Some(bench) = bench("") else { return };
    let slot = bench.engine.start(spec("left", Way::Single)).await.unwrap();
    // Another service of this host sees nothing to take while this one lives.
    let other = bench.with(|_| {});
    assert_eq!(other.sweep().await.unwrap(), headwater_sandbox::Swept::default());
    // As after a death: the lock is free, and process, cgroups and folder are still there.
    let own = bench.roots().pop().unwrap();
    let own = own.ancestors().nth(4).unwrap();
    fs::remove_file(own.join("lock")).unwrap();
    fs::write(own.join("lock"), "").unwrap();
    let swept = other.sweep().await.unwrap();
    assert!(swept.processes >= 1 && swept.folders >= 2, "{swept:?}");
    assert!(!own.exists());
    bench.is_empty().await;
    drop(slot);
}
