//! Collections and searches over HTTP.

use std::collections::BTreeMap;

use axum::body::Body;
use headwater_actors::collection::{ChunkId, ChunkText, Value as Field};
use serde_json::{Value, json};

use super::world::{Answer, PLAIN, World, request};

const TENANT: &str = "acme";

async fn ask(world: &World, method: &str, path: &str, body: Value) -> Answer {
    let body = if body.is_null() { Body::empty() } else { Body::from(body.to_string()) };
    world.send(world.request(method, path, body)).await
}

fn chunk(ordinal: u32, text: &str) -> ChunkText {
    let mut id = [0; 32];
    id.iter_mut().zip(text.bytes()).for_each(|(place, byte)| *place = byte);
    let range = 0..text.len() as u64;
    ChunkText { id: ChunkId(id), text: text.to_owned(), ordinal, range }
}

/// A world with a collection `notes` and a document of two chunks in it.
async fn world() -> World {
    let world = World::new().await;
    let created = ask(&world, "POST", "/v1/collections", json!({"name": "notes", "model": PLAIN}));
    let created = created.await;
    assert_eq!(created.status.as_u16(), 201, "{}", created.text());
    put(&world, "a/first", &["red apple", "green pear"], 2020.0).await;
    world
}

async fn put(world: &World, document: &str, texts: &[&str], year: f64) {
    let fields = BTreeMap::from([("year".to_owned(), Field::Number(year))]);
    let chunks = (0..).zip(texts).map(|(ordinal, text)| chunk(ordinal, text)).collect();
    let put = world.collections.put_document(TENANT, "notes", document, fields, chunks).await;
    let put = put.expect("is put");
    for target in &put.targets {
        let missing = world.collections.missing(target, &put.chunks).await.expect("is told");
        world.collections.embed_chunks(target, &missing).await.expect("is written");
    }
}

async fn search(world: &World, body: Value) -> Answer {
    world.post("/v1/search", &body).await
}

#[tokio::test]
async fn a_text_finds_its_chunk_and_is_charged() {
    let world = world().await;
    let body = json!({"collection": "notes", "query": "red apple", "include_text": true});
    let found = search(&world, body).await.ok();
    assert_eq!(found["model"], PLAIN);
    assert_eq!(found["data"].as_array().expect("a list").len(), 2);
    let hit = &found["data"].as_array().expect("a list");
    let hit = hit.iter().find(|hit| hit["text"] == "red apple").expect("is found");
    assert_eq!(hit["documents"], json!(["a/first"]));
    assert_eq!(hit["fields"], json!({"year": 2020.0}));
    assert_eq!(hit["model_version"], found["model_version"]);
    // The prefix and two words, and two special tokens.
    assert_eq!(found["usage"], json!({"prompt_tokens": 5, "total_tokens": 5}));
    // Beside the search, the two chunks of two words each that were embedded before it.
    let usage = ask(&world, "GET", "/v1/tenants/acme/usage", Value::Null).await.ok();
    assert_eq!(
        (&usage["usage"][0]["requests"], &usage["usage"][0]["tokens"]),
        (&json!(2), &json!(5 + 2 * 4))
    );
}

#[tokio::test]
async fn a_vector_needs_its_version_and_filters_choose() {
    let world = world().await;
    put(&world, "b", &["blue plum"], 1990.0).await;
    let embedded = world.embeddings(&json!({"model": PLAIN, "input": "blue plum"})).await.ok();
    let (vector, version) = (&embedded["data"][0]["embedding"], &embedded["model_version"]);
    let with = |filter: Value| {
        json!({"collection": "notes", "vector": vector, "model_version": version,
               "filter": filter})
    };
    for (filter, hits) in [
        (json!({}), 3),
        (json!({"year": 1990}), 1),
        (json!({"year": {"gte": 2000}}), 2),
        (json!({"year": {"in": [1990, 2020]}}), 3),
        (json!({"$source": "b"}), 1),
        (json!({"$not": {"$source": "b"}}), 2),
        (json!({"$or": [{"year": {"lte": 1990}}, {"$source": "a/first"}]}), 3),
        (json!({"$and": [{"year": 1990}, {"$source": "a/first"}]}), 0),
    ] {
        let found = search(&world, with(filter.clone())).await.ok();
        assert_eq!(found["data"].as_array().expect("a list").len(), hits, "{filter}");
    }
    for (filter, param) in [
        (json!([]), "filter"),
        (json!({"$nor": []}), "filter.$nor"),
        (json!({"$and": {}}), "filter.$and"),
        (json!({"$or": [{"year": null}]}), "filter.$or[0].year"),
        (json!({"year": {"gte": "x"}}), "filter.year.gte"),
        (json!({"year": {}}), "filter.year"),
        (json!({"year": {"in": [[]]}}), "filter.year.in[0]"),
    ] {
        search(&world, with(filter)).await.is_error(400, "invalid_filter", Some(param), &[]);
    }
}

