//! One node: what keys look like, what they open, and until when.

use headwater_storage::memory::Fault;

use super::world::{START_MS, World, new_key, pause, team};
use crate::identity::{Holder, IdentityError, KeyRefusal, NewKey, RevokedToken, is_virtual_key};

#[tokio::test(start_paused = true)]
async fn a_key_opens_what_it_was_made_for_and_only_its_hash_is_kept() {
    let world = World::new();
    let node = world.node();
    let (key, secret) = node.create(new_key("acme")).await.expect("made");
    let text = secret.reveal();
    assert!(is_virtual_key(text) && text.starts_with(&format!("hwk_{}_", key.id)), "{text}");
    assert_eq!(text.len(), "hwk_".len() + 16 + 1 + 64);
    assert_eq!(*node.find(text).expect("good"), key);
    assert_eq!(node.get(&key.id).await.expect("there"), key);
    let (_, bits) = text.rsplit_once('_').expect("two parts");
    for (_, row) in world.rows() {
        let stands = row.windows(bits.len()).any(|window| window == bits.as_bytes());
        assert!(!stands, "the secret is in the store");
    }
    assert_eq!(format!("{secret:?}"), "Secret(..)");
}

#[tokio::test(start_paused = true)]
async fn what_is_no_key_or_another_opens_nothing() {
    let world = World::new();
    let node = world.node();
    let (first, one) = node.create(new_key("acme")).await.expect("made");
    let (_, other) = node.create(new_key("acme")).await.expect("made");
    let (_, bits) = one.reveal().rsplit_once('_').expect("two parts");
    let (_, others) = other.reveal().rsplit_once('_').expect("two parts");
    let id = &first.id;
    let changed = bits.replace(['0', '1', '2', '3'], "f");
    let table = [
        (format!("hwk_{id}_{others}"), KeyRefusal::Unknown),
        (format!("hwk_{id}_{changed}"), KeyRefusal::Unknown),
        (format!("hwk_0000000000000000_{bits}"), KeyRefusal::Unknown),
        (format!("hwk_{id}_{}", &bits[..63]), KeyRefusal::Malformed),
        (format!("hwk_{id}_{bits}0"), KeyRefusal::Malformed),
        (format!("hwk_{id}"), KeyRefusal::Malformed),
        (format!("hwk_{}_{bits}", id.to_uppercase() + "G"), KeyRefusal::Malformed),
        ("hwk_".to_owned(), KeyRefusal::Malformed),
        (bits.to_owned(), KeyRefusal::Malformed),
        (String::new(), KeyRefusal::Malformed),
    ];
    for (text, refusal) in table {
        assert_eq!(node.find(&text), Err(refusal), "{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_ends_when_it_was_to_end_and_when_it_is_revoked() {
    let world = World::new();
    let node = world.node();
    let soon = NewKey { expires_ms: Some(START_MS + 5_000), ..new_key("acme") };
    let (_, expiring) = node.create(soon).await.expect("made");
    let (key, revoked) = node.create(new_key("acme")).await.expect("made");
    assert!(team(&node, &expiring).is_ok() && team(&node, &revoked).is_ok());
    let ending = node.find(expiring.reveal()).expect("good").id.clone();
    assert_eq!((node.stands(&key.id), node.stands(&ending)), (Ok(true), Ok(true)));
    let first = node.revoke(&key.id).await.expect("revoked");
    assert_eq!(team(&node, &revoked), Err(KeyRefusal::Unknown));
    assert_eq!((node.stands(&key.id), node.stands(&ending)), (Ok(false), Ok(true)));
    pause(5_000).await;
    assert_eq!(team(&node, &expiring), Err(KeyRefusal::Expired));
    assert_eq!((node.stands(&ending), node.stands("0123456789abcdef")), (Ok(false), Ok(false)));
    let again = node.revoke(&key.id).await.expect("no harm");
    assert_eq!(again.revoked_ms, first.revoked_ms, "the first time counts");
    assert_eq!(
        node.rotate(&key.id, 0).await.map(drop),
        Err(IdentityError::Revoked { id: key.id.clone() })
    );
    let missing = IdentityError::NoKey { id: "0123456789abcdef".to_owned() };
    assert_eq!(node.revoke("0123456789abcdef").await, Err(missing));
}

#[tokio::test(start_paused = true)]
async fn a_rotated_keys_old_secret_is_good_for_its_time_of_grace_alone() {
    let world = World::new();
    let node = world.node();
    let (key, first) = node.create(new_key("acme")).await.expect("made");
    let (rotated, second) = node.rotate(&key.id, 2_000).await.expect("rotated");
    assert_eq!(rotated.id, key.id);
    assert!(team(&node, &first).is_ok() && team(&node, &second).is_ok());
    pause(2_000).await;
    assert_eq!(team(&node, &first), Err(KeyRefusal::Unknown));
    let (_, third) = node.rotate(&key.id, 2_000).await.expect("rotated");
    let (_, fourth) = node.rotate(&key.id, 0).await.expect("rotated");
    for (secret, is_good) in [(&second, false), (&third, false), (&fourth, true)] {
        assert_eq!(team(&node, secret).is_ok(), is_good);
    }
    let (_, fifth) = node.rotate(&key.id, 2_000).await.expect("rotated");
    node.revoke(&key.id).await.expect("revoked");
    for secret in [&fourth, &fifth] {
        assert_eq!(team(&node, secret), Err(KeyRefusal::Unknown), "grace does not outlive it");
    }
}

#[tokio::test(start_paused = true)]
async fn fields_are_checked_by_name() {
    let world = World::new();
    let node = world.node();
    let holder = |change: fn(&mut Holder)| {
        let mut new = new_key("acme");
        change(&mut new.holder);
        new
    };
    let table = [
        (holder(|holder| holder.team = "a b".to_owned()), "team"),
        (holder(|holder| holder.project = Some(String::new())), "project"),
        (holder(|holder| holder.user = Some("a b".to_owned())), "user"),
        (holder(|holder| holder.tier = "g\u{fc}l".to_owned()), "tier"),
        (holder(|holder| holder.models.clear()), "models"),
        (holder(|holder| holder.models = vec!["m".to_owned(); 65]), "models"),
        (NewKey { note: "a\nb".to_owned(), ..new_key("acme") }, "note"),
        (NewKey { expires_ms: Some(START_MS), ..new_key("acme") }, "expires_at"),
        (NewKey { expires_ms: Some(u64::MAX), ..new_key("acme") }, "expires_at"),
    ];
    for (new, wrong) in table {
        match node.create(new).await {
            Err(IdentityError::Field { field, .. }) => assert_eq!(field, wrong),
            other => panic!("{wrong}: {other:?}"),
        }
    }
    assert!(node.list(None, 10).await.expect("listed").keys.is_empty());
}

#[tokio::test(start_paused = true)]
async fn keys_are_listed_a_page_at_a_time_with_the_revoked_ones() {
    let world = World::new();
    let node = world.node();
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.push(node.create(new_key("acme")).await.expect("made").0.id);
    }
    ids.sort();
    node.revoke(&ids[2]).await.expect("revoked");
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let page = node.list(after.as_deref(), 2).await.expect("listed");
        assert!(page.keys.len() <= 2);
        seen.extend(page.keys.into_iter().map(|key| (key.id, key.revoked_ms.is_some())));
        after = page.next_after;
        if after.is_none() {
            break;
        }
    }
    let expected: Vec<_> = ids.iter().map(|id| (id.clone(), *id == ids[2])).collect();
    assert_eq!(seen, expected);
}

