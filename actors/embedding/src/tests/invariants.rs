//! Random histories. What is checked at every step stands in `history.rs`:
//!
//! - budget: rows × longest row stays within the token budget, a single row excepted;
//! - rows: no batch has more rows than allowed;
//! - padding: no row is shorter than the longest by more than the share allowed;
//! - leader first: the first in line is in the next batch;
//! - one place: a text waits, runs or is done, and runs only from the queue;
//! - one end: a request ends once, complete only with all texts, failed only with a reason;
//! - no starvation: no text waits beside an idle replica beyond the latency cap;
//! - quarantine: texts of a failed batch share no batch with other requests;
//! - cancelled texts are not started;
//! - deadlines: an alarm is set for every running batch;
//! - pools: a batch holds texts of one pool; queries run on their own replicas only;
//! - lending: ingest borrows no replica while a query waits, and none of the reserved ones;
//! - size: each pool has as many replicas as it was told, whatever was lost in between;
//! - accounts: lengths, tokens, open requests and live replicas agree with the world's own.

use proptest::prelude::{
    ProptestConfig, Strategy, any, prop, prop_assert_eq, prop_oneof, proptest,
};

use super::history::{Event, World};
use crate::{BatchSettings, Pool, PoolPlan};

fn settings() -> impl Strategy<Value = BatchSettings> {
    (1usize..300, 0usize..9, prop_oneof![0u64..1, 0u64..30], 0usize..120, 1usize..20, 1u64..100)
        .prop_map(|(batch_tokens, batch_rows, batch_wait_ms, padding_percent, pace, timeout)| {
            BatchSettings {
                batch_tokens,
                batch_rows,
                batch_wait_ms,
                padding_percent,
                fair_tokens_per_ms: pace,
                batch_timeout_ms: timeout,
                restart_pause_ms: 10,
            }
        })
}

fn plan() -> impl Strategy<Value = PoolPlan> {
    (settings(), settings(), 1usize..4, 0usize..3, 0usize..3).prop_map(
        |(query, ingest, replicas, ingest_replicas, reserved)| PoolPlan {
            query,
            ingest,
            replicas,
            ingest_replicas,
            reserved,
        },
    )
}

fn event() -> impl Strategy<Value = Event> {
    let lengths = prop::collection::vec(1usize..120, 1..8);
    let choice = any::<u16>().prop_map(usize::from);
    let pool = prop_oneof![2 => prop::strategy::Just(Pool::Query), 1 => prop::strategy::Just(Pool::Ingest)];
    prop_oneof![
        8 => (pool.clone(), lengths).prop_map(|(pool, lengths)| Event::Arrive(pool, lengths)),
        1 => (pool, 0usize..5).prop_map(|(pool, replicas)| Event::Resize(pool, replicas)),
        1 => choice.clone().prop_map(Event::Cancel),
        4 => choice.clone().prop_map(Event::Load),
        6 => choice.clone().prop_map(Event::Finish),
        1 => choice.clone().prop_map(Event::Refuse),
        1 => choice.clone().prop_map(Event::Lose),
        1 => choice.prop_map(Event::LateAnswer),
        4 => (0u64..40).prop_map(Event::Pass),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 1000,
        failure_persistence: None,
        ..Default::default()
    })]

    #[test]
    fn every_history_keeps_the_invariants_and_repeats_exactly(
        plan in plan(),
        events in prop::collection::vec(event(), 1..60),
    ) {
        let traces = [(); 2].map(|()| {
            let mut world = World::new(plan.clone());
            for event in &events {
                world.play(event);
            }
            world.settle();
            world.trace
        });
        prop_assert_eq!(&traces[0], &traces[1]);
    }
}
