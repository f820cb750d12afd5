//! Ingest over HTTP: a stream in, vectors out, and every refusal named.

use axum::body::Body;
use axum::http::{HeaderValue, Request, StatusCode};
use headwater_actors::ingest::IngestError;
use serde_json::{Value, json};

use super::world::{Answer, NESTED, PLAIN, Setup, World, request, token_for};
use crate::error::ApiError;

const JOBS: &str = "/v1/ingest/jobs";

async fn world() -> World {
    let world = World::with(Setup { ingest: true, ..Setup::default() }).await;
    let body = json!({"name": "notes", "model": PLAIN});
    assert_eq!(world.post("/v1/collections", &body).await.status, StatusCode::CREATED);
    world
}

fn lines(world: &World, path: &str, body: impl Into<Body>) -> Request<Body> {
    let mut request = world.request("POST", path, body);
    let kind = HeaderValue::from_static("application/x-ndjson");
    request.headers_mut().insert("content-type", kind);
    request
}

async fn send(world: &World, path: &str, body: &str) -> Answer {
    world.send(lines(world, path, body.to_owned())).await
}

/// Waits until the job has ended; its last status.
async fn ended(world: &World, id: &str) -> Value {
    for _ in 0..2_000 {
        let status = world.get(&format!("{JOBS}/{id}")).await.ok();
        if !status["ended_ms"].is_null() {
            return status;
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    panic!("the job does not end: {}", world.get(&format!("{JOBS}/{id}")).await.text());
}

#[tokio::test]
async fn a_stream_becomes_vectors_and_bad_lines_become_dead_letters() {
    let world = world().await;
    let body = "\u{feff}{\"id\": \"a\", \"text\": \"one two three\", \"fields\": {\"n\": 1}}\r\n\
                \n\
                {\"id\": \"b\", \"text\": \"one two three\"}\n\
                {\"id\": \"c\"}\n\
                nonsense\n\
                {\"id\": \"a\", \"text\": \"four five\"}";
    let made = send(&world, &format!("{JOBS}?collection=notes&id=first"), body).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text());
    let status = ended(&world, "first").await;
    assert_eq!(status["state"], "done");
    let progress = &status["progress"];
    assert_eq!(progress["received_lines"], 6);
    assert_eq!((&progress["documents_total"], &progress["dead_letters"]), (&json!(3), &json!(2)));
    let done = progress["documents_done"].as_u64().expect("a number");
    assert_eq!(done + progress["documents_superseded"].as_u64().expect("a number"), 3);
    let letters = world.get(&format!("{JOBS}/first/dead-letters")).await.ok();
    assert_eq!(
        (&letters["data"][0]["line"], &letters["data"][0]["field"]),
        (&json!(4), &json!("text"))
    );
    assert_eq!(
        (&letters["data"][1]["line"], &letters["data"][1]["retryable"]),
        (&json!(5), &json!(false))
    );
    let page = world.get(&format!("{JOBS}/first/dead-letters?after=4&limit=1")).await.ok();
    assert_eq!((&page["data"][0]["line"], &page["next"]), (&json!(5), &json!(5)));
    let document = world.get("/v1/collections/notes/documents/a").await.ok();
    assert_eq!((&document["chunks"], &document["fields"]), (&json!(1), &json!({})), "{document}");
    let search = json!({"collection": "notes", "query": "four five", "limit": 5});
    let found = world.post("/v1/search", &search).await.ok();
    assert!(found.to_string().contains("\"a\""), "{found}");
    assert_eq!(
        world.metric("headwater_ingest_documents_total{outcome=\"done\"}").await,
        Some(done as f64)
    );
}

#[tokio::test]
async fn the_same_request_again_is_the_same_job() {
    let world = world().await;
    let body = json!({"collection": "notes", "priority": 3});
    let post = async || {
        let mut request = world.request("POST", JOBS, body.to_string());
        request.headers_mut().insert("idempotency-key", HeaderValue::from_static("once"));
        world.send(request).await
    };
    let (first, second) = (post().await, post().await);
    assert_eq!((first.status, second.status), (StatusCode::CREATED, StatusCode::OK));
    assert_eq!(first.json()["id"], second.json()["id"]);
    let lines_once = async |body: &str| {
        let mut request = lines(&world, &format!("{JOBS}?collection=notes"), body.to_owned());
        request.headers_mut().insert("idempotency-key", HeaderValue::from_static("stream"));
        world.send(request).await
    };
    let body = "{\"id\": \"a\", \"text\": \"one\"}\n{\"id\": \"b\", \"text\": \"two\"}";
    let (one, two) = (lines_once(body).await, lines_once(body).await);
    assert_eq!((one.status, two.status), (StatusCode::CREATED, StatusCode::OK), "{}", two.text());
    let (one, two) = (one.json(), two.json());
    assert_eq!((&one["id"], &two["progress"]["received_lines"]), (&two["id"], &json!(2)));
    let more = format!("{body}\n{{\"id\": \"c\", \"text\": \"three\"}}");
    lines_once(&more).await.is_error(409, "job_state", Some("id"), &["any more"]);
    let other = json!({"collection": "notes", "id": first.json()["id"], "priority": 4});
    world.post(JOBS, &other).await.is_error(409, "job_exists", Some("id"), &["other settings"]);
}

#[tokio::test]
async fn documents_come_in_parts_and_gaps_are_refused() {
    let world = world().await;
    let made = world.post(JOBS, &json!({"collection": "notes", "id": "parts"})).await;
    assert_eq!(
        (made.status, made.json()["state"].clone()),
        (StatusCode::CREATED, json!("receiving"))
    );
    let path = format!("{JOBS}/parts/documents");
    let first = "{\"id\": \"a\", \"text\": \"one\"}\n";
    let told = send(&world, &format!("{path}?offset=0&complete=false"), first).await.ok();
    assert_eq!(told["progress"]["received_lines"], 1);
    let gap = send(&world, &format!("{path}?offset=5"), first).await;
    gap.is_error(409, "wrong_offset", Some("offset"), &["line 2"]);
    let both = format!("{first}{{\"id\": \"b\", \"text\": \"two\"}}");
    let sealed = send(&world, &format!("{path}?offset=0"), &both).await.ok();
    assert_eq!(sealed["progress"]["received_lines"], 2);
    for (offset, body) in [(0, both.as_str()), (2, "")] {
        let again = send(&world, &format!("{path}?offset={offset}"), body).await.ok();
        assert_eq!(again["progress"]["received_lines"], 2, "its answer may have been lost");
    }
    assert_eq!(ended(&world, "parts").await["progress"]["documents_done"], 2);
    let again = send(&world, &format!("{path}?offset=0"), &both).await.ok();
    assert_eq!(
        (&again["state"], &again["progress"]["documents_total"]),
        (&json!("done"), &json!(2))
    );
    send(&world, &path, first).await.is_error(409, "job_state", Some("id"), &["done"]);
}

#[tokio::test]
async fn a_job_is_paused_resumed_and_cancelled() {
    let world = world().await;
    world.post(JOBS, &json!({"collection": "notes", "id": "a"})).await;
    let act = async |action: &str| world.post(&format!("{JOBS}/a/{action}"), &Value::Null).await;
    assert_eq!(act("pause").await.ok()["state"], "paused");
    let body = "{\"id\": \"a\", \"text\": \"one\"}\n";
    send(&world, &format!("{JOBS}/a/documents"), body).await.ok();
    assert_eq!(act("resume").await.ok()["state"], "running");
    assert_eq!(ended(&world, "a").await["progress"]["documents_done"], 1);
    act("pause").await.is_error(409, "job_state", Some("id"), &["done"]);
    act("explode").await.is_error(404, "unknown_route", None, &["retry-dead"]);
    world.post(JOBS, &json!({"collection": "notes", "id": "b"})).await;
    let cancelled = world.post(&format!("{JOBS}/b/cancel"), &Value::Null).await.ok();
    assert!(cancelled["note"].as_str().is_some_and(|note| note.contains("stays")), "{cancelled}");
    assert_eq!(ended(&world, "b").await["state"], "cancelled");
    let list = world.get(&format!("{JOBS}?limit=1")).await.ok();
    assert_eq!((&list["data"][0]["id"], &list["next"]), (&json!("a"), &json!("a")));
    let list = world.get(&format!("{JOBS}?after=a")).await.ok();
    assert_eq!((list["data"].as_array().map(Vec::len), &list["next"]), (Some(1), &Value::Null));
}

#[tokio::test]
async fn a_tenant_sees_its_own_jobs_and_uses_its_own_models() {
    let world = world().await;
    world.post(JOBS, &json!({"collection": "notes", "id": "mine"})).await;
    let bearer = format!("Bearer {}", world.operator);
    let other = world.send(request("GET", &format!("{JOBS}/mine"), Some(&bearer), "")).await;
    other.is_error(404, "job_not_found", Some("id"), &["mine"]);
    let narrow = format!("Bearer {}", token_for(&[NESTED]));
    let body = json!({"collection": "notes"}).to_string();
    let refused = world.send(request("POST", JOBS, Some(&narrow), body)).await;
    refused.is_error(403, "model_not_allowed", Some("model"), &[PLAIN]);
}

#[tokio::test]
async fn settings_that_make_no_sense_are_refused_by_name() {
    let world = world().await;
    for (field, value, param, words) in [
        ("priority", json!(10), "priority", "0 to 9"),
        ("max_workers", json!(0), "max_workers", "at least 1"),
        ("tokens_per_s", json!(0), "tokens_per_s", "at least 1"),
        ("near_duplicates", json!("maybe"), "near_duplicates", "off, report, skip"),
        ("chunks", json!({"split": "verse"}), "chunks.split", "plain, sentence"),
        ("chunks", json!({"window_tokens": 0}), "chunks", "at least 1 token"),
        ("id", json!("a b"), "id", "1 to 64"),
    ] {
        let mut body = json!({"collection": "notes"});
        body[field] = value;
        world.post(JOBS, &body).await.is_error(400, "invalid_field", Some(param), &[words]);
    }
    let missing = world.post(JOBS, &json!({"collection": "none"})).await;
    missing.is_error(404, "collection_not_found", Some("collection"), &["none"]);
    let query = send(&world, &format!("{JOBS}?collection=notes&colour=red"), "").await;
    query.is_error(400, "invalid_query", Some("query"), &["collection, model"]);
    let page = world.get(&format!("{JOBS}?limit=0")).await;
    page.is_error(400, "invalid_query", Some("limit"), &["1 to 1000"]);
}

#[test]
fn what_the_store_cannot_hold_is_no_outage() {
    let large = IngestError::TooLarge { what: "transaction", given: 11, allowed: 10 };
    assert_eq!(ApiError::from_ingest(large).status, StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn without_a_sink_there_is_no_ingest() {
    let world = World::new().await;
    world.get(JOBS).await.is_error(503, "no_vector_sink", None, &["operator"]);
}
