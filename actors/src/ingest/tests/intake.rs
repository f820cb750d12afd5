//! Streams that break off, come twice, or hold what they should not.

use headwater_embedding::ingest::Lane;

use super::world::{World, key, line, spec};
use crate::ingest::{IngestError, parse};

#[tokio::test]
async fn a_stream_goes_on_where_it_broke_off() {
    let world = World::new().await;
    let (key, handle) = (key("one"), &world.handle);
    handle.create(&key, spec()).await.expect("is created");
    let body = line("a", "one") + &line("b", "two") + &line("c", "three");
    let mut intake = handle.intake(&key, 0).await.expect("takes documents");
    intake.push(&body.as_bytes()[..40]).await.expect("is held");
    let received = intake.flush().await.expect("is staged");
    assert_eq!(received.lines, 1, "the second line is not complete");
    drop(intake);
    let gap = handle.intake(&key, 2).await.err();
    assert_eq!(gap, Some(IngestError::Gap { received: 1 }));
    let mut whole = handle.intake(&key, 0).await.expect("takes documents");
    whole.push(body.as_bytes()).await.expect("is staged");
    assert_eq!(whole.finish().await.expect("is staged").lines, 3);
    let counts = handle.status(&key).await.expect("is there").counts;
    assert_eq!(counts.get(Lane::Staged), 3, "the first line counts once");
}

#[tokio::test]
async fn of_two_streams_for_one_job_one_is_told_to_stop() {
    let world = World::new().await;
    let (key, handle) = (key("one"), &world.handle);
    handle.create(&key, spec()).await.expect("is created");
    let mut first = handle.intake(&key, 0).await.expect("takes documents");
    let mut second = handle.intake(&key, 0).await.expect("takes documents");
    first.push(line("a", "one").as_bytes()).await.expect("is held");
    first.flush().await.expect("is staged");
    let two = line("a", "one") + &line("b", "two");
    second.push(two.as_bytes()).await.expect("is held");
    assert_eq!(second.flush().await, Err(IngestError::Gap { received: 1 }));
}

#[tokio::test]
async fn a_large_body_is_staged_in_many_batches() {
    let world = World::new().await;
    let body: String = (0..1_000).map(|number| line(&format!("d{number}"), "text")).collect();
    let key = world.job("one", spec(), &body).await;
    let status = world.handle.status(&key).await.expect("is there");
    assert_eq!((status.received.lines, status.counts.waiting()), (1_000, 1_000));
    assert!(status.oldest_waiting_ms.is_some());
    let refused = world.handle.intake(&key, 1_000).await.err();
    assert!(matches!(refused, Some(IngestError::Refused(_))), "{refused:?}");
}

#[test]
fn bad_lines_name_their_field_and_never_their_text() {
    for (line, field, words) in [
        ("secret", None, "not valid JSON"),
        ("[1]", None, "object"),
        (r#"{"text": "secret"}"#, Some("id"), "missing"),
        (r#"{"id": "", "text": "secret"}"#, Some("id"), "1 to 1024"),
        (r#"{"id": 1, "text": "secret"}"#, Some("id"), "string"),
        (r#"{"id": "a", "text": " "}"#, Some("text"), "white space"),
        (r#"{"id": "a", "text": "x", "fields": 1}"#, Some("fields"), "object"),
        (r#"{"id": "a", "text": "x", "fields": {"f": []}}"#, Some("fields.f"), "a boolean"),
        (r#"{"id": "a", "text": "x", "secret": 1}"#, None, "none of id, text and fields"),
    ] {
        let bad = parse::document(line).expect_err(line);
        assert_eq!(bad.field.as_deref(), field, "{line}");
        assert!(bad.problem.contains(words) && !bad.problem.contains("secret"), "{bad:?}");
    }
    let good = parse::document(r#"{"id": "a", "text": "x", "fields": {"f": true, "g": "h"}}"#);
    assert_eq!(good.expect("a document").fields.len(), 2);
}
