//! `ractor_cluster` over the control streams: a node server in either process, and a remotable
//! actor that the client finds through a process group.

use std::net::Ipv4Addr;
use std::time::Duration;

use headwater_cluster_quic::ControlStream;
use ractor::rpc::CallResult;
use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort, pg};
use ractor_cluster::node::NodeServerMessage;
use ractor_cluster::{BoxRead, BoxWrite, ClusterBidiStream, NodeServer, RactorClusterMessage};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use crate::server::answer;
use crate::{LONGEST, quic};

const GROUP: &str = "echo";
const LOOK_AGAIN: Duration = Duration::from_millis(10);

#[derive(RactorClusterMessage)]
enum EchoMessage {
    #[rpc]
    Echo(Vec<u8>, RpcReplyPort<Vec<u8>>),
}

struct Echo;

impl Actor for Echo {
    type Msg = EchoMessage;
    type State = ();
    type Arguments = ();

    async fn pre_start(
        &self,
        _myself: ActorRef<EchoMessage>,
        (): (),
    ) -> Result<(), ActorProcessingErr> {
        Ok(())
    }

    async fn handle(
        &self,
        _myself: ActorRef<EchoMessage>,
        EchoMessage::Echo(payload, reply): EchoMessage,
        (): &mut (),
    ) -> Result<(), ActorProcessingErr> {
        Ok(reply.send(answer(payload))?)
    }
}

/// A control stream, as `ractor_cluster` wants it.
struct Link(ControlStream);

impl ClusterBidiStream for Link {
    fn split(self: Box<Self>) -> (BoxRead, BoxWrite) {
        (self.0.read, self.0.write)
    }
}

/// Starts the echo actor and this process's node server.
pub(crate) async fn serve(controls: mpsc::Receiver<ControlStream>) {
    let (echo, _task) = Actor::spawn(None, Echo, ()).await.unwrap();
    pg::join(GROUP.to_owned(), vec![echo.get_cell()]);
    attach(quic::SERVER, controls).await;
}

/// Starts a node server and gives it every control stream.
async fn attach(node: &str, mut controls: mpsc::Receiver<ControlStream>) {
    let (secret, name) = ("bench".to_owned(), node.to_owned());
    // It insists on a listener of its own, which nobody dials.
    let server = NodeServer::new(0, secret, name.clone(), name, None, None)
        .with_listen_addr(Ipv4Addr::LOCALHOST.into());
    let (server, _task) = Actor::spawn(None, server, ()).await.unwrap();
    tokio::spawn(async move {
        while let Some(stream) = controls.recv().await {
            let (is_server, stream) = (!stream.dialled, Box::new(Link(stream)));
            server.cast(NodeServerMessage::ConnectionOpenedExternal { stream, is_server }).unwrap();
        }
    });
}

#[derive(Clone)]
pub(crate) struct Caller {
    echo: ActorRef<EchoMessage>,
}

impl Caller {
    /// Starts this process's node server, and waits for the other one's echo actor.
    pub(crate) async fn find(controls: mpsc::Receiver<ControlStream>) -> Caller {
        attach(quic::CLIENT, controls).await;
        let member = async {
            loop {
                let members = pg::get_members(&GROUP.to_owned());
                if let Some(cell) = members.into_iter().find(|cell| !cell.get_id().is_local()) {
                    return cell;
                }
                sleep(LOOK_AGAIN).await;
            }
        };
        Caller { echo: timeout(LONGEST, member).await.unwrap().into() }
    }

    pub(crate) async fn call(&self, payload: Vec<u8>) -> Vec<u8> {
        let called = self.echo.call(|reply| EchoMessage::Echo(payload, reply), None).await;
        let CallResult::Success(answer) = called.unwrap() else {
            panic!("the echo actor has ended");
        };
        answer
    }
}
