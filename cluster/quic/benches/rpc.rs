//! Echo calls of 1 KB, 64 in flight: a lane, a stream per request, and plain TCP as the measure.
//!
//! Both ends run in this one process on two worker threads over the loopback interface, so the
//! CPU time of a call is that of both ends. TCP is one connection with length-prefixed frames,
//! pipelined, written in batches and without TLS; QUIC encrypts.
//! `CALLS=2000000 cargo bench -p headwater-cluster-quic --bench rpc` makes more calls.

use std::collections::HashMap;
use std::future::{Future, ready};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use headwater_cluster::{Envelope, Incarnation, Lane, LinkChange, NodeId, Transport};
use headwater_cluster_quic::{IdentityFiles, QuicSettings, QuicTransport, authority};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};

const PAYLOAD_BYTES: usize = 1_024;
const IN_FLIGHT: u64 = 64;
const ROUNDS: usize = 3;
const BATCH_BYTES: usize = 64 << 10;
/// What the kernel counts CPU time in, on every Linux that we know.
const TICKS_PER_SECOND: f64 = 100.0;

struct Row {
    name: &'static str,
    calls_per_second: f64,
    cpu_us: f64,
}

fn main() {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let calls = std::env::var("CALLS").ok().and_then(|calls| calls.parse().ok()).unwrap_or(400_000);
    let rows = runtime.block_on(async {
        let nodes = Nodes::start().await;
        let lane = nodes.lane_caller();
        let tcp = tcp_caller().await;
        let stream = nodes.stream_caller();
        [
            measure("tcp, one connection", calls, move |id| tcp.clone().call(id)).await,
            measure("quic lanes", calls, move |id| lane.clone().call(id)).await,
            measure("quic, a stream per request", calls, move |_| stream.clone().call()).await,
        ]
    });
    println!("1 KB echo, {IN_FLIGHT} in flight, both ends in this process, median of {ROUNDS}");
    println!("{:<28}{:>12}{:>8}{:>14}{:>8}", "", "calls/s", "ratio", "cpu us/call", "ratio");
    let [tcp, ..] = &rows;
    for row in &rows {
        println!(
            "{:<28}{:>12.0}{:>8.2}{:>14.2}{:>8.2}",
            row.name,
            row.calls_per_second,
            row.calls_per_second / tcp.calls_per_second,
            row.cpu_us,
            row.cpu_us / tcp.cpu_us
        );
    }
}

