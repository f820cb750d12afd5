//! The adapter against a double of Qdrant's protocol. No real server is reached: what the double
//! promises is what the API's documentation says.

mod collection;
mod server;

use std::time::Duration;

use headwater_vectors::{
    Filter, Metric, NumberFormat, Record, RecordId, SearchQuery, Sink, SinkError, Space, Value,
    conformance,
};

use crate::{ApiKey, QdrantSettings, QdrantSink};
use server::{Double, Trouble};

const KEY: &str = "a-key-that-nobody-may-see";

fn sink(double: &Double) -> QdrantSink {
    let settings = QdrantSettings {
        address: double.address(),
        api_key: Some(ApiKey::new(KEY)),
        request_timeout_ms: 5_000,
        first_pause_ms: 1,
        longest_pause_ms: 5,
        ..QdrantSettings::default()
    };
    QdrantSink::new(settings).expect("good settings")
}

fn space(format: NumberFormat) -> Space {
    Space {
        name: "acme/texts/1".to_owned(),
        model: "model".to_owned(),
        version: "version".to_owned(),
        dimensions: 3,
        metric: Metric::Cosine,
        format,
    }
}

fn record(number: u8, vector: [f32; 3]) -> Record {
    let (model, version) = ("model".to_owned(), "version".to_owned());
    let fields = [("number".to_owned(), Value::Number(f64::from(number)))].into();
    let (id, source) = (RecordId([number; 32]), "source".to_owned());
    Record { id, vector: vector.to_vec(), model, version, source, fields }
}

fn query(vector: [f32; 3]) -> SearchQuery {
    let version = "version".to_owned();
    SearchQuery { vector: vector.to_vec(), version, limit: 5, filter: None }
}

#[tokio::test]
async fn the_suite_passes() {
    let double = Double::start(KEY).await;
    let count = conformance::run(&sink(&double), 3).await;
    assert_eq!(count.unwrap_or_else(|violation| panic!("{violation}")), 19);
    assert_eq!(double.collections(), Vec::<String>::new());
}

#[tokio::test]
async fn the_suite_passes_through_busy_servers_and_broken_connections() {
    let double = Double::start(KEY).await;
    // One of these at every third request, in turn.
    double.trouble_each_third(&[
        Trouble::Status(429),
        Trouble::Status(503),
        Trouble::ClosedBefore,
        Trouble::ClosedAfter,
    ]);
    let count = conformance::run(&sink(&double), 4).await;
    assert_eq!(count.unwrap_or_else(|violation| panic!("{violation}")), 19);
    assert!(double.troubles() > 100, "{}", double.troubles());
}

