//! Searches: one version, what passes the filter, and nothing that is gone.

use std::collections::BTreeMap;

use headwater_vectors::{Filter, Record, Sink, Value};

use super::world::{NAME, TENANT, World, id, vector};
use crate::collection::{CollectionError, Policy, SearchFor};

fn year(year: f64) -> BTreeMap<String, Value> {
    BTreeMap::from([("year".to_owned(), Value::Number(year))])
}

async fn world() -> World {
    let world = World::with_collection().await;
    world.fill(&world.put_with("old", &["x", "y"], year(1990.0)).await).await;
    world.fill(&world.put_with("new", &["y", "z"], year(2020.0)).await).await;
    world
}

/// The texts that a search finds.
async fn check(world: &World, change: impl FnOnce(&mut SearchFor), expected: &[&str]) {
    let target = world.collections.search_target(TENANT, NAME, None).await.expect("is there");
    let vector = world.collections.embed_query(&target, "y").await.expect("is embedded");
    let mut wanted = SearchFor { vector, limit: 10, filter: None, min_score: None, texts: true };
    change(&mut wanted);
    let found = world.collections.search(&target, wanted).await.expect("is found");
    let mut texts: Vec<String> = found.hits.iter().filter_map(|hit| hit.text.clone()).collect();
    texts.sort_unstable();
    assert_eq!(texts, expected);
    assert!(found.hits.iter().all(|hit| hit.version == found.version));
}

#[tokio::test]
async fn filters_and_limits_choose() {
    let world = world().await;
    check(&world, |_| {}, &["x", "y", "z"]).await;
    check(&world, |wanted| wanted.limit = 1, &["y"]).await;
    let new = Filter::Between("year".to_owned(), Some(2000.0), None);
    check(&world, |wanted| wanted.filter = Some(new), &["z"]).await;
    let old = Filter::Source("old".to_owned());
    check(&world, |wanted| wanted.filter = Some(old), &["x", "y"]).await;
    check(&world, |wanted| wanted.min_score = Some(0.999_999), &["y"]).await;
    check(&world, |wanted| wanted.min_score = Some(2.0), &[]).await;
}

#[tokio::test]
async fn a_hit_tells_where_it_is_from() {
    let world = world().await;
    let found = world.search("y", 1).await.expect("is found");
    let hit = &found.hits[0];
    assert_eq!((hit.chunk, hit.ordinal, hit.range.clone()), (id("y"), 1, 1..2));
    assert_eq!(hit.documents, ["old", "new"]);
    assert_eq!((&hit.fields, hit.model.as_str()), (&year(1990.0), "first"));
}

#[tokio::test]
async fn what_is_gone_is_not_found() {
    let world = world().await;
    world.collections.delete_document(TENANT, NAME, "old").await.expect("goes");
    // Its vectors are still there.
    check(&world, |_| {}, &["y", "z"]).await;
    // So is a vector that a late writer left, until the search has it mended.
    let target = world.target().await;
    let record = Record {
        id: id("nothing").into(),
        vector: vector(&target.version, "nothing"),
        model: target.model.clone(),
        version: target.version.clone(),
        source: "nowhere".to_owned(),
        fields: BTreeMap::new(),
    };
    world.sink.upsert(&target.space.name, vec![record]).await.expect("is written");
    check(&world, |_| {}, &["y", "z"]).await;
    crate::cluster::tests::world::within(async {
        while world.vectors(&target).await.len() > 2 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    // The owner is another document now, and so are the fields that filters see.
    let new = Filter::Between("year".to_owned(), Some(2000.0), None);
    check(&world, |wanted| wanted.filter = Some(new), &["y", "z"]).await;
}

#[tokio::test]
async fn versions_are_never_mixed_up() {
    let world = world().await;
    let first = world.target().await.version;
    let asked = |version: &'static str| {
        let collections = world.collections.clone();
        async move { collections.search_target(TENANT, NAME, Some(version)).await }
    };
    assert_eq!(
        asked("double-second-4-64").await,
        Err(CollectionError::OtherVersion {
            collection: NAME.to_owned(),
            asked: "double-second-4-64".to_owned(),
            serving: first.clone(),
        })
    );
    let build = world.collections.start_build(TENANT, NAME, "second", Policy::Lazy, None).await;
    build.expect("starts");
    assert!(matches!(
        asked("double-second-4-64").await,
        Err(CollectionError::StillBuilding { .. })
    ));
    world.models.unload("first");
    let target = world.collections.search_target(TENANT, NAME, None).await.expect("is there");
    let refused = world.collections.embed_query(&target, "y").await;
    let text = refused.expect_err("is refused").to_string();
    assert!(text.contains(&first) && text.contains("load that model again"), "{text}");
    // A vector of that version still finds its like.
    check_vector(&world, vector(&first, "y"), Ok(3)).await;
    check_vector(&world, vec![0.0; 3], Err("vector: it has 3 components")).await;
    check_vector(&world, vec![f32::NAN; 4], Err("vector: all components must be finite")).await;
}

async fn check_vector(world: &World, vector: Vec<f32>, expected: Result<usize, &str>) {
    let target = world.collections.search_target(TENANT, NAME, None).await.expect("is there");
    let wanted = SearchFor { vector, limit: 10, filter: None, min_score: None, texts: false };
    match (world.collections.search(&target, wanted).await, expected) {
        (Ok(found), Ok(hits)) => assert_eq!(found.hits.len(), hits),
        (Err(error), Err(words)) => assert!(error.to_string().contains(words), "{error}"),
        (outcome, _) => panic!("{outcome:?}"),
    }
}
