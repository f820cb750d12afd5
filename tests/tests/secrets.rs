//! Canaries in everything a client or an operator keeps secret, and a look at everything the
//! node writes.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};

use headwater_tests::http::{Answer, Connection};
use headwater_tests::node::{HANG_TIMEOUT, MODEL, NodeProcess, run};
use headwater_tests::upstream::{Simulator, UPSTREAM_KEY};
use serde_json::json;

const KEY: &str = "c0ffee11decade22facade33c0ffee44deface55baddad66cabbed77beaded88";
const TEXT: &str = "CANARY-input-text-5d1f";
const BEARER: &str = "CANARY-bearer-90b2";
const QUERY: &str = "CANARY-query-7e66";
/// In a header that is meant for somebody else.
const HEADER: &str = "CANARY-goog-key-31c4";
/// A token of an outside issuer: header and claims, and a signature that nobody made.
const OUTSIDE_HEAD: &str = "eyJhbGciOiJFZERTQSIsImtpZCI6Im9uZSIsInR5cCI6IkpXVCJ9.\
    eyJpc3MiOiJodHRwczovL2lkLmV4YW1wbGUiLCJhdWQiOiJ1cyIsInRlYW0iOiJhY21lIiwiZXhwIjo0MTAyNDQ0ODAwLCJqdGkiOiJqIn0";
const OUTSIDE_SIGNATURE: &str =
    "CANARY-outside-token-signature-6b1d0f2e4a88c3d7e5f9a1b2c3d4e5f6a7b8c9d0e1f2a3b4c5d6e7f8";
const API_KEY: &str = "CANARY-x-api-key-77aa";

/// What may be found nowhere: a name for the finding, and the text.
fn canaries(token: &str) -> Vec<(&'static str, String)> {
    let key: Vec<u8> = KEY
        .as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect();
    let numbers = format!("{key:?}");
    let signature = token.rsplit('.').next().unwrap();
    assert!(signature.len() > 40, "{signature}");
    vec![
        ("the key", KEY.to_owned()),
        ("the key's bytes", numbers.trim_matches(['[', ']']).to_owned()),
        ("the token's signature", signature.to_owned()),
        ("the wrong bearer", BEARER.to_owned()),
        ("the text", TEXT.to_owned()),
        ("the query", QUERY.to_owned()),
        ("the header", HEADER.to_owned()),
        ("the wrong x-api-key", API_KEY.to_owned()),
        ("the provider's key", UPSTREAM_KEY.to_owned()),
        ("the outside token's signature", OUTSIDE_SIGNATURE.to_owned()),
    ]
}

/// One line for every canary that stands in `bytes`.
fn find(canaries: &[(&str, String)], place: &str, bytes: &[u8]) -> Vec<String> {
    let found = canaries.iter().filter(|(_, canary)| {
        let mut windows = bytes.windows(canary.len());
        windows.any(|window| window.eq_ignore_ascii_case(canary.as_bytes()))
    });
    found.map(|(name, _)| format!("{name} stands in {place}")).collect()
}

fn assert_absent(canaries: &[(&str, String)], place: &str, bytes: &[u8]) {
    let found = find(canaries, place, bytes);
    assert!(found.is_empty(), "{}:\n{}", found.join("\n"), String::from_utf8_lossy(bytes));
}

/// The bodies to send, each with the status that a good token gets.
fn bodies() -> Vec<(Vec<u8>, u16)> {
    let text = |value: serde_json::Value| value.to_string().into_bytes();
    let long = format!("{TEXT} {}", "word ".repeat(300));
    let invalid = [b"{\"input\": \"", TEXT.as_bytes(), b"\xff\"}"].concat();
    vec![
        (text(json!({"model": MODEL, "input": TEXT})), 200),
        (text(json!({"model": MODEL, "input": [TEXT, long]})), 400),
        (text(json!({"model": MODEL, "input": [TEXT, 7]})), 400),
        (text(json!({"model": MODEL, "input": [7, TEXT]})), 400),
        (text(json!({"model": MODEL, "input": {"text": TEXT}})), 400),
        (text(json!({"model": MODEL, "input": {TEXT: 1}})), 400),
        (text(json!({"model": MODEL, "input": [[TEXT]]})), 400),
        (text(json!({"model": "other", "input": TEXT})), 404),
        (text(json!({"input": TEXT})), 400),
        (text(json!(TEXT)), 400),
        (text(json!([TEXT])), 400),
        (format!("{{\"model\": \"{MODEL}\", \"input\": \"{TEXT}").into_bytes(), 400),
        (format!("{{\"model\": \"{MODEL}\", \"input\": \"a\"}} {TEXT}").into_bytes(), 400),
        (TEXT.as_bytes().to_vec(), 400),
        (invalid, 400),
    ]
}

