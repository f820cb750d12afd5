//! Joining, losing and regaining links, and that a pair has one link at a time.

use std::net::UdpSocket;

use headwater_cluster::{Incarnation, ProtocolRange, Transport, TransportError};
use headwater_cluster_quic::{QuicSettings, QuicTransport};

use crate::support::{Authority, Node, check_link, free_address, id, pair, until, within};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_join_by_seed_and_by_introduction() {
    let authority = Authority::new();
    let (a, b) = pair(&authority).await;
    let c = authority.node("c", 1, &[&a]).await;
    c.up("a", 1).await;
    a.up("c", 1).await;
    let refused = b.transport.send(b.envelope(&c, 0, 1)).await;
    assert_eq!(refused, Err(TransportError::Unreachable(id("c"))));
    // Each is introduced to the other, as the members' gossip would; the smaller name dials.
    c.transport.introduce(&id("b"), &b.address());
    b.transport.introduce(&id("c"), &c.address());
    b.up("c", 1).await;
    c.up("b", 1).await;
    for (x, y) in [(&a, &b), (&b, &c), (&c, &a)] {
        check_link(x, y).await;
    }
    let status = b.transport.links();
    let nodes: Vec<_> = status.iter().map(|link| link.node.as_str()).collect();
    assert_eq!(nodes, ["a", "c"]);
    assert!(status.iter().all(|link| link.dialled && link.sent > 0 && link.version == 1));
    assert_eq!(status[1].address, c.address());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_peer_is_told_and_linked_again() {
    let authority = Authority::new();
    let (a, b) = pair(&authority).await;
    drop(b);
    assert_eq!(a.down("b", 1).await, "the peer ended it: the node is closing");
    let refused = a.transport.open(&id("b")).await.err();
    assert_eq!(refused, Some(TransportError::Unreachable(id("b"))));
    let b = authority.node("b", 2, &[&a]).await;
    a.up("b", 2).await;
    b.up("a", 1).await;
    check_link(&a, &b).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_seed_that_comes_back_is_dialled_again() {
    let authority = Authority::new();
    let listen = free_address();
    let seed = |incarnation| QuicSettings { listen, ..authority.settings("seed", incarnation) };
    let a = QuicSettings { seeds: vec![listen.to_string()], ..authority.settings("a", 1) };
    let a = Node::start(a).await;
    let first = Node::start(seed(1)).await;
    a.up("seed", 1).await;
    first.up("a", 1).await;
    first.transport.close().await;
    assert_eq!(first.down("a", 1).await, "the node is closing");
    assert_eq!(within(first.transport.next_change()).await, None, "closed, and told to the end");
    a.down("seed", 1).await;
    drop(first);
    until("the port is free again", || UdpSocket::bind(listen).is_ok()).await;
    let second = Node::start(seed(2)).await;
    a.up("seed", 2).await;
    second.up("a", 1).await;
    check_link(&a, &second).await;
}

/// Whichever side decides, the newer incarnation wins and the older one stays out.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newer_incarnation_takes_the_link_over() {
    let authority = Authority::new();
    for (stays, restarts) in [("a", "b"), ("d", "c")] {
        let seed = authority.node(stays, 1, &[]).await;
        let old = authority.node(restarts, 1, &[&seed]).await;
        seed.up(restarts, 1).await;
        old.up(stays, 1).await;
        let new = authority.node(restarts, 2, &[&seed]).await;
        new.up(stays, 1).await;
        seed.down(restarts, 1).await;
        seed.up(restarts, 2).await;
        old.down(stays, 1).await;
        // The old one dials again, and is refused again.
        until("the old one is refused", || seed.transport.refused() > 1).await;
        assert_eq!(seed.transport.links()[0].incarnation, Incarnation(2));
        check_link(&seed, &new).await;
        seed.stays_quiet().await;
        old.stays_quiet().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dialling_each_other_at_once_leaves_one_link() {
    let authority = Authority::new();
    for _ in 0..8 {
        let (a, b) = (free_address(), free_address());
        let settings = |node, listen, seed: std::net::SocketAddr| QuicSettings {
            listen,
            seeds: vec![seed.to_string()],
            ..authority.settings(node, 1)
        };
        let (a, b) =
            tokio::join!(Node::start(settings("a", a, b)), Node::start(settings("b", b, a)));
        a.up("b", 1).await;
        b.up("a", 1).await;
        check_link(&a, &b).await;
        a.stays_quiet().await;
        b.stays_quiet().await;
        let (links_a, links_b) = (a.transport.links(), b.transport.links());
        assert_eq!((links_a.len(), links_b.len()), (1, 1));
        assert_ne!(links_a[0].dialled, links_b[0].dialled, "it is the same link");
        assert_eq!((a.transport.refused(), b.transport.refused()), (0, 0));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_among_its_own_seeds_dials_the_others_only() {
    let authority = Authority::new();
    let b = authority.node("b", 1, &[]).await;
    let listen = free_address();
    let seeds = vec![listen.to_string(), b.address()];
    let a = Node::start(QuicSettings { listen, seeds, ..authority.settings("a", 1) }).await;
    a.up("b", 1).await;
    b.up("a", 1).await;
    a.stays_quiet().await;
    assert_eq!((a.transport.links().len(), a.transport.refused()), (1, 0));
    let own = a.envelope(&a, 0, 5);
    a.transport.send(own.clone()).await.unwrap();
    assert_eq!(a.receive().await, own, "a node reaches itself without a link");
    let refused = a.transport.open(&id("a")).await.err();
    assert_eq!(refused, Some(TransportError::Unreachable(id("a"))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forgotten_node_is_not_dialled_until_it_is_introduced() {
    let authority = Authority::new();
    let b = authority.node("b", 1, &[]).await;
    let a = authority.node("a", 1, &[&b]).await;
    a.up("b", 1).await;
    b.up("a", 1).await;
    a.transport.forget(&id("b"));
    assert_eq!(a.down("b", 1).await, "this node was told to forget the peer");
    b.down("a", 1).await;
    a.stays_quiet().await;
    a.transport.introduce(&id("b"), &b.address());
    a.up("b", 1).await;
    b.up("a", 1).await;
    check_link(&a, &b).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_seed_that_left_is_linked_again_when_it_starts_anew_without_seeds() {
    let authority = Authority::new();
    let listen = free_address();
    let seed = |incarnation| QuicSettings { listen, ..authority.settings("b", incarnation) };
    let b = Node::start(seed(1)).await;
    // Names on both sides of the seed's: either side may be the one that decides.
    let (a, c) = (authority.node("a", 1, &[&b]).await, authority.node("c", 1, &[&b]).await);
    for other in [&a, &c] {
        other.up("b", 1).await;
        other.transport.forget(&b.id);
        other.down("b", 1).await;
    }
    b.transport.close().await;
    drop(b);
    let b = Node::start_once_free(seed(2)).await;
    for other in [&a, &c] {
        other.up("b", 2).await;
        check_link(other, &b).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_introduced_address_of_another_node_makes_no_link() {
    let authority = Authority::new();
    let (a, b) = pair(&authority).await;
    let c = authority.node("c", 1, &[]).await;
    a.transport.introduce(&id("d"), &c.address());
    until("c hears of it", || c.transport.refused() > 0).await;
    a.stays_quiet().await;
    assert_eq!(a.transport.links().len(), 1);
    // The address was wrong; a right one is dialled at once.
    let d = authority.node("d", 1, &[]).await;
    a.transport.introduce(&id("d"), &d.address());
    a.up("d", 1).await;
    check_link(&a, &b).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn versions_are_negotiated() {
    let authority = Authority::new();
    let with = |node, oldest, newest, seeds| QuicSettings {
        versions: ProtocolRange { oldest, newest },
        seeds,
        ..authority.settings(node, 1)
    };
    let a = Node::start(with("a", 1, 1, vec![])).await;
    let b = Node::start(with("b", 1, 2, vec![a.address()])).await;
    assert_eq!((a.up("b", 1).await, b.up("a", 1).await), (1, 1));
    let c = Node::start(with("c", 2, 2, vec![a.address(), b.address()])).await;
    assert_eq!((b.up("c", 1).await, c.up("b", 1).await), (2, 2), "those two share version 2");
    until("a refuses c", || a.transport.refused() > 0).await;
    a.stays_quiet().await;
    c.stays_quiet().await;
    check_link(&a, &b).await;
    check_link(&b, &c).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closed_transport_ends_its_calls() {
    let authority = Authority::new();
    let (a, b) = pair(&authority).await;
    b.transport.send(b.envelope(&a, 0, 1)).await.unwrap();
    let waiting = {
        let transport: QuicTransport = a.transport.clone();
        tokio::spawn(async move { transport.accept().await.is_none() })
    };
    assert_eq!(a.receive().await.sequence, 1);
    a.transport.close().await;
    assert!(within(waiting).await.unwrap());
    assert_eq!(within(a.transport.receive()).await, None);
    let refused = a.transport.send(a.envelope(&b, 0, 1)).await;
    assert_eq!(refused, Err(TransportError::Closed));
    let refused = a.transport.send(a.envelope(&a, 0, 1)).await;
    assert_eq!(refused, Err(TransportError::Closed));
    assert_eq!(a.transport.open(&b.id).await.err(), Some(TransportError::Closed));
    b.down("a", 1).await;
}
