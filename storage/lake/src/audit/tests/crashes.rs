//! What was appended is there once, whatever breaks off between two steps.

use std::fs::OpenOptions;
use std::io::Write;
use std::sync::atomic::Ordering;

use headwater_storage::audit::{AuditError, AuditLake};

use super::world::{FAILS, HANGS, LIES, TODAY, WELL, World, ids, record};

/// The only segment of a spill.
fn segment(world: &World, node: &str) -> std::path::PathBuf {
    let files = std::fs::read_dir(world.folder.path().join(node)).expect("is listed");
    let mut all = files.map(|one| one.expect("is one").path()).collect::<Vec<_>>();
    all.retain(|path| path.extension().is_some_and(|end| end == "spill"));
    assert_eq!(all.len(), 1, "{all:?}");
    all.remove(0)
}

#[tokio::test]
async fn a_question_sees_a_record_before_and_after_it_is_in_the_lake() {
    let world = World::new();
    let lake = world.start("one");
    assert_eq!(ids(&lake).await, [""; 0]);
    let all = [record("a", "acme", TODAY), record("b", "other", TODAY - 1)];
    assert_eq!(lake.append(&all).await, Ok(2));
    assert_eq!((ids(&lake).await.len(), world.files().await.len()), (2, 0));
    assert_eq!(lake.flush().await, Ok(()));
    assert_eq!((ids(&lake).await, world.files().await.len()), (vec!["a".into(), "b".into()], 2));
    assert_eq!(lake.backlog().records, 0);
    assert_eq!(lake.append(&all).await, Ok(0), "a repetition is passed over");
    assert_eq!(lake.append(&[record("c", "acme", TODAY), all[0].clone()]).await, Ok(1));
    assert_eq!(ids(&lake).await, ["a", "b", "c"]);
}

#[tokio::test]
async fn a_killed_process_loses_nothing_that_was_appended_but_what_it_was_writing() {
    let world = World::new();
    let lake = world.start("one");
    for id in ["a", "b"] {
        assert_eq!(lake.append(&[record(id, "acme", TODAY)]).await, Ok(1));
    }
    drop(lake);
    let path = segment(&world, "one");
    let whole = std::fs::read(&path).expect("is read");
    // A third record of which not all was written, at each length.
    let tail = &whole[whole.len() / 2..];
    for cut in [1, 4, 7, 8, 9, tail.len() - 1] {
        let mut file = OpenOptions::new().append(true).open(&path).expect("is opened");
        file.write_all(&tail[..cut]).expect("is written");
        let lake = world.start("one");
        assert_eq!((ids(&lake).await, lake.backlog().records), (vec!["a".into(), "b".into()], 2));
        drop(lake);
        std::fs::write(&path, &whole).expect("is written");
    }
    // The second frame is damaged.
    let mut damaged = whole.clone();
    damaged[whole.len() - 2] ^= 1;
    std::fs::write(&path, &damaged).expect("is written");
    let lake = world.start("one");
    assert_eq!(ids(&lake).await, ["a"]);
    assert_eq!(lake.append(&[record("b", "acme", TODAY)]).await, Ok(1), "it is new again");
    assert_eq!(lake.flush().await, Ok(()));
    assert_eq!(ids(&lake).await, ["a", "b"]);
}

#[tokio::test]
async fn a_crash_between_the_files_and_the_end_of_the_segment_doubles_nothing() {
    let world = World::new();
    let lake = world.start("one");
    let all = [record("a", "acme", TODAY), record("b", "other", TODAY)];
    assert_eq!(lake.append(&all).await, Ok(2));
    let path = segment(&world, "one");
    let kept = std::fs::read(&path).expect("is read");
    assert_eq!(lake.flush().await, Ok(()));
    drop(lake);
    // As if the process had ended before it removed the segment.
    std::fs::write(&path, &kept).expect("is written");
    let lake = world.start("one");
    assert_eq!(ids(&lake).await, ["a", "b"]);
    let files = world.files().await;
    assert_eq!(lake.flush().await, Ok(()));
    assert_eq!((ids(&lake).await, world.files().await), (vec!["a".into(), "b".into()], files));
}

#[tokio::test]
async fn a_store_that_fails_hangs_or_lies_costs_nothing_and_doubles_nothing() {
    for (mood, after) in [(FAILS, 0), (FAILS, 1), (HANGS, 0), (HANGS, 1), (LIES, 0), (LIES, 1)] {
        let world = World::new();
        let lake = world.start("one");
        let teams = ["acme", "other", "third"];
        let all: Vec<_> = teams.iter().map(|team| record(team, team, TODAY)).collect();
        world.store.set(mood, after);
        assert_eq!(lake.append(&all).await, Ok(3));
        match lake.flush().await {
            Err(AuditError::Unavailable(said)) => assert!(!said.contains("secret"), "{said}"),
            other => panic!("{mood}: {other:?}"),
        }
        assert!(world.store.puts.load(Ordering::SeqCst) > 0);
        let expected: Vec<String> = teams.map(str::to_owned).into();
        assert_eq!((ids(&lake).await, lake.backlog().records), (expected.clone(), 3), "{mood}");
        drop(lake);
        let lake = world.start("one");
        assert_eq!(ids(&lake).await, expected, "{mood}: after a restart");
        world.store.set(WELL, 0);
        assert_eq!(lake.flush().await, Ok(()));
        assert_eq!((ids(&lake).await, world.files().await.len()), (expected, 3), "{mood}");
    }
}

#[tokio::test]
async fn a_spill_has_an_end_and_goes_on_when_the_lake_is_back() {
    let world = World::new();
    let mut settings = world.settings("one");
    (settings.spill.limit_bytes, settings.spill.segment_bytes) = (1_000, 200);
    let lake = world.over(settings);
    world.store.set(FAILS, 0);
    let mut kept = Vec::new();
    let full = loop {
        let id = format!("{:03}", kept.len());
        match lake.append(&[record(&id, "acme", TODAY)]).await {
            Ok(_) => kept.push(id),
            Err(error) => break error,
        }
        assert!(lake.flush().await.is_err());
    };
    assert!(matches!(full, AuditError::Full { limit_bytes: 1_000, .. }), "{full}");
    assert_eq!(ids(&lake).await, kept);
    world.store.set(WELL, 0);
    assert_eq!(lake.flush().await, Ok(()));
    assert_eq!(lake.append(&[record("new", "acme", TODAY)]).await, Ok(1));
    kept.push("new".to_owned());
    assert_eq!(ids(&lake).await, kept);
}

#[tokio::test]
async fn two_nodes_share_a_lake_and_no_two_processes_a_spill() {
    let world = World::new();
    let (one, two) = (world.start("one"), world.start("the other"));
    assert_eq!(one.append(&[record("a", "acme", TODAY)]).await, Ok(1));
    assert_eq!(two.append(&[record("b", "acme", TODAY)]).await, Ok(1));
    assert_eq!((one.flush().await, two.flush().await), (Ok(()), Ok(())));
    assert_eq!((ids(&one).await, ids(&two).await.len()), (vec!["a".into(), "b".into()], 2));
    let settings = world.settings("one");
    let twice = super::super::ParquetAudit::open(settings, 0, 7).map(|_| ());
    assert!(
        matches!(&twice, Err(AuditError::Refused(said)) if said.contains("another")),
        "{twice:?}"
    );
}
