//! Tools of a node in the hands of others: models that call functions with the official openai and
//! anthropic SDKs, and the official MCP SDKs.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread;

use headwater_tests::clients::{node_packages, python};
use headwater_tests::node::{NodeProcess, models_setting, weights};
use headwater_tests::repository_root;
use headwater_tests::tokens::{new_key, token};
use headwater_tests::upstream::{Simulator, UPSTREAM_KEY};
use serde_json::{Value, json};

const MODEL: &str = "caller";

/// A service that knows the weather, and whom it was told that asks.
struct Weather {
    address: SocketAddr,
    calls: Arc<Mutex<Vec<String>>>,
}

impl Weather {
    fn start() -> Weather {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let calls = Arc::<Mutex<Vec<String>>>::default();
        let heard = Arc::clone(&calls);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let heard = Arc::clone(&heard);
                thread::spawn(move || answer(stream.unwrap(), &heard));
            }
        });
        Weather { address, calls }
    }
}

/// Answers one request after the other until the caller closes the connection.
fn answer(stream: TcpStream, heard: &Mutex<Vec<String>>) {
    let mut stream = BufReader::new(stream);
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).unwrap_or(0) == 0 {
            return;
        }
        let mut length = 0;
        loop {
            let mut line = String::new();
            stream.read_line(&mut line).unwrap();
            let Some((name, value)) = line.trim_end().split_once(": ") else { break };
            match name.to_ascii_lowercase().as_str() {
                "content-length" => length = value.parse().unwrap(),
                "idempotency-key" => heard.lock().unwrap().push(value.to_owned()),
                _ => {}
            }
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body).unwrap();
        let asked: Value = serde_json::from_slice(&body).unwrap();
        let told = json!({"city": asked["city"], "degrees": 21}).to_string();
        let length = told.len();
        let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json";
        let answer = format!("{head}\r\ncontent-length: {length}\r\n\r\n{told}");
        stream.get_mut().write_all(answer.as_bytes()).unwrap();
    }
}

fn definition(weather: &Weather) -> Value {
    let city = json!({"type": "object", "properties": {"city": {"type": "string"}},
        "required": ["city"], "additionalProperties": false});
    let told = json!({"type": "object", "properties": {"city": {"type": "string"},
        "degrees": {"type": "number"}}, "required": ["city", "degrees"]});
    json!({
        "name": "weather",
        "description": "Tells how warm a city is, in degrees Celsius.",
        "owner": "platform",
        "kind": "stateful",
        "idempotent": true,
        "cost_microdollars": 40,
        "input": city,
        "output": told,
        "backend": {"http": {"url": format!("http://{}/now", weather.address), "method": "POST"}},
    })
}

/// What the client prints, a line of JSON each.
fn hear(mut command: Command, node: &NodeProcess, token: &str) -> Vec<Value> {
    command.env("HEADWATER_URL", format!("http://{}", node.address().unwrap()));
    command.env("HEADWATER_TOKEN", token).envs([("NO_PROXY", "*"), ("no_proxy", "*")]);
    let output = command.output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "the client broke:\n{said}\n{errors}");
    said.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn check(rows: &[Value], sdks: &[&str]) {
    let told = json!({"city": "Kyoto", "degrees": 21});
    let names: Vec<&str> = rows.iter().map(|row| row["sdk"].as_str().unwrap()).collect();
    assert_eq!(names, sdks);
    for row in rows {
        assert_eq!(row["tool"], told, "{row}");
        if row["sdk"].as_str().unwrap().starts_with("mcp") {
            assert_eq!(row["names"], json!(["weather_v1"]), "{row}");
            assert_eq!(row["wrong"][0], true, "{row}");
            assert!(row["wrong"][1].as_str().unwrap().contains("town"), "{row}");
        } else {
            let text = row["text"].as_str().unwrap();
            assert!(text.starts_with("The tool says") && text.contains("Kyoto"), "{row}");
        }
    }
}

#[test]
fn models_and_mcp_clients_call_tools_with_their_official_sdks() {
    let (weather, provider) = (Weather::start(), Simulator::start().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    new_key(&path("key")).unwrap();
    std::fs::write(path("upstream"), UPSTREAM_KEY).unwrap();
    let (url, key) = (provider.base_url(), path("upstream"));
    let settings = [
        models_setting(&weights().unwrap(), ""),
        format!("auth.key_file={}", path("key").display()),
        format!(
            "gateway.backends=[{{name=\"one\", protocol=\"openai\", url=\"{url}\", \
             key_file=\"{}\"}}]",
            key.display()
        ),
        format!(
            "gateway.models=[{{name=\"{MODEL}\", targets=[{{backend=\"one\", model=\"m\", \
             price={{input=1.0, output=2.0}}}}]}}]"
        ),
        format!("tools.internal_hosts=[\"{}\"]", weather.address),
    ];
    let mut node = NodeProcess::listening(&path("data"), &settings).unwrap();
    node.wait_for("ready").unwrap();
    let client = token(&path("key"), "acme", "standard").unwrap();
    let operator = token(&path("key"), "platform", "operator").unwrap();
    let bearer = format!("Bearer {operator}");
    let headers = [("authorization", bearer.as_str())];
    let mut connection = node.connect().unwrap();
    let published = connection
        .post("/v1/tools", &headers, definition(&weather).to_string().as_bytes())
        .unwrap();
    assert_eq!(published.status, 201, "{}", published.text());
    let grant = json!({"team": "acme", "tool": "weather"}).to_string();
    connection.send("PUT", "/v1/tool-grants/weather", &headers, grant.as_bytes()).unwrap();
    assert_eq!(connection.receive().unwrap().status, 204);

    let mut command = Command::new(python().unwrap());
    command.arg(repository_root().join("tests/clients/tools.py")).arg(MODEL);
    let rows = hear(command, &node, &client);
    check(&rows, &["openai", "anthropic", "mcp legacy", "mcp auto"]);
    let mut command = Command::new("node");
    command.arg(repository_root().join("tests/clients/tools.mjs"));
    command.arg(node_packages().unwrap()).arg(MODEL);
    check(&hear(command, &node, &client), &["openai", "mcp"]);

    // The ids of the models' calls reached the service, and each call has an id of its own.
    let calls = weather.calls.lock().unwrap().clone();
    assert!(calls.iter().filter(|id| id.contains("call")).count() >= 3, "{calls:?}");
    let of_one = calls.iter().collect::<std::collections::BTreeSet<_>>().len();
    assert_eq!(of_one, 6, "{calls:?}");
    let unsigned = connection.post("/mcp", &[], b"{}").unwrap();
    assert_eq!(unsigned.status, 401, "{}", unsigned.text());
    let ended = node.stop().unwrap();
    assert_eq!(ended.code, Some(0));
    assert!(!ended.log.contains(&client) && !ended.log.contains(UPSTREAM_KEY));
}
