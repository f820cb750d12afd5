//! A collection goes over to another model with real weights while it is searched and written:
//! every hit has the score that its own version's vectors give it, so a mixture would be seen.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, Instant};

use headwater_tests::cluster::command;
use headwater_tests::corpus;
use headwater_tests::node::{HANG_TIMEOUT, NodeProcess, weights};
use serde_json::{Value, json};

/// The same encoder, read by the mean of its tokens and by its first one.
const OLD: &str = "mean";
const NEW: &str = "first";
/// Scores by one version; the sink keeps f32.
const ROUNDING: f64 = 2e-3;

/// One hit: the text of its chunk and its score.
struct Hit {
    text: String,
    score: f64,
}

struct Searched {
    query: String,
    version: String,
    hits: Vec<Hit>,
}

struct World {
    node: NodeProcess,
    folder: tempfile::TempDir,
    queries: Vec<String>,
}

fn start() -> World {
    let folder = tempfile::tempdir().unwrap();
    let source = weights().unwrap();
    let source = source.display();
    let model = |name: &str, pooling: &str| {
        format!(
            "{{name=\"{name}\", source={{folder=\"{source}\"}}, pooling=\"{pooling}\", replicas=1}}"
        )
    };
    let models = format!("embedding.models=[{}, {}]", model(OLD, "mean"), model(NEW, "cls"));
    // So slow that there are searches and documents while both versions are live.
    let slow = "vectors.build_chunks_per_s=25".to_owned();
    let mut node = NodeProcess::listening(&folder.path().join("data"), &[models, slow]).unwrap();
    node.wait_for("ready").unwrap();
    World { node, folder, queries: Vec::new() }
}

impl World {
    fn ask(&self, method: &str, path: &str, body: &Value) -> Value {
        let mut connection = self.node.connect().unwrap();
        let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        let headers = [("content-type", "application/json")];
        connection.send(method, path, &headers, &body).unwrap();
        let answer = connection.receive().unwrap();
        assert!(answer.status < 300, "{method} {path}: {} {}", answer.status, answer.text());
        answer.json()
    }

    /// Sends documents and waits until they are all in.
    fn ingest(&self, name: &str, documents: &BTreeMap<String, corpus::Document>) {
        let file = self.folder.path().join(name);
        corpus::write(documents, &file).unwrap();
        let at = self.node.address().unwrap().to_string();
        let file = file.display().to_string();
        let to = ["--collection", "docs", "--job", name, "--at", &at];
        command(&[&["ingest", file.as_str(), "--progress"], &to[..]].concat()).unwrap();
    }

    fn versions(&self) -> Vec<Value> {
        let told = self.ask("GET", "/v1/collections/docs/versions", &Value::Null);
        told["data"].as_array().unwrap().clone()
    }

    /// The model that serves, if no other one is on its way.
    fn settled(&self) -> Option<String> {
        let versions = self.versions();
        if versions.iter().any(|version| version["state"] == "building") {
            return None;
        }
        let serving = versions.iter().find(|version| version["state"] == "serving").unwrap();
        Some(serving["model"].as_str().unwrap().to_owned())
    }

    fn search(&self, query: &str) -> Searched {
        let body = json!({"collection": "docs", "query": query, "limit": 5, "include_text": true});
        let answer = self.ask("POST", "/v1/search", &body);
        let version = answer["model_version"].as_str().unwrap().to_owned();
        let mut hits = Vec::new();
        for hit in answer["data"].as_array().unwrap() {
            assert_eq!(hit["model_version"], version.as_str(), "{hit}");
            let text = hit["text"].as_str().unwrap().to_owned();
            hits.push(Hit { text, score: hit["score"].as_f64().unwrap() });
        }
        assert_eq!(hits.len(), 5, "{query}: {answer}");
        Searched { query: query.to_owned(), version, hits }
    }

    fn search_all(&self) -> Vec<Searched> {
        self.queries.iter().map(|query| self.search(query)).collect()
    }

    /// Each text's vector by this model, of length 1.
    fn vectors(&self, model: &str, texts: &BTreeSet<&str>) -> BTreeMap<String, Vec<f64>> {
        let texts: Vec<&str> = texts.iter().copied().collect();
        let mut all = BTreeMap::new();
        for texts in texts.chunks(64) {
            let body = json!({"model": model, "input": texts, "truncate": true});
            let answer = self.ask("POST", "/v1/embeddings", &body);
            for (text, row) in texts.iter().zip(answer["data"].as_array().unwrap()) {
                let row = row["embedding"].as_array().unwrap();
                let vector: Vec<f64> = row.iter().map(|number| number.as_f64().unwrap()).collect();
                let length = product(&vector, &vector).sqrt();
                all.insert((*text).to_owned(), vector.iter().map(|one| one / length).collect());
            }
        }
        all
    }
}

