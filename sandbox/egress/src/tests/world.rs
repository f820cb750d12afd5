//! What the tests share: a resolver and a dial that say what they were asked, servers, a guest.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use http::Method;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::time::timeout;

use crate::dial::{AnyStream, Dial};
use crate::{
    Egress, EgressEvent, Grant, GrantLimits, HostPattern, Labels, OpenWay, Parts, Refusal, Resolve,
    ResolveError, Rule, Secret, SecretError, SecretFor, SecretHeader, Settings, Transport, Verdict,
};

pub(super) const CANARY: &str = "canary-5f1d0c77";
pub(super) const PUBLIC: &str = "93.184.215.14";

/// Answers each name with the lists of its row in turn; the last one stays.
#[derive(Default)]
pub(super) struct Names {
    rows: Mutex<BTreeMap<String, VecDeque<Vec<IpAddr>>>>,
    pub(super) asked: Mutex<Vec<String>>,
}

impl Names {
    pub(super) fn set(&self, host: &str, answers: &[&[&str]]) {
        let parse = |list: &&[&str]| list.iter().map(|text| text.parse().unwrap()).collect();
        self.rows.lock().unwrap().insert(host.to_owned(), answers.iter().map(parse).collect());
    }
}

#[async_trait]
impl Resolve for Names {
    async fn addresses(&self, host: &str) -> Result<Vec<IpAddr>, ResolveError> {
        self.asked.lock().unwrap().push(host.to_owned());
        if host == "slow.example.org" {
            std::future::pending::<()>().await;
        }
        let mut rows = self.rows.lock().unwrap();
        let row = rows.get_mut(host).ok_or(ResolveError)?;
        let answer = if row.len() > 1 { row.pop_front() } else { row.front().cloned() };
        answer.ok_or(ResolveError)
    }
}

/// Every address leads to the one server of the test; what was dialled is kept.
pub(super) struct Lead {
    pub(super) server: Mutex<Option<SocketAddr>>,
    pub(super) dialled: Mutex<Vec<SocketAddr>>,
}

#[async_trait]
impl Dial for Lead {
    async fn dial(&self, address: SocketAddr) -> io::Result<AnyStream> {
        self.dialled.lock().unwrap().push(address);
        let server = *self.server.lock().unwrap();
        let server = server.ok_or(io::ErrorKind::ConnectionRefused)?;
        Ok(Box::pin(TcpStream::connect(server).await?))
    }
}

struct Store;

#[async_trait]
impl SecretFor for Store {
    async fn value(&self, _: &Labels, secret: &str) -> Result<Secret, SecretError> {
        if secret == "key" { Ok(Secret::new(CANARY)) } else { Err(SecretError) }
    }
}

/// A proxy with its doubles, and one open way.
pub(super) struct World {
    pub(super) names: Arc<Names>,
    pub(super) lead: Arc<Lead>,
    pub(super) events: Arc<Mutex<Vec<EgressEvent>>>,
    pub(super) way: OpenWay,
    _folder: TempDir,
}

pub(super) fn rule(host: &str, ports: &[u16], transport: Transport) -> Rule {
    Rule {
        host: HostPattern::new(host).unwrap(),
        ports: ports.to_vec(),
        methods: Vec::new(),
        paths: Vec::new(),
        transport,
        secrets: Vec::new(),
        internal: None,
    }
}

pub(super) fn secret(header: &'static str, prefix: &str) -> SecretHeader {
    let header = http::HeaderName::from_static(header);
    SecretHeader { header, secret: "key".to_owned(), prefix: prefix.to_owned() }
}

/// What most tests are granted.
pub(super) fn usual_rules() -> Vec<Rule> {
    let mut paths = rule("paths.example.org", &[80], Transport::Plain);
    paths.methods = vec![Method::GET];
    paths.paths = vec!["/v1".to_owned()];
    vec![
        rule("good.example.org", &[80, 8_080], Transport::Plain),
        rule("good.example.org", &[443], Transport::Tunnel),
        rule("*.wide.example.org", &[80], Transport::Plain),
        rule("xn--bcher-kva.example", &[80], Transport::Plain),
        rule("slow.example.org", &[80], Transport::Plain),
        rule("missing.example.org", &[80], Transport::Plain),
        paths,
    ]
}

