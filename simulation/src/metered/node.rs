//! The node: a shell around the real dispatcher, as the model actor is, with a crash and a
//! restart now and then.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::Poll;

use headwater_embedding::{BatchId, Dispatcher, Effect, ItemId, Pool, ReplicaIndex, RequestId};
use headwater_models::{TokenBatch, Vectors};
use headwater_storage::retry::{OperationId, Retry};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::watch;

use super::charge::Charge;
use super::lending::Lending;
use super::replica::{self, Run};
use super::{Defect, Options, Order, Reply, Request};
use crate::faults::{Faults, Kind};
use crate::network::Network;
use crate::world::World;

/// What happens inside the node.
#[derive(Debug)]
pub(super) enum Event {
    ReplicaReady { replica: ReplicaIndex, life: u64 },
    BatchDone { replica: ReplicaIndex, life: u64, batch: BatchId, vectors: Vectors },
    ReplicaLost { replica: ReplicaIndex, life: u64 },
    Wake,
}

/// A request that waits for its vectors.
struct Pending {
    order: Order,
    reply_to: UnboundedSender<Reply>,
    vectors: Vec<Vec<f32>>,
}

/// What a crash loses.
struct Memory {
    dispatcher: Dispatcher,
    pending: BTreeMap<RequestId, Pending>,
    running: BTreeMap<ReplicaIndex, (BatchId, Vec<ItemId>)>,
    lending: Lending,
    next_request: u64,
}

/// What the checks look at when all is over.
#[derive(Clone)]
pub(super) struct NodeState(Arc<Mutex<Memory>>);

impl NodeState {
    fn lock(&self) -> MutexGuard<'_, Memory> {
        self.0.lock().unwrap_or_else(|held| held.into_inner())
    }

    /// Open requests and queued tokens.
    pub(super) fn left(&self) -> (usize, usize) {
        let memory = self.lock();
        (
            memory.pending.len() + memory.dispatcher.open_requests(),
            Pool::ALL.iter().map(|pool| memory.dispatcher.queue(*pool).tokens()).sum(),
        )
    }
}

pub(super) struct Node {
    world: World,
    faults: Faults,
    network: Network,
    retry: Retry,
    options: Options,
    crashes: watch::Receiver<u64>,
    state: NodeState,
    /// Tells replicas apart that had the same slot, over crashes too.
    lives: BTreeMap<ReplicaIndex, u64>,
    to_self: UnboundedSender<Event>,
    events: UnboundedReceiver<Event>,
}

/// Crashes the node now and then until the world heals.
pub(super) async fn crash_sometimes(world: World, faults: Faults, crash: watch::Sender<u64>) {
    for _ in 0..60 {
        world.sleep(2_000).await;
        if faults.strike(Kind::NodeCrash) {
            crash.send_modify(|crashes| *crashes += 1);
        }
    }
}

enum Next {
    Request(Request),
    Event(Event),
    Crash,
    End,
}

impl Node {
    pub(super) fn new(
        world: &World,
        faults: &Faults,
        network: &Network,
        retry: Retry,
        options: &Options,
        crashes: watch::Receiver<u64>,
    ) -> Self {
        let (to_self, events) = unbounded_channel();
        let (dispatcher, _) = Dispatcher::new(options.plan.clone());
        let memory = Memory {
            dispatcher,
            pending: BTreeMap::new(),
            running: BTreeMap::new(),
            lending: Lending::new(&options.plan),
            next_request: 0,
        };
        Node {
            world: world.clone(),
            faults: faults.clone(),
            network: network.clone(),
            retry,
            options: options.clone(),
            crashes,
            state: NodeState(Arc::new(Mutex::new(memory))),
            lives: BTreeMap::new(),
            to_self,
            events,
        }
    }

    pub(super) fn state(&self) -> NodeState {
        self.state.clone()
    }

    /// Works until all clients are gone and all is done.
    pub(super) async fn run(mut self, mut requests: UnboundedReceiver<Request>) {
        self.start();
        loop {
            match self.next(&mut requests).await {
                Next::Request(Request::Embed(order, reply_to)) => self.accept(order, reply_to),
                Next::Request(Request::Leave(id)) => self.cancel(id),
                Next::Event(event) => self.on(event),
                Next::Crash => self.start(),
                Next::End => return,
            }
        }
    }

