//! Health, readiness, metrics, unknown routes, wrong methods, drain, request ids.

use axum::http::HeaderValue;
use serde_json::json;

use super::world::{World, request, send};
use crate::{Gate, starting};

#[tokio::test]
async fn probes_need_no_token() {
    let world = World::new().await;
    for (path, expected) in [("/health", "ok"), ("/ready", "ready")] {
        let answer = world.send(request("GET", path, None, "")).await;
        assert_eq!(answer.ok(), json!({"status": expected}), "{path}");
    }
    let answer = world.send(request("GET", "/metrics", None, "")).await;
    assert_eq!(answer.status, 200);
    let kind = answer.header("content-type").expect("a type");
    assert!(kind.starts_with("application/openmetrics-text"), "{kind}");
    assert!(answer.text().ends_with("# EOF\n"));
}

#[tokio::test]
async fn requests_are_counted_by_route_and_status_and_never_by_path() {
    let world = World::new().await;
    world.embeddings(&json!({"model": "plain", "input": "a"})).await.ok();
    world.embeddings(&json!({"model": "plain", "input": []})).await;
    world.get("/v1/models/plain").await.ok();
    world.get("/v1/models/org/nested").await.ok();
    world.get("/some/where").await;
    world.get("/else/where").await;
    let count = async |route: &str, status: u16| {
        let labels = format!("{{route=\"{route}\",status=\"{status}\"}}");
        world.metric(&format!("headwater_http_requests_total{labels}")).await
    };
    assert_eq!(count("/v1/embeddings", 200).await, Some(1.0));
    assert_eq!(count("/v1/embeddings", 400).await, Some(1.0));
    assert_eq!(count("/v1/models/{*model}", 200).await, Some(2.0));
    assert_eq!(count("unknown", 404).await, Some(2.0));
    let durations = "headwater_http_request_duration_seconds_count{route=\"/v1/embeddings\"}";
    assert_eq!(world.metric(durations).await, Some(2.0));
    let text = world.get("/metrics").await.text();
    assert!(!text.contains("where"), "a path became a label");
}

#[tokio::test]
async fn unknown_routes_and_wrong_methods_are_json_errors() {
    let world = World::new().await;
    for path in ["/", "/v1", "/v1/unknown", "/v1/embeddings/", "/embed/all"] {
        let answer = world.get(path).await;
        answer.is_error(404, "unknown_route", None, &[path]);
    }
    let table = [
        ("GET", "/v1/embeddings", "POST"),
        ("PUT", "/v1/embeddings", "POST"),
        ("PUT", "/v1/models/plain", "GET and DELETE"),
        ("PUT", "/v1/models", "GET and POST"),
        ("POST", "/v1/aliases/some", "PUT and DELETE"),
        ("POST", "/health", "GET"),
        ("POST", "/metrics", "GET"),
    ];
    for (method, path, allowed) in table {
        let answer = world.send(world.request(method, path, "")).await;
        answer.is_error(405, "method_not_allowed", None, &[allowed]);
        let header = answer.header("allow").expect("RFC 9110 asks for Allow");
        let named = allowed.split(" and ").all(|method| header.contains(method));
        assert!(named, "{header}");
    }
    for path in ["/embed", "/tokenize"] {
        let answer = world.send(world.request("GET", path, "")).await;
        answer.is_tei_error(405, "Validation", &["POST"]);
    }
}

#[tokio::test]
async fn a_draining_node_refuses_work_and_still_shows_its_state() {
    let world = World::new().await;
    assert_eq!(world.gate.inside(), 0);
    world.gate.drain();
    let body = json!({"model": "plain", "input": "a"});
    for answer in [world.embeddings(&body).await, world.get("/v1/models").await] {
        answer.is_error(503, "draining", None, &["shutting down"]);
        assert_eq!(answer.header("retry-after"), Some("1"));
        assert_eq!(answer.header("connection"), Some("close"));
    }
    let answer = world.post("/embed", &json!({"inputs": "a"})).await;
    answer.is_tei_error(503, "Overloaded", &["shutting down"]);
    assert_eq!(answer.header("retry-after"), Some("1"));
    assert_eq!(world.get("/health").await.status, 200);
    assert_eq!(world.get("/metrics").await.status, 200);
    world.get("/ready").await.is_error(503, "draining", None, &[]);
    world.gate.empty().await;
    assert_eq!(world.gate.inside(), 0);
}

#[tokio::test]
async fn a_node_that_loads_lives_and_is_not_ready() {
    let gate = Gate::default();
    let router = starting(gate.clone());
    let get = async |path| send(router.clone(), request("GET", path, None, "")).await;
    assert_eq!(get("/health").await.ok(), json!({"status": "ok"}));
    for path in ["/ready", "/v1/models", "/metrics"] {
        let answer = get(path).await;
        answer.is_error(503, "not_ready", None, &["loaded"]);
        assert_eq!(answer.header("retry-after"), Some("1"));
    }
    get("/embed").await.is_tei_error(503, "Unhealthy", &["loaded"]);
    gate.drain();
    get("/ready").await.is_error(503, "draining", None, &[]);
}

#[tokio::test]
async fn a_request_id_is_kept_when_it_is_sound_and_made_when_it_is_not() {
    let world = World::new().await;
    let long = "x".repeat(129);
    let table: [(Option<&[u8]>, bool); 5] = [
        (Some(b"my-id-1"), true),
        (Some(b""), false),
        (Some(long.as_bytes()), false),
        (Some(b"\xff\xfe"), false),
        (None, false),
    ];
    for (sent, kept) in table {
        let mut request = request("GET", "/health", None, "");
        if let Some(sent) = sent {
            let value = HeaderValue::from_bytes(sent).expect("a header");
            request.headers_mut().insert("x-request-id", value);
        }
        let answer = world.send(request).await;
        let id = answer.header("x-request-id").expect("an id");
        assert_eq!(Some(id.as_bytes()) == sent, kept, "{sent:?} became {id}");
        assert!(kept || id.len() == 36, "{id} is no UUID");
    }
}