pub(super) fn open(
    rules: Vec<Rule>,
    limits: GrantLimits,
    change: impl FnOnce(&mut Settings),
) -> World {
    let folder = TempDir::new().unwrap();
    let mut settings = Settings::new(folder.path());
    (settings.head_ms, settings.resolve_ms, settings.idle_ms) = (300, 300, 2_000);
    change(&mut settings);
    let names = Arc::new(Names::default());
    for host in ["good.example.org", "a.wide.example.org", "paths.example.org"] {
        names.set(host, &[&[PUBLIC]]);
    }
    names.set("xn--bcher-kva.example", &[&[PUBLIC]]);
    let lead = Arc::new(Lead { server: Mutex::default(), dialled: Mutex::default() });
    let events = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&events);
    let parts = Parts {
        resolver: Arc::clone(&names) as Arc<dyn Resolve>,
        secrets: Arc::new(Store),
        events: Arc::new(move |event: EgressEvent| heard.lock().unwrap().push(event)),
    };
    let egress = Egress::with_dial(settings, parts, Arc::clone(&lead) as Arc<dyn Dial>).unwrap();
    let text = |text: &str| text.to_owned();
    let labels = Labels { tenant: text("acme"), session: text("s1"), tool: text("fetch") };
    let way = egress.open_way(Grant { labels, rules, limits }).unwrap();
    World { names, lead, events, way, _folder: folder }
}

impl World {
    /// A server that answers every connection with these bytes, and gives what it was sent.
    pub(super) async fn serve(&self, answer: &'static [u8]) -> Arc<Mutex<Vec<u8>>> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        *self.lead.server.lock().unwrap() = Some(listener.local_addr().unwrap());
        let got = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&got);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let kept = Arc::clone(&kept);
                tokio::spawn(async move {
                    let mut piece = [0; 4_096];
                    let mut answered = false;
                    while let Ok(count @ 1..) = stream.read(&mut piece).await {
                        kept.lock().unwrap().extend_from_slice(&piece[..count]);
                        let whole = kept.lock().unwrap().windows(4).any(|end| end == b"\r\n\r\n");
                        if whole && !answered {
                            answered = true;
                            let _ = stream.write_all(answer).await;
                        }
                    }
                });
            }
        });
        got
    }

    /// Says these bytes to the proxy's socket and reads until it closes or is silent for long.
    pub(super) async fn say(&self, bytes: &[u8]) -> String {
        let mut stream = UnixStream::connect(self.way.proxy()).await.unwrap();
        let _ = stream.write_all(bytes).await;
        heard(&mut stream).await
    }

    /// The refusals so far, waited for until there is one.
    pub(super) async fn refusals(&self) -> Vec<Refusal> {
        for _ in 0..200 {
            let found = self.events.lock().unwrap().iter().filter_map(refusal).collect::<Vec<_>>();
            if !found.is_empty() {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Vec::new()
    }

    /// The first event of something allowed, waited for.
    pub(super) async fn allowed(&self) -> Option<Verdict> {
        for _ in 0..200 {
            let found = self.events.lock().unwrap().iter().find_map(|event| match &event.verdict {
                allowed @ Verdict::Allowed { .. } => Some(allowed.clone()),
                Verdict::Refused(_) => None,
            });
            if found.is_some() {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        None
    }

    pub(super) fn dialled(&self) -> Vec<SocketAddr> {
        self.lead.dialled.lock().unwrap().clone()
    }
}

fn refusal(event: &EgressEvent) -> Option<Refusal> {
    match &event.verdict {
        Verdict::Refused(refusal) => Some(refusal.clone()),
        Verdict::Allowed { cut, .. } => cut.clone(),
    }
}

/// All that comes until the other side closes or is silent for long.
pub(super) async fn heard(stream: &mut UnixStream) -> String {
    let mut all = Vec::new();
    let mut piece = [0; 4_096];
    while let Ok(Ok(count @ 1..)) =
        timeout(Duration::from_millis(700), stream.read(&mut piece)).await
    {
        all.extend_from_slice(&piece[..count]);
    }
    String::from_utf8_lossy(&all).into_owned()
}

/// The head of an answer, and nothing behind it.
pub(super) async fn head(stream: &mut UnixStream) -> String {
    let mut all = Vec::new();
    while !all.ends_with(b"\r\n\r\n") {
        all.push(timeout(Duration::from_secs(10), stream.read_u8()).await.unwrap().unwrap());
    }
    String::from_utf8_lossy(&all).into_owned()
}

/// A hello of TLS for a name, or without one; `more` are further extensions.
pub(super) fn hello(name: Option<&str>, more: &[u8]) -> Vec<u8> {
    let mut extensions = Vec::new();
    if let Some(name) = name {
        let len = name.len() as u16;
        extensions.extend([0, 0]);
        extensions.extend((len + 5).to_be_bytes());
        extensions.extend((len + 3).to_be_bytes());
        extensions.push(0);
        extensions.extend(len.to_be_bytes());
        extensions.extend(name.as_bytes());
    }
    extensions.extend(more);
    let mut body = vec![3, 3];
    body.extend([7; 32]);
    body.extend([0, 0, 2, 0x13, 1, 1, 0]);
    body.extend((extensions.len() as u16).to_be_bytes());
    body.extend(extensions);
    let mut message = vec![1, 0];
    message.extend((body.len() as u16).to_be_bytes());
    message.extend(body);
    let mut record = vec![22, 3, 1];
    record.extend((message.len() as u16).to_be_bytes());
    record.extend(message);
    record
}