    async fn next(&mut self, requests: &mut UnboundedReceiver<Request>) -> Next {
        let (events, crashes) = (&mut self.events, &mut self.crashes);
        let mut changed = Box::pin(crashes.changed());
        let mut crashes_end = false;
        let mut requests_end = false;
        poll_fn(|context| {
            if !crashes_end && let Poll::Ready(change) = changed.as_mut().poll(context) {
                crashes_end = change.is_err();
                if change.is_ok() {
                    return Poll::Ready(Next::Crash);
                }
            }
            if let Poll::Ready(Some(event)) = events.poll_recv(context) {
                return Poll::Ready(Next::Event(event));
            }
            if !requests_end && let Poll::Ready(request) = requests.poll_recv(context) {
                match request {
                    Some(request) => return Poll::Ready(Next::Request(request)),
                    None => requests_end = true,
                }
            }
            let done = requests_end && self.state.left() == (0, 0);
            if done { Poll::Ready(Next::End) } else { Poll::Pending }
        })
        .await
    }

    /// Starts with empty hands, as after a crash.
    fn start(&mut self) {
        self.world.note("node starts");
        let (dispatcher, effects) = Dispatcher::new(self.options.plan.clone());
        let mut memory = self.state.lock();
        memory.dispatcher = dispatcher;
        memory.pending.clear();
        memory.running.clear();
        memory.lending = Lending::new(&self.options.plan);
        drop(memory);
        for life in self.lives.values_mut() {
            *life += 1;
        }
        self.perform(effects);
    }

    fn life(&self, replica: ReplicaIndex) -> u64 {
        self.lives.get(&replica).copied().unwrap_or(0)
    }

    fn accept(&mut self, order: Order, reply_to: UnboundedSender<Reply>) {
        let mut memory = self.state.lock();
        let pool = order.pool;
        let waiting = memory.dispatcher.queue(pool).tokens() as u64;
        if waiting + order.tokens() > self.options.queue_tokens {
            drop(memory);
            self.world.count("overloaded");
            self.world.note(format_args!("overloaded for client {}", order.client));
            self.network.send(&reply_to, Reply::TryAgain(order.id));
            return;
        }
        let request = RequestId(memory.next_request);
        memory.next_request += 1;
        let lengths: Vec<usize> = order.texts.iter().map(Vec::len).collect();
        let vectors = vec![Vec::new(); lengths.len()];
        self.world.note(format_args!("request {} of client {}", request.0, order.client));
        memory.pending.insert(request, Pending { order, reply_to, vectors });
        let effects = memory.dispatcher.arrive(request, pool, &lengths, self.world.now_ms());
        drop(memory);
        self.perform(effects);
        self.check_idle_share();
    }

    fn cancel(&mut self, id: OperationId) {
        let mut memory = self.state.lock();
        let requests: Vec<RequestId> = memory
            .pending
            .iter()
            .filter(|(_, pending)| pending.order.id == id)
            .map(|(request, _)| *request)
            .collect();
        let mut effects = Vec::new();
        for request in requests {
            memory.pending.remove(&request);
            effects.extend(memory.dispatcher.cancel(request, self.world.now_ms()));
            self.world.count("request cancelled");
        }
        drop(memory);
        self.perform(effects);
        self.check_idle_share();
    }

    fn check_idle_share(&self) {
        let memory = self.state.lock();
        memory.lending.check_idle_share(&self.world, &memory.dispatcher);
    }

    fn on(&mut self, event: Event) {
        let now_ms = self.world.now_ms();
        let effects = match event {
            Event::ReplicaReady { replica, life } if life == self.life(replica) => {
                let mut memory = self.state.lock();
                memory.lending.loaded(replica);
                memory.dispatcher.ready(replica, now_ms)
            }
            Event::BatchDone { replica, life, batch, vectors } if life == self.life(replica) => {
                self.finish(replica, batch, &vectors, now_ms)
            }
            Event::ReplicaLost { replica, life } if life == self.life(replica) => {
                self.lose(replica, now_ms)
            }
            Event::Wake => self.state.lock().dispatcher.wake(now_ms),
            // An earlier life's last words.
            _ => return,
        };
        self.perform(effects);
        self.check_idle_share();
    }

    fn finish(
        &mut self,
        replica: ReplicaIndex,
        batch: BatchId,
        vectors: &Vectors,
        now_ms: u64,
    ) -> Vec<Effect> {
        let mut memory = self.state.lock();
        let (_, items) = memory.running.remove(&replica).unwrap_or((batch, Vec::new()));
        memory.lending.ended(replica);
        let mut rows: Vec<Vec<f32>> = vectors.rows().map(<[f32]>::to_vec).collect();
        if self.options.defect == Some(Defect::RowsAreSwapped) {
            rows.reverse();
        }
        for (item, row) in items.iter().zip(rows) {
            // A cancelled request has no place for it.
            if let Some(pending) = memory.pending.get_mut(&item.request) {
                pending.vectors[item.index] = row;
            }
        }
        memory.dispatcher.finish(replica, batch, None, now_ms)
    }

