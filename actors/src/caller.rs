//! Small requests between nodes, over the transport's lanes: one reply or one error each, within
//! a time.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use headwater_cluster::{Envelope, Lane, NodeId, Transport, TransportError};
use tokio::sync::{Semaphore, oneshot};

use crate::runtime::Runtime;

/// Most requests of other nodes that this node answers at a time.
const ANSWERING_MAX: usize = 4096;

/// What a request is for; both nodes know the number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Service {
    Membership = 1,
    Tenancy = 2,
    Storage = 3,
    Embedding = 4,
    Echo = 5,
}

/// Why a request has no reply, by what the caller may do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// It was not sent: ask another node.
    #[error("{node} was not reached: {why}; ask another node or wait for it")]
    NotSent { node: NodeId, why: String },
    /// It was not begun: ask again later.
    #[error("{node} has too much to do; ask again later")]
    Overloaded { node: NodeId },
    /// It may have been done: ask again only what may be done twice.
    #[error("{node} did not answer: {why}; it is not known whether the request was done")]
    Unanswered { node: NodeId, why: String },
}

type Answering = Pin<Box<dyn Future<Output = Vec<u8>> + Send>>;
type Answerer = Box<dyn Fn(NodeId, Vec<u8>) -> Answering + Send + Sync>;

/// The node's requests and answers; cheap to clone.
#[derive(Clone)]
pub struct Caller {
    shared: Arc<Shared>,
}

struct Shared {
    node: NodeId,
    transport: Arc<dyn Transport>,
    runtime: Runtime,
    services: [OnceLock<Answerer>; SERVICES],
    pending: Mutex<BTreeMap<u64, Pending>>,
    next: AtomicU64,
    answering: Semaphore,
}

const SERVICES: usize = Service::Echo as usize + 1;

struct Pending {
    to: NodeId,
    reply: oneshot::Sender<Result<Vec<u8>, CallError>>,
}

const REQUEST: u8 = 0;
const REPLY: u8 = 1;
const REFUSAL: u8 = 2;
/// Kind, service, number.
const HEAD_BYTES: usize = 10;

fn message(kind: u8, service: u8, number: u64, body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEAD_BYTES + body.len());
    bytes.extend_from_slice(&[kind, service]);
    bytes.extend_from_slice(&number.to_le_bytes());
    bytes.extend_from_slice(body);
    bytes
}

/// Kind, service, number and body; none for what no [`message`] is.
fn parse(bytes: &[u8]) -> Option<(u8, u8, u64, &[u8])> {
    let (head, body) = bytes.split_at_checked(HEAD_BYTES)?;
    let number = head[2..].try_into().ok().map(u64::from_le_bytes)?;
    Some((head[0], head[1], number, body))
}

impl Caller {
    /// Call [`Caller::serve`] for each service, then [`Caller::run`] once.
    pub fn new(node: NodeId, transport: Arc<dyn Transport>, runtime: Runtime) -> Caller {
        // Numbers of an earlier start of this node must not match replies to it.
        let next = AtomicU64::new(runtime.environment().draw() >> 1);
        let (services, pending) = (Default::default(), Mutex::default());
        let answering = Semaphore::new(ANSWERING_MAX);
        let shared = Shared { node, transport, runtime, services, pending, next, answering };
        Caller { shared: Arc::new(shared) }
    }

    pub fn node(&self) -> &NodeId {
        &self.shared.node
    }

    pub fn transport(&self) -> &Arc<dyn Transport> {
        &self.shared.transport
    }

    pub fn runtime(&self) -> &Runtime {
        &self.shared.runtime
    }

    /// Answers requests to this service from now on. The first answerer of a service stays.
    pub fn serve<F>(
        &self,
        service: Service,
        answer: impl Fn(NodeId, Vec<u8>) -> F + Send + Sync + 'static,
    ) where
        F: Future<Output = Vec<u8>> + Send + 'static,
    {
        let answerer: Answerer = Box::new(move |from, request| Box::pin(answer(from, request)));
        let _ = self.shared.services[service as usize].set(answerer);
    }

