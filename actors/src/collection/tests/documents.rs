//! Documents: what putting, replacing and deleting leave, also when it stopped half-way.

use headwater_storage::StoreError;
use headwater_storage::memory::Fault;

use super::world::{NAME, TENANT, World, chunks, id, ids};
use crate::collection::CollectionError;

/// One document after the other is put; duplicates and removed chunks of each, the same again
/// when the last one is repeated.
async fn check(puts: &[(&str, &[&str])], expected: &[(u64, &[&str])]) {
    let world = World::with_collection().await;
    for ((document, texts), (duplicates, removed)) in puts.iter().zip(expected) {
        let put = world.put(document, texts).await;
        assert_eq!((put.duplicates, put.removed), (*duplicates, ids(removed)), "{document}");
    }
    let ((document, texts), (duplicates, _)) =
        (puts.last().expect("one"), expected.last().expect("one"));
    let again = world.put(document, texts).await;
    assert_eq!((again.duplicates, again.removed), (*duplicates, Vec::new()), "again");
}

#[tokio::test]
async fn each_text_counts_once() {
    check(&[("a", &["x", "y", "x"])], &[(1, &[])]).await;
    check(&[("a", &["x", "y"]), ("b", &["y", "z"])], &[(0, &[]), (1, &[])]).await;
}

#[tokio::test]
async fn what_a_new_document_lacks_is_removed() {
    check(&[("a", &["x", "y"]), ("a", &["y"])], &[(0, &[]), (0, &["x"])]).await;
    check(&[("a", &["x"]), ("a", &[])], &[(0, &[]), (0, &["x"])]).await;
    check(&[("a", &["x", "y"]), ("a", &["w", "x", "y"])], &[(0, &[]), (0, &[])]).await;
    check(&[("a", &["x", "y"]), ("b", &["y"]), ("a", &["z"])], &[(0, &[]), (1, &[]), (0, &["x"])])
        .await;
}

#[tokio::test]
async fn a_chunk_outlives_its_first_document() {
    let world = World::with_collection().await;
    let first = world.put("a", &["x", "y"]).await;
    world.fill(&first).await;
    let second = world.put("b", &["y"]).await;
    world.fill(&second).await;
    let target = world.target().await;
    assert_eq!(world.vectors(&target).await, [(id("x"), "a".into()), (id("y"), "a".into())].into());
    let gone = world.collections.delete_document(TENANT, NAME, "a").await.expect("goes");
    assert_eq!(gone, ids(&["x"]));
    let collection = world.collections.get(TENANT, NAME).await.expect("is there");
    world.collections.mend(&collection).await.expect("mends");
    assert_eq!(world.vectors(&target).await, [(id("y"), "b".into())].into());
    let again = world.collections.delete_document(TENANT, NAME, "a").await;
    assert!(matches!(again, Err(CollectionError::NoDocument { .. })));
}

#[tokio::test]
async fn long_texts_and_long_documents_come_back_whole() {
    let world = World::with_collection().await;
    let long = "é".repeat(250_000);
    let mut texts: Vec<String> = (0..300).map(|number| format!("chunk {number}")).collect();
    texts.push(long.clone());
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let put = world.put("a", &texts).await;
    assert_eq!((put.chunks.len(), put.duplicates), (301, 0));
    let found = world.collections.texts(put.targets[0].id, &put.chunks).await.expect("is read");
    assert!(texts.iter().all(|text| found[&id(text)] == *text));
    let info = world.collections.document(TENANT, NAME, "a").await.expect("is there");
    assert_eq!((info.chunks, info.complete), (301, true));
    let shorter = world.put("a", &texts[..7]).await;
    assert_eq!(shorter.removed.len(), 294);
}

/// A put of several transactions stops at each of them in turn, in each way, and is repeated.
#[tokio::test]
async fn a_repetition_mends_what_a_crash_left() {
    let old: Vec<String> = (0..300).map(|number| format!("old {number}")).collect();
    let mut new: Vec<String> = (0..200).map(|number| format!("new {number}")).collect();
    new.extend(old[..50].to_vec());
    let (old, new): (Vec<&str>, Vec<&str>) =
        (old.iter().map(String::as_str).collect(), new.iter().map(String::as_str).collect());
    let faults = [Fault::Unavailable, Fault::UnknownCommitted, Fault::UnknownLost];
    let mut stopped = 0;
    for commit in 0..5 {
        for fault in faults {
            let world = World::with_collection().await;
            let put = world.put("a", &old).await;
            world.fill(&put).await;
            world.fail_commit(commit, fault);
            let fields = Default::default();
            let put = world.collections.put_document(TENANT, NAME, "a", fields, chunks(&new));
            match put.await {
                Err(CollectionError::Store(
                    StoreError::Unavailable(_) | StoreError::CommitUnknown,
                )) => stopped += 1,
                Err(error) => panic!("{error}"),
                Ok(_) => {}
            }
            world.heal();
            let put = world.put("a", &new).await;
            assert_eq!(put.duplicates, 0);
            world.fill(&put).await;
            let collection = world.collections.get(TENANT, NAME).await.expect("is there");
            world.collections.mend(&collection).await.expect("mends");
            let kept = world.vectors(&world.target().await).await;
            let mut expected = ids(&new);
            expected.sort_unstable();
            assert_eq!(kept.into_keys().collect::<Vec<_>>(), expected, "{commit} {fault:?}");
        }
    }
    assert_eq!(stopped, 9, "three transactions, three faults each");
}

#[tokio::test]
async fn a_deleted_collection_leaves_nothing() {
    let world = World::with_collection().await;
    let put = world.put("a", &["x"]).await;
    world.fill(&put).await;
    world.collections.delete(TENANT, NAME).await.expect("goes");
    assert!(matches!(
        world.collections.get(TENANT, NAME).await,
        Err(CollectionError::NoCollection { .. })
    ));
    let late = world.collections.write_vectors(&put.targets[0], vec![(id("x"), vec![0.0; 4])]);
    assert!(matches!(late.await, Err(CollectionError::NotLive { .. })));
    let left = world.store.contents();
    assert_eq!(left.len(), 1, "only the row of the space to be dropped");
    let new = world.create(NAME).await;
    assert_ne!(new.id, put.targets[0].id);
}