    fn lose(&mut self, replica: ReplicaIndex, now_ms: u64) -> Vec<Effect> {
        self.world.count("replica lost");
        self.world.note(format_args!("replica {} is lost", replica.0));
        *self.lives.entry(replica).or_default() += 1;
        let mut memory = self.state.lock();
        memory.running.remove(&replica);
        memory.lending.lost(replica);
        if self.options.defect == Some(Defect::LossIsIgnored) {
            return Vec::new();
        }
        memory.dispatcher.lose(replica, now_ms)
    }

    fn perform(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Run { replica, batch, pool, items } => {
                    self.run_batch(replica, batch, pool, items);
                }
                // The number of replicas stays as it is here.
                Effect::Stop { .. } => {}
                Effect::Complete { request } => self.complete(request),
                Effect::Fail { request, failure } => self.fail(request, &failure),
                Effect::Start { replica, after_ms } => {
                    let life = self.life(replica);
                    self.later(after_ms, Event::ReplicaReady { replica, life });
                }
                Effect::Kill { replica } => {
                    self.world.count("replica killed");
                    // Its end is heard of like any other, after what was decided already.
                    let life = self.life(replica);
                    let _ = self.to_self.send(Event::ReplicaLost { replica, life });
                }
                Effect::WakeAt { at_ms } => {
                    self.later(at_ms.saturating_sub(self.world.now_ms()), Event::Wake);
                }
            }
        }
    }

    fn later(&self, ms: u64, event: Event) {
        let (to_self, sleep) = (self.to_self.clone(), self.world.sleep(ms));
        self.world.spawn(async move {
            sleep.await;
            let _ = to_self.send(event);
        });
    }

    fn run_batch(&mut self, replica: ReplicaIndex, batch: BatchId, pool: Pool, items: Vec<ItemId>) {
        let mut memory = self.state.lock();
        let query_waits = !memory.dispatcher.queue(Pool::Query).is_empty();
        memory.lending.start(&self.world, replica, pool, query_waits);
        let text = |item: &ItemId| {
            let pending = memory.pending.get(&item.request)?;
            pending.order.texts.get(item.index).cloned()
        };
        let texts: Option<Vec<Vec<u32>>> = items.iter().map(text).collect();
        let Some(sequences) = texts else {
            drop(memory);
            self.world.violated("batches_hold_open_requests", format_args!("{items:?}"));
            return;
        };
        let texts = TokenBatch::of(sequences);
        let (rows, padded) = (items.len(), items.len() * texts.longest());
        self.world.note(format_args!("batch {} on replica {}: {rows} rows", batch.0, replica.0));
        if rows > 1 {
            self.world.count("batch of many");
        }
        let settings = self.options.plan.batch(pool);
        if rows > settings.batch_rows || (rows > 1 && padded > settings.batch_tokens) {
            let seen = format!("{rows} rows, {padded} tokens");
            self.world.violated("batches_keep_their_limits", seen);
        }
        memory.running.insert(replica, (batch, items));
        drop(memory);
        let run = Run { replica, life: self.life(replica), batch, texts };
        let (world, faults) = (self.world.clone(), self.faults.clone());
        self.world.spawn(replica::run(world, faults, self.to_self.clone(), run));
    }

    fn fail(&mut self, request: RequestId, failure: &headwater_embedding::Failure) {
        self.world.count("request failed");
        self.world.note(format_args!("request {} fails: {failure:?}", request.0));
        if let Some(pending) = self.state.lock().pending.remove(&request) {
            self.network.send(&pending.reply_to, Reply::TryAgain(pending.order.id));
        }
    }

    /// Charges the request and answers it. A crash ends this at any step.
    fn complete(&mut self, request: RequestId) {
        let Some(Pending { order, reply_to, vectors }) = self.state.lock().pending.remove(&request)
        else {
            return;
        };
        let charge = Charge {
            world: self.world.clone(),
            network: self.network.clone(),
            retry: self.retry.clone(),
            order,
            reply_to,
            answer_first: self.options.defect == Some(Defect::ChargeIsNotAwaited),
        };
        self.world.spawn(charge.run(vectors, self.crashes.clone()));
    }
}