#[tokio::test(start_paused = true)]
async fn a_commit_of_unknown_fate_makes_one_key_or_says_so() {
    let world = World::new();
    // It reads only after its own changes, so that no read takes a fault that a write shall meet.
    let node = world.deaf_node();
    world.commits.lock().expect("fine").push(Fault::UnknownCommitted);
    let (key, secret) = node.create(new_key("acme")).await.expect("found again");
    assert!(team(&node, &secret).is_ok());
    world.commits.lock().expect("fine").push(Fault::UnknownLost);
    let (_, rotated) = node.rotate(&key.id, 0).await.expect("done again");
    assert!(team(&node, &rotated).is_ok() && team(&node, &secret).is_err());
    world.commits.lock().expect("fine").extend([Fault::UnknownLost; 3]);
    let unknown = node.revoke(&key.id).await;
    assert_eq!(unknown, Err(IdentityError::Unknown { id: key.id.clone() }));
    assert_eq!(node.list(None, 9).await.expect("listed").keys.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_revoked_token_is_known_until_its_end_and_by_its_issuer() {
    let world = World::new();
    let node = world.node();
    let hour_ms = 60 * 60 * 1000;
    let token = |issuer: &str| RevokedToken {
        issuer: issuer.to_owned(),
        id: "one".to_owned(),
        expires_ms: START_MS + hour_ms,
    };
    node.revoke_token(token("headwater")).await.expect("revoked");
    assert_eq!(node.is_token_revoked("headwater", "one"), Ok(true));
    assert_eq!(node.is_token_revoked("elsewhere", "one"), Ok(false));
    assert_eq!(node.is_token_revoked("headwater", "two"), Ok(false));
    let of_tokens = |rows: Vec<(Vec<u8>, Vec<u8>)>| {
        let is_one = |key: &Vec<u8>| key.windows(9).any(|window| window == b"headwater");
        rows.iter().filter(|(key, _)| is_one(key)).count()
    };
    assert_eq!(of_tokens(world.rows()), 1);
    pause(4 * hour_ms).await;
    node.revoke_token(RevokedToken { expires_ms: START_MS + 9 * hour_ms, ..token("elsewhere") })
        .await
        .expect("revoked");
    assert_eq!(of_tokens(world.rows()), 0, "it has ended and needs no row any more");
    assert_eq!(node.is_token_revoked("headwater", "one"), Ok(false));
    assert_eq!(node.is_token_revoked("elsewhere", "one"), Ok(true));
}
