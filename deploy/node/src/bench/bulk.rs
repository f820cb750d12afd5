//! The bulk load: clients that send batches one after the other until they are told to stop.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::sleep;

use super::client::{Connection, body};
use super::texts::Workload;
use crate::failure::Failure;

/// How long a client waits after it was refused for want of room.
const PAUSE: Duration = Duration::from_millis(200);

/// The service level that bulk asks for; OpenAI's word for work that may wait.
pub(super) const TIER: &str = "flex";

/// What a bulk load has done so far.
#[derive(Default)]
pub(super) struct Done {
    pub(super) tokens: Cell<u64>,
    pub(super) refused: Cell<u64>,
    stop: Cell<bool>,
    broken: RefCell<Option<Failure>>,
}

/// A bulk load under way. Lives in a `LocalSet`.
pub(super) struct Bulk {
    pub(super) done: Rc<Done>,
    clients: JoinSet<()>,
}

impl Bulk {
    /// Starts the workload's clients; `tier` says whether they ask for [`TIER`].
    pub(super) fn start(
        address: SocketAddr,
        model: &str,
        workload: &Workload,
        tier: bool,
        next: &Rc<Cell<u64>>,
    ) -> Bulk {
        let done = Rc::new(Done::default());
        let mut clients = JoinSet::new();
        for _ in 0..workload.clients {
            let client = Client {
                address,
                model: model.to_owned(),
                workload: workload.clone(),
                tier: tier.then_some(TIER),
                next: Rc::clone(next),
            };
            let done = Rc::clone(&done);
            clients.spawn_local(async move {
                if let Err(failure) = client.run(&done).await {
                    done.broken.borrow_mut().get_or_insert(failure);
                }
            });
        }
        Bulk { done, clients }
    }

    /// Lets the clients finish what they sent.
    ///
    /// # Errors
    /// When a client was answered neither with success nor with an overload.
    pub(super) async fn stop(mut self) -> Result<(), Failure> {
        self.done.stop.set(true);
        while self.clients.join_next().await.is_some() {}
        match self.done.broken.borrow_mut().take() {
            Some(failure) => Err(failure),
            None => Ok(()),
        }
    }
}

struct Client {
    address: SocketAddr,
    model: String,
    workload: Workload,
    tier: Option<&'static str>,
    next: Rc<Cell<u64>>,
}

impl Client {
    async fn run(&self, done: &Done) -> Result<(), Failure> {
        let mut connection = Connection::open(self.address).await?;
        while !done.stop.get() {
            let number = self.next.get();
            self.next.set(number + 1);
            let body = body(&self.model, &self.workload.texts(number), self.tier);
            let answer = connection.embed(body).await?;
            if answer.is_overload() {
                done.refused.set(done.refused.get() + 1);
                sleep(PAUSE).await;
                continue;
            }
            done.tokens.set(done.tokens.get() + answer.tokens()?);
        }
        Ok(())
    }
}

/// Whether the server knows [`TIER`]; one that does not refuses the field.
///
/// # Errors
/// When the server cannot be reached.
pub(super) async fn knows_tier(address: SocketAddr, model: &str) -> Result<bool, Failure> {
    let text = ["one short text".to_owned()];
    let answer = Connection::open(address).await?.embed(body(model, &text, Some(TIER))).await?;
    Ok(answer.status.is_success())
}
