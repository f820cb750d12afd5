//! The command against a node that remembers what it was asked.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use clap::{CommandFactory, Parser};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{ToolsAction, run_to};
use crate::config::Settings;
use crate::failure::{Failure, FailureKind};

const PETS: &str = "
openapi: 3.0.3
info: {title: Pets, version: '7'}
servers: [{url: https://api.example}]
security: [{apiKey: []}]
paths:
  /pets/{id}:
    parameters:
      - {name: id, in: path, required: true, schema: {type: integer}}
      - {name: X-Trace, in: header, schema: {type: string}}
    get: {operationId: getPet, responses: {}}
    put:
      operationId: putPet
      requestBody:
        required: true
        content:
          application/json:
            schema: {type: object, properties: {name: {type: string}}, required: [name]}
  /upload:
    post: {requestBody: {required: true, content: {text/csv: {schema: {type: string}}}}}
components:
  securitySchemes:
    apiKey: {type: apiKey, in: header, name: X-API-Key}
";

#[derive(Debug, Parser)]
struct Line {
    #[command(subcommand)]
    action: ToolsAction,
}

/// Answers each request with the next of these, and keeps their bodies.
fn node(answers: Vec<(u16, Value)>) -> (String, Arc<Mutex<Vec<Value>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let asked = Arc::<Mutex<Vec<Value>>>::default();
    let kept = Arc::clone(&asked);
    std::thread::spawn(move || {
        for (status, told) in answers {
            let (stream, _) = listener.accept().unwrap();
            kept.lock().unwrap().push(answer(stream, status, &told));
        }
    });
    (address, asked)
}

fn answer(mut stream: TcpStream, status: u16, told: &Value) -> Value {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        match line.trim().split_once(": ") {
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                length = value.parse().unwrap();
            }
            None if line.trim().is_empty() => break,
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    let told = told.to_string();
    let head = format!("HTTP/1.1 {status} X\r\ncontent-type: application/json\r\n");
    let rest = format!("content-length: {}\r\nconnection: close\r\n\r\n{told}", told.len());
    stream.write_all(format!("{head}{rest}").as_bytes()).unwrap();
    serde_json::from_slice(&body).unwrap()
}

fn run(document: &str, flags: &[&str]) -> (String, Result<(), Failure>) {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("pets.yaml");
    std::fs::write(&file, document).unwrap();
    let words = ["tools", "import", "openapi", file.to_str().unwrap(), "--team", "zoo"];
    let line = Line::try_parse_from(words.iter().chain(flags)).unwrap();
    let mut printed = Vec::new();
    let ended = run_to(&line.action, &Settings::default(), &mut printed);
    (String::from_utf8(printed).unwrap(), ended)
}

#[test]
fn the_flags_fit_together() {
    Line::command().debug_assert();
    for flags in [
        vec!["--prefix", "Zoo-"],
        vec!["--prefix", "a-prefix-that-leaves-no-room"],
        vec!["--secret", "apiKey"],
        vec!["--secret", "apiKey=value-not-a-name"],
    ] {
        let all = ["tools", "import", "openapi", "f", "--team", "zoo"].iter().chain(&flags);
        assert!(Line::try_parse_from(all).is_err(), "{flags:?}");
    }
}

#[test]
fn a_dry_run_prints_whole_definitions() {
    let flags = ["--dry-run", "--prefix", "zoo-", "--secret", "apiKey=PETS_KEY"];
    let (printed, ended) = run(PETS, &flags);
    ended.unwrap();
    let definitions: Vec<Value> =
        printed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(definitions.len(), 2);
    assert_eq!(definitions[1]["name"], "zoo-put-pet");
    let whole = json!({
        "url": "https://api.example/pets/{id}",
        "method": "PUT",
        "parameters": [
            {"argument": "id", "in": "path"}, {"argument": "X-Trace", "in": "header"},
        ],
        "body": {"kind": "rest"},
    });
    assert_eq!(definitions[1]["backend"]["http"], whole);
    let secret = json!([{"header": "x-api-key", "secret": "PETS_KEY"}]);
    assert_eq!(definitions[1]["egress"][0]["headers"], secret);
}

#[test]
fn tools_are_published_one_by_one() {
    let differences = json!([{"path": "input", "what": "has changed", "severity": "breaking"}]);
    let (address, asked) = node(vec![
        (200, json!({"version": 1, "is_new": false, "differences": []})),
        (201, json!({"version": 2, "is_new": true, "differences": differences})),
    ]);
    let (printed, ended) = run(PETS, &["--at", &address]);
    ended.unwrap();
    for part in [
        "POST /upload: is no tool: its body is no JSON\n",
        "get-pet: sends the calling team's secret API_KEY in x-api-key\n",
        "get-pet: is version 1 already\n",
        "put-pet: version 2 is published\n  input has changed (breaking)\n",
    ] {
        assert!(printed.contains(part), "{part} in {printed}");
    }
    let asked = asked.lock().unwrap();
    assert_eq!((asked.len(), &asked[0]["owner"]), (2, &json!("zoo")));

    let refusal = json!({"error": {"message": "owner: is not yours"}});
    let (address, _) =
        node(vec![(403, refusal), (201, json!({"version": 1, "is_new": true, "differences": []}))]);
    let (printed, ended) = run(PETS, &["--at", &address]);
    assert!(printed.contains("put-pet: version 1 is published"), "{printed}");
    assert!(ended.unwrap_err().message.contains("get-pet: "));
    let (_, ended) = run(PETS, &["--at", "127.0.0.1:1"]);
    assert_eq!(ended.unwrap_err().kind, FailureKind::Unavailable);
}

#[test]
fn what_cannot_be_published_whole_is_not_begun() {
    let hidden =
        PETS.replace("operationId: putPet", "operationId: putPet\n      summary: \"a\\u200Bb\"");
    let (address, asked) = node(Vec::new());
    for (document, flags, part) in [
        (PETS, vec!["--only", "getPet,fly"], "no operation `fly`"),
        (PETS, vec!["--secret", "other=KEY"], "no tool needs the security scheme `other`"),
        (PETS, vec!["--only", "POST /upload"], "no operation that a tool can be"),
        ("openapi: 2", vec![], "no `openapi` of 3.0 or 3.1"),
        (hidden.as_str(), vec![], "put-pet: description: holds the invisible character U+200B"),
    ] {
        let flags: Vec<&str> = flags.into_iter().chain(["--at", &address]).collect();
        let failure = run(document, &flags).1.unwrap_err();
        assert_eq!(failure.kind, FailureKind::Settings);
        assert!(failure.message.contains(part), "{failure}");
    }
    assert!(asked.lock().unwrap().is_empty());
}
