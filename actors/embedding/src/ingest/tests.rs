//! The rules of ingest, as tables.

mod lines;

use super::{
    AttemptSettings, Counts, Hold, HoldProblem, JobState, Lane, Refusal, Standing, Turn, Turns,
    Verdict, after_failure, check_name, claim, document_key, next_partition, partition_of, pass_at,
    progress,
};

#[test]
fn a_document_has_one_partition_and_partitions_fill_evenly() {
    let mut filled = [0u32; super::PARTITIONS as usize];
    for number in 0..6_400 {
        let key = document_key(&format!("document {number}"));
        filled[usize::from(partition_of(&key))] += 1;
    }
    assert!(filled.iter().all(|count| (50..=150).contains(count)), "{filled:?}");
    // SHA-256 of "abc", FIPS 180-2, appendix B.1.
    assert_eq!(document_key("abc")[..4], [0xba, 0x78, 0x16, 0xbf]);
    assert_eq!(partition_of(&document_key("abc")), 0xba78 % 64);
}

#[test]
fn writes_of_one_document_run_one_at_a_time_and_the_latest_wins() {
    let mut turns: Turns<&str> = Turns::default();
    let (first, second) = (turns.add(), turns.add());
    assert_eq!((turns.turn(first, &"a"), turns.turn(second, &"b")), (Turn::Superseded, Turn::Run));
    turns.begin("b");
    let third = turns.add();
    assert_eq!(turns.turn(third, &"c"), Turn::Wait);
    assert_eq!(
        turns.turn(second, &"b"),
        Turn::Run,
        "what began is ended, though a later one waits"
    );
    assert!(turns.end(&"b") && turns.end(&"a"));
    assert_eq!(turns.turn(third, &"c"), Turn::Run);
    turns.begin("c");
    turns.stop(&"other");
    assert_eq!(turns.running, Some("c"));
    assert!(!turns.end(&"c"), "nothing is pending");
}

#[test]
fn counts_travel_as_one_number() {
    let one = Counts::of(Lane::Staged, u64::MAX - 1).with(Lane::BadLines, 7);
    let more = Counts::of(Lane::Staged, 1).with(Lane::Chunks, 3);
    let sum = one.plus(&more);
    assert_eq!(Counts::from_bytes(&sum.to_bytes()), sum);
    assert_eq!(sum.get(Lane::Staged), u64::MAX);
    let short = Counts::of(Lane::StagedBytes, 9).to_bytes()[..16].to_vec();
    assert_eq!(Counts::from_bytes(&short), Counts::of(Lane::StagedBytes, 9), "an older row");
    let counts = Counts::of(Lane::Staged, 10)
        .with(Lane::Documents, 4)
        .with(Lane::Dead, 3)
        .with(Lane::Revived, 2)
        .with(Lane::Superseded, 1);
    assert_eq!((counts.waiting(), counts.dead()), (4, 1));
    assert!(!counts.is_zero() && Counts::default().is_zero());
}

#[test]
fn progress_tells_rates_and_what_is_left() {
    let counts = Counts::of(Lane::Staged, 30).with(Lane::Documents, 10).with(Lane::Tokens, 500);
    let told = progress(&counts, 5_000, true);
    assert_eq!((told.documents_per_s, told.tokens_per_s), (2.0, 100.0));
    assert_eq!(told.remaining_ms, Some(10_000));
    assert_eq!(progress(&counts, 5_000, false).remaining_ms, None, "more may come in");
    assert_eq!(progress(&Counts::of(Lane::Staged, 1), 0, true).remaining_ms, None);
}

fn hold(epoch: u64, expires_ms: u64) -> Hold {
    Hold { worker: 1, epoch, expires_ms }
}

#[test]
fn a_partition_has_one_holder_and_a_job_so_many_workers() {
    for (holds, workers_max, expected) in [
        (vec![], 1, Ok(1)),
        (vec![(3, hold(4, 100))], 2, Err(HoldProblem::Held)),
        (vec![(3, hold(4, 99))], 1, Ok(5)),
        (vec![(3, hold(4, 0)), (5, hold(1, 200))], 2, Ok(5)),
        (vec![(3, hold(4, 0)), (5, hold(1, 200))], 1, Err(HoldProblem::Cap)),
        (vec![], 0, Err(HoldProblem::Cap)),
    ] {
        assert_eq!(claim(holds.clone(), 3, workers_max, 99), expected, "{holds:?}");
    }
}

