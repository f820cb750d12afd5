//! Single messages to the server: what comes late, twice, broken off or from strangers.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use super::network::environment;
use crate::limits::TRANSACTION_MS;
use crate::memory::{Fault, FaultPoint, MemoryStore};
use crate::remote::changes::{Change, Op};
use crate::remote::wire::{Answer, Ask, Failure, Id, Request, decode_answer, encode_request};
use crate::remote::{OUTCOME_MS, ServerLimits, StoreServer};
use crate::{Environment, StoreError};

pub(super) fn request(released: Vec<Id>, ask: Ask) -> Vec<u8> {
    encode_request(&Request { released, unwatched: Vec::new(), ask }).expect("it encodes")
}

async fn ask(server: &StoreServer, client: &str, asked: Ask) -> Answer {
    let answer = server.answer(client, &request(Vec::new(), asked)).await;
    decode_answer(&answer).expect("an answer")
}

pub(super) async fn begin(server: &StoreServer, client: &str) -> Id {
    match ask(server, client, Ask::Begin).await {
        Answer::Begun { id, .. } => id,
        other => panic!("{other:?}"),
    }
}

fn add() -> Vec<Change> {
    let (key, operand) = (b"count".to_vec(), vec![1, 0]);
    vec![Change::Atomic { key, op: Op::Add, operand }]
}

fn commit(id: Id) -> Ask {
    Ask::Commit { id, stages: 0, changes: add() }
}

fn get(id: Id) -> Ask {
    Ask::Get { id, key: b"count".to_vec() }
}

fn counted(store: &MemoryStore) -> u8 {
    store.contents().first().map_or(0, |(_, value)| value[0])
}

fn server(environment: &Environment, limits: ServerLimits) -> (StoreServer, MemoryStore) {
    let store = MemoryStore::new(environment.clone());
    (StoreServer::new(Arc::new(store.clone()), environment.clone(), limits), store)
}

const TOO_OLD: Answer = Answer::Failed(Failure::TooOld);
const UNKNOWN: Answer = Answer::Failed(Failure::CommitUnknown);

#[tokio::test(start_paused = true)]
async fn a_commit_that_comes_again_happens_once() {
    let environment = environment(1);
    let (server, store) = server(&environment, ServerLimits::default());
    let id = begin(&server, "ann").await;
    let first = ask(&server, "ann", commit(id)).await;
    assert!(matches!(first, Answer::Committed { version: Some(_), .. }), "{first:?}");
    for _ in 0..3 {
        assert_eq!(ask(&server, "ann", commit(id)).await, first);
        environment.pause(OUTCOME_MS / 3 - 1).await;
    }
    assert_eq!(ask(&server, "ann", get(id)).await, TOO_OLD, "a read that comes late");
    assert_eq!(ask(&server, "bob", commit(id)).await, TOO_OLD, "a stranger learns nothing");
    environment.pause(10).await;
    assert_eq!(ask(&server, "ann", commit(id)).await, UNKNOWN, "the outcome is forgotten");
    assert_eq!(counted(&store), 1);
}

#[tokio::test(start_paused = true)]
async fn outcomes_are_bounded_and_the_forgotten_are_unknown() {
    let environment = environment(2);
    let limits = ServerLimits { outcomes: 2, ..ServerLimits::default() };
    let (server, store) = server(&environment, limits);
    let never = begin(&server, "ann").await;
    let mut ids = Vec::new();
    for _ in 0..5 {
        let id = begin(&server, "ann").await;
        ask(&server, "ann", commit(id)).await;
        ids.push(id);
    }
    for (number, id) in ids.iter().enumerate() {
        let answer = ask(&server, "ann", commit(*id)).await;
        assert_eq!(answer == UNKNOWN, number < 3, "{number}: {answer:?}");
    }
    assert_eq!(counted(&store), 5);
    // An older one that is still open is not mistaken for a forgotten one.
    let answer = ask(&server, "ann", commit(never)).await;
    assert!(matches!(answer, Answer::Committed { .. }), "{answer:?}");
}

