//! A project's monthly cap in a cluster of processes: requests stop at it, and a real webhook is
//! told on the way, signed, again where it failed, while another one is dead.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use headwater_tests::cluster::{Cluster, STORE, Shape, command, until};
use headwater_tests::node::MODEL;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

const SECRET: &str = "a-secret-of-the-webhook-alone";
/// A path that opens a webhook must not be told to anybody.
const PATH: &str = "/services/T0/B0/opensesame";
const CAP: u64 = 4;

/// One POST as it came.
#[derive(Clone, Debug)]
struct Post {
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

/// A webhook that refuses the first POST.
struct Webhook {
    address: SocketAddr,
    posts: Arc<Mutex<Vec<Post>>>,
}

impl Webhook {
    fn start() -> Webhook {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let posts = Arc::<Mutex<Vec<Post>>>::default();
        let webhook = Webhook { address, posts: Arc::clone(&posts) };
        thread::spawn(move || {
            for stream in listener.incoming() {
                let posts = Arc::clone(&posts);
                thread::spawn(move || serve(stream.unwrap(), &posts));
            }
        });
        webhook
    }

    fn posts(&self) -> Vec<Post> {
        self.posts.lock().unwrap().clone()
    }
}

/// Answers one POST after the other until the sender closes the connection.
fn serve(stream: TcpStream, posts: &Mutex<Vec<Post>>) {
    let mut stream = BufReader::new(stream);
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).unwrap_or(0) == 0 {
            return;
        }
        assert_eq!(line, format!("POST {PATH} HTTP/1.1\r\n"));
        let mut headers = BTreeMap::new();
        loop {
            let mut line = String::new();
            stream.read_line(&mut line).unwrap();
            let Some((name, value)) = line.trim_end().split_once(": ") else { break };
            headers.insert(name.to_ascii_lowercase(), value.to_owned());
        }
        let mut body = vec![0; headers["content-length"].parse().unwrap()];
        stream.read_exact(&mut body).unwrap();
        let is_first = {
            let mut posts = posts.lock().unwrap();
            posts.push(Post { headers, body });
            posts.len() == 1
        };
        let status = if is_first { "503 Service Unavailable" } else { "200 OK" };
        let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
        stream.get_mut().write_all(answer.as_bytes()).unwrap();
    }
}

/// HMAC-SHA256 as RFC 2104 writes it, for secrets of at most 64 bytes.
fn signature(body: &[u8]) -> String {
    let pad = |with: u8| {
        let mut block = [with; 64];
        block.iter_mut().zip(SECRET.bytes()).for_each(|(byte, key)| *byte ^= key);
        block
    };
    let inner = Sha256::new().chain_update(pad(0x36)).chain_update(body).finalize();
    let outer = Sha256::new().chain_update(pad(0x5c)).chain_update(inner).finalize();
    let digits: String = outer.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256={digits}")
}

/// A command of an operator at the node with the store.
fn operate(cluster: &Cluster, arguments: &[&str]) -> String {
    let address = cluster.address(STORE).unwrap().to_string();
    let flags = ["--at", address.as_str(), "--token", cluster.operator()];
    command(&[arguments, &flags[..]].concat()).unwrap()
}

fn notice(post: &Post) -> Value {
    serde_json::from_slice(&post.body).unwrap()
}

fn percents(posts: &[Post]) -> BTreeSet<u64> {
    posts.iter().filter_map(|post| notice(post)["threshold_percent"].as_u64()).collect()
}

fn start(webhook: &Webhook) -> Cluster {
    let dead = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut shape = Shape::loopback(2).unwrap();
    let folder = tempfile::tempdir().unwrap().keep();
    let secret = folder.join("secret");
    std::fs::write(&secret, format!("{SECRET}\n")).unwrap();
    shape.settings.push(format!(
        "notices.webhooks=[{{url=\"http://{}{PATH}\", secret_file=\"{}\", team=\"acme\"}}, \
         {{url=\"http://{dead}/\"}}]",
        webhook.address,
        secret.display()
    ));
    let cluster = Cluster::start(shape).unwrap();
    std::fs::remove_dir_all(folder).unwrap();
    cluster
}