fn product(left: &[f64], right: &[f64]) -> f64 {
    left.iter().zip(right).map(|(left, right)| left * right).sum()
}

/// Every score is the one of the answer's own version, and the other version's would be seen.
fn check(world: &World, searched: &[Searched], names: &BTreeMap<String, &str>) {
    let hits = || searched.iter().flat_map(|one| one.hits.iter().map(move |hit| (one, hit)));
    let mut texts: BTreeSet<&str> = hits().map(|(_, hit)| hit.text.as_str()).collect();
    texts.extend(searched.iter().map(|one| one.query.as_str()));
    let by_model: BTreeMap<&str, BTreeMap<String, Vec<f64>>> =
        [OLD, NEW].map(|model| (model, world.vectors(model, &texts))).into();
    let score = |query: &str, by: &str, text: &str, of: &str| {
        product(&by_model[by][query], &by_model[of][text])
    };
    let (mut all, mut told_apart) = (0, 0);
    for (one, hit) in hits() {
        let model = names[&one.version];
        let other = if model == OLD { NEW } else { OLD };
        let own = score(&one.query, model, &hit.text, model);
        assert!((own - hit.score).abs() < ROUNDING, "{model}: {own} is told as {}", hit.score);
        let query = &one.query;
        let mixed = [(model, other), (other, model), (other, other)];
        let is_seen = |(by, of)| (score(query, by, &hit.text, of) - own).abs() > 2.0 * ROUNDING;
        all += 1;
        told_apart += usize::from(mixed.into_iter().all(is_seen));
    }
    println!("{} searches, {all} hits, {told_apart} of them told apart", searched.len());
    assert!(10 * told_apart > 9 * all, "{told_apart} of {all} would show a mixture");
}

fn write_corpus(world: &mut World) -> BTreeMap<String, corpus::Document> {
    let mut documents = corpus::documents().unwrap();
    documents.retain(|id, _| Path::new(id).extension().is_some_and(|kind| kind == "md"));
    let mut later = BTreeMap::new();
    if let Some(last) = documents.pop_last() {
        later.insert(last.0, last.1);
    }
    let lines = documents.values().flat_map(|document| document.text.lines());
    let lines = lines.map(str::trim).filter(|line| (60..200).contains(&line.len()));
    world.queries = lines.step_by(30).take(12).map(str::to_owned).collect();
    assert!(world.queries.len() > 5, "too few lines");
    world.ingest("first", &documents);
    later
}

#[test]
fn a_new_model_takes_over_and_no_answer_mixes_two() {
    let mut world = start();
    let create = json!({"name": "docs", "model": OLD, "chunking": {"tokens": 48}});
    world.ask("POST", "/v1/collections", &create);
    let later = write_corpus(&mut world);
    let mut searched = world.search_all();
    let path = "/v1/collections/docs/versions";
    world.ask("POST", path, &json!({"model": NEW, "policy": "eager"}));
    let mut names = BTreeMap::new();
    for version in world.versions() {
        let name = if version["model"] == OLD { OLD } else { NEW };
        names.insert(version["model_version"].as_str().unwrap().to_owned(), name);
    }
    assert_eq!(names.len(), 2, "{names:?}");
    searched.extend(world.search_all());
    world.ingest("second", &later);
    assert_eq!(world.settled(), None, "searched and written while both were live");
    let began = Instant::now();
    while world.settled().is_none() {
        assert!(began.elapsed() < HANG_TIMEOUT, "{:?}", world.versions());
        searched.extend(world.search_all());
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(world.settled().as_deref(), Some(NEW));
    let after = world.search_all();
    assert!(after.iter().all(|one| names[&one.version] == NEW));
    searched.extend(after);
    let served: BTreeSet<&str> = searched.iter().map(|one| names[&one.version]).collect();
    assert_eq!(served, BTreeSet::from([OLD, NEW]));
    world.ask("POST", "/v1/collections/docs/rollback", &Value::Null);
    let back = world.search_all();
    assert!(back.iter().all(|one| names[&one.version] == OLD));
    searched.extend(back);
    check(&world, &searched, &names);
    // What came in while both were live is in both.
    let late = later.values().next().unwrap();
    let whole =
        world.ask("GET", &format!("/v1/collections/docs/documents/{}", late.id), &Value::Null);
    assert_eq!(whole["complete"], true, "{whole}");
    assert_eq!(world.node.stop().unwrap().code, Some(0));
}