/// Sends every body with the authorization and gives every answer to `judge`.
fn send_all(
    client: &mut Connection,
    authorization: &str,
    mut judge: impl FnMut(&[u8], u16, &Answer),
) {
    let headers = [("authorization", authorization), ("x-goog-api-key", HEADER)];
    let targets = ["/v1/embeddings", "/embed", "/tokenize"];
    for target in targets {
        for (body, status) in bodies() {
            let answer = client.post(&format!("{target}?secret={QUERY}"), &headers, &body).unwrap();
            // The other routes have fields of their own; their refusals are as silent.
            let status = if target == "/v1/embeddings" { status } else { answer.status };
            judge(&body, status, &answer);
        }
    }
    let target = format!("/v1/models?secret={QUERY}");
    judge(&[], 200, &client.get(&target, &headers).unwrap());
}

/// One HTTP/2 string or header by hand (RFC 7541, sections 5.2 and 6.2.2): never compressed,
/// never indexed.
fn hpack(name: &str, value: &str) -> Vec<u8> {
    let mut header = vec![0];
    for text in [name, value] {
        let length = text.len();
        if length < 127 {
            header.push(u8::try_from(length).unwrap());
        } else {
            let rest = length - 127;
            assert!(rest < 128 * 128, "{length} bytes");
            let low = u8::try_from(rest % 128).unwrap();
            header.extend([127, low | 128, u8::try_from(rest / 128).unwrap()]);
        }
        header.extend_from_slice(text.as_bytes());
    }
    header
}

/// A frame of HTTP/2 (RFC 9113, section 4.1).
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// The good request over HTTP/2, whose library traces its frames. Returns when it is answered.
fn send_http2(address: SocketAddr, token: &str) {
    const DATA: u8 = 0;
    const HEADERS: u8 = 1;
    const SETTINGS: u8 = 4;
    let (end_stream, end_headers) = (1, 4);
    let authorization = format!("Bearer {token}");
    let path = format!("/v1/embeddings?secret={QUERY}");
    let headers = [
        (":method", "POST"),
        (":scheme", "http"),
        (":authority", "headwater"),
        (":path", path.as_str()),
        ("authorization", authorization.as_str()),
        ("x-goog-api-key", HEADER),
    ];
    let headers: Vec<u8> = headers.iter().flat_map(|(name, value)| hpack(name, value)).collect();
    let body = json!({"model": MODEL, "input": TEXT}).to_string();
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(HANG_TIMEOUT)).unwrap();
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    let request = [
        preface,
        frame(SETTINGS, 0, 0, &[]),
        frame(HEADERS, end_headers, 1, &headers),
        frame(DATA, end_stream, 1, body.as_bytes()),
    ];
    stream.write_all(&request.concat()).unwrap();
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).unwrap();
        let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
        stream.read_exact(&mut payload).unwrap();
        if head[3] == HEADERS {
            // Index 8 of the static table is `:status: 200`.
            assert_eq!(payload[0], 0x88, "{payload:?}");
        }
        if head[3] == DATA && head[4] & end_stream != 0 {
            return;
        }
    }
}

/// Chats that end in each way, over the provider's own protocol and another.
fn chat(client: &mut Connection, token: &str, canaries: &[(&str, String)]) {
    let wrong = [("x-api-key", API_KEY)];
    let refused = client.post("/v1/messages", &wrong, b"{}").unwrap();
    assert_eq!(refused.status, 401, "{}", refused.text());
    assert_absent(canaries, "a refusal of x-api-key", &refused.body);
    let bearer = format!("Bearer {token}");
    let headers = [("authorization", bearer.as_str())];
    for (fault, status) in [("", 200), ("fault:500", 503), ("fault:429:9", 429), ("fault:422", 422)]
    {
        let content = format!("{TEXT} {fault}");
        let body = json!({"model": "chat", "max_tokens": 9, "messages": [{"role": "user", "content": content}]});
        for target in ["/v1/chat/completions", "/v1/messages"] {
            let answer = client.post(target, &headers, body.to_string().as_bytes()).unwrap();
            // Anthropic's clients know 529 where others know 503.
            let told = if answer.status == 529 { 503 } else { answer.status };
            assert_eq!(told, status, "{fault}: {}", answer.text());
            if status != 200 {
                assert_absent(canaries, "a chat's refusal", &answer.body);
            }
        }
    }
    let bad = json!({"model": "chat", "messages": [{"role": TEXT, "content": TEXT}]});
    let answer = client.post("/v1/chat/completions", &headers, bad.to_string().as_bytes()).unwrap();
    assert_eq!(answer.status, 400);
    assert_absent(canaries, "a bad chat's refusal", &answer.body);
}

