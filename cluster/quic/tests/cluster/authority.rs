//! The authority's files: modes, nothing overwritten, and what is wrong is said.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use headwater_cluster_quic::{QuicError, QuicSettings, QuicTransport, authority};

use crate::support::{Authority, CLUSTER, id};

#[test]
fn keys_are_private_and_nothing_is_overwritten() {
    let authority = Authority::new();
    let identity = authority.identity("a");
    for key in [&authority.path().join("ca.key"), &identity.key] {
        assert_eq!(fs::metadata(key).unwrap().permissions().mode() & 0o777, 0o600);
    }
    let read = || (fs::read(authority.path().join("ca.key")).unwrap(), fs::read(&identity.key));
    let before = read().0;
    assert!(authority::create(CLUSTER, authority.path()).is_err());
    let out = identity.key.parent().unwrap();
    assert!(authority::issue(authority.path(), &id("a"), out, 1).is_err());
    assert_eq!(read().0, before);

    fs::remove_file(authority.path().join("ca.key")).unwrap();
    assert!(authority::create(CLUSTER, authority.path()).is_err(), "the certificate is there");
    assert!(!authority.path().join("ca.key").exists(), "no key without its certificate");
}

#[test]
fn what_cannot_be_issued_is_refused() {
    let authority = Authority::new();
    let empty = tempfile::tempdir().unwrap();
    let issue = |from, days| authority::issue(from, &id("a"), empty.path(), days);
    assert!(matches!(issue(authority.path(), 0), Err(QuicError::Settings(_))));
    assert!(matches!(issue(authority.path(), 4_000), Err(QuicError::Settings(_))));
    assert!(matches!(issue(empty.path(), 1), Err(QuicError::Identity { .. })));
    assert!(matches!(authority::create("a b", empty.path()), Err(QuicError::Settings(_))));
    assert_eq!(fs::read_dir(empty.path()).unwrap().count(), 0);
    // Whatever a node may be called, it can be issued.
    for name in ["-", ".", "A_b..-", &"n".repeat(64)] {
        let out = tempfile::tempdir().unwrap();
        authority::issue(authority.path(), &id(name), out.path(), 1).unwrap();
    }
}

#[tokio::test]
async fn a_node_starts_with_its_own_identity_only() {
    let authority = Authority::new();
    let good = authority.settings("a", 1);
    let other = authority.identity("b");
    let mut mixed = good.identity.clone();
    mixed.key = other.key.clone();
    let mut missing = good.identity.clone();
    missing.authority = missing.authority.with_file_name("none.pem");
    let mut not_pem = good.identity.clone();
    not_pem.certificate = not_pem.certificate.with_file_name("text");
    fs::write(&not_pem.certificate, "text").unwrap();
    for identity in [other, mixed, missing, not_pem] {
        let started = QuicTransport::start(QuicSettings { identity, ..good.clone() }).await;
        assert!(matches!(started.err(), Some(QuicError::Identity { .. })));
    }
    let elsewhere = QuicSettings { cluster: "elsewhere".to_owned(), ..good.clone() };
    let started = QuicTransport::start(elsewhere).await;
    assert!(matches!(started.err(), Some(QuicError::Identity { .. })));
    let started = QuicTransport::start(QuicSettings { lanes: 0, ..good.clone() }).await;
    assert!(matches!(started.err(), Some(QuicError::Settings(_))));
    let (first, _) = QuicTransport::start(good.clone()).await.unwrap();
    let taken = QuicTransport::start(QuicSettings { listen: first.address(), ..good }).await;
    assert!(matches!(taken.err(), Some(QuicError::Listen { .. })));
}
