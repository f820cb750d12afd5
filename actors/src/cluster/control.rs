//! The control links: ractor_cluster's node server over streams that the transport brings, and
//! the one remotable actor of this node, its gateway.
//!
//! Views of the members travel to the gateways of the other nodes, found through a process
//! group; when a link is lost, ractor_cluster takes the remote gateway out of its group.

use std::net::Ipv4Addr;
use std::sync::Arc;

use headwater_cluster::{Incarnation, NodeId};
use ractor::{Actor, ActorProcessingErr, ActorRef, SpawnErr, pg};
use ractor_cluster::node::NodeServerMessage;
use ractor_cluster::{BoxRead, BoxWrite, ClusterBidiStream, NodeServer, RactorClusterMessage};

/// A connected stream to another node's control side, not yet used.
pub struct ControlLink {
    /// The other node, as its certificate names it.
    pub node: NodeId,
    /// Whether this side opened it.
    pub dialled: bool,
    pub read: BoxRead,
    pub write: BoxWrite,
}

impl ClusterBidiStream for ControlLink {
    fn split(self: Box<Self>) -> (BoxRead, BoxWrite) {
        (self.read, self.write)
    }

    fn peer_label(&self) -> Option<String> {
        Some(self.node.to_string())
    }
}

/// Why the control side did not start.
#[derive(Debug, thiserror::Error)]
#[error("the cluster's control actors did not start: {0}; see the log")]
pub struct ControlError(#[from] SpawnErr);

/// To a node's gateway, from its own node or another one.
#[derive(RactorClusterMessage)]
enum GatewayMessage {
    /// A view of the members, as `records` writes it.
    Announce(Vec<u8>),
}

type Hear = Arc<dyn Fn(&[u8]) + Send + Sync>;

struct Gateway;

impl Actor for Gateway {
    type Msg = GatewayMessage;
    type State = Hear;
    type Arguments = Hear;

    async fn pre_start(
        &self,
        _myself: ActorRef<GatewayMessage>,
        hear: Hear,
    ) -> Result<Hear, ActorProcessingErr> {
        Ok(hear)
    }

    async fn handle(
        &self,
        _myself: ActorRef<GatewayMessage>,
        message: GatewayMessage,
        hear: &mut Hear,
    ) -> Result<(), ActorProcessingErr> {
        let GatewayMessage::Announce(view) = message;
        hear(&view);
        Ok(())
    }
}

/// The node's control side; cheap to clone. One a process: ractor's registries are statics.
#[derive(Clone)]
pub struct Control {
    server: ActorRef<NodeServerMessage>,
    gateway: ActorRef<GatewayMessage>,
}

fn gateway_group(node: &NodeId) -> String {
    format!("headwater/gateway/{node}")
}

impl Control {
    /// Starts the node server and the gateway. `secret` must be the same on all nodes; TLS has
    /// authenticated the peer before, so it only keeps local users off the loopback listener
    /// that ractor_cluster insists on. `hear` gets the views that others announce.
    ///
    /// # Errors
    /// When an actor does not start.
    pub async fn start(
        node: &NodeId,
        incarnation: Incarnation,
        secret: &str,
        hear: impl Fn(&[u8]) + Send + Sync + 'static,
    ) -> Result<Control, ControlError> {
        // Host names must be unique for each start of a node.
        let host = format!("{node}.{}", incarnation.0);
        let server = NodeServer::new(0, secret.to_owned(), node.to_string(), host, None, None)
            .with_listen_addr(Ipv4Addr::LOCALHOST.into());
        let (server, _task) = Actor::spawn(None, server, ()).await?;
        let (gateway, _task) = Actor::spawn(None, Gateway, Arc::new(hear) as Hear).await?;
        pg::join(gateway_group(node), vec![gateway.get_cell()]);
        Ok(Control { server, gateway })
    }

    /// Hands a new link to ractor_cluster.
    pub fn attach(&self, link: ControlLink) {
        let is_server = !link.dialled;
        let message =
            NodeServerMessage::ConnectionOpenedExternal { stream: Box::new(link), is_server };
        if self.server.cast(message).is_err() {
            tracing::error!("the node server has ended; a control link was dropped");
        }
    }

    /// Sends a view to the gateway of another node. Without a control link to it the view is
    /// lost, and told again a second later.
    pub fn announce(&self, node: &NodeId, view: Vec<u8>) {
        for cell in pg::get_members(&gateway_group(node)) {
            if !cell.get_id().is_local() {
                let gateway: ActorRef<GatewayMessage> = cell.into();
                let _ = gateway.cast(GatewayMessage::Announce(view.clone()));
            }
        }
    }

    /// Stops the control actors; links are closed with them.
    pub fn stop(&self) {
        self.gateway.stop(None);
        self.server.stop(None);
    }
}