#[tokio::test]
async fn searches_that_make_no_sense_are_refused() {
    let world = world().await;
    let vector = json!([1, 0, 0, 0, 0, 0, 0, 0]);
    for (body, status, code, param) in [
        (json!({"collection": "notes"}), 400, "invalid_field", "query"),
        (json!({"collection": "notes", "query": ""}), 400, "empty_input", "query"),
        (json!({"collection": "notes", "vector": vector}), 400, "missing_version", "model_version"),
        (
            json!({"collection": "notes", "vector": vector, "model_version": "other"}),
            409,
            "version_mismatch",
            "model_version",
        ),
        (
            json!({"collection": "notes", "query": "x", "model_version": "other"}),
            409,
            "version_mismatch",
            "model_version",
        ),
        (json!({"collection": "none", "query": "x"}), 404, "collection_not_found", "collection"),
        (json!({"collection": "notes", "query": "x", "limit": 0}), 400, "invalid_field", "limit"),
    ] {
        search(&world, body).await.is_error(status, code, Some(param), &[]);
    }
}

#[tokio::test]
async fn versions_are_built_paused_cancelled_and_told() {
    let world = world().await;
    let path = "/v1/collections/notes/versions";
    let build = json!({"model": super::world::NESTED, "policy": "lazy", "format": "f16"});
    let started = ask(&world, "POST", path, build.clone()).await;
    assert_eq!(started.status.as_u16(), 202, "{}", started.text());
    let told = ask(&world, "GET", path, Value::Null).await.ok();
    let building = &told["data"][0];
    assert_eq!((&building["state"], &building["policy"]), (&json!("building"), &json!("lazy")));
    assert_eq!(building["progress"]["total_chunks"], 2);
    assert_eq!(told["data"][1]["state"], "serving");
    let again = ask(&world, "POST", path, build).await;
    again.is_error(409, "version_change_refused", Some("version"), &["is building already"]);
    let version = building["model_version"].as_str().expect("a version");
    let pinned = json!({"collection": "notes", "query": "x", "model_version": version});
    let early = search(&world, pinned).await;
    early.is_error(409, "version_not_ready", Some("model_version"), &["still being built"]);
    // Real versions are hexadecimal; the double's has its model's name in it.
    let version = version.replace('/', "%2F");
    let act = async |action: &str| {
        ask(&world, "POST", &format!("{path}/{version}/{action}"), Value::Null).await
    };
    assert_eq!(act("pause").await.ok()["data"][0]["paused"], true);
    act("pause").await.is_error(409, "version_change_refused", Some("version"), &["paused"]);
    assert_eq!(act("resume").await.ok()["data"][0]["paused"], false);
    assert_eq!(act("complete").await.ok()["data"][0]["sweeping"], true);
    assert_eq!(act("cancel").await.ok()["data"].as_array().expect("a list").len(), 1);
    act("polish").await.is_error(404, "unknown_route", None, &["pause, resume, complete"]);
    for action in ["rollback", "retire"] {
        let path = format!("/v1/collections/notes/{action}");
        let refused = ask(&world, "POST", &path, Value::Null).await;
        refused.is_error(409, "version_change_refused", Some("version"), &["no previous version"]);
    }
}

#[tokio::test]
async fn collections_and_documents_are_listed_and_deleted() {
    let world = world().await;
    let again = json!({"name": "notes", "model": PLAIN});
    let again = ask(&world, "POST", "/v1/collections", again).await;
    again.is_error(409, "collection_exists", Some("name"), &["notes"]);
    let bad = json!({"name": "a b", "model": PLAIN});
    let bad = ask(&world, "POST", "/v1/collections", bad).await;
    bad.is_error(400, "invalid_field", Some("name"), &["letters"]);
    let stranger = json!({"name": "other", "model": "none"});
    let stranger = ask(&world, "POST", "/v1/collections", stranger).await;
    stranger.is_error(404, "model_not_found", Some("model"), &["none"]);
    let list = ask(&world, "GET", "/v1/collections?limit=5", Value::Null).await.ok();
    assert_eq!(list["data"][0]["name"], "notes");
    let limit = ask(&world, "GET", "/v1/collections?limit=0", Value::Null).await;
    limit.is_error(400, "invalid_query", Some("limit"), &["1 to 1000"]);
    // Another tenant sees nothing of it.
    let foreign = format!("Bearer {}", world.operator);
    let foreign = request("GET", "/v1/collections/notes", Some(&foreign), Body::empty());
    let foreign = world.send(foreign).await;
    foreign.is_error(404, "collection_not_found", Some("collection"), &["notes"]);
    let path = "/v1/collections/notes/documents/a/first";
    let document = ask(&world, "GET", path, Value::Null).await.ok();
    assert_eq!((&document["id"], &document["chunks"]), (&json!("a/first"), &json!(2)));
    let gone = ask(&world, "DELETE", path, Value::Null).await.ok();
    assert_eq!(gone["removed_chunks"], 2);
    let missing = ask(&world, "GET", path, Value::Null).await;
    missing.is_error(404, "document_not_found", Some("document"), &["a/first"]);
    ask(&world, "DELETE", "/v1/collections/notes", Value::Null).await.ok();
    let deleted = ask(&world, "GET", "/v1/collections/notes", Value::Null).await;
    deleted.is_error(404, "collection_not_found", Some("collection"), &["notes"]);
}