/// Runs the calls in so many tasks, several times, and takes the median round.
async fn measure<C, F>(name: &'static str, calls: u64, call: C) -> Row
where
    C: Fn(u64) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = ()> + Send,
{
    let mut rounds = Vec::new();
    for round in 0..=ROUNDS {
        let (cpu, start) = (cpu_seconds(), Instant::now());
        let tasks: Vec<_> = (0..IN_FLIGHT)
            .map(|task| {
                let call = call.clone();
                tokio::spawn(async move {
                    for index in 0..calls / IN_FLIGHT {
                        call(index * IN_FLIGHT + task).await;
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        let (seconds, made) = (start.elapsed().as_secs_f64(), calls / IN_FLIGHT * IN_FLIGHT);
        // The first round only warms up.
        if round > 0 {
            rounds.push((made as f64 / seconds, (cpu_seconds() - cpu) * 1e6 / made as f64));
        }
    }
    rounds.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (calls_per_second, cpu_us) = rounds[ROUNDS / 2];
    Row { name, calls_per_second, cpu_us }
}

fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    // The name in parentheses may hold anything; user and system time are fields 14 and 15.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks = |index: usize| fields[index].parse::<f64>().unwrap();
    (ticks(11) + ticks(12)) / TICKS_PER_SECOND
}

/// Replies that are waited for, by the call's number.
type Pending = Arc<Mutex<HashMap<u64, oneshot::Sender<Vec<u8>>>>>;

fn wait_for(pending: &Pending, id: u64) -> oneshot::Receiver<Vec<u8>> {
    let (sender, receiver) = oneshot::channel();
    pending.lock().unwrap().insert(id, sender);
    receiver
}

fn reply(pending: &Pending, id: u64, payload: Vec<u8>) {
    pending.lock().unwrap().remove(&id).unwrap().send(payload).unwrap();
}

/// Two linked nodes; the second one echoes.
struct Nodes {
    client: QuicTransport,
    server: QuicTransport,
    _folder: TempDir,
}

impl Nodes {
    async fn start() -> Nodes {
        let folder = tempfile::tempdir().unwrap();
        authority::create("bench", folder.path()).unwrap();
        let server = start(&folder, "server", vec![]).await;
        let client = start(&folder, "client", vec![server.address().to_string()]).await;
        assert!(matches!(client.next_change().await, Some(LinkChange::Up { .. })));
        assert!(matches!(server.next_change().await, Some(LinkChange::Up { .. })));
        Nodes { client, server, _folder: folder }
    }

    fn lane_caller(&self) -> LaneCaller {
        let server = self.server.clone();
        tokio::spawn(async move {
            while let Some(mut envelope) = server.receive().await {
                std::mem::swap(&mut envelope.from, &mut envelope.to);
                send(&server, envelope).await;
            }
        });
        let (client, pending) = (self.client.clone(), Pending::default());
        let (replies, receiver) = (Arc::clone(&pending), client.clone());
        tokio::spawn(async move {
            while let Some(envelope) = receiver.receive().await {
                reply(&replies, envelope.sequence, envelope.payload);
            }
        });
        LaneCaller { client, pending, next: Arc::default() }
    }

    fn stream_caller(&self) -> StreamCaller {
        let server = self.server.clone();
        tokio::spawn(async move {
            while let Some((_, mut stream)) = server.accept().await {
                tokio::spawn(async move {
                    let mut all = Vec::new();
                    while let Some(bytes) = stream.read().await.unwrap() {
                        all.extend(bytes);
                    }
                    stream.write(&all).await.unwrap();
                    stream.finish().await.unwrap();
                });
            }
        });
        StreamCaller { client: self.client.clone() }
    }
}

async fn start(folder: &TempDir, node: &str, seeds: Vec<String>) -> QuicTransport {
    let (id, out) = (NodeId::new(node).unwrap(), folder.path().join(node));
    std::fs::create_dir(&out).unwrap();
    authority::issue(folder.path(), &id, &out, 1).unwrap();
    let identity = IdentityFiles {
        authority: folder.path().join("ca.pem"),
        certificate: out.join("node.pem"),
        key: out.join("node.key"),
    };
    let settings = QuicSettings::new(id, Incarnation(1), "bench", identity);
    QuicTransport::start(QuicSettings { seeds, ..settings }).await.unwrap().0
}

async fn send(transport: &QuicTransport, envelope: Envelope) {
    while transport.send(envelope.clone()).await.is_err() {
        tokio::task::yield_now().await;
    }
}

#[derive(Clone)]
struct LaneCaller {
    client: QuicTransport,
    pending: Pending,
    next: Arc<AtomicU64>,
}

impl LaneCaller {
    async fn call(self, task: u64) {
        let sequence = self.next.fetch_add(1, Ordering::Relaxed);
        let replied = wait_for(&self.pending, sequence);
        let (from, to) = (NodeId::new("client").unwrap(), NodeId::new("server").unwrap());
        let (lane, payload) = (Lane(task as u16), vec![7; PAYLOAD_BYTES]);
        self.client.send(Envelope { from, to, lane, sequence, payload }).await.unwrap();
        assert_eq!(replied.await.unwrap().len(), PAYLOAD_BYTES);
    }
}

#[derive(Clone)]
struct StreamCaller {
    client: QuicTransport,
}

impl StreamCaller {
    async fn call(self) {
        let mut stream = self.client.open(&NodeId::new("server").unwrap()).await.unwrap();
        stream.write(&[7; PAYLOAD_BYTES]).await.unwrap();
        stream.finish().await.unwrap();
        let mut received = 0;
        while let Some(bytes) = stream.read().await.unwrap() {
            received += bytes.len();
        }
        assert_eq!(received, PAYLOAD_BYTES);
    }
}

#[derive(Clone)]
struct TcpCaller {
    queue: mpsc::Sender<(u64, Vec<u8>)>,
    pending: Pending,
    next: Arc<AtomicU64>,
}

impl TcpCaller {
    async fn call(self, _: u64) {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let replied = wait_for(&self.pending, id);
        self.queue.send((id, vec![7; PAYLOAD_BYTES])).await.unwrap();
        assert_eq!(replied.await.unwrap().len(), PAYLOAD_BYTES);
    }
}

async fn tcp_caller() -> TcpCaller {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (far, _) = listener.accept().await.unwrap();
    near.set_nodelay(true).unwrap();
    far.set_nodelay(true).unwrap();
    let (far_read, far_write) = far.into_split();
    let echo = tcp_writer(far_write);
    tokio::spawn(tcp_read(far_read, move |id, payload| {
        let echo = echo.clone();
        async move { echo.send((id, payload)).await.unwrap() }
    }));
    let (near_read, near_write) = near.into_split();
    let pending = Pending::default();
    let replies = Arc::clone(&pending);
    tokio::spawn(tcp_read(near_read, move |id, payload| {
        reply(&replies, id, payload);
        ready(())
    }));
    TcpCaller { queue: tcp_writer(near_write), pending, next: Arc::default() }
}

/// A queue whose frames are written in batches.
fn tcp_writer(mut stream: OwnedWriteHalf) -> mpsc::Sender<(u64, Vec<u8>)> {
    let (sender, mut queue) = mpsc::channel::<(u64, Vec<u8>)>(1_024);
    tokio::spawn(async move {
        let mut buffer = Vec::with_capacity(2 * BATCH_BYTES);
        while let Some(first) = queue.recv().await {
            let mut next = Some(first);
            while let Some((id, payload)) = next {
                buffer.extend((payload.len() as u32).to_be_bytes());
                buffer.extend(id.to_be_bytes());
                buffer.extend(payload);
                next = (buffer.len() < BATCH_BYTES).then(|| queue.try_recv().ok()).flatten();
            }
            stream.write_all(&buffer).await.unwrap();
            buffer.clear();
        }
    });
    sender
}

async fn tcp_read<F: Future<Output = ()>>(
    stream: OwnedReadHalf,
    handle: impl Fn(u64, Vec<u8>) -> F,
) {
    let mut stream = BufReader::with_capacity(BATCH_BYTES, stream);
    while let Ok(length) = stream.read_u32().await {
        let id = stream.read_u64().await.unwrap();
        let mut payload = vec![0; length as usize];
        stream.read_exact(&mut payload).await.unwrap();
        handle(id, payload).await;
    }
}
