//! Starting, refusing to start, draining and starting again, by exit codes and answers.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::thread;

use headwater_tests::http::Answer;
use headwater_tests::node::{MODEL, NodeProcess, headwater, models_setting, run, weights};
use serde_json::json;

const SETTINGS: i32 = 2;
const ADDRESS: i32 = 3;
const UNAVAILABLE: i32 = 4;

/// Runs `serve` with a data folder of its own and expects it to end at once.
fn refused(more: &[&str], code: i32, mentions: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    let data_dir = folder.path().to_str().unwrap();
    let mut arguments = vec!["serve", "--data-dir", data_dir];
    arguments.extend(more);
    expect_end(&run(&arguments).unwrap(), code, mentions);
}

fn expect_end(output: &Output, code: i32, mentions: &[&str]) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{said}");
    // What the operator reads is the last thing said, and starts with the program's name.
    let (_, reason) = said.rsplit_once("headwater: ").unwrap_or_else(|| panic!("{said}"));
    for mention in mentions {
        assert!(reason.contains(mention), "no {mention:?} in: {reason}");
    }
}

fn embed_body(texts: usize, words: usize) -> Vec<u8> {
    // All different, or one would be computed for all.
    let text = |number: usize| format!("{number} {}", "word ".repeat(words - 1));
    let texts: Vec<String> = (0..texts).map(text).collect();
    json!({"model": MODEL, "input": texts}).to_string().into_bytes()
}

fn assert_retry(answer: &Answer, code: &str) {
    assert_eq!((answer.status, answer.error_code().as_str()), (503, code), "{}", answer.text());
    let seconds: u64 = answer.header("retry-after").unwrap().parse().unwrap();
    assert!(seconds >= 1, "{seconds}");
}

#[test]
fn bad_settings_name_key_and_line() {
    let folder = tempfile::tempdir().unwrap();
    let cases = [
        ("[server]\nthreads = 2\nlistne = \"127.0.0.1:0\"\n", "listne", "line 3"),
        ("[server]\nthreads = \"many\"\n", "threads", "line 2"),
        ("\n[embedding]\nbatch_rows = 0\n", "embedding.batch_rows", "line 3"),
    ];
    for (text, key, line) in cases {
        let file = folder.path().join("node.toml");
        fs::write(&file, text).unwrap();
        let file = file.to_str().unwrap();
        refused(&["--config", file], SETTINGS, &[file, key, line]);
        let checked = run(&["config", "check", "--config", file]).unwrap();
        expect_end(&checked, SETTINGS, &[file, key, line]);
    }
    refused(&["--set", "server.threads=0"], SETTINGS, &["server.threads", "at least 1"]);
}

#[test]
fn a_taken_port_is_told() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    refused(&["--listen", &address], ADDRESS, &[&address, "--listen"]);
}

#[test]
fn an_open_node_stays_on_loopback() {
    refused(&["--listen", "0.0.0.0:0"], SETTINGS, &["0.0.0.0:0", "auth.key_file"]);
    let missing = "auth.key_file=no-such-key";
    refused(&["--listen", "0.0.0.0:0", "--set", missing], SETTINGS, &["no-such-key", "--new-key"]);
}

#[test]
fn unknown_weights_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let nowhere = folder.path().join("nowhere");
    let setting = models_setting(&nowhere, "");
    let listen = "127.0.0.1:0";
    let mentions = [MODEL, nowhere.to_str().unwrap(), "config.json"];
    refused(&["--listen", listen, "--set", &setting], UNAVAILABLE, &mentions);
}

#[test]
fn a_held_store_is_told_and_its_holder_serves_on() {
    let folder = tempfile::tempdir().unwrap();
    let node = NodeProcess::ready(folder.path(), &[]).unwrap();
    let data_dir = folder.path().to_str().unwrap();
    let setting = models_setting(&weights().unwrap(), "");
    let second =
        run(&["serve", "--listen", "127.0.0.1:0", "--data-dir", data_dir, "--set", &setting]);
    expect_end(&second.unwrap(), UNAVAILABLE, &["storage", "store.redb"]);
    let answer = node.connect().unwrap().post("/v1/embeddings", &[], &embed_body(1, 3)).unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(node.stop().unwrap().code, Some(0));
}

/// A stand-in for Python whose download of weights lasts until the test allows it to fail.
struct SlowDownload {
    folder: tempfile::TempDir,
}

