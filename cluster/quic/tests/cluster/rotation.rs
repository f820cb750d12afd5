//! Certificates change without a restart: new connections use the new files, live ones stay.

use std::fs;

use headwater_cluster::Transport;
use headwater_cluster_quic::{QuicError, QuicSettings, authority};

use crate::support::{Authority, Node, check_link, files, id, until};

/// Gives the node a certificate of this authority, in the place of the one it has.
fn renew(settings: &QuicSettings, authority: &Authority) {
    let out = tempfile::tempdir().unwrap();
    authority::issue(authority.path(), &settings.node, out.path(), 1).unwrap();
    fs::rename(out.path().join("node.pem"), &settings.identity.certificate).unwrap();
    fs::rename(out.path().join("node.key"), &settings.identity.key).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_renewed_certificate_serves_new_nodes_and_keeps_old_links() {
    let authority = Authority::new();
    let settings = authority.settings("a", 1);
    let a = Node::start(settings.clone()).await;
    let b = authority.node("b", 1, &[&a]).await;
    a.up("b", 1).await;
    b.up("a", 1).await;
    renew(&settings, &authority);
    a.transport.reload_identity().unwrap();
    let c = authority.node("c", 1, &[&a]).await;
    a.up("c", 1).await;
    c.up("a", 1).await;
    check_link(&a, &b).await;
    check_link(&a, &c).await;
    // The dialling side uses the new one too.
    let d = authority.node("d", 1, &[]).await;
    a.transport.introduce(&id("d"), &d.address());
    a.up("d", 1).await;
    b.stays_quiet().await;
}

/// The whole authority is replaced while links stay: nodes trust both for a time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_authority_itself_can_be_replaced() {
    let (old, new) = (Authority::new(), Authority::new());
    let trusted = old.path().join("both.pem");
    let both = [old.path(), new.path()].map(|path| fs::read(path.join("ca.pem")).unwrap());
    fs::write(&trusted, fs::read(old.path().join("ca.pem")).unwrap()).unwrap();
    let mut settings = old.settings("a", 1);
    settings.identity.authority = trusted.clone();
    let a = Node::start(settings).await;
    let b = old.node("b", 1, &[&a]).await;
    a.up("b", 1).await;
    b.up("a", 1).await;
    let mut from_new = new.settings("c", 1);
    from_new.seeds = vec![a.address()];
    from_new.identity = files(trusted.clone(), &new.path().join("c"));
    let c = Node::start(from_new).await;
    until("a refuses the new authority", || a.transport.refused() > 0).await;
    a.stays_quiet().await;
    fs::write(&trusted, both.concat()).unwrap();
    a.transport.reload_identity().unwrap();
    c.transport.reload_identity().unwrap();
    a.up("c", 1).await;
    c.up("a", 1).await;
    check_link(&a, &b).await;
    check_link(&a, &c).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_reload_keeps_the_old_identity() {
    let authority = Authority::new();
    let settings = authority.settings("a", 1);
    let a = Node::start(settings.clone()).await;
    let pem = fs::read(&settings.identity.certificate).unwrap();
    fs::write(&settings.identity.certificate, &pem[..pem.len() / 2]).unwrap();
    assert!(matches!(a.transport.reload_identity(), Err(QuicError::Identity { .. })));
    fs::write(&settings.identity.certificate, &pem).unwrap();
    // Halfway through a rotation: the new key is there, its certificate is not.
    fs::copy(&authority.identity("b").key, &settings.identity.key).unwrap();
    assert!(matches!(a.transport.reload_identity(), Err(QuicError::Identity { .. })));
    let b = authority.node("b", 1, &[&a]).await;
    a.up("b", 1).await;
    b.up("a", 1).await;
    check_link(&a, &b).await;
}
