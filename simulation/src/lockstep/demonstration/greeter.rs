//! An actor that nodes call on each other through `ractor_cluster`.

use std::net::Ipv4Addr;

use ractor::rpc::CallResult;
use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};
use ractor_cluster::node::NodeServerMessage;
use ractor_cluster::{BoxRead, BoxWrite, ClusterBidiStream, NodeServer, RactorClusterMessage};
use tokio::io::DuplexStream;

use crate::lockstep::program::{ControlLink, NodeContext};

const GREETING_MS: u64 = 1_000;

#[derive(RactorClusterMessage)]
pub(super) enum Greeting {
    #[rpc]
    Hello(u64, RpcReplyPort<String>),
}

struct Greeter {
    name: String,
}

impl Actor for Greeter {
    type Msg = Greeting;
    type State = u64;
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<Greeting>, (): ()) -> Result<u64, ActorProcessingErr> {
        Ok(0)
    }

    async fn handle(
        &self,
        _: ActorRef<Greeting>,
        message: Greeting,
        greeted: &mut u64,
    ) -> Result<(), ActorProcessingErr> {
        let Greeting::Hello(_, reply) = message;
        *greeted += 1;
        // A caller that has given up is no failure of the greeter.
        let _ = reply.send(format!("{} as its {greeted}.", self.name));
        Ok(())
    }
}

struct Link(DuplexStream, String);

impl ClusterBidiStream for Link {
    fn split(self: Box<Self>) -> (BoxRead, BoxWrite) {
        let (reader, writer) = tokio::io::split(self.0);
        (Box::new(reader), Box::new(writer))
    }

    fn peer_label(&self) -> Option<String> {
        Some(self.1.clone())
    }
}

/// Starts the node server and the greeter, and returns where control links go.
pub(super) async fn start(context: &NodeContext) -> Result<ActorRef<NodeServerMessage>, String> {
    let failed = |error: ractor::SpawnErr| error.to_string();
    let host = format!("{}.{}", context.node, context.incarnation.0);
    let cookie = "demonstration".to_owned();
    let server = NodeServer::new(0, cookie, context.node.to_string(), host, None, None);
    let server = server.with_listen_addr(Ipv4Addr::LOCALHOST.into());
    let (server, _) = Actor::spawn(None, server, ()).await.map_err(failed)?;
    let greeter = Greeter { name: context.node.to_string() };
    let (greeter, _) = Actor::spawn(None, greeter, ()).await.map_err(failed)?;
    ractor::pg::join(group(&context.node.to_string()), vec![greeter.get_cell()]);
    Ok(server)
}

pub(super) fn connect(server: &ActorRef<NodeServerMessage>, link: ControlLink) {
    let stream = Box::new(Link(link.stream, link.peer.to_string()));
    let is_server = !link.dialled;
    // The server outlives the program; if not, the link is dropped and dialled again.
    let _ = server.cast(NodeServerMessage::ConnectionOpenedExternal { stream, is_server });
}

fn group(node: &str) -> String {
    format!("greeters of {node}")
}

/// Asks the greeter of a node for its greeting.
pub(super) async fn greet(node: &str, number: u64) -> Result<String, String> {
    let members = ractor::pg::get_members(&group(node));
    let Some(greeter) = members.into_iter().next() else {
        return Err(format!("no greeter of {node} is known"));
    };
    let greeter: ActorRef<Greeting> = greeter.into();
    let timeout = Some(ractor::concurrency::Duration::from_millis(GREETING_MS));
    match greeter.call(|reply| Greeting::Hello(number, reply), timeout).await {
        Ok(CallResult::Success(text)) => Ok(text),
        Ok(CallResult::Timeout) => Err("no greeting in time".to_owned()),
        Ok(CallResult::SenderError) => Err("the greeter is gone".to_owned()),
        Err(error) => Err(format!("the greeter cannot be called: {error}")),
    }
}
