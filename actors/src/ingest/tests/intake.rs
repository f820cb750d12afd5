//! Streams that break off, come twice, or hold what they should not.

use headwater_embedding::ingest::Lane;
use headwater_storage::StoreError;

use super::world::{World, key, line, settings, spec};
use crate::ingest::staging::{BATCH_BYTES, Batch};
use crate::ingest::{
    Document, IngestError, IngestHandle, IngestSettings, JobSpec, Received, SourceSpec, parse,
};

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
}

#[tokio::test]
async fn a_sealed_job_takes_what_it_has_again_and_nothing_new() {
    let world = World::new().await;
    let (one, two, new) = (line("a", "one"), line("b", "two"), line("c", "three"));
    let key = world.job("one", spec(), &(one.clone() + &two)).await;
    let send = async |offset: u64, body: &str| {
        let mut intake = world.handle.intake(&key, offset).await?;
        intake.push(body.as_bytes()).await?;
        intake.finish().await.map(|received| received.lines)
    };
    for (offset, body) in [(0, one.clone() + &two), (0, one.clone()), (1, two.clone())] {
        assert_eq!(send(offset, &body).await, Ok(2), "{offset}: {body}");
    }
    assert_eq!(send(1, two.trim_end()).await, Ok(2), "the last line may have no end");
    assert_eq!(send(2, "").await, Ok(2), "a last part may be empty");
    for (offset, body) in [(0, one + &two + &new), (2, new.clone()), (2, "{".to_owned()), (3, new)]
    {
        let refused = send(offset, &body).await;
        assert!(matches!(refused, Err(IngestError::Refused(_))), "{offset} {body}: {refused:?}");
    }
    let counts = world.handle.status(&key).await.expect("is there").counts;
    assert_eq!(counts.get(Lane::Staged), 2, "nothing counts twice");
}

#[tokio::test]
async fn batches_are_cut_by_all_bytes_of_their_lines() {
    let world = World::new().await;
    let settings = IngestSettings { line_bytes: 9 << 20, ..settings() };
    let handle = IngestHandle::new(
        world.handle.runtime().clone(),
        world.handle.retry().clone(),
        world.handle.collections().clone(),
        settings,
    );
    let key = key("one");
    handle.create(&key, spec()).await.expect("is created");
    let field = "f".repeat(30_000);
    let document = |number: u32, text: &str| {
        let fields = serde_json::json!({"f": field});
        let line = serde_json::json!({"id": number.to_string(), "text": text, "fields": fields});
        line.to_string() + "\n"
    };
    let mut intake = handle.intake(&key, 0).await.expect("takes documents");
    let body: String = (0..64).map(|number| document(number, "text")).collect();
    intake.push(body.as_bytes()).await.expect("is staged");
    assert!(intake.received().lines >= 32, "fields count: {:?}", intake.received());
    // Each fits into a transaction, both together would not.
    let body = document(64, &"t".repeat(7 << 20)) + &document(65, &"t".repeat(7 << 20));
    intake.push(body.as_bytes()).await.expect("is staged");
    assert_eq!(intake.finish().await.expect("is staged").lines, 66);
    let counts = handle.status(&key).await.expect("is there").counts;
    assert_eq!((counts.get(Lane::Staged), counts.get(Lane::BadLines)), (66, 0));
}

#[test]
fn a_line_that_does_not_fit_waits_for_the_next_batch() {
    let document = |bytes: usize| {
        let (id, fields) = ("a".to_owned(), Default::default());
        Ok(Document { id, text: "t".repeat(bytes), fields })
    };
    let mut batch = Batch::after(Received::default());
    assert!(batch.has_room(&document(2 * BATCH_BYTES)), "alone it may have more");
    batch.add(1, document(BATCH_BYTES / 2));
    assert!(batch.has_room(&document(BATCH_BYTES / 4)) && !batch.is_full());
    assert!(!batch.has_room(&document(BATCH_BYTES / 2)));
}

#[tokio::test]
async fn what_is_too_large_for_the_store_is_the_clients_to_mend() {
    let world = World::new().await;
    let source = SourceSpec::Places(vec!["p".repeat(4_000); 20]);
    let refused = world.handle.create(&key("one"), JobSpec { source, ..spec() }).await;
    let Err(IngestError::Invalid { field, allowed }) = refused else { panic!("{refused:?}") };
    assert!(field == "source" && allowed.contains("65536 bytes"), "{field}: {allowed}");
    let limit = StoreError::Limit { what: "transaction", given: 11, allowed: 10 };
    let large = IngestError::TooLarge { what: "transaction", given: 11, allowed: 10 };
    assert_eq!(IngestError::from(limit), large);
    assert!(matches!(IngestError::from(StoreError::Conflict), IngestError::Store(_)));
}

#[test]
fn large_lines_are_refused_by_field_in_few_words() {
    let fields = |fields: &[(String, String)]| {
        let fields: serde_json::Map<String, serde_json::Value> =
            fields.iter().map(|(name, value)| (name.clone(), value.clone().into())).collect();
        serde_json::json!({"id": "a", "text": "x", "fields": fields}).to_string()
    };
    let (name, long) = ("f".to_owned(), "s".repeat(40_000));
    let many = |count: usize, bytes: usize| -> Vec<(String, String)> {
        (0..count).map(|number| (format!("f{number:02}"), "s".repeat(bytes))).collect()
    };
    for (line, field, words) in [
        (fields(&[(name.clone(), long.clone())]), "fields.f", "32768"),
        (fields(&many(4, 9_000)), "fields", "at most 32768"),
        (fields(&many(65, 1)), "fields", "at most 64"),
        (fields(&[(long.clone(), name.clone())]), "fields", "1 to 128 bytes"),
        (fields(&[(String::new(), name.clone())]), "fields", "1 to 128 bytes"),
        (fields(&[("$f".to_owned(), name)]), "fields", "'$'"),
        (serde_json::json!({"id": long, "text": "x"}).to_string(), "id", "1 to 1024"),
        (
            serde_json::json!({"id": "a", "text": "s".repeat((8 << 20) + 1)}).to_string(),
            "text",
            "at most 8388608",
        ),
    ] {
        let bad = parse::document(&line).expect_err(words);
        assert_eq!(bad.field.as_deref(), Some(field), "{words}");
        assert!(bad.problem.contains(words) && bad.problem.len() < 200, "{bad:?}");
    }
    let most = parse::document(&fields(&many(64, 500))).expect("a document");
    assert_eq!(most.fields.len(), 64);
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
