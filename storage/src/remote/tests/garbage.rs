//! Bytes that nobody ever meant: neither side panics, hangs or believes them.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use proptest::prelude::{Just, Strategy, any, prop, prop_assert, prop_oneof, proptest};

use super::network::own_clock;
use super::protocol::{begin, request};
use super::{drive, served};
use crate::remote::changes::{Change, Op};
use crate::remote::wire::{Answer, Ask, Failure, Id, decode_answer, encode_answer};
use crate::remote::{Exchange, ExchangeError, MESSAGE_BYTES, RemoteStore};
use crate::{KeyRange, RangeRead, ReadMode, Store, StoreError};

fn bytes(most: usize) -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..most)
}

fn change() -> impl Strategy<Value = Change> {
    let op = prop_oneof![Just(Op::Add), Just(Op::Max), Just(Op::Min)];
    prop_oneof![
        (bytes(4), bytes(4)).prop_map(|(begin, end)| Change::Read { begin, end }),
        (bytes(4), bytes(4)).prop_map(|(begin, end)| Change::Write { begin, end }),
        (bytes(4), bytes(4)).prop_map(|(key, value)| Change::Set { key, value }),
        (bytes(4), bytes(4)).prop_map(|(begin, end)| Change::ClearRange { begin, end }),
        (bytes(4), op, bytes(4)).prop_map(|(key, op, operand)| Change::Atomic { key, op, operand }),
        bytes(4).prop_map(|key| Change::Watch { key }),
    ]
}

/// Requests that make sense by themselves, to transactions that are there or not.
fn ask(id: Id) -> impl Strategy<Value = Ask> {
    let id = prop_oneof![
        4 => Just(id),
        1 => any::<u64>().prop_map(move |number| Id { number, ..id }),
        1 => any::<u64>().prop_map(move |server| Id { server, ..id }),
    ];
    let changes = || prop::collection::vec(change(), 0..6);
    let numbers = prop_oneof![0_u32..3, any::<u32>()];
    (id, numbers, bytes(6), bytes(6), any::<(u64, bool)>(), changes(), 0..6).prop_map(
        |(id, number, begin, end, (limit, reverse), changes, kind)| match kind {
            0 => Ask::Begin,
            1 => Ask::Get { id, key: begin },
            2 => Ask::Range { id, begin, end, limit, reverse },
            3 => Ask::Stage { id, stage: number, changes },
            4 => Ask::Commit { id, stages: number, changes },
            _ => Ask::AwaitWatch { id },
        },
    )
}

proptest! {
    #[test]
    fn the_server_answers_anything(
        noise in bytes(200),
        asks in prop::collection::vec(ask(Id { server: 0, number: 1 }), 1..8),
        damage in prop::collection::vec((any::<u16>(), any::<u8>()), 0..4),
        cut in any::<u16>(),
    ) {
        let environment = own_clock(1);
        let server = served(&environment);
        let own = drive(begin(&server, "ann"));
        let known = |mut ask: Ask| {
            if let Ask::Get { id, .. } | Ask::Range { id, .. } | Ask::Stage { id, .. }
                | Ask::Commit { id, .. } | Ask::AwaitWatch { id } = &mut ask
                && id.server == 0
            {
                id.server = own.server;
            }
            ask
        };
        let mut requests = vec![noise.clone(), [vec![1], noise].concat()];
        for ask in asks {
            let whole = request(vec![own; 3], known(ask.clone()));
            let mut broken = request(Vec::new(), known(ask));
            requests.push(broken.clone());
            for (place, byte) in &damage {
                let place = usize::from(*place) % broken.len();
                broken[place] = *byte;
            }
            requests.push(broken.clone());
            broken.truncate(usize::from(cut) % broken.len());
            requests.extend([broken, whole]);
        }
        for request in requests {
            let answer = drive(server.answer("ann", &request));
            prop_assert!(answer.len() <= MESSAGE_BYTES);
            prop_assert!(decode_answer(&answer).is_ok(), "{answer:?}");
        }
        drive(begin(&server, "ann"));
    }
}

/// Claimed lengths must not be allocated before they are there.
#[test]
fn what_is_refused_is_told_why() {
    let server = served(&own_clock(2));
    let mut huge = vec![1, 0, 0, 1, 1, 1];
    huge.push(253);
    huge.extend_from_slice(&[0xff; 8]);
    for (bytes, text) in [
        (Vec::new(), "empty"),
        (vec![9], "layout version 9"),
        (huge, "does not decode"),
        (vec![1; MESSAGE_BYTES + 1], "it has 524289 bytes"),
    ] {
        let answer = decode_answer(&drive(server.answer("ann", &bytes)));
        let Ok(Answer::Failed(Failure::Usage(told))) = answer else { panic!("{answer:?}") };
        let told = String::from_utf8(told).expect("text");
        let hint = "run the same version on all nodes";
        assert!(told.contains(text) && told.contains(hint), "{told}");
    }
}

/// Answers one begin, then every request with the same bytes.
struct Parrot {
    begun: Mutex<Option<Vec<u8>>>,
    bytes: Vec<u8>,
}

#[async_trait]
impl Exchange for Parrot {
    async fn exchange(&self, _: Vec<u8>) -> Result<Vec<u8>, ExchangeError> {
        let begun = self.begun.lock().expect("unpoisoned").take();
        Ok(begun.unwrap_or_else(|| self.bytes.clone()))
    }
}

#[test]
fn the_client_believes_no_nonsense() {
    let pairs = |keys: &[&[u8]], more| Answer::Pairs {
        pairs: keys.iter().map(|key| (key.to_vec(), Vec::new())).collect(),
        more,
    };
    let id = Id { server: 1, number: u64::MAX };
    let encode = |answer| encode_answer(Ok(answer));
    for bytes in [
        Vec::new(),
        vec![9, 9, 9],
        vec![1],
        encode(Answer::Staged),
        encode(Answer::Changed),
        encode(pairs(&[], true)),
        encode(pairs(&[b"b", b"a"], true)),
        encode(pairs(&[b"a", b"z"], false)),
        encode(pairs(&[b"a", b"b", b"c"], false)),
    ] {
        let begun = encode(Answer::Begun { id, read_version: 1 });
        let parrot = Parrot { begun: Mutex::new(Some(begun)), bytes: bytes.clone() };
        let store = RemoteStore::new(Arc::new(parrot), own_clock(3));
        let mut transaction = drive(store.begin()).expect("begin");
        let read = drive(transaction.get(b"key", ReadMode::Serializable));
        assert!(matches!(read, Err(StoreError::Unavailable(_))), "{bytes:?}: {read:?}");
        let range = RangeRead::all(KeyRange::new("a", "d")).limit(2);
        let read = drive(transaction.range(range));
        assert!(matches!(read, Err(StoreError::Unavailable(_))), "{bytes:?}: {read:?}");
        transaction.set(b"key", b"value").expect("set");
        let outcome = drive(transaction.commit());
        assert_eq!(outcome, Err(StoreError::CommitUnknown), "{bytes:?}");
        assert!(matches!(drive(store.begin()).err(), Some(StoreError::Unavailable(_))));
    }
}