#[test]
fn workers_look_for_free_partitions_from_different_places() {
    let holds = [(2, hold(1, 100)), (5, hold(1, 10))];
    for (start, expected) in [(0, Some(1)), (2, Some(5)), (6, Some(1))] {
        assert_eq!(next_partition(&[1, 2, 5], &holds, start, 50), expected, "from {start}");
    }
    assert_eq!(next_partition(&[2], &holds, 0, 50), None);
}

#[test]
fn a_limit_of_tokens_a_second_is_kept_over_any_second_but_the_first() {
    let (mut free_at_ms, mut now_ms, mut passed) = (0, 1_000_000, 0);
    let began_ms = now_ms;
    for _ in 0..100 {
        let (at_ms, next_ms) = pass_at(free_at_ms, now_ms, 50, 100);
        assert!(at_ms >= now_ms && next_ms > free_at_ms);
        (free_at_ms, now_ms) = (next_ms, at_ms);
        passed += 50;
        assert!(passed <= 100 + 50 + (now_ms - began_ms) / 10, "{passed} at {now_ms}");
    }
    assert!((48_000..=50_000).contains(&(now_ms - began_ms)), "{}", now_ms - began_ms);
}

#[test]
fn failed_attempts_wait_longer_and_longer_until_a_dead_letter() {
    let settings = AttemptSettings { attempts: 4, first_pause_ms: 100, longest_pause_ms: 300 };
    for (attempt, permanent, asked_ms, draw, expected) in [
        (1, false, 0, 0, Verdict::Again { after_ms: 100 }),
        (1, false, 0, 50, Verdict::Again { after_ms: 50 }),
        (2, false, 0, 0, Verdict::Again { after_ms: 200 }),
        (3, false, 0, 0, Verdict::Again { after_ms: 300 }),
        (3, false, 5_000, 0, Verdict::Again { after_ms: 5_000 }),
        (4, false, 0, 0, Verdict::DeadLetter),
        (1, true, 0, 0, Verdict::DeadLetter),
    ] {
        let verdict = after_failure(attempt, permanent, asked_ms, &settings, draw);
        assert_eq!(verdict, expected, "attempt {attempt}");
    }
}

#[test]
fn a_job_is_paused_resumed_cancelled_and_ended() {
    let mut job = JobState { created_ms: 1_000, ..JobState::default() };
    assert_eq!(
        (job.standing(), job.may_receive(), job.may_end()),
        (Standing::Receiving, true, false)
    );
    job.pause(2_000).expect("lives");
    job.pause(2_500).expect("twice is as good as once");
    assert_eq!(
        (job.standing(), job.may_begin(), job.may_receive()),
        (Standing::Paused, false, true)
    );
    assert_eq!(job.worked_ms(9_000), 1_000);
    job.resume(4_000).expect("lives");
    job.sealed = true;
    assert_eq!((job.standing(), job.worked_ms(5_000)), (Standing::Running, 2_000));
    let done = JobState { ended_ms: Some(6_000), ..job };
    assert_eq!((done.standing(), done.worked_ms(99_000)), (Standing::Done, 3_000));
    assert_eq!(done.clone().cancel(), Err(Refusal(Standing::Done)));
    assert_eq!(done.clone().pause(1), Err(Refusal(Standing::Done)));
    let mut revived = done;
    revived.revive().expect("is done");
    assert_eq!(revived.standing(), Standing::Running);
    job.cancel().expect("runs");
    job.cancel().expect("twice");
    assert_eq!((job.standing(), job.may_begin(), job.drops()), (Standing::Cancelling, false, true));
    assert_eq!(job.resume(1), Err(Refusal(Standing::Cancelling)));
    assert_eq!(job.revive(), Err(Refusal(Standing::Cancelling)));
    assert!(job.may_end() && !job.may_receive());
}

#[test]
fn names_are_checked() {
    for (name, good) in [("a", true), ("A-z_0.9", true), ("", false), ("a b", false), ("ä", false)]
    {
        assert_eq!(check_name("id", name).is_ok(), good, "{name}");
    }
    assert!(check_name("id", &"a".repeat(65)).is_err());
}
