//! A network that drops everything for a while: both sides notice, and link again afterwards.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use headwater_cluster::{StreamBroken, Transport};
use headwater_cluster_quic::QuicSettings;
use tokio::net::UdpSocket;
use tokio::task::AbortHandle;

use crate::support::{Authority, Node, check_link, within};

/// Passes datagrams between one client and a node, while it is open.
struct Relay {
    address: SocketAddr,
    is_open: Arc<AtomicBool>,
    task: AbortHandle,
}

impl Relay {
    async fn to(node: SocketAddr) -> Relay {
        let near = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let far = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        far.connect(node).await.unwrap();
        let address = near.local_addr().unwrap();
        let is_open = Arc::new(AtomicBool::new(true));
        let passes = Arc::clone(&is_open);
        let task = tokio::spawn(async move {
            let (mut asked, mut answered) = (vec![0; 65_536], vec![0; 65_536]);
            let mut client = None;
            loop {
                tokio::select! {
                    Ok((length, from)) = near.recv_from(&mut asked) => {
                        client = Some(from);
                        if passes.load(Ordering::SeqCst) {
                            let _ = far.send(&asked[..length]).await;
                        }
                    }
                    Ok(length) = far.recv(&mut answered) => {
                        if let Some(client) = client && passes.load(Ordering::SeqCst) {
                            let _ = near.send_to(&answered[..length], client).await;
                        }
                    }
                    else => {}
                }
            }
        });
        Relay { address, is_open, task: task.abort_handle() }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Whichever side decides.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partition_ends_the_link_and_its_end_brings_it_back() {
    let authority = Authority::new();
    for (near, far) in [("a", "b"), ("d", "c")] {
        let settings = |node, seeds| QuicSettings {
            idle_timeout_ms: 600,
            seeds,
            ..authority.settings(node, 1)
        };
        let far = Node::start(settings(far, vec![])).await;
        let relay = Relay::to(far.transport.address()).await;
        let near = Node::start(settings(near, vec![relay.address.to_string()])).await;
        near.up(far.id.as_str(), 1).await;
        far.up(near.id.as_str(), 1).await;
        check_link(&near, &far).await;
        let mut stream = within(near.transport.open(&far.id)).await.unwrap();
        relay.is_open.store(false, Ordering::SeqCst);
        let silence = "no sign of life from the peer";
        let lost = within(stream.read()).await;
        assert_eq!(lost, Err(StreamBroken::LinkLost(silence.to_owned())));
        assert_eq!(near.down(far.id.as_str(), 1).await, silence);
        assert_eq!(far.down(near.id.as_str(), 1).await, silence);
        relay.is_open.store(true, Ordering::SeqCst);
        near.up(far.id.as_str(), 1).await;
        far.up(near.id.as_str(), 1).await;
        check_link(&near, &far).await;
    }
}
