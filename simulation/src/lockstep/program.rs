//! What runs on a simulated node: the program, and the world that it is given.

use std::pin::Pin;
use std::sync::Arc;

use headwater_cluster::{Incarnation, NodeId};
use headwater_storage::Environment;
use headwater_storage::remote::Exchange;
use tokio::io::DuplexStream;
use tokio::sync::mpsc;

use super::node::{LockstepTransport, Outbox};
use super::wire::FromNode;

/// What a node's program is given at its start. Time and chance come from here or from tokio's
/// clock, which is virtual too; threads would break determinism.
pub struct NodeContext {
    pub node: NodeId,
    pub incarnation: Incarnation,
    pub seed: u64,
    /// The other nodes.
    pub peers: Vec<NodeId>,
    pub transport: Arc<LockstepTransport>,
    /// The streams for `ractor_cluster`, one for each link that comes up.
    pub control_links: mpsc::Receiver<ControlLink>,
    /// The way to the store that all nodes share; `RemoteStore` speaks over it.
    pub store: Arc<dyn Exchange>,
    /// The monotonic clock starts anew, at a drawn number, with each incarnation.
    pub environment: Environment,
    /// The wall clock, with this node's skew, in ms since 1970.
    pub wall_ms: Arc<dyn Fn() -> u64 + Send + Sync>,
    pub commands: mpsc::Receiver<Command>,
    pub report: Reporter,
}

/// The stream of one link that carries `ractor_cluster`.
#[derive(Debug)]
pub struct ControlLink {
    pub peer: NodeId,
    /// Whether this side dialled; the other side is then the server.
    pub dialled: bool,
    pub stream: DuplexStream,
}

/// What the workload's clients ask of the node's program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// One request, in the workload's own form; answer with [`Reporter::result`].
    Work(Vec<u8>),
    /// The run ends; answer with [`Reporter::report`].
    Finish,
}

/// A program of a node.
pub trait Program: Send + Sync {
    /// Runs as the node's first task; the node lives on when it ends.
    ///
    /// # Errors
    /// Why the program could not start; the run then fails.
    fn start(&self, context: NodeContext) -> Running;
}

/// See [`Program::start`].
pub type Running = Pin<Box<dyn Future<Output = Result<(), String>> + Send>>;

/// The program's lines in the run's story; cheap to clone.
#[derive(Clone)]
pub struct Reporter {
    outbox: Outbox,
}

impl Reporter {
    pub(super) fn new(outbox: Outbox) -> Reporter {
        Reporter { outbox }
    }

    /// Adds a line to the trace.
    pub fn note(&self, line: impl Into<String>) {
        self.outbox.push(FromNode::Note(line.into()));
    }

    /// Counts something that a large run must have seen.
    pub fn count(&self, what: impl Into<String>) {
        self.outbox.push(FromNode::Counted(what.into()));
    }

    /// Says that a named invariant does not hold.
    pub fn violated(&self, invariant: &str, seen: impl std::fmt::Display) {
        self.outbox.push(FromNode::Violated(format!("{invariant}: {seen}")));
    }

    /// Answers one [`Command::Work`].
    pub fn result(&self, result: Vec<u8>) {
        self.outbox.push(FromNode::Result(result));
    }

    /// Answers [`Command::Finish`].
    pub fn report(&self, report: Vec<u8>) {
        self.outbox.push(FromNode::Report(report));
    }
}
