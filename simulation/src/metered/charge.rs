//! Charging: an answer goes out only after its request stands in the ledger.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use headwater_storage::retry::{Applied, Retry};
use headwater_storage::{AtomicOp, StoreError};
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::watch;

use super::checks::{charge_key, tenant_key};
use super::{Order, Reply};
use crate::network::Network;
use crate::world::World;

pub(super) struct Charge {
    pub(super) world: World,
    pub(super) network: Network,
    pub(super) retry: Retry,
    pub(super) order: Order,
    pub(super) reply_to: UnboundedSender<Reply>,
    /// The planted bug.
    pub(super) answer_first: bool,
}

impl Charge {
    /// Charges and answers, unless the node crashes before.
    pub(super) async fn run(self, vectors: Vec<Vec<f32>>, crashes: watch::Receiver<u64>) {
        let crashes_before = *crashes.borrow();
        let mut work = Box::pin(self.charge_and_answer(vectors));
        poll_fn(|context| {
            // A dead node takes no further step.
            if *crashes.borrow() != crashes_before {
                return Poll::Ready(());
            }
            work.as_mut().poll(context)
        })
        .await;
    }

    async fn charge_and_answer(self, vectors: Vec<Vec<f32>>) {
        let id = self.order.id;
        let answer = Reply::Vectors(id, Arc::new(vectors));
        if self.answer_first {
            self.network.send(&self.reply_to, answer.clone());
        }
        let reply = match self.charge().await {
            Ok(applied) => {
                if applied == Applied::Earlier {
                    self.world.count("charged before");
                }
                answer
            }
            Err(error) => {
                self.world.count("charge failed");
                self.world.note(format_args!("charging failed: {error}"));
                Reply::TryAgain(id)
            }
        };
        self.network.send(&self.reply_to, reply);
    }

    async fn charge(&self) -> Result<Applied<()>, StoreError> {
        let (id, tenant, tokens) = (self.order.id, self.order.tenant, self.order.tokens());
        self.retry
            .write(id, move |transaction| {
                Box::pin(async move {
                    transaction.atomic(&charge_key(id), AtomicOp::Add, &1_u64.to_le_bytes())?;
                    transaction.atomic(&tenant_key(tenant), AtomicOp::Add, &tokens.to_le_bytes())
                })
            })
            .await
    }
}
