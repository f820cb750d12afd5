//! What all tasks of one transport share.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use headwater_cluster::NodeId;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;

use crate::control::ControlStream;
use crate::dial::Introductions;
use crate::identity::Identity;
use crate::inbox::{Inbox, is_set};
use crate::refusal::{Refusal, Refusals};
use crate::settings::QuicSettings;
use crate::stream::QuicStream;
use crate::table::Table;

pub(crate) struct Shared {
    pub(crate) settings: QuicSettings,
    pub(crate) endpoint: quinn::Endpoint,
    /// The bound address.
    pub(crate) address: SocketAddr,
    pub(crate) identity: RwLock<Arc<Identity>>,
    pub(crate) table: Table,
    pub(crate) introductions: Introductions,
    pub(crate) inbox: Inbox,
    pub(crate) accepted: mpsc::Sender<(NodeId, QuicStream)>,
    pub(crate) control: mpsc::Sender<ControlStream>,
    pub(crate) refusals: Refusals,
    pub(crate) closed: watch::Sender<bool>,
    pub(crate) generations: AtomicU64,
    pub(crate) runtime: Handle,
}

impl Shared {
    /// Runs the task until it ends or the transport is closed.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) -> AbortHandle {
        let closed = is_set(self.closed.subscribe());
        let task = async move {
            tokio::select! {
                () = closed => {}
                () = task => {}
            }
        };
        self.runtime.spawn(task).abort_handle()
    }

    pub(crate) fn identity(&self) -> Arc<Identity> {
        Arc::clone(&self.identity.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn next_generation(&self) -> u64 {
        self.generations.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn advertise(&self) -> String {
        self.settings.advertise.clone().unwrap_or_else(|| self.address.to_string())
    }

    pub(crate) fn is_closed(&self) -> bool {
        *self.closed.borrow()
    }

    /// Ends everything. What waits can still be received.
    pub(crate) fn close(&self) {
        // First the connections, then the tasks: a task that ends before its connection would
        // finish its stream, and the peer take that for a broken lane.
        self.table.close();
        let closing = Refusal::Closing;
        self.endpoint
            .close(quinn::VarInt::from_u32(closing.code()), closing.to_string().as_bytes());
        self.closed.send_replace(true);
    }
}
