//! A node's way to the store, which the coordinator hosts.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use headwater_storage::remote::{Exchange, ExchangeError};
use tokio::sync::oneshot;

use super::Outbox;
use crate::lockstep::wire::FromNode;

/// Requests that may wait for their answers.
const CALLS_MAX: usize = 1_024;

type Answer = Result<Vec<u8>, ExchangeError>;

pub(super) struct StoreLink {
    outbox: Outbox,
    calls: Mutex<Calls>,
}

#[derive(Default)]
struct Calls {
    next: u64,
    waiting: BTreeMap<u64, oneshot::Sender<Answer>>,
}

impl StoreLink {
    pub(super) fn new(outbox: Outbox) -> StoreLink {
        StoreLink { outbox, calls: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Calls> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An answer that nobody waits for any more is dropped.
    pub(super) fn answered(&self, call: u64, answer: Answer) {
        if let Some(caller) = self.lock().waiting.remove(&call) {
            let _ = caller.send(answer);
        }
    }

    /// The way to the store broke; `sent` says whether the request may have been carried out.
    pub(super) fn lost(&self, call: u64, sent: bool) {
        let why = "nothing was heard for the idle timeout".to_owned();
        let error = if sent { ExchangeError::Unknown(why) } else { ExchangeError::NotSent(why) };
        self.answered(call, Err(error));
    }

    fn begin(&self) -> Result<(u64, oneshot::Receiver<Answer>), ExchangeError> {
        let mut calls = self.lock();
        calls.waiting.retain(|_, caller| !caller.is_closed());
        if calls.waiting.len() >= CALLS_MAX {
            let text = format!("{CALLS_MAX} requests wait already; ask less at once");
            return Err(ExchangeError::NotSent(text));
        }
        let (caller, answer) = oneshot::channel();
        calls.next += 1;
        let call = calls.next;
        calls.waiting.insert(call, caller);
        Ok((call, answer))
    }
}

#[async_trait]
impl Exchange for StoreLink {
    async fn exchange(&self, request: Vec<u8>) -> Answer {
        let (call, answer) = self.begin()?;
        self.outbox.push(FromNode::AskStore { call, request });
        answer.await.unwrap_or_else(|_| Err(ExchangeError::Unknown("this node ends".to_owned())))
    }
}
