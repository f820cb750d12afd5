//! The nouns refuse what they must, and the double does what an engine does.

use std::path::PathBuf;

use crate::double::{DoubleEngine, Fault};
use crate::{
    Abilities, Channel, Ended, Engine, EngineError, Execution, GuestPath, Image, ImageName,
    Isolation, Limits, Outcome, Slot, SlotSpec, Way,
};

#[test]
fn paths_stay_below_the_working_folder() {
    for good in ["a", "a/b.csv", "a b", ".hidden", "ünïcode", "a/..b"] {
        assert!(GuestPath::new(good).is_ok(), "{good:?}");
    }
    let long = "x".repeat(513);
    for bad in ["", "/etc/passwd", "..", "a/../b", "./a", "a//b", "a/", "a\0b", "a\nb", &long] {
        assert!(GuestPath::new(bad).is_err(), "{bad:?}");
    }
}

#[test]
fn images_have_plain_names() {
    for good in ["python", "data-2", "a"] {
        assert!(ImageName::new(good).is_ok(), "{good:?}");
    }
    let long = "x".repeat(64);
    for bad in ["", "2data", "Data", "a_b", "../a", "-a", &long] {
        assert!(ImageName::new(bad).is_err(), "{bad:?}");
    }
}

#[test]
fn limits_out_of_range_are_named() {
    for (limits, field) in [
        (Limits { memory_bytes: 1, ..Limits::SMALL }, "memory_bytes"),
        (Limits { wall_ms: 0, ..Limits::SMALL }, "wall_ms"),
        (Limits { processes: 0, ..Limits::SMALL }, "processes"),
        (Limits { output_bytes: u64::MAX, ..Limits::SMALL }, "output_bytes"),
    ] {
        let error = limits.check().expect_err(field);
        assert_eq!(error.field, field);
        assert!(error.to_string().contains("choose a number"), "{error}");
    }
    assert_eq!((Limits::SMALL.check(), Limits::LARGE.check()), (Ok(()), Ok(())));
}

#[test]
fn words_name_isolation_and_the_strongest_comes_last() {
    for class in Isolation::ALL {
        assert_eq!(Isolation::of(class.word()), Some(class));
    }
    assert_eq!(Isolation::of("perfect"), None);
    assert!(Isolation::ALL.is_sorted());
}

fn spec(way: Way) -> SlotSpec {
    let image = Image {
        name: ImageName::new("python").expect("a name"),
        digest: String::new(),
        root: PathBuf::new(),
        python: String::new(),
        preload: Vec::new(),
    };
    SlotSpec { name: "slot-1".to_owned(), image, limits: Limits::SMALL, way, way_out: None }
}

async fn run(slot: &mut dyn Slot, source: &str) -> Result<(Outcome, String), EngineError> {
    let execution = Execution {
        source: source.to_owned(),
        arguments: Vec::new(),
        environment: Vec::new(),
        input: b"typed".to_vec(),
        files: Vec::new(),
        collect: vec![GuestPath::new("a").expect("a path")],
        limits: Limits { wall_ms: 20, ..Limits::SMALL },
    };
    let mut said = Vec::new();
    let mut listener = |_: Channel, bytes: &[u8]| said.extend_from_slice(bytes);
    let outcome = slot.run(&execution, &mut listener).await?;
    Ok((outcome, String::from_utf8_lossy(&said).into_owned()))
}

fn engine(recycles: bool) -> DoubleEngine {
    let abilities = Abilities { recycles, ..DoubleEngine::ABILITIES };
    let pause = |ms| std::time::Duration::from_millis(ms);
    DoubleEngine::new(abilities, move |ms| Box::pin(tokio::time::sleep(pause(ms))))
}

#[tokio::test]
async fn the_double_runs_scripts() {
    let engine = engine(true);
    let mut slot = engine.start(spec(Way::Single)).await.expect("a slot");
    for (script, ended, said) in [
        ("print hi\ncat", Ended::Exit(0), "hi\ntyped"),
        ("print hi\nexit 3\nprint no", Ended::Exit(3), "hi\n"),
        ("sleep 1000", Ended::WallTime, ""),
        ("violate", Ended::Violation, ""),
        ("keep a\nneed a", Ended::Exit(0), ""),
        ("need a", Ended::Exit(2), ""),
        ("nonsense", Ended::Exit(127), ""),
    ] {
        let (outcome, heard) = run(slot.as_mut(), script).await.expect(script);
        assert_eq!((outcome.ended, heard.as_str()), (ended, said), "{script}");
    }
    let (outcome, _) = run(slot.as_mut(), "keep a").await.expect("a file");
    assert_eq!(outcome.files.len(), 1);
    slot.recycle().await.expect("clean");
    run(slot.as_mut(), "dirty").await.expect("an end");
    assert!(matches!(slot.recycle().await, Err(EngineError::Dirty { .. })));
    slot.close().await.expect("closed");
    assert!(engine.counts().open.is_empty());
}

#[tokio::test]
async fn the_doubles_faults_come_once() {
    let engine = engine(false);
    engine.fail(Fault::StartFails);
    assert!(matches!(engine.start(spec(Way::Session)).await, Err(EngineError::Busy { .. })));
    let mut slot = engine.start(spec(Way::Session)).await.expect("a slot");
    run(slot.as_mut(), "keep a").await.expect("an end");
    assert_eq!(run(slot.as_mut(), "need a").await.expect("an end").0.ended, Ended::Exit(0));
    assert!(matches!(slot.recycle().await, Err(EngineError::Unsupported { .. })));
    engine.fail(Fault::RunLosesSlot);
    assert!(matches!(run(slot.as_mut(), "print").await, Err(EngineError::Lost { .. })));
    drop(slot);
    assert_eq!((engine.counts().started, engine.counts().open.len()), (1, 0));
}