#[tokio::test(start_paused = true)]
async fn what_never_committed_is_too_old() {
    let environment = environment(3);
    let (first_life, store) = server(&environment, ServerLimits::default());
    let id = begin(&first_life, "ann").await;
    assert_eq!(ask(&first_life, "bob", get(id)).await, TOO_OLD, "a stranger's read");
    assert_eq!(ask(&first_life, "bob", commit(id)).await, TOO_OLD, "a stranger's commit");
    let ahead = Id { number: id.number + 100, ..id };
    assert_eq!(ask(&first_life, "ann", commit(ahead)).await, TOO_OLD, "a number never given");
    environment.pause(TRANSACTION_MS).await;
    assert_eq!(ask(&first_life, "ann", get(id)).await, Answer::Value(None), "just young enough");
    environment.pause(1).await;
    assert_eq!(ask(&first_life, "ann", get(id)).await, TOO_OLD);
    assert_eq!(ask(&first_life, "ann", commit(id)).await, TOO_OLD);
    assert_eq!(first_life.open_transactions(), 0);

    let released = begin(&first_life, "ann").await;
    first_life.answer("bob", &request(vec![released], Ask::Begin)).await;
    assert_eq!(ask(&first_life, "ann", get(released)).await, Answer::Value(None), "not bob's");
    first_life.answer("ann", &request(vec![released], Ask::Begin)).await;
    assert_eq!(ask(&first_life, "ann", commit(released)).await, TOO_OLD);

    let id = begin(&first_life, "ann").await;
    let next_life =
        StoreServer::new(Arc::new(store.clone()), environment.clone(), ServerLimits::default());
    for _ in 0..10 {
        begin(&next_life, "ann").await;
    }
    assert_eq!(ask(&next_life, "ann", get(id)).await, TOO_OLD);
    assert_eq!(ask(&next_life, "ann", commit(id)).await, UNKNOWN, "the earlier life may know");
    assert_eq!(store.contents(), Vec::new());
}

#[tokio::test(start_paused = true)]
async fn a_commit_that_is_broken_off_is_unknown() {
    let environment = environment(4);
    let store = MemoryStore::with_faults(environment.clone(), |point| {
        (point == FaultPoint::Commit).then_some(Fault::Delay { ms: 100 })
    });
    let server =
        StoreServer::new(Arc::new(store.clone()), environment.clone(), ServerLimits::default());
    let id = begin(&server, "ann").await;
    let asked = request(Vec::new(), commit(id));
    let mut answer = Box::pin(server.answer("ann", &asked));
    let looked = answer.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    assert_eq!(looked, Poll::Pending);
    drop(answer);
    assert_eq!(ask(&server, "ann", commit(id)).await, UNKNOWN);

    // One that comes again while the first is under way waits for it.
    let id = begin(&server, "ann").await;
    let asked = request(Vec::new(), commit(id));
    let both = tokio::join!(server.answer("ann", &asked), server.answer("ann", &asked));
    assert_eq!(both.0, both.1);
    assert_eq!(counted(&store), 1);
}

#[tokio::test(start_paused = true)]
async fn stages_keep_their_turn_and_their_room() {
    let environment = environment(5);
    let stage = |id, stage| Ask::Stage { id, stage, changes: add() };
    let one = request(Vec::new(), stage(Id { server: u64::MAX, number: 1 }, 0)).len();
    let limits = ServerLimits { staged_bytes: 4 * one, ..ServerLimits::default() };
    let (server, store) = server(&environment, limits);
    let id = begin(&server, "ann").await;
    assert!(matches!(ask(&server, "ann", stage(id, 1)).await, Answer::Failed(Failure::Usage(_))));
    for number in [0, 0, 1, 0, 1] {
        assert_eq!(ask(&server, "ann", stage(id, number)).await, Answer::Staged);
    }
    let second = begin(&server, "ann").await;
    let mut answers = Vec::new();
    for number in 0..3 {
        answers.push(ask(&server, "ann", stage(second, number)).await);
    }
    let Some(Answer::Failed(Failure::Unavailable(text))) = answers.pop() else {
        panic!("{answers:?}")
    };
    assert!(String::from_utf8_lossy(&text).contains("too many large commits"), "{text:?}");
    let all = Ask::Commit { id, stages: 2, changes: add() };
    assert!(matches!(ask(&server, "ann", all).await, Answer::Committed { .. }));
    assert_eq!(counted(&store), 3);
    // The room is free again; a commit that misses a stage is refused.
    assert_eq!(ask(&server, "ann", stage(second, 2)).await, Answer::Staged);
    let short = Ask::Commit { id: second, stages: 2, changes: Vec::new() };
    assert!(matches!(ask(&server, "ann", short).await, Answer::Failed(Failure::Usage(_))));
    assert_eq!(counted(&store), 3);
}

#[test]
fn every_error_arrives_as_it_was() {
    let text = || "the text".to_owned();
    for error in [
        StoreError::Conflict,
        StoreError::TooOld,
        StoreError::CommitUnknown,
        StoreError::Unavailable(text()),
        StoreError::Limit { what: "value", given: 7, allowed: 6 },
        StoreError::Limit { what: "stamped key", given: usize::MAX, allowed: 0 },
        StoreError::Usage(text()),
        StoreError::Corrupt(text()),
    ] {
        let bytes = crate::remote::wire::encode_answer(Err(error.clone()));
        match decode_answer(&bytes) {
            Ok(Answer::Failed(failure)) => assert_eq!(StoreError::from(failure), error),
            other => panic!("{other:?}"),
        }
    }
    let long = StoreError::Usage("é".repeat(100_000));
    let StoreError::Usage(cut) = StoreError::from(Failure::from(long)) else { panic!("kind") };
    assert_eq!(cut, "é".repeat(512));
}