/// What happens to a prompt is told, too.
fn prompt_events(cluster: &Cluster, webhook: &Webhook, team: &str) {
    let ask = |path: &str, body: &Value| {
        let answer = cluster.ask("n2", "POST", path, team, body).unwrap();
        assert_eq!(answer.status, 201, "{}", answer.text());
    };
    ask("/v1/prompts/greeting/versions", &json!({"document": {"text": "Hello"}}));
    let promotion = json!({"version": 1, "reason": "the first", "auto": true});
    ask("/v1/prompts/greeting/promotions", &promotion);
    let told = || {
        let posts = webhook.posts();
        posts.into_iter().find(|post| notice(post)["kind"] == "prompt.promoted")
    };
    until("the promotion is told", || Ok(told().is_some())).unwrap();
    let post = told().unwrap();
    assert_eq!(post.headers["x-headwater-signature"], signature(&post.body));
    let notice = notice(&post);
    assert_eq!((&notice["team"], &notice["event"]["version"]), (&json!("acme"), &json!(1)));
    assert_eq!(notice["event"]["prompt"], "greeting");
}

#[test]
fn a_project_stops_at_its_cap_and_its_webhook_hears_of_it() {
    let webhook = Webhook::start();
    let mut cluster = start(&webhook);
    let create = ["keys", "create", "--team", "acme", "--project", "search"];
    let key = operate(&cluster, &create);
    let limit = format!("requests/month={CAP}");
    operate(&cluster, &["tenant", "limits", "acme/search", "--limit", &limit]);
    let body = json!({"model": MODEL, "input": "the river"});
    let embed =
        |cluster: &Cluster| cluster.ask("n2", "POST", "/v1/embeddings", &key, &body).unwrap();
    // n2 learns of the key and of the limit within a moment.
    let mut refused = None;
    until("the cap is met", || {
        let answer = embed(&cluster);
        assert!([200, 401, 429].contains(&answer.status), "{}", answer.text());
        refused = Some(answer.clone()).filter(|answer| answer.status == 429);
        Ok(refused.is_some())
    })
    .unwrap();
    let refused = refused.unwrap();
    let words = refused.text();
    assert!(words.contains("project 'search' of team 'acme'"), "{words}");
    assert!(words.contains(&format!("{CAP} requests per month")), "{words}");
    assert!(refused.header("retry-after").is_some());
    let whole = cluster.token("acme", "standard").unwrap();
    let others = cluster.ask("n2", "POST", "/v1/embeddings", &whole, &body).unwrap();
    assert_eq!(others.status, 200, "the team itself has no limit: {}", others.text());

    until("every threshold is told", || {
        // The first POST failed; it comes again.
        let posts = webhook.posts();
        Ok(posts.len() >= 4 && percents(&posts) == BTreeSet::from([50, 80, 100]))
    })
    .unwrap();
    let posts = webhook.posts();
    let mut bodies: BTreeMap<String, Value> = BTreeMap::new();
    for post in &posts {
        assert_eq!(post.headers["x-headwater-signature"], signature(&post.body));
        let notice = notice(post);
        let id = notice["id"].as_str().unwrap().to_owned();
        assert_eq!(post.headers["x-headwater-notice-id"], id);
        assert_eq!(notice["subject"], "acme/search");
        assert_eq!((&notice["team"], &notice["project"]), (&json!("acme"), &json!("search")));
        assert_eq!(notice["limit"]["window"], "month");
        let text = notice["text"].as_str().unwrap();
        assert!(text.starts_with("project 'search' of team 'acme' has reached"), "{text}");
        assert_eq!(bodies.entry(id).or_insert_with(|| notice.clone()), &notice);
    }
    assert_eq!(bodies.len(), 3, "one id for each threshold, a repetition has the same: {posts:?}");

    prompt_events(&cluster, &webhook, &whole);

    cluster.until_written().unwrap();
    let usage = operate(&cluster, &["tenant", "usage", "acme/search"]);
    let row = usage.lines().find(|line| line.contains(MODEL)).unwrap();
    assert_eq!(row.split_whitespace().nth(1), Some(CAP.to_string().as_str()), "{usage}");
    let failed = "headwater_notices_deliveries_total{outcome=\"failed\"}";
    let of = |node: &str| cluster.metric(node, failed).unwrap();
    assert!(of(STORE) + of("n2") >= 2, "the first POST, and the dead webhook");
    for name in cluster.running() {
        let ended = cluster.stop_node(&name).unwrap();
        assert!(!ended.log.contains(SECRET) && !ended.log.contains("opensesame"), "{}", ended.log);
    }
}