/// A virtual key, made by an operator, and the part of it that is secret.
fn virtual_key(client: &mut Connection, operator: &str) -> (String, String) {
    let bearer = format!("Bearer {operator}");
    let headers = [("authorization", bearer.as_str())];
    let made = client.post("/v1/keys", &headers, b"{\"team\": \"acme\"}").unwrap();
    assert_eq!(made.status, 201, "{}", made.text());
    let key = made.json()["key"].as_str().unwrap().to_owned();
    let secret = key.rsplit('_').next().unwrap().to_owned();
    assert_eq!(secret.len(), 64);
    (key, secret)
}

fn files_under(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files_under(&path)) } else { found.push(path) }
    }
    found
}

/// A provider of chats, an issuer whose keys never come, and a log that says everything.
fn settings(key_setting: String, url: &str, provider_key: &Path) -> [String; 6] {
    let key_file = provider_key.display();
    [
        key_setting,
        "log.level=trace".to_owned(),
        format!(
            "gateway.backends=[{{name=\"b\", protocol=\"openai\", url=\"{url}\", \
             key_file=\"{key_file}\"}}]"
        ),
        "gateway.models=[{name=\"chat\", targets=[{backend=\"b\", free=true}]}]".to_owned(),
        "gateway.tries=1".to_owned(),
        "auth.issuers=[{issuer=\"https://id.example\", audience=[\"us\"], teams=[\"acme\"], \
         algorithms=[\"EdDSA\"], jwks_file=\"/nowhere/keys.json\"}]"
            .to_owned(),
    ]
}

#[test]
fn nothing_secret_is_written_or_echoed() {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key");
    fs::write(&key, KEY).unwrap();
    let key_setting = format!("auth.key_file={}", key.display());
    let minted = run(&["token", "--tenant", "acme", "--set", &key_setting]).unwrap();
    let token = String::from_utf8(minted.stdout).unwrap().trim().to_owned();
    let operator = ["token", "--tenant", "ops", "--tier", "operator", "--set", &key_setting];
    let operator = String::from_utf8(run(&operator).unwrap().stdout).unwrap().trim().to_owned();
    let mut canaries = canaries(&token);
    assert_absent(&canaries, "the mint's log", &minted.stderr);

    let data_dir = folder.path().join("data");
    let provider = Simulator::start().unwrap();
    let provider_key = folder.path().join("provider");
    fs::write(&provider_key, UPSTREAM_KEY).unwrap();
    let settings = settings(key_setting, &provider.base_url(), &provider_key);
    let node = NodeProcess::ready(&data_dir, &settings).unwrap();
    let mut client = node.connect().unwrap();
    let (virtual_key, secret) = virtual_key(&mut client, &operator);
    canaries.push(("the virtual key's secret", secret));
    let (mut answers, mut echoes) = (0, Vec::new());
    for good in [&token, &virtual_key] {
        send_all(&mut client, &format!("Bearer {good}"), |body, status, answer| {
            let sent = String::from_utf8_lossy(body);
            assert_eq!(answer.status, status, "{sent}: {}", answer.text());
            // What `/tokenize` returns when it serves are the text's own pieces.
            if answer.status != 200 {
                let place = format!("the answer to {sent}: {}", answer.text());
                echoes.extend(find(&canaries, &place, &answer.body));
            }
            answers += 1;
        });
    }
    chat(&mut client, &token, &canaries);
    for authorization in [
        format!("Bearer {BEARER}"),
        BEARER.to_owned(),
        format!("{token}x"),
        format!("Bearer {virtual_key}0"),
        format!("Basic {virtual_key}"),
        format!("Bearer {OUTSIDE_HEAD}.{OUTSIDE_SIGNATURE}"),
    ] {
        send_all(&mut client, &authorization, |_, _, answer| {
            assert_eq!(answer.status, 401, "{}", answer.text());
            assert_absent(&canaries, "a refusal", &answer.body);
            assert_absent(&canaries, "its headers", format!("{:?}", answer.headers).as_bytes());
            answers += 1;
        });
    }
    send_http2(node.address().unwrap(), &token);
    let page = client.get("/metrics", &[]).unwrap();
    assert!(page.text().contains("headwater_http_requests_total"), "{}", page.text());
    assert_absent(&canaries, "the metrics", &page.body);

    let ended = node.stop().unwrap();
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    let accesses = ended.log.matches("headwater::access").count();
    assert!(accesses >= answers, "{accesses} lines for {answers} answers: the log was not read");
    assert!(ended.log.contains("\"TRACE\""), "nothing was logged at the level trace");
    assert_absent(&canaries, "the log", ended.log.as_bytes());
    assert_absent(&canaries, "standard output", ended.stdout.as_bytes());
    let files = files_under(&data_dir);
    assert!(!files.is_empty(), "the node kept nothing");
    for file in files {
        assert_absent(&canaries, &file.display().to_string(), &fs::read(&file).unwrap());
    }
    assert!(echoes.is_empty(), "{} echoes:\n{}", echoes.len(), echoes.join("\n"));
}
