//! The node's side of the demonstration.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use headwater_cluster::{ByteStream, Envelope, Lane, LinkChange, NodeId, Transport};
use headwater_storage::AtomicOp;
use headwater_storage::remote::RemoteStore;
use headwater_storage::retry::{OperationId, Retry, RetryPolicy};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::{COUNTER, greeter};
use crate::lockstep::node::LockstepTransport;
use crate::lockstep::program::{Command, NodeContext, Program, Reporter, Running};

const QUESTIONS: Lane = Lane(0);
const ANSWERS: Lane = Lane(1);
const ECHO_MS: u64 = 1_500;
const STREAM_MS: u64 = 10_000;

pub(super) struct Demonstrator {
    pub(super) operation_rows: bool,
}

impl Program for Demonstrator {
    fn start(&self, context: NodeContext) -> Running {
        Box::pin(live(context, self.operation_rows))
    }
}

/// What the tasks of one node share.
struct Shared {
    node: NodeId,
    nodes: Vec<NodeId>,
    transport: Arc<LockstepTransport>,
    retry: Retry,
    operation_rows: bool,
    wall_ms: Arc<dyn Fn() -> u64 + Send + Sync>,
    report: Reporter,
    echoes: Mutex<BTreeMap<u64, oneshot::Sender<()>>>,
    done: Mutex<u64>,
}

async fn live(mut context: NodeContext, operation_rows: bool) -> Result<(), String> {
    let server = greeter::start(&context).await?;
    let store = RemoteStore::new(Arc::clone(&context.store), context.environment.clone());
    let policy = RetryPolicy::default();
    let mut nodes = context.peers.clone();
    nodes.push(context.node.clone());
    nodes.sort();
    let shared = Arc::new(Shared {
        node: context.node.clone(),
        nodes,
        transport: Arc::clone(&context.transport),
        retry: Retry::new(Arc::new(store), context.environment.clone(), policy),
        operation_rows,
        wall_ms: Arc::clone(&context.wall_ms),
        report: context.report.clone(),
        echoes: Mutex::default(),
        done: Mutex::default(),
    });
    tokio::spawn(answer_envelopes(Arc::clone(&shared)));
    tokio::spawn(answer_streams(Arc::clone(&shared)));
    tokio::spawn(tell_changes(Arc::clone(&shared)));
    let mut links = context.control_links;
    tokio::spawn(async move {
        while let Some(link) = links.recv().await {
            greeter::connect(&server, link);
        }
    });
    for peer in &context.peers {
        context.transport.introduce(peer, "");
    }
    while let Some(command) = context.commands.recv().await {
        match command {
            Command::Work(work) => {
                tokio::spawn(work_on(Arc::clone(&shared), work));
            }
            Command::Finish => shared.last_word(),
        }
    }
    Ok(())
}

impl Shared {
    fn last_word(&self) {
        let done = *self.done.lock().unwrap_or_else(PoisonError::into_inner);
        let wall_ms = (self.wall_ms)();
        self.report.report(format!("{done} requests done, wall clock {wall_ms} ms").into_bytes());
    }

    fn name(&self, number: &str) -> Result<&NodeId, String> {
        let number: usize = number.parse().map_err(|_| format!("no node {number}"))?;
        self.nodes.get(number).ok_or_else(|| format!("no node {number}"))
    }
}

async fn work_on(shared: Arc<Shared>, work: Vec<u8>) {
    let text = String::from_utf8_lossy(&work).into_owned();
    let words: Vec<&str> = text.split(' ').collect();
    let number = words.get(1).and_then(|word| word.parse().ok()).unwrap_or_default();
    let outcome = match words.as_slice() {
        ["add", _] => add(&shared, number).await,
        ["greet", _, peer] => match shared.name(peer) {
            Ok(name) => greeter::greet(name.as_str(), number).await,
            Err(problem) => Err(problem),
        },
        ["echo", _, peer] => echo(&shared, number, peer).await,
        ["stream", _, peer, bytes] => {
            let bytes = bytes.parse().unwrap_or_default();
            let passing = stream(&shared, peer, bytes);
            let late = |_| Err("the stream took too long".to_owned());
            timeout(Duration::from_millis(STREAM_MS), passing).await.unwrap_or_else(late)
        }
        _ => Err("this is no request".to_owned()),
    };
    let verb = words.first().copied().unwrap_or_default();
    let outcome = match outcome {
        Ok(text) => {
            *shared.done.lock().unwrap_or_else(PoisonError::into_inner) += 1;
            format!("ok, {text}")
        }
        Err(problem) => format!("failed, {problem}"),
    };
    shared.report.result(format!("{verb} {number} {outcome}").into_bytes());
}

