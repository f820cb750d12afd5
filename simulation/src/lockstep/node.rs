//! A node's process: it lives through stretches of virtual time that the coordinator hands out.

mod clock;
mod control;
mod links;
mod store;
mod stream;
#[cfg(test)]
mod tests;
mod transport;

use std::io::{self, Read, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use headwater_cluster::{Incarnation, NodeId};
use headwater_storage::Environment;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::chance::Chance;
use super::program::{Command, ControlLink, NodeContext, Program, Reporter};
use super::wire::{self, FromNode, Hello, Stretch, ToNode};
use super::workload;

pub(super) use clock::Outbox;
pub use transport::LockstepTransport;

use clock::NodeClock;
use links::Links;
use store::StoreLink;

/// Commands that may wait for the program.
const COMMANDS_MAX: usize = 1_024;
/// Control links that may wait for the program.
const CONTROL_LINKS_MAX: usize = 64;

/// The process-wide sources of time and chance, which only the binary of a simulated node
/// replaces. Both pass through until they are switched on.
#[derive(Clone, Copy, Debug)]
pub struct Overrides {
    /// From now on the operating system's chance comes from this seed, and its clocks stand.
    pub switch_on: fn(seed: u64),
    /// Sets the monotonic clock and the wall clock, both in ns.
    pub set_clocks: fn(monotonic_ns: u64, wall_ns: u64),
}

struct Node {
    clock: Arc<NodeClock>,
    outbox: Outbox,
    links: Arc<Links>,
    store: Arc<StoreLink>,
    commands: mpsc::Sender<Command>,
    control_links: mpsc::Sender<ControlLink>,
}

/// Serves the coordinator at the other end of the pipes until it hangs up.
///
/// # Errors
/// What could not be read, written or started, for people.
pub fn serve(
    overrides: Overrides,
    mut input: impl Read,
    mut output: impl Write,
) -> Result<(), String> {
    let pipe = |error: io::Error| format!("the coordinator's pipe broke: {error}");
    let body = wire::get(&mut input).map_err(|error| {
        format!("no coordinator speaks ({error}); this program is started by `headwater simulate`")
    })?;
    let hello = Hello::decode(&body).map_err(|garbled| garbled.to_string())?;
    let own = format!("node {} incarnation {}", hello.node, hello.incarnation);
    (overrides.switch_on)(Chance::of(hello.seed, &own).draw());
    let clock = Arc::new(NodeClock::new(overrides, &hello));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .map_err(|error| format!("the runtime does not start: {error}"))?;
    let program = workload::program(&hello.workload, &hello.parameters)?;
    let node = runtime.block_on(async { Node::start(&hello, &clock, program.as_ref()) })?;
    let born = (runtime.block_on(async { Instant::now() }), hello.now_ms);
    let mut lived_until_ms = hello.now_ms;
    loop {
        let body = match wire::get(&mut input) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            read => read.map_err(pipe)?,
        };
        let stretch = Stretch::decode(&body).map_err(|garbled| garbled.to_string())?;
        let until_ms = stretch.until_ms;
        runtime.block_on(node.live(stretch, born, lived_until_ms));
        lived_until_ms = until_ms;
        wire::put(&mut output, &wire::encode_deeds(&node.outbox.take())).map_err(pipe)?;
    }
}

impl Node {
    /// Must be called within the runtime.
    fn start(hello: &Hello, clock: &Arc<NodeClock>, program: &dyn Program) -> Result<Node, String> {
        let outbox = Outbox::new(clock);
        report_panics(&outbox);
        let names = super::node_names(usize::from(hello.nodes));
        let own = names.get(usize::from(hello.node)).cloned().ok_or("this node has no name")?;
        let links = Arc::new(Links::new(own.clone(), names.clone(), outbox.clone()));
        let store = Arc::new(StoreLink::new(outbox.clone()));
        let (commands, commands_in) = mpsc::channel(COMMANDS_MAX);
        let (control_links, control_links_in) = mpsc::channel(CONTROL_LINKS_MAX);
        let wall = Arc::clone(clock);
        let context = NodeContext {
            node: own.clone(),
            incarnation: Incarnation(hello.incarnation),
            seed: hello.seed,
            peers: names.into_iter().filter(|name| *name != own).collect(),
            transport: Arc::new(LockstepTransport::new(Arc::clone(&links))),
            control_links: control_links_in,
            store: Arc::clone(&store) as _,
            environment: environment(hello, clock, &own),
            wall_ms: Arc::new(move || wall.wall_ms()),
            commands: commands_in,
            report: Reporter::new(outbox.clone()),
        };
        let (running, failed) = (program.start(context), outbox.clone());
        tokio::spawn(async move {
            if let Err(why) = running.await {
                failed.push(FromNode::Violated(format!("a_program_starts: {why}")));
            }
        });
        Ok(Node { clock: Arc::clone(clock), outbox, links, store, commands, control_links })
    }

