//! Small files become one, what was said goes first, what is flagged stays.

use headwater_storage::audit::{AuditLake, AuditRecord, Cell, Content, DAY_MS, Pruned};

use super::world::{NOW_MS, TODAY, World, ids, record, rows};

fn said(id: &str, flags: &[&str]) -> AuditRecord {
    let content = Content::Full { request: "ask".into(), response: "say".into() };
    let flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
    AuditRecord { content: Some(content), flags, ..record(id, "acme", TODAY) }
}

#[tokio::test]
async fn small_files_become_one_and_each_row_is_seen_once_at_every_step() {
    let world = World::new();
    let lake = world.start("one");
    let mut expected = Vec::new();
    for number in 0..9 {
        let id = format!("{number}");
        assert_eq!(lake.append(&[record(&id, "acme", TODAY)]).await, Ok(1));
        assert_eq!(lake.flush().await, Ok(()));
        expected.push(id);
    }
    let raw = world.files().await;
    let kept: Vec<_> = [world.copy(&raw[3]).await, world.copy(&raw[8]).await].into();
    assert_eq!(lake.prune(NOW_MS).await, Ok(Pruned { compacted: 9, ..Pruned::default() }));
    assert_eq!((ids(&lake).await, world.files().await.len()), (expected.clone(), 10));
    // The replaced ones go when nobody reads them any more.
    assert_eq!(lake.prune((TODAY + 7) * DAY_MS).await, Ok(Pruned::default()));
    assert_eq!((ids(&lake).await, world.files().await.len()), (expected.clone(), 1));
    // Segments that come back after a crash are covered, and swept again.
    world.put(&raw[3], kept[0].clone()).await;
    world.put(&raw[8], kept[1].clone()).await;
    assert_eq!(ids(&lake).await, expected);
    assert_eq!(lake.append(&[record("9", "acme", TODAY)]).await, Ok(1));
    assert_eq!(lake.flush().await, Ok(()));
    expected.push("9".to_owned());
    assert_eq!(ids(&lake).await, expected);
    // A day that is over ends as one file.
    let over_ms = (TODAY + 1) * DAY_MS;
    assert_eq!(lake.prune(over_ms).await, Ok(Pruned { compacted: 2, ..Pruned::default() }));
    assert_eq!(lake.prune(over_ms).await, Ok(Pruned::default()));
    assert_eq!((ids(&lake).await, world.files().await.len()), (expected, 1));
}

#[tokio::test]
async fn what_was_said_goes_after_days_and_the_rest_after_months_but_for_what_is_flagged() {
    let world = World::new();
    let lake = world.start("one");
    for one in [said("a", &[]), said("b", &["redaction_skipped"]), said("c", &[])] {
        assert_eq!(lake.append(&[one]).await, Ok(1));
        assert_eq!(lake.flush().await, Ok(()));
    }
    // Another team has nothing flagged.
    assert_eq!(lake.append(&[record("d", "other", TODAY)]).await, Ok(1));
    assert_eq!(lake.flush().await, Ok(()));
    let content = "select id, request, response from audit order by id";
    let row = |id: &str, said: bool| match said {
        true => vec![Cell::text(id), Cell::text("ask"), Cell::text("say")],
        false => vec![Cell::text(id), Cell::Null, Cell::Null],
    };
    let after = |days: u64| (TODAY + 1 + days) * DAY_MS;
    let all = vec![row("a", true), row("b", true), row("c", true), row("d", false)];
    lake.prune(after(7) - 1).await.expect("is pruned");
    assert_eq!(rows(&lake, content).await, all);
    let pruned = lake.prune(after(7)).await.expect("is pruned");
    assert!(pruned.stripped >= 2, "{pruned:?}");
    let stripped = vec![row("a", false), row("b", true), row("c", false), row("d", false)];
    assert_eq!(rows(&lake, content).await, stripped);
    // Nothing that was said is left in any file.
    lake.prune(after(7)).await.expect("is pruned");
    assert_eq!(world.files().await.len(), 2);
    assert_eq!(lake.prune(after(90) - 1).await, Ok(Pruned::default()));
    let pruned = lake.prune(after(90)).await.expect("is pruned");
    assert_eq!(pruned, Pruned { removed: 2, ..Pruned::default() });
    lake.prune(after(90)).await.expect("is pruned");
    assert_eq!(rows(&lake, content).await, [row("b", true)]);
    assert_eq!(world.files().await.len(), 1);
    assert_eq!(lake.prune(after(1_000)).await, Ok(Pruned::default()));
}

#[tokio::test]
async fn ages_of_a_node_that_is_gone_are_kept_by_the_others() {
    let world = World::new();
    let gone = world.start("gone for good");
    assert_eq!(gone.append(&[said("a", &[])]).await, Ok(1));
    assert_eq!(gone.flush().await, Ok(()));
    drop(gone);
    let lake = world.start("one");
    let pruned = lake.prune((TODAY + 100) * DAY_MS).await.expect("is pruned");
    assert_eq!(pruned, Pruned { removed: 1, ..Pruned::default() });
    assert_eq!((ids(&lake).await, world.files().await), (vec![], vec![]));
}

#[tokio::test]
async fn what_replaced_a_segment_that_waits_again_holds_its_rows() {
    let world = World::new();
    let lake = world.start("one");
    let folder = world.folder.path().join("one");
    assert_eq!(lake.append(&[record("a", "acme", TODAY)]).await, Ok(1));
    let is_segment = |path: &std::path::PathBuf| path.extension().is_some_and(|e| e == "spill");
    let mut files = std::fs::read_dir(&folder).expect("is listed").map(|e| e.expect("is").path());
    let path = files.find(is_segment).expect("there is one");
    let kept = std::fs::read(&path).expect("is read");
    assert_eq!(lake.flush().await, Ok(()));
    lake.prune((TODAY + 9) * DAY_MS).await.expect("is pruned");
    drop(lake);
    std::fs::write(&path, kept).expect("is written");
    let lake = world.start("one");
    assert_eq!((ids(&lake).await, lake.backlog().records), (vec!["a".into()], 1));
    assert_eq!(lake.flush().await, Ok(()));
    assert_eq!(ids(&lake).await, ["a"]);
}