async fn add(shared: &Shared, number: u64) -> Result<String, String> {
    let id = OperationId { created_hour: 1, nonce: u128::from(number) };
    let one = 1_u64.to_le_bytes();
    let written = match shared.operation_rows {
        true => {
            let add = shared.retry.write(id, |transaction| {
                Box::pin(async move { transaction.atomic(COUNTER, AtomicOp::Add, &one) })
            });
            add.await.map(|_| ())
        }
        false => {
            let add = shared.retry.write_idempotent(|transaction| {
                Box::pin(async move { transaction.atomic(COUNTER, AtomicOp::Add, &one) })
            });
            add.await
        }
    };
    written.map(|()| "added".to_owned()).map_err(|error| error.to_string())
}

async fn echo(shared: &Shared, number: u64, peer: &str) -> Result<String, String> {
    let to = shared.name(peer)?.clone();
    let (answered, answer) = oneshot::channel();
    shared.echoes.lock().unwrap_or_else(PoisonError::into_inner).insert(number, answered);
    let payload = number.to_le_bytes().to_vec();
    let from = shared.node.clone();
    let envelope = Envelope { from, to, lane: QUESTIONS, sequence: number, payload };
    shared.transport.send(envelope).await.map_err(|error| error.to_string())?;
    let waited = timeout(Duration::from_millis(ECHO_MS), answer).await;
    shared.echoes.lock().unwrap_or_else(PoisonError::into_inner).remove(&number);
    match waited {
        Ok(Ok(())) => Ok("echoed".to_owned()),
        _ => Err("no echo in time".to_owned()),
    }
}

async fn answer_envelopes(shared: Arc<Shared>) {
    while let Some(envelope) = shared.transport.receive().await {
        if envelope.lane == ANSWERS {
            let mut echoes = shared.echoes.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(answered) = echoes.remove(&envelope.sequence) {
                // Whoever asked may have given up in this very moment.
                let _ = answered.send(());
            }
            continue;
        }
        let (from, to) = (shared.node.clone(), envelope.from.clone());
        let answer = Envelope { from, to, lane: ANSWERS, ..envelope };
        if let Err(error) = shared.transport.send(answer).await {
            shared.report.note(format!("an echo is lost: {error}"));
        }
    }
}

/// Sends bytes and reads them back; each side gives up when the other does.
async fn stream(shared: &Shared, peer: &str, bytes: usize) -> Result<String, String> {
    let to = shared.name(peer)?;
    let mut stream = shared.transport.open(to).await.map_err(|error| error.to_string())?;
    let chunk = vec![7; 50_000];
    let (mut left, mut back) = (bytes, 0);
    while left > 0 {
        let now = left.min(chunk.len());
        let part = chunk.get(..now).unwrap_or_default();
        stream.write(part).await.map_err(|error| error.to_string())?;
        left -= now;
        // The echo has a window too: reading as much as was written keeps both going.
        while back < bytes - left {
            match stream.read().await.map_err(|error| error.to_string())? {
                Some(read) => back += read.len(),
                None => return Err("the stream ended early".to_owned()),
            }
        }
    }
    stream.finish().await.map_err(|error| error.to_string())?;
    match stream.read().await.map_err(|error| error.to_string())? {
        None if back == bytes => Ok(format!("{back} bytes came back")),
        _ => Err(format!("{back} of {bytes} bytes came back")),
    }
}

async fn answer_streams(shared: Arc<Shared>) {
    while let Some((from, stream)) = shared.transport.accept().await {
        let report = shared.report.clone();
        tokio::spawn(async move {
            if let Err(broken) = send_back(stream).await {
                report.note(format!("a stream of {from} broke: {broken}"));
            }
        });
    }
}

async fn send_back(mut stream: Box<dyn ByteStream>) -> Result<(), headwater_cluster::StreamBroken> {
    while let Some(bytes) = stream.read().await? {
        stream.write(&bytes).await?;
    }
    stream.finish().await
}

async fn tell_changes(shared: Arc<Shared>) {
    while let Some(change) = shared.transport.next_change().await {
        shared.report.note(match change {
            LinkChange::Up { node, incarnation, .. } => {
                format!("sees {node} up, incarnation {}", incarnation.0)
            }
            LinkChange::Down { node, why, .. } => format!("sees {node} down: {why}"),
        });
    }
}