/// What Qdrant is told about a space in each format.
#[tokio::test]
async fn formats_become_datatypes_and_quantisations() {
    let double = Double::start(KEY).await;
    let sink = sink(&double);
    for (format, datatype, quantisation) in [
        (NumberFormat::F32, "float32", "null"),
        (NumberFormat::F16, "float16", "null"),
        (
            NumberFormat::I8,
            "float32",
            r#"{"scalar":{"always_ram":true,"quantile":0.99,"type":"int8"}}"#,
        ),
        (NumberFormat::Binary, "float32", r#"{"binary":{"always_ram":true}}"#),
    ] {
        let space = space(format);
        sink.create(&space).await.expect("created");
        assert_eq!(double.collections(), ["headwater-acme~2ftexts~2f1"]);
        let created = double.created("headwater-acme~2ftexts~2f1");
        assert_eq!(created["vectors"]["datatype"], datatype);
        assert_eq!(created["quantization_config"].to_string(), quantisation);
        assert_eq!(sink.space(&space.name).await.expect("read"), Some(space.clone()));
        sink.drop_space(&space.name).await.expect("dropped");
    }
}

#[tokio::test]
async fn a_server_in_trouble_is_told_apart_and_the_key_is_never_shown() {
    let double = Double::start(KEY).await;
    let sink = sink(&double);
    sink.create(&space(NumberFormat::F32)).await.expect("created");
    for (trouble, part) in [
        (Trouble::Status(503), "status 503, after 4 tries"),
        (Trouble::Status(429), "status 429, after 4 tries"),
        (Trouble::ClosedAfter, "after 4 tries"),
        (Trouble::Status(401), "refuses the api key"),
        (Trouble::Garbage, "is not what its API promises"),
    ] {
        double.trouble_always(Some(trouble));
        let answer = sink.count("acme/texts/1").await;
        let Err(SinkError::Unavailable(text)) = &answer else { panic!("{answer:?}") };
        assert!(text.contains(part), "'{text}' does not say '{part}'");
        assert!(!text.contains(KEY) && !text.contains("127.0.0.1"), "{text}");
    }
    double.trouble_always(Some(Trouble::Status(422)));
    let answer = sink.count("acme/texts/1").await;
    assert!(matches!(answer, Err(SinkError::Request(_))), "{answer:?}");
    double.trouble_always(None);
    assert_eq!(sink.count("acme/texts/1").await, Ok(0));
    let stranger = QdrantSettings {
        address: double.address(),
        api_key: Some(ApiKey::new("another")),
        ..QdrantSettings::default()
    };
    assert!(!format!("{stranger:?}").contains("another"), "{stranger:?}");
    let answer = QdrantSink::new(stranger).expect("good settings").count("acme/texts/1").await;
    assert!(matches!(answer, Err(SinkError::Unavailable(_))), "{answer:?}");
}

#[tokio::test]
async fn a_silent_server_is_given_up() {
    let double = Double::start(KEY).await;
    double.trouble_always(Some(Trouble::Silence));
    let settings = QdrantSettings {
        address: double.address(),
        request_timeout_ms: 50,
        tries: 2,
        first_pause_ms: 1,
        ..QdrantSettings::default()
    };
    let sink = QdrantSink::new(settings).expect("good settings");
    let answer = tokio::time::timeout(Duration::from_secs(20), sink.count("any")).await;
    let answer = answer.expect("no hang");
    let Err(SinkError::Unavailable(text)) = &answer else { panic!("{answer:?}") };
    assert!(text.contains("the time for a request is over, after 2 tries"), "{text}");
}

#[test]
fn settings_that_cannot_work_are_refused() {
    for (address, part) in [
        ("qdrant", "is no URL"),
        ("ftp://qdrant:6333", "another scheme"),
        ("http://user:secret@qdrant:6333", "holds a password"),
    ] {
        let settings = QdrantSettings { address: address.to_owned(), ..QdrantSettings::default() };
        let answer = QdrantSink::new(settings).err();
        let Some(SinkError::Request(text)) = &answer else { panic!("{answer:?}") };
        assert!(text.contains(part) && !text.contains("secret"), "{text}");
    }
    let api_key = Some(ApiKey::new("line\nbreak"));
    let answer = QdrantSink::new(QdrantSettings { api_key, ..QdrantSettings::default() }).err();
    assert!(matches!(answer, Some(SinkError::Request(_))), "{answer:?}");
}

#[tokio::test]
async fn what_qdrant_cannot_take_is_refused() {
    let double = Double::start(KEY).await;
    let sink = sink(&double);
    sink.create(&space(NumberFormat::F32)).await.expect("created");
    let mut endless = record(1, [1.0, 0.0, 0.0]);
    endless.fields.insert("far".to_owned(), Value::Number(f64::INFINITY));
    let nested = (0..60).fold(Filter::All(Vec::new()), |inner, _| Filter::Not(Box::new(inner)));
    let named = Filter::Equal("a\"b".to_owned(), Value::Bool(true));
    let filtered = |filter| SearchQuery { filter: Some(filter), ..query([1.0, 0.0, 0.0]) };
    let long = Space { name: "n".repeat(300), ..space(NumberFormat::F32) };
    let answers = [
        (sink.upsert("acme/texts/1", vec![endless]).await, "the field 'far' is not finite"),
        (sink.search("acme/texts/1", &filtered(nested)).await.map(drop), "50 levels"),
        (sink.search("acme/texts/1", &filtered(named)).await.map(drop), "no quotation mark"),
        (sink.create(&long).await, "give it 1 to 230"),
    ];
    for (answer, part) in answers {
        let Err(SinkError::Request(text)) = &answer else { panic!("{answer:?}") };
        assert!(text.contains(part), "'{text}' does not say '{part}'");
    }
}

/// An open end and a number that is none must not let everything pass.
#[tokio::test]
async fn ends_that_json_does_not_know_stay_ends() {
    let double = Double::start(KEY).await;
    let sink = sink(&double);
    sink.create(&space(NumberFormat::F32)).await.expect("created");
    let records = vec![record(1, [1.0, 0.0, 0.0]), record(2, [0.0, 1.0, 0.0])];
    sink.upsert("acme/texts/1", records).await.expect("written");
    let (far, none) = (f64::INFINITY, f64::NAN);
    for (low, high, passing) in [
        (Some(-far), Some(far), 2),
        (Some(far), None, 0),
        (None, Some(-far), 0),
        (Some(none), None, 0),
        (Some(2.0), Some(far), 1),
    ] {
        let filter = Some(Filter::Between("number".to_owned(), low, high));
        let query = SearchQuery { filter, ..query([1.0, 1.0, 0.0]) };
        let hits = sink.search("acme/texts/1", &query).await.expect("a search");
        assert_eq!(hits.len(), passing, "{low:?} to {high:?}");
    }
}

/// Two ids that agree in their first half are one point; neither passes for the other.
#[tokio::test]
async fn a_point_of_another_id_is_no_answer() {
    let double = Double::start(KEY).await;
    let sink = sink(&double);
    sink.create(&space(NumberFormat::F32)).await.expect("created");
    let first = record(1, [1.0, 0.0, 0.0]);
    let mut second = record(1, [0.0, 1.0, 0.0]);
    second.id.0[31] = 9;
    sink.upsert("acme/texts/1", vec![first.clone()]).await.expect("written");
    let found = sink.get("acme/texts/1", &[second.id, first.id]).await.expect("read");
    assert_eq!(found, [None, Some(first)]);
}

#[tokio::test]
async fn a_collection_of_somebody_else_is_left_alone() {
    let double = Double::start(KEY).await;
    let sink = sink(&double);
    double.put_foreign("headwater-acme~2ftexts~2f1", 3);
    let answer = sink.create(&space(NumberFormat::F32)).await;
    let Err(SinkError::Space(text)) = &answer else { panic!("{answer:?}") };
    assert!(text.contains("was not made by headwater"), "{text}");
}
