//! The hub's protocol against a small server on the loopback address.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use hf_hub::HFClient;

use super::fetch_from;
use crate::folder::{CONFIG, POOLING, TENSORS, TOKENIZER};
use crate::weights::FetchError;

const REVISION: &str = "0123456789abcdef0123456789abcdef01234567";

/// Serves files by their paths and notes what was asked.
struct Hub {
    address: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Hub {
    fn start(files: &[(&str, &str)]) -> Self {
        let files: BTreeMap<String, String> = files
            .iter()
            .map(|(name, text)| (format!("/owner/name/resolve/{REVISION}/{name}"), (*text).into()))
            .collect();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let notes = Arc::clone(&asked);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                answer(stream.unwrap(), &files, &notes);
            }
        });
        Hub { address, asked }
    }

    fn fetch(&self, cache: &std::path::Path) -> Result<std::path::PathBuf, FetchError> {
        fetch_at(&self.address, "owner/name", cache)
    }
}

fn fetch_at(
    address: &str,
    repository: &str,
    cache: &std::path::Path,
) -> Result<std::path::PathBuf, FetchError> {
    let client = HFClient::builder().endpoint(address).retry_max_attempts(0);
    fetch_from(client, repository, REVISION, cache, &mut |_, _| {})
}

fn answer(stream: TcpStream, files: &BTreeMap<String, String>, notes: &Mutex<Vec<String>>) {
    let mut reader = BufReader::new(stream);
    let mut first = String::new();
    reader.read_line(&mut first).unwrap();
    let mut line = String::new();
    while reader.read_line(&mut line).unwrap() > 2 {
        line.clear();
    }
    let mut words = first.split(' ');
    let (method, path) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
    notes.lock().unwrap().push(format!("{method} {path}"));
    let (status, body) = match files.get(path) {
        Some(text) => ("200 OK", text.as_str()),
        None => ("404 Not Found\r\nX-Error-Code: EntryNotFound", ""),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nETag: \"e\"\r\nX-Repo-Commit: {REVISION}\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n",
        body.len()
    );
    let body = if method == "HEAD" { "" } else { body };
    // A client that has seen enough may be gone already.
    let _ = reader.get_mut().write_all(format!("{head}{body}").as_bytes());
}

#[test]
fn required_and_present_optional_files_come_once() {
    let cache = tempfile::tempdir().unwrap();
    let files = [(CONFIG, "c"), (TOKENIZER, "t"), (TENSORS, "weights"), (POOLING, "p")];
    let hub = Hub::start(&files);
    let folder = hub.fetch(cache.path()).unwrap();
    for (name, text) in files {
        assert_eq!(std::fs::read_to_string(folder.join(name)).unwrap(), text);
    }
    assert!(!folder.join("modules.json").exists());
    let asked = hub.asked.lock().unwrap().len();
    assert_eq!(hub.fetch(cache.path()), Ok(folder));
    assert_eq!(hub.asked.lock().unwrap().len(), asked, "a second start needs no network");
    assert_eq!(std::fs::read_dir(cache.path()).unwrap().count(), 1, "nothing else is left");
}

#[test]
fn a_missing_required_file_is_named_and_nothing_is_left() {
    let cache = tempfile::tempdir().unwrap();
    let hub = Hub::start(&[(CONFIG, "c"), (TOKENIZER, "t")]);
    match hub.fetch(cache.path()) {
        Err(FetchError::Source(reason)) => assert!(reason.contains(TENSORS), "{reason}"),
        other => panic!("{other:?}"),
    }
    assert_eq!(std::fs::read_dir(cache.path()).unwrap().count(), 0);
}

#[test]
fn a_hub_that_does_not_answer_is_told() {
    let cache = tempfile::tempdir().unwrap();
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    match fetch_at(&format!("http://{closed}"), "owner/name", cache.path()) {
        Err(FetchError::Unreachable(reason)) => {
            assert!(reason.contains(CONFIG) && reason.contains("owner/name"), "{reason}");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_name_that_is_no_repository_is_refused() {
    for repository in ["", "name", "a/b/c", "../b", "a/..", "a/b c", "a/"] {
        let found = fetch_at("http://127.0.0.1:9", repository, std::path::Path::new("/nowhere"));
        assert!(matches!(found, Err(FetchError::Source(_))), "{repository:?}: {found:?}");
    }
}