    /// Lives through a stretch, ms by ms: tokio's clock goes on only when every task waits.
    async fn live(&self, stretch: Stretch, born: (Instant, u64), lived_until_ms: u64) {
        let (born_at, born_ms) = born;
        let mut events = stretch.events.into_iter().peekable();
        let mut meet_until = |node: &Node, now_ms: u64| {
            while let Some((_, event)) = events.next_if(|(at_ms, _)| *at_ms <= now_ms) {
                node.meet(event);
            }
        };
        self.clock.set(stretch.from_ms, stretch.wall_offset_ms);
        if stretch.from_ms > lived_until_ms {
            if stretch.messages_first {
                meet_until(self, stretch.from_ms);
            }
            let stood_ms = stretch.from_ms - lived_until_ms;
            tokio::time::advance(Duration::from_millis(stood_ms)).await;
        }
        for now_ms in stretch.from_ms..stretch.until_ms {
            self.clock.set(now_ms, stretch.wall_offset_ms);
            meet_until(self, now_ms);
            let next = born_at + Duration::from_millis(now_ms + 1 - born_ms);
            tokio::time::sleep_until(next).await;
        }
    }

    fn meet(&self, event: ToNode) {
        match event {
            ToNode::LinkUp { peer, round, incarnation } => {
                self.links.up(peer, round, Incarnation(incarnation));
            }
            ToNode::LinkDown { peer, round, why } => self.links.down(peer, round, &why),
            ToNode::ControlOpened { peer, round, stream, dialled } => {
                control::open(&self.links, (peer, round, stream), dialled, &self.control_links);
            }
            ToNode::Passed { peer, passing } => self.links.passed(peer, passing),
            ToNode::StoreAnswered { call, answer } => self.store.answered(call, Ok(answer)),
            ToNode::StoreLost { call, sent } => self.store.lost(call, sent),
            ToNode::Work(work) => self.command(Command::Work(work)),
            ToNode::Finish => self.command(Command::Finish),
        }
    }

    fn command(&self, command: Command) {
        if self.commands.try_send(command).is_err() {
            self.outbox.push(FromNode::Note("a command found no room".to_owned()));
            self.outbox.push(FromNode::Counted("command dropped".to_owned()));
        }
    }
}

fn environment(hello: &Hello, clock: &Arc<NodeClock>, own: &NodeId) -> Environment {
    let purpose = format!("environment {own} {}", hello.incarnation);
    let chance = Mutex::new(Chance::of(hello.seed, &purpose));
    let clock = Arc::clone(clock);
    Environment::new(
        move || clock.monotonic_ms(),
        |ms| Box::pin(tokio::time::sleep(Duration::from_millis(ms))),
        move || chance.lock().unwrap_or_else(PoisonError::into_inner).draw(),
    )
}

/// A panic is caught by tokio and by ractor; the run must still see it.
fn report_panics(outbox: &Outbox) {
    let outbox = outbox.clone();
    std::panic::set_hook(Box::new(move |panic| {
        let place = panic.location().map(|at| format!("{}:{}", at.file(), at.line()));
        let text = panic.payload_as_str().unwrap_or("no text");
        let place = place.unwrap_or_default();
        outbox.push(FromNode::Violated(format!("a_node_does_not_panic: {text} ({place})")));
    }));
}
