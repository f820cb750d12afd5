//! Leases and views as bytes.

use std::collections::BTreeSet;

use super::super::records::{decode_view, encode_view};
use super::world::{BEGIN_MS, Draws, World, member, within};
use crate::cluster::{Claim, MemberState, ProtocolRange, all_leases};

#[tokio::test(start_paused = true)]
async fn all_leases_are_listed_in_order_of_key() {
    let world = World::new();
    let (a, b) = (world.node("a"), world.node("b"));
    let retry = world.retry(1000);
    assert_eq!(all_leases(&retry).await, Ok(Vec::new()));
    for (node, key) in [(&a, "c"), (&b, "a"), (&a, "b"), (&b, "d")] {
        let claim = within(node.leases.claim(key.as_bytes())).await;
        assert_eq!(claim, Claim::Mine { epoch: 1 });
    }
    let names = async || -> Vec<String> {
        let rows = all_leases(&retry).await.expect("reads");
        rows.iter()
            .map(|row| format!("{} of {}", String::from_utf8_lossy(&row.key), row.holder.node))
            .collect()
    };
    assert_eq!(names().await, ["a of b", "b of a", "c of a", "d of b"]);
    // Those that ran out are listed too.
    a.kill();
    b.kill();
    super::world::pause(10_000).await;
    assert_eq!(names().await.len(), 4);
    let rows = all_leases(&retry).await.expect("reads");
    assert!(rows.iter().all(|row| row.expires_ms < BEGIN_MS + world.now_ms()));
    assert!(rows.iter().all(|row| row.epoch == 1));
}

#[test]
fn a_view_comes_back_from_its_bytes_as_it_was() {
    let mut full = member("full", u64::MAX);
    full.state = MemberState::Draining;
    (full.revision, full.capacity, full.load) = (u64::MAX, u32::MAX, u32::MAX);
    full.offers = ["embedding/a", "", "ä"].map(str::to_owned).into();
    full.versions = ProtocolRange { oldest: 0, newest: u16::MAX };
    let mut gone = member("gone", 0);
    (gone.state, gone.address) = (MemberState::Left, String::new());
    gone.offers = BTreeSet::new();
    for view in [vec![], vec![member("one", 1)], vec![full, gone]] {
        let bytes = encode_view(view.iter()).expect("encodes");
        assert_eq!(decode_view(&bytes), Ok(view));
    }
}

#[test]
fn bytes_that_are_no_view_are_an_error() {
    let view = [member("one", 1), member("two", 2)];
    let bytes = encode_view(view.iter()).expect("encodes");
    for length in 0..bytes.len() {
        assert!(decode_view(&bytes[..length]).is_err(), "the first {length} bytes");
    }
    let longer = [bytes.as_slice(), &[0]].concat();
    assert!(decode_view(&longer).is_err());
    let newer = [&[bytes[0] + 1], &bytes[1..]].concat();
    assert!(decode_view(&newer).is_err());
    let name = bytes.windows(3).position(|window| window == b"one").expect("its name");
    let mut spaced = bytes.clone();
    spaced[name] = b' ';
    assert!(decode_view(&spaced).is_err(), "no node has such a name");
    let draws = Draws::new(5);
    for _ in 0..20_000 {
        let _ = decode_view(&draws.record(bytes[0], 200));
        let mut damaged = bytes.clone();
        damaged[draws.next() as usize % bytes.len()] = draws.next() as u8;
        let _ = decode_view(&damaged);
    }
}
