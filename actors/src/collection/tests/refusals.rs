//! What is refused, and that the refusal names the field.

use std::collections::BTreeMap;

use headwater_vectors::Value;

use super::world::{NAME, TENANT, World, chunks};
use crate::collection::{ChunkText, Chunking, CollectionError, CollectionSettings};

async fn check_put(
    change: impl FnOnce(&mut String, &mut BTreeMap<String, Value>, &mut Vec<ChunkText>),
    expected: &str,
) {
    let world = World::with_collection().await;
    let (mut document, mut fields, mut texts) = ("a".to_owned(), BTreeMap::new(), chunks(&["x"]));
    change(&mut document, &mut fields, &mut texts);
    let put = world.collections.put_document(TENANT, NAME, &document, fields, texts).await;
    assert_eq!(put.map_err(|error| error.to_string()), Err(expected.to_owned()));
    assert_eq!(world.store.contents().len(), 1, "the collection alone");
}

#[tokio::test]
async fn bad_documents_are_refused() {
    let id = "document: 1 to 1024 bytes without control characters are allowed";
    check_put(|document, _, _| document.clear(), id).await;
    check_put(|document, _, _| *document = "d".repeat(1025), id).await;
    check_put(|document, _, _| document.push('\0'), id).await;
    let many = |_: &mut String, fields: &mut BTreeMap<String, Value>, _: &mut Vec<ChunkText>| {
        fields.extend((0..65).map(|number| (format!("f{number}"), Value::Bool(true))));
    };
    check_put(many, "fields: 65 fields are given; at most 64 are allowed").await;
    let nan = |_: &mut String, fields: &mut BTreeMap<String, Value>, _: &mut Vec<ChunkText>| {
        fields.insert("f".to_owned(), Value::Number(f64::NAN));
    };
    check_put(nan, "fields: field 'f' is no finite number").await;
    let gap = "chunks: ordinals count from 0 on without gaps or repetitions";
    check_put(|_, _, chunks| chunks[0].ordinal = 1, gap).await;
    let empty = "chunks: chunk 0 has 0 bytes; 1 to 1048576 are allowed";
    check_put(|_, _, chunks| chunks[0].text.clear(), empty).await;
}

#[tokio::test]
async fn bad_collections_are_refused() {
    let world = World::with_collection().await;
    let create = |name: &'static str, model: &'static str, settings: CollectionSettings| {
        let collections = world.collections.clone();
        async move {
            let created = collections.create(TENANT, name, model, settings).await;
            created.map(|_| ()).map_err(|error| error.to_string())
        }
    };
    let settings = CollectionSettings::default;
    let name = "name: 1 to 128 letters, digits, '-', '_' and '.' are allowed";
    assert_eq!(create("", "first", settings()).await, Err(name.to_owned()));
    assert_eq!(create("a/b", "first", settings()).await, Err(name.to_owned()));
    let model = "no node serves the model 'third'; load it, or name one that is served";
    assert_eq!(create("other", "third", settings()).await, Err(model.to_owned()));
    let there = "there is a collection 'notes' already; delete it first or take another name";
    assert_eq!(create(NAME, "first", settings()).await, Err(there.to_owned()));
    let chunking = Chunking { overlap_percent: 91, ..Chunking::default() };
    let overlap = CollectionSettings { chunking, ..settings() };
    let text = "chunking: overlap_percent must be 0 to 50";
    assert_eq!(create("other", "first", overlap).await, Err(text.to_owned()));
    assert_eq!(create("other", "first", settings()).await, Ok(()));
}

#[tokio::test]
async fn tenants_see_their_own_collections() {
    let world = World::with_collection().await;
    world.create("archive").await;
    let names = |tenant: &'static str, after: Option<&'static str>| {
        let collections = world.collections.clone();
        async move {
            let found = collections.list(tenant, after, 10).await.expect("is read");
            found.into_iter().map(|collection| collection.name).collect::<Vec<_>>()
        }
    };
    assert_eq!(names(TENANT, None).await, ["archive", NAME]);
    assert_eq!(names(TENANT, Some("archive")).await, [NAME]);
    assert!(names("other", None).await.is_empty());
    let foreign = world.collections.get("other", NAME).await;
    assert!(matches!(foreign, Err(CollectionError::NoCollection { .. })));
}