    /// Asks a node, this one included, and waits for the reply at most so long, in ms.
    ///
    /// # Errors
    /// [`CallError`], by whether the request may have been done.
    pub async fn call(
        &self,
        to: &NodeId,
        service: Service,
        body: Vec<u8>,
        timeout_ms: u64,
    ) -> Result<Vec<u8>, CallError> {
        let Shared { node, runtime, .. } = &*self.shared;
        let unanswered =
            |why: &str| CallError::Unanswered { node: to.clone(), why: why.to_owned() };
        if to == node {
            let Some(answerer) = self.shared.services[service as usize].get() else {
                return Err(CallError::NotSent { node: to.clone(), why: "no such service".into() });
            };
            let answer = answerer(node.clone(), body);
            return runtime
                .within(timeout_ms, answer)
                .await
                .ok_or_else(|| unanswered("its time was up"));
        }
        let number = self.shared.next.fetch_add(1, Ordering::Relaxed);
        let (reply, answer) = oneshot::channel();
        self.shared.lock().insert(number, Pending { to: to.clone(), reply });
        let forget = Forget { shared: &self.shared, number };
        let payload = message(REQUEST, service as u8, number, &body);
        self.shared.send(to, service as u8, payload).await?;
        let answer = runtime.within(timeout_ms, answer).await;
        drop(forget);
        match answer {
            Some(Ok(reply)) => reply,
            Some(Err(_)) => Err(unanswered("this node is closing")),
            None => Err(unanswered("its time was up")),
        }
    }

    /// The link to this node went down: whoever waits for it is told.
    pub fn lost(&self, node: &NodeId, why: &str) {
        let waiting: Vec<Pending> = self
            .shared
            .lock()
            .extract_if(.., |_, pending| pending.to == *node)
            .map(|p| p.1)
            .collect();
        for Pending { to, reply } in waiting {
            let _ = reply.send(Err(CallError::Unanswered { node: to, why: why.to_owned() }));
        }
    }

    /// Receives until the transport is closed.
    pub async fn run(self) {
        while let Some(envelope) = self.shared.transport.receive().await {
            let Envelope { from, payload, lane, .. } = envelope;
            // What is no message of ours has no sender who waits for an answer.
            let Some((kind, service, number, body)) = parse(&payload) else {
                tracing::warn!(%from, "a message that cannot be read was dropped");
                continue;
            };
            match kind {
                REQUEST => self.answer(from, lane, service, number, body.to_vec()),
                REPLY => self.complete(&from, number, Ok(body.to_vec())),
                REFUSAL => {
                    let node = from.clone();
                    self.complete(&from, number, Err(CallError::Overloaded { node }));
                }
                _ => tracing::warn!(%from, kind, "a message of an unknown kind was dropped"),
            }
        }
        let waiting = std::mem::take(&mut *self.shared.lock());
        for Pending { to, reply } in waiting.into_values() {
            let why = "this node is closing".to_owned();
            let _ = reply.send(Err(CallError::Unanswered { node: to, why }));
        }
    }

    fn complete(&self, from: &NodeId, number: u64, outcome: Result<Vec<u8>, CallError>) {
        let mut pending = self.shared.lock();
        // Only the node that was asked may answer.
        if pending.get(&number).is_none_or(|pending| pending.to != *from) {
            return;
        }
        let Some(Pending { reply, .. }) = pending.remove(&number) else { return };
        drop(pending);
        let _ = reply.send(outcome);
    }

    fn answer(&self, from: NodeId, lane: Lane, service: u8, number: u64, body: Vec<u8>) {
        let this = self.clone();
        self.shared.runtime.spawn(async move {
            let shared = &this.shared;
            let answerer = shared.services.get(usize::from(service)).and_then(OnceLock::get);
            let payload = match (answerer, shared.answering.try_acquire()) {
                (Some(answerer), Ok(_permit)) => {
                    let reply = answerer(from.clone(), body).await;
                    message(REPLY, service, number, &reply)
                }
                _ => message(REFUSAL, service, number, &[]),
            };
            if let Err(error) = shared.send(&from, lane.0 as u8, payload).await {
                tracing::debug!(%from, %error, "a reply could not be sent");
            }
        });
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Pending>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn send(&self, to: &NodeId, lane: u8, payload: Vec<u8>) -> Result<(), CallError> {
        let envelope = Envelope {
            from: self.node.clone(),
            to: to.clone(),
            lane: Lane(u16::from(lane)),
            sequence: 0,
            payload,
        };
        self.transport.send(envelope).await.map_err(|error| match error {
            TransportError::Overloaded(node) => CallError::Overloaded { node },
            other => CallError::NotSent { node: to.clone(), why: other.to_string() },
        })
    }
}

/// Takes a request out of the pending ones when its caller stops waiting.
struct Forget<'a> {
    shared: &'a Shared,
    number: u64,
}

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        self.shared.lock().remove(&self.number);
    }
}
