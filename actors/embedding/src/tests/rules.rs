//! The dispatcher's rules, one short history each, told as text.
//!
//! Each line is an event and the effects it must have. `r1` is request 1, `r1.0` its first
//! text, `s0` the first replica slot, `b0` the first batch.

use crate::{
    BatchId, BatchSettings, Dispatcher, Effect, Failure, ItemId, Pool, PoolPlan, ReplicaIndex,
    RequestId,
};

enum Event {
    Arrive(u64, &'static [usize]),
    Ingest(u64, &'static [usize]),
    Resize(Pool, usize),
    Cancel(u64),
    Ready(usize),
    Finish(usize, u64),
    Refuse(usize, u64),
    Lose(usize),
    Wake,
}
use Event::{Arrive, Cancel, Finish, Ingest, Lose, Ready, Refuse, Resize, Wake};

fn settings() -> BatchSettings {
    BatchSettings {
        batch_tokens: 100,
        batch_rows: 4,
        batch_wait_ms: 0,
        padding_percent: 50,
        fair_tokens_per_ms: 10,
        batch_timeout_ms: 1000,
        restart_pause_ms: 100,
    }
}

fn show(effect: &Effect) -> String {
    let item = |id: &ItemId| format!("r{}.{}", id.request.0, id.index);
    match effect {
        Effect::Run { replica, batch, pool, items } => {
            let items: Vec<String> = items.iter().map(item).collect();
            let verb = if *pool == Pool::Ingest { "ingest" } else { "run" };
            format!("{verb} s{} b{} [{}]", replica.0, batch.0, items.join(" "))
        }
        Effect::Complete { request } => format!("complete r{}", request.0),
        Effect::Fail { request, failure: Failure::ReplicaLost } => format!("lost r{}", request.0),
        Effect::Fail { request, failure: Failure::Refused(why) } => {
            format!("refused r{} {why}", request.0)
        }
        Effect::Start { replica, after_ms } => format!("start s{} +{after_ms}", replica.0),
        Effect::Stop { replica } => format!("stop s{}", replica.0),
        Effect::Kill { replica } => format!("kill s{}", replica.0),
        Effect::WakeAt { at_ms } => format!("wake {at_ms}"),
    }
}

/// Plays the events at their times and compares every line of effects.
fn check(settings: BatchSettings, replicas: usize, history: &[(u64, Event, &str)]) {
    check_plan(PoolPlan::shared(settings, replicas), history);
}

fn check_plan(plan: PoolPlan, history: &[(u64, Event, &str)]) {
    let replicas = plan.replicas + plan.ingest_replicas;
    let (mut dispatcher, starts) = Dispatcher::new(plan);
    assert_eq!(starts.len(), replicas, "every replica is started once");
    for (step, (now_ms, event, expected)) in history.iter().enumerate() {
        let now_ms = *now_ms;
        let effects = match event {
            Arrive(request, lengths) => {
                dispatcher.arrive(RequestId(*request), Pool::Query, lengths, now_ms)
            }
            Ingest(request, lengths) => {
                dispatcher.arrive(RequestId(*request), Pool::Ingest, lengths, now_ms)
            }
            Resize(pool, replicas) => dispatcher.resize(*pool, *replicas, now_ms),
            Cancel(request) => dispatcher.cancel(RequestId(*request), now_ms),
            Ready(slot) => dispatcher.ready(ReplicaIndex(*slot), now_ms),
            Finish(slot, batch) => {
                dispatcher.finish(ReplicaIndex(*slot), BatchId(*batch), None, now_ms)
            }
            Refuse(slot, batch) => {
                let why = Some("bad".to_owned());
                dispatcher.finish(ReplicaIndex(*slot), BatchId(*batch), why, now_ms)
            }
            Lose(slot) => dispatcher.lose(ReplicaIndex(*slot), now_ms),
            Wake => dispatcher.wake(now_ms),
        };
        let shown: Vec<String> = effects.iter().map(show).collect();
        assert_eq!(shown.join(", "), *expected, "step {step} at {now_ms} ms");
    }
}

#[test]
fn a_request_runs_and_completes_with_its_last_item() {
    check(
        settings(),
        1,
        &[
            (0, Ready(0), ""),
            (1, Arrive(1, &[30, 30, 30, 30]), "run s0 b0 [r1.0 r1.1 r1.2], wake 1001"),
            (5, Finish(0, 0), "run s0 b1 [r1.3], wake 1005"),
            (9, Finish(0, 1), "complete r1"),
        ],
    );
}

#[test]
fn an_empty_request_is_complete_at_once() {
    check(settings(), 1, &[(0, Arrive(1, &[]), "complete r1")]);
}

#[test]
fn work_waits_for_the_first_replica_and_goes_to_every_idle_one() {
    check(
        settings(),
        2,
        &[
            (0, Arrive(1, &[90, 90, 90]), ""),
            (5, Ready(1), "run s1 b0 [r1.0], wake 1005"),
            (6, Ready(0), "run s0 b1 [r1.1], wake 1006"),
            (7, Ready(0), ""),
            (8, Finish(1, 0), "run s1 b2 [r1.2], wake 1008"),
        ],
    );
}

#[test]
fn a_batch_gathers_texts_of_like_length_around_the_first_in_line() {
    check(
        settings(),
        1,
        &[
            (0, Arrive(1, &[20]), ""),
            (1, Arrive(2, &[90]), ""),
            (2, Arrive(3, &[18]), ""),
            (3, Arrive(4, &[5]), ""),
            (4, Ready(0), "run s0 b0 [r1.0 r3.0], wake 1004"),
            (5, Finish(0, 0), "complete r1, complete r3, run s0 b1 [r2.0], wake 1005"),
        ],
    );
}

#[test]
fn a_text_longer_than_the_budget_runs_alone() {
    check(
        settings(),
        1,
        &[
            (0, Arrive(1, &[500, 500]), ""),
            (1, Ready(0), "run s0 b0 [r1.0], wake 1001"),
            (2, Finish(0, 0), "run s0 b1 [r1.1], wake 1002"),
        ],
    );
}

#[test]
fn a_short_request_overtakes_the_tail_of_a_long_one_and_not_its_head() {
    check(
        settings(),
        1,
        &[
            (0, Arrive(1, &[100, 100, 100, 100]), ""),
            (5, Arrive(2, &[10]), ""),
            (6, Ready(0), "run s0 b0 [r1.0], wake 1006"),
            (7, Finish(0, 0), "run s0 b1 [r2.0], wake 1007"),
            (8, Finish(0, 1), "complete r2, run s0 b2 [r1.1], wake 1008"),
        ],
    );
}

#[test]
fn a_short_batch_waits_for_company_and_no_longer_than_told() {
    let patient = BatchSettings { batch_wait_ms: 10, ..settings() };
    check(
        patient.clone(),
        1,
        &[
            (0, Ready(0), ""),
            (1, Arrive(1, &[10]), "wake 11"),
            (5, Arrive(2, &[10]), "wake 11"),
            (11, Wake, "run s0 b0 [r1.0 r2.0], wake 1011, wake 1011"),
        ],
    );
    check(
        patient,
        1,
        &[
            (0, Ready(0), ""),
            (1, Arrive(1, &[10]), "wake 11"),
            (5, Arrive(2, &[10, 10, 10]), "run s0 b0 [r1.0 r2.0 r2.1 r2.2], wake 1005"),
        ],
    );
}

#[test]
fn a_cancelled_request_is_not_started_and_not_answered() {
    check(
        settings(),
        1,
        &[
            (0, Arrive(1, &[90]), ""),
            (0, Arrive(2, &[90, 90]), ""),
            (0, Arrive(3, &[90]), ""),
            (1, Cancel(1), ""),
            (2, Ready(0), "run s0 b0 [r2.0], wake 1002"),
            (3, Cancel(2), ""),
            (4, Finish(0, 0), "run s0 b1 [r3.0], wake 1004"),
            (5, Cancel(9), ""),
            (6, Finish(0, 1), "complete r3"),
        ],
    );
}

#[test]
fn the_items_of_a_lost_replica_run_again_request_by_request() {
    check(
        settings(),
        2,
        &[
            (0, Ready(0), ""),
            (1, Arrive(1, &[40]), "run s0 b0 [r1.0], wake 1001"),
            (2, Arrive(2, &[10]), ""),
            (2, Arrive(3, &[10]), ""),
            (3, Finish(0, 0), "complete r1, run s0 b1 [r2.0 r3.0], wake 1003"),
            (4, Arrive(4, &[10]), ""),
            (5, Lose(0), "start s0 +0"),
            (6, Ready(0), "run s0 b2 [r2.0], wake 1006"),
            (7, Ready(1), "run s1 b3 [r3.0], wake 1007"),
            (8, Lose(0), "start s0 +100, lost r2"),
            (9, Finish(1, 3), "complete r3, run s1 b4 [r4.0], wake 1009"),
        ],
    );
}

#[test]
fn a_request_with_a_poisonous_text_fails_as_a_whole() {
    check(
        settings(),
        1,
        &[
            (0, Arrive(1, &[90, 90, 90]), ""),
            (0, Ready(0), "run s0 b0 [r1.0], wake 1000"),
            (1, Lose(0), "start s0 +0"),
            (2, Ready(0), "run s0 b1 [r1.0], wake 1002"),
            (3, Lose(0), "start s0 +100, lost r1"),
            (4, Ready(0), ""),
        ],
    );
}

#[test]
fn a_cancelled_item_of_a_lost_replica_is_not_tried_again() {
    check(
        settings(),
        1,
        &[
            (0, Ready(0), ""),
            (0, Arrive(1, &[10]), "run s0 b0 [r1.0], wake 1000"),
            (1, Cancel(1), ""),
            (2, Lose(0), "start s0 +0"),
            (3, Ready(0), ""),
        ],
    );
}

#[test]
fn pauses_between_restarts_double_up_to_a_cap_and_end_with_good_work() {
    let mut history = vec![(0, Lose(0), "start s0 +0")];
    for after in ["100", "200", "400", "800", "1600", "3200", "6400", "6400", "6400"] {
        let expected: &'static str = format!("start s0 +{after}").leak();
        history.push((1, Ready(0), ""));
        history.push((1, Lose(0), expected));
    }
    history.push((2, Ready(0), ""));
    history.push((2, Arrive(1, &[10]), "run s0 b0 [r1.0], wake 1002"));
    history.push((3, Finish(0, 0), "complete r1"));
    history.push((4, Lose(0), "start s0 +0"));
    check(settings(), 1, &history);
}

#[test]
fn a_huge_restart_pause_does_not_overflow() {
    let settings = BatchSettings { restart_pause_ms: u64::MAX / 2, ..settings() };
    let expected: &'static str = format!("start s0 +{}", u64::MAX).leak();
    check(
        settings,
        1,
        &[
            (0, Lose(0), "start s0 +0"),
            (0, Lose(0), format!("start s0 +{}", u64::MAX / 2).leak()),
            (0, Lose(0), format!("start s0 +{}", u64::MAX / 2 * 2).leak()),
            (0, Lose(0), expected),
        ],
    );
}

#[test]
fn an_overdue_batch_costs_its_replica_and_its_late_answer_is_ignored() {
    check(
        settings(),
        1,
        &[
            (0, Ready(0), ""),
            (0, Arrive(1, &[10]), "run s0 b0 [r1.0], wake 1000"),
            (999, Wake, "wake 1000"),
            (1000, Wake, "kill s0"),
            (1001, Lose(0), "start s0 +0"),
            (1002, Finish(0, 0), ""),
            (1003, Ready(0), "run s0 b1 [r1.0], wake 2003"),
            (1004, Finish(0, 0), ""),
            (1005, Finish(0, 1), "complete r1"),
        ],
    );
}

#[test]
fn a_refused_batch_of_one_request_fails_it_and_gives_its_queue_back() {
    check(
        settings(),
        1,
        &[
            (0, Ready(0), ""),
            (0, Arrive(1, &[90, 90]), "run s0 b0 [r1.0], wake 1000"),
            (1, Refuse(0, 0), "refused r1 bad"),
        ],
    );
}

#[test]
fn a_refused_batch_of_several_requests_fails_only_the_one_at_fault() {
    check(
        settings(),
        1,
        &[
            (0, Arrive(1, &[10]), ""),
            (0, Arrive(2, &[10]), ""),
            (0, Arrive(3, &[10]), ""),
            (1, Ready(0), "run s0 b0 [r1.0 r2.0 r3.0], wake 1001"),
            (1, Cancel(3), ""),
            (2, Refuse(0, 0), "run s0 b1 [r1.0], wake 1002"),
            (3, Finish(0, 1), "complete r1, run s0 b2 [r2.0], wake 1003"),
            (4, Refuse(0, 2), "refused r2 bad"),
        ],
    );
}

#[test]
fn events_for_slots_that_do_not_exist_change_nothing() {
    check(settings(), 1, &[(0, Ready(7), ""), (0, Finish(7, 0), ""), (0, Lose(7), "")]);
}

/// Two query replicas, of which one is never lent.
fn lending() -> PoolPlan {
    PoolPlan { reserved: 1, ..PoolPlan::shared(settings(), 2) }
}

#[test]
fn borrowed_ingest_leaves_the_reserved_replica_to_queries() {
    check_plan(
        lending(),
        &[
            (0, Ready(0), ""),
            (1, Ingest(1, &[90, 90]), ""),
            (2, Ready(1), "ingest s0 b0 [r1.0], wake 1002"),
            (3, Arrive(2, &[10]), "run s1 b1 [r2.0], wake 1003"),
            (4, Finish(1, 1), "complete r2"),
            (5, Finish(0, 0), "ingest s0 b2 [r1.1], wake 1005"),
            (6, Lose(1), "start s1 +0"),
            (7, Finish(0, 2), "complete r1"),
        ],
    );
}

#[test]
fn a_waiting_query_goes_before_ingest_wherever_it_stands() {
    let plan = PoolPlan::shared(BatchSettings { batch_wait_ms: 10, ..settings() }, 1);
    check_plan(
        plan,
        &[
            (0, Ready(0), ""),
            (0, Ingest(1, &[90, 90, 90]), "ingest s0 b0 [r1.0], wake 1000"),
            (1, Arrive(2, &[90]), ""),
            (2, Arrive(3, &[10]), ""),
            (3, Finish(0, 0), "run s0 b1 [r2.0], wake 1003"),
            // A query that waits for company keeps the replica from ingest.
            (4, Finish(0, 1), "complete r2, wake 12"),
            (12, Wake, "run s0 b2 [r3.0], wake 1012, wake 1012"),
            (13, Finish(0, 2), "complete r3, ingest s0 b3 [r1.1], wake 1013"),
            (14, Arrive(4, &[10]), ""),
            (15, Finish(0, 3), "wake 24"),
            (16, Cancel(4), "ingest s0 b4 [r1.2], wake 1016"),
        ],
    );
}

#[test]
fn pools_with_replicas_of_their_own_do_not_meet() {
    let plan = PoolPlan { ingest_replicas: 1, ..PoolPlan::shared(settings(), 1) };
    check_plan(
        plan,
        &[
            (0, Ready(0), ""),
            (1, Ingest(1, &[90]), ""),
            (2, Ready(1), "ingest s1 b0 [r1.0], wake 1002"),
            (3, Arrive(2, &[90, 90]), "run s0 b1 [r2.0], wake 1003"),
            (4, Finish(1, 0), "complete r1"),
            (5, Finish(0, 1), "run s0 b2 [r2.1], wake 1005"),
        ],
    );
}

#[test]
fn a_pool_grows_at_once_and_shrinks_after_its_batches() {
    check(
        settings(),
        1,
        &[
            (0, Ready(0), ""),
            (1, Resize(Pool::Query, 3), "start s1 +0, start s2 +0"),
            (2, Ready(1), ""),
            (3, Arrive(1, &[90, 90]), "run s0 b0 [r1.0], wake 1003, run s1 b1 [r1.1], wake 1003"),
            (4, Resize(Pool::Query, 1), "stop s2"),
            (5, Finish(1, 1), "stop s1"),
            (6, Ready(1), ""),
            (7, Lose(1), ""),
            (8, Resize(Pool::Query, 0), ""),
            (9, Resize(Pool::Query, 2), "start s1 +0"),
            (10, Resize(Pool::Query, 1), "stop s1"),
            (11, Resize(Pool::Ingest, 2), ""),
            (12, Finish(0, 0), "complete r1"),
        ],
    );
}

#[test]
fn a_replica_that_was_to_stop_stays_when_it_is_wanted_again_and_is_not_mended_when_it_is_not() {
    check(
        settings(),
        2,
        &[
            (0, Ready(0), ""),
            (0, Ready(1), ""),
            (1, Arrive(1, &[90, 90]), "run s0 b0 [r1.0], wake 1001, run s1 b1 [r1.1], wake 1001"),
            (2, Resize(Pool::Query, 1), ""),
            (3, Resize(Pool::Query, 2), ""),
            (4, Resize(Pool::Query, 1), ""),
            (5, Lose(1), ""),
            (6, Finish(0, 0), "run s0 b2 [r1.1], wake 1006"),
            (7, Finish(0, 2), "complete r1"),
        ],
    );
}
