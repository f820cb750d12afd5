//! Clients: each sends one request after the other and repeats it until it is answered.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use headwater_embedding::Pool;
use headwater_models::{Model, OpenOptions, TokenBatch};
use headwater_storage::retry::OperationId;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::{MOST_TEXTS, Options, Order, Reply, Request, TEXT_TOKENS, model};
use crate::faults::{Faults, Kind};
use crate::network::Network;
use crate::world::World;

/// What became of a request, as its client knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Waiting,
    Answered,
    Left,
}

/// All requests of a run, by id.
#[derive(Clone, Default)]
pub(super) struct Book(Arc<Mutex<BTreeMap<OperationId, (Order, Fate)>>>);

impl Book {
    pub(super) fn lock(&self) -> MutexGuard<'_, BTreeMap<OperationId, (Order, Fate)>> {
        self.0.lock().unwrap_or_else(|held| held.into_inner())
    }

    fn write(&self, order: &Order, fate: Fate) {
        self.lock().insert(order.id, (order.clone(), fate));
    }
}

struct Client {
    number: u64,
    world: World,
    faults: Faults,
    network: Network,
    node: UnboundedSender<Request>,
    book: Book,
}

pub(super) fn start_all(
    world: &World,
    faults: &Faults,
    network: &Network,
    options: &Options,
    node: &UnboundedSender<Request>,
) -> Book {
    let book = Book::default();
    for number in 0..options.clients {
        let client = Client {
            number,
            world: world.clone(),
            faults: faults.clone(),
            network: network.clone(),
            node: node.clone(),
            book: book.clone(),
        };
        let requests = options.requests_per_client;
        world.spawn(async move {
            for _ in 0..requests {
                client.request().await;
                client.world.sleep(client.world.between(0, 3_000)).await;
            }
        });
    }
    book
}

impl Client {
    fn order(&self) -> Order {
        let world = &self.world;
        let text = |_| {
            let tokens = world.between(1, TEXT_TOKENS);
            (0..tokens).map(|_| world.between(10, 20_000) as u32).collect()
        };
        let texts = (0..world.between(1, MOST_TEXTS)).map(text).collect();
        let pool = if world.between(0, 2) == 0 { Pool::Ingest } else { Pool::Query };
        let id = OperationId::draw(0, &world.environment());
        Order { id, client: self.number, tenant: self.number % 3, pool, texts }
    }

    async fn request(&self) {
        let order = self.order();
        self.book.write(&order, Fate::Waiting);
        let (to_client, mut replies) = unbounded_channel();
        loop {
            self.network.send(&self.node, Request::Embed(order.clone(), to_client.clone()));
            if self.faults.strike(Kind::ClientLeaves) {
                self.world.sleep(self.world.between(0, 50)).await;
                self.network.send(&self.node, Request::Leave(order.id));
                self.world.note(format_args!("client {} leaves", self.number));
                self.book.write(&order, Fate::Left);
                return;
            }
            let patience_ms = self.world.between(2_000, 10_000);
            let reply = self.world.within(patience_ms, reply_to(order.id, &mut replies)).await;
            match reply.flatten() {
                Some(Reply::Vectors(_, vectors)) => {
                    self.check(&order, &vectors);
                    self.world.count("answered");
                    self.world.note(format_args!("client {} is answered", self.number));
                    self.book.write(&order, Fate::Answered);
                    return;
                }
                Some(Reply::TryAgain(_)) | None => {
                    self.world.note(format_args!("client {} tries again", self.number));
                    self.world.sleep(self.world.between(10, 500)).await;
                }
            }
        }
    }

    /// Each text's vector must be what the model gives for that text alone.
    fn check(&self, order: &Order, vectors: &[Vec<f32>]) {
        let batch = TokenBatch::of(order.texts.clone());
        let expected =
            model().open(&OpenOptions::threads(1)).and_then(|mut encoder| encoder.encode(&batch));
        let same = expected
            .as_ref()
            .is_ok_and(|expected| expected.rows().map(<[f32]>::to_vec).eq(vectors.iter().cloned()));
        if !same {
            let texts = order.texts.len();
            self.world.violated(
                "each_text_gets_its_own_vector",
                format_args!("client {} asked for {texts} texts", self.number),
            );
        }
    }
}

async fn reply_to(id: OperationId, replies: &mut UnboundedReceiver<Reply>) -> Option<Reply> {
    loop {
        let reply = replies.recv().await?;
        let (Reply::Vectors(of, _) | Reply::TryAgain(of)) = &reply;
        if *of == id {
            return Some(reply);
        }
    }
}
