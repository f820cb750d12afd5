//! Vectors: what is missing, what is written, and what must not stay.

use std::collections::BTreeMap;

use headwater_vectors::{Sink, Value};

use super::world::{NAME, TENANT, World, id, ids, vector};

#[tokio::test]
async fn what_is_missing_is_written_once() {
    let world = World::with_collection().await;
    let put = world.put("a", &["x", "y"]).await;
    let target = &put.targets[0];
    assert_eq!(world.collections.missing(target, &put.chunks).await, Ok(ids(&["x", "y"])));
    let strangers = ids(&["x", "nothing"]);
    assert_eq!(world.collections.missing(target, &strangers).await, Ok(ids(&["x"])));
    world.fill(&put).await;
    assert_eq!(world.collections.missing(target, &put.chunks).await, Ok(Vec::new()));
    world.fill(&world.put("a", &["x", "y"]).await).await;
    assert_eq!(world.sink.upserted(), 2);
    let record = world.sink.get(&target.space.name, &[id("x").into()]).await.expect("is read");
    let record = record[0].clone().expect("is there");
    assert_eq!(record.vector, vector(&target.version, "x"));
    assert_eq!((record.version, record.source), (target.version.clone(), "a".to_owned()));
}

#[tokio::test]
async fn a_vector_of_a_chunk_that_is_gone_is_not_written() {
    let world = World::with_collection().await;
    let put = world.put("a", &["x", "y"]).await;
    world.put("a", &["y"]).await;
    let target = &put.targets[0];
    let vectors = ["x", "y"].map(|text| (id(text), vector(&target.version, text)));
    world.collections.write_vectors(target, vectors.to_vec()).await.expect("is written");
    assert_eq!(world.vectors(target).await, [(id("y"), "a".into())].into());
}

#[tokio::test]
async fn new_fields_reach_vectors_that_are_there() {
    let world = World::with_collection().await;
    let fields = |year: f64| BTreeMap::from([("year".to_owned(), Value::Number(year))]);
    world.fill(&world.put_with("a", &["x"], fields(1990.0)).await).await;
    world.fill(&world.put_with("a", &["x"], fields(2020.0)).await).await;
    let target = world.target().await;
    let records = world.sink.page(&target.space.name, None, 9).await.expect("is read");
    assert_eq!(records[0].fields, fields(2020.0));
    assert_eq!(world.models.embedded().len(), 1, "the vector itself is still right");
}

/// A chunk goes and comes back before its vectors are removed: they stay, or come again.
#[tokio::test]
async fn a_chunk_that_comes_back_keeps_its_vector() {
    let world = World::with_collection().await;
    world.fill(&world.put("a", &["x"]).await).await;
    let gone = world.put("a", &[]).await;
    let back = world.put("b", &["x"]).await;
    world.collections.remove_vectors(TENANT, NAME, &gone.removed).await.expect("looks");
    world.fill(&back).await;
    let target = world.target().await;
    assert_eq!(world.vectors(&target).await, [(id("x"), "b".into())].into());
}

#[tokio::test]
async fn a_space_that_nobody_created_yet_is_created() {
    let world = World::new();
    world.sink.fail(1);
    world.create(NAME).await;
    let put = world.put("a", &["x"]).await;
    world.fill(&put).await;
    assert_eq!(world.vectors(&put.targets[0]).await.len(), 1);
}