impl SlowDownload {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let python = folder.path().join("python");
        let here = folder.path().display();
        let script = format!(
            "#!/bin/sh\nwhile [ -d '{here}' ] && [ ! -e '{here}/fail' ]; do sleep 0.05; done\n\
             echo 'ERROR: the registry is gone' >&2\nexit 1\n"
        );
        fs::write(&python, script).unwrap();
        fs::set_permissions(&python, fs::Permissions::from_mode(0o755)).unwrap();
        SlowDownload { folder }
    }

    /// A node of the default model, which is not there yet.
    fn serve(&self) -> NodeProcess {
        let mut command = headwater(&["serve", "--listen", "127.0.0.1:0"]).unwrap();
        command.args(["--set", "log.format=json", "--data-dir"]).arg(self.path("data"));
        command.env("HEADWATER_PYTHON", self.path("python"));
        NodeProcess::spawn(command).unwrap()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

#[test]
fn a_loading_node_is_alive_and_not_ready() {
    let download = SlowDownload::new();
    let node = download.serve();
    let mut client = node.connect().unwrap();
    assert_eq!(client.get("/health", &[]).unwrap().status, 200);
    assert_retry(&client.get("/ready", &[]).unwrap(), "not_ready");
    let answer = client.post("/v1/embeddings", &[], &embed_body(1, 3)).unwrap();
    assert_retry(&answer, "not_ready");
    fs::write(download.path("fail"), "").unwrap();
    let ended = node.wait().unwrap();
    assert_eq!(ended.code, Some(UNAVAILABLE), "{}", ended.log);
    assert!(ended.log.contains("the registry is gone"), "{}", ended.log);
}

#[test]
fn a_loading_node_stops_at_once() {
    let download = SlowDownload::new();
    let node = download.serve();
    let ended = node.stop().unwrap();
    assert_eq!(ended.code, Some(0), "{}", ended.log);
}

/// The sum of a metric over its labels.
fn metric(page: &str, name: &str) -> f64 {
    let lines = page.lines().filter(|line| line.starts_with(name));
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

#[test]
fn a_drain_finishes_what_runs_and_refuses_what_comes() {
    let folder = tempfile::tempdir().unwrap();
    let settings = ["server.drain_timeout_ms", "embedding.request_timeout_ms"]
        .map(|key| format!("{key}=170000"));
    let mut node = NodeProcess::ready(folder.path(), &settings).unwrap();
    let mut slow = node.connect().unwrap();
    let texts = 512;
    let running =
        thread::spawn(move || slow.post("/v1/embeddings", &[], &embed_body(texts, 240)).unwrap());
    let mut scraper = node.connect().unwrap();
    while metric(&scraper.get("/metrics", &[]).unwrap().text(), "headwater_embedding_queue_items")
        < 1.0
    {
        assert!(!running.is_finished(), "the slow request was over before it was seen to wait");
    }
    node.terminate().unwrap();
    node.wait_for("SIGTERM").unwrap();
    // The line is written a moment before the gate closes.
    let refusal = (0..1000).find_map(|_| {
        let mut late = node.connect().unwrap();
        let answer = late.get("/v1/models", &[]).unwrap();
        (answer.status != 200).then_some(answer)
    });
    let refusal = refusal.unwrap();
    assert_retry(&refusal, "draining");
    assert_eq!(refusal.header("connection"), Some("close"));
    assert_eq!(node.connect().unwrap().get("/health", &[]).unwrap().status, 200);
    assert_retry(&node.connect().unwrap().get("/ready", &[]).unwrap(), "draining");
    assert!(!running.is_finished(), "the slow request was over before the refusal was seen");
    let answer = running.join().unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.json()["data"].as_array().map(Vec::len), Some(texts));
    let ended = node.wait().unwrap();
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    assert!(ended.log.contains("\"drained\""), "{}", ended.log);
}

#[test]
fn doctor_and_config_check_agree_with_good_settings() {
    let folder = tempfile::tempdir().unwrap();
    let data_dir = format!("data_dir={}", folder.path().display());
    let models = models_setting(&weights().unwrap(), "");
    let settings = ["--set", data_dir.as_str(), "--set", models.as_str()];
    for (command, mentions) in [(vec!["doctor"], "processor"), (vec!["config", "check"], MODEL)] {
        let output = run(&[command.as_slice(), settings.as_slice()].concat()).unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(0), "{command:?}: {said}");
        assert!(said.contains(mentions), "{command:?}: {said}");
    }
}

/// One life of a node: start, one request, stop. Returns its log.
fn one_life(data_dir: &Path, more: &str) -> String {
    let mut setting = vec![models_setting(&weights().unwrap(), more)];
    setting.push("embedding.request_timeout_ms=170000".to_owned());
    let mut node = NodeProcess::listening(data_dir, &setting).unwrap();
    node.wait_for("ready").unwrap();
    let answer = node.connect().unwrap().post("/v1/embeddings", &[], &embed_body(2, 5)).unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    let ended = node.stop().unwrap();
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    ended.log
}

#[test]
fn a_store_remembers_what_was_served() {
    let folder = tempfile::tempdir().unwrap();
    let warning = "fingerprint changed";
    let lives = [("", false), ("", false), (", normalise=false", true), ("", true), ("", false)];
    for (life, (more, warns)) in lives.into_iter().enumerate() {
        let log = one_life(folder.path(), more);
        assert_eq!(log.contains(warning), warns, "life {life}: {log}");
    }
}
