//! What becomes of an id, case by case, and drawn lives of one among holders that stall and die.

use serde_json::json;

use super::{
    Begin, Finish, Record, Repeat, Request, Settings, State, begin, doubt, extend, finish, resume,
    wait,
};
use crate::call::{CallResult, Refusal, ToolReference};
use crate::draws::Draws;

fn tool(name: &str, version: &str) -> ToolReference {
    ToolReference {
        name: name.to_owned(),
        version: version.to_owned(),
        definition_sha256: "d".to_owned(),
    }
}

fn request(tool: &ToolReference, repeat: Repeat) -> Request<'_> {
    Request { id: "call-1", tool, arguments_sha256: "a", is_dry_run: false, repeat }
}

fn result(number: u64) -> CallResult {
    CallResult {
        content: json!(number),
        is_error: false,
        is_cached: false,
        is_fallback: false,
        is_dry_run: false,
        duration_ms: 0,
        cost_microdollars: 0,
        deprecation: None,
    }
}

const SETTINGS: Settings = Settings { keep_ms: 10_000, lease_ms: 100, retry_ms: 30 };

fn first(repeat: Repeat) -> Record {
    match begin(None, request(&tool("pay", "1"), repeat), "node-1", &SETTINGS, 0) {
        Begin::Run(record) => record,
        begin => panic!("{begin:?}"),
    }
}

fn kept(finish: Finish) -> Record {
    match finish {
        Finish::Kept(record) => record,
        finish => panic!("{finish:?}"),
    }
}

fn again(record: &Record, repeat: Repeat, now_ms: u64) -> Begin {
    begin(Some(record), request(&tool("pay", "1"), repeat), "node-2", &SETTINGS, now_ms)
}

#[test]
fn the_first_result_is_the_answer_for_good() {
    let record = first(Repeat::Unsafe);
    assert_eq!(record.epoch, 1);
    let done = kept(finish(&record, 1, Ok(result(7)), false, 50));
    assert_eq!(again(&done, Repeat::Unsafe, 9_999), Begin::Answer(result(7)));
    assert_eq!(finish(&done, 1, Ok(result(8)), false, 60), Finish::Stale { epoch: 1 });
    assert_eq!(extend(&done, 1, &SETTINGS, 60), Finish::Stale { epoch: 1 });
    // A newer version was published meanwhile.
    let newer = tool("pay", "2");
    let begun = begin(Some(&done), request(&newer, Repeat::Unsafe), "n", &SETTINGS, 60);
    assert_eq!(begun, Begin::Answer(result(7)));
    // The row is over: the id is free, and its epochs go on.
    assert!(done.is_over(&SETTINGS, 10_000));
    let Begin::Run(record) = again(&done, Repeat::Unsafe, 10_000) else { panic!() };
    assert_eq!((record.epoch, record.created_ms), (2, 10_000));
}

#[test]
fn the_same_id_for_another_call_is_a_conflict() {
    let done = kept(finish(&first(Repeat::ReadOnly), 1, Ok(result(7)), false, 50));
    let (pay, other) = (tool("pay", "1"), tool("buy", "1"));
    let same = request(&pay, Repeat::ReadOnly);
    for (request, expected) in [
        (Request { tool: &other, ..same }, "another tool"),
        (Request { arguments_sha256: "b", ..same }, "other arguments"),
        (Request { is_dry_run: true, ..same }, "another value of dry_run"),
    ] {
        let id = "call-1".to_owned();
        let conflict = Refusal::IdConflict { id, what: expected };
        assert_eq!(begin(Some(&done), request, "n", &SETTINGS, 60), Begin::Refuse(conflict));
    }
}

#[test]
fn a_call_in_progress_is_waited_for() {
    let record = first(Repeat::SafeWithId);
    for (now_ms, retry_after_ms) in [(0, 30), (69, 30), (80, 20), (99, 1)] {
        let id = "call-1".to_owned();
        let refusal = Refusal::InProgress { id, retry_after_ms };
        assert_eq!(again(&record, Repeat::SafeWithId, now_ms), Begin::Refuse(refusal));
    }
    let extended = kept(extend(&record, 1, &SETTINGS, 99));
    assert!(matches!(again(&extended, Repeat::SafeWithId, 198), Begin::Refuse(_)));
    assert!(matches!(again(&extended, Repeat::SafeWithId, 199), Begin::Again(_)));
}

#[test]
fn a_dead_holder_leaves_what_may_be_repeated() {
    for (repeat, is_dry_run, is_again) in [
        (Repeat::ReadOnly, false, true),
        (Repeat::SafeWithId, false, true),
        (Repeat::Unsafe, false, false),
        (Repeat::Unsafe, true, true),
    ] {
        let pay = tool("pay", "1");
        let asked = Request { is_dry_run, ..request(&pay, repeat) };
        let Begin::Run(record) = begin(None, asked, "node-1", &SETTINGS, 0) else { panic!() };
        // The tool's definition says otherwise meanwhile: what held at the first call counts.
        let other = if repeat == Repeat::Unsafe { Repeat::ReadOnly } else { Repeat::Unsafe };
        match begin(Some(&record), Request { repeat: other, ..asked }, "node-2", &SETTINGS, 100) {
            Begin::Again(next) => {
                assert!(is_again, "{repeat:?}");
                assert_eq!(next.epoch, 2);
                assert_eq!(finish(&next, 1, Ok(result(1)), false, 110), Finish::Stale { epoch: 2 });
                assert_eq!(extend(&next, 1, &SETTINGS, 110), Finish::Stale { epoch: 2 });
                kept(finish(&next, 2, Ok(result(1)), false, 110));
            }
            Begin::OutcomeUnknown(next, refusal) => {
                assert!(!is_again, "{repeat:?}");
                assert!(refusal.to_string().contains("node-1"), "{refusal}");
                assert_eq!(again(&next, Repeat::Unsafe, 5_000), Begin::Refuse(refusal));
                // It was not dead after all, and nobody else has run it.
                let done = kept(finish(&next, 1, Ok(result(1)), false, 110));
                assert_eq!(again(&done, Repeat::Unsafe, 120), Begin::Answer(result(1)));
            }
            begin => panic!("{begin:?}"),
        }
    }
}

#[test]
fn a_refusal_frees_the_id_unless_the_tool_may_have_run() {
    let record = first(Repeat::Unsafe);
    let cancelled = Refusal::Cancelled { by: "anna".to_owned() };
    assert_eq!(finish(&record, 1, Err(cancelled.clone()), false, 5), Finish::Freed);
    let pay = tool("pay", "1");
    let doubtful = doubt(request(&pay, Repeat::Unsafe), "it broke", cancelled.clone());
    assert_eq!(doubtful.code(), "outcome_unknown");
    let unknown = kept(finish(&record, 1, Err(doubtful.clone()), false, 5));
    assert_eq!(unknown.state, State::Unknown { why: "it broke".to_owned() });
    assert_eq!(again(&unknown, Repeat::Unsafe, 9), Begin::Refuse(doubtful));
    for repeat in [Repeat::ReadOnly, Repeat::SafeWithId] {
        assert_eq!(doubt(request(&pay, repeat), "it broke", cancelled.clone()), cancelled);
    }
    // A try before the last one, or a holder before this one, may have done it: the row stays, and
    // its session counts it once.
    let known = first(Repeat::SafeWithId);
    let doubtful = kept(finish(&known, 1, Err(cancelled.clone()), true, 5));
    let Begin::Again(next) = again(&known, Repeat::SafeWithId, 100) else { panic!() };
    assert!(next.may_have_run && !next.is_counted);
    let taken_over = kept(finish(&next, 2, Err(cancelled.clone()), false, 105));
    for (record, epoch) in [(doubtful, 1), (taken_over, 2)] {
        assert_eq!(record.state, State::Unknown { why: cancelled.to_string() });
        let Begin::Again(next) = again(&record, Repeat::SafeWithId, 110) else { panic!() };
        assert!(next.is_counted && next.epoch == epoch + 1);
        let cancelled = Err(cancelled.clone());
        assert!(kept(finish(&next, next.epoch, cancelled, false, 120)).is_counted);
    }
    let invalid = Refusal::OutputInvalid { tool: "pay".to_owned(), problem: "x".to_owned() };
    let done = kept(finish(&record, 1, Err(invalid.clone()), false, 5));
    assert_eq!(again(&done, Repeat::Unsafe, 9), Begin::Refuse(invalid));
}

#[test]
fn a_call_waits_for_its_approval() {
    let record = first(Repeat::Unsafe);
    let waiting = kept(wait(&record, 1, "approval-1"));
    let approval = "approval-1".to_owned();
    assert_eq!(again(&waiting, Repeat::Unsafe, 5_000), Begin::Waiting { approval });
    assert_eq!(resume(&waiting, "approval-2", "node-2", &SETTINGS, 10), None);
    let resumed = resume(&waiting, "approval-1", "node-2", &SETTINGS, 10).unwrap();
    assert_eq!(resumed.epoch, 2);
    // Whoever laid it down does not hold it any more, and it goes on once.
    assert_eq!(finish(&resumed, 1, Ok(result(1)), false, 11), Finish::Stale { epoch: 2 });
    assert_eq!(resume(&resumed, "approval-1", "node-3", &SETTINGS, 12), None);
    assert_eq!(wait(&waiting, 1, "approval-1"), Finish::Stale { epoch: 1 });
    kept(finish(&resumed, 2, Ok(result(1)), false, 13));
}

/// What runs a call somewhere, for as long as it lives.
#[derive(Debug, Clone)]
struct Holder {
    epoch: u64,
    has_run: bool,
}

/// One id, and all that is done under it.
struct Life {
    seed: u64,
    repeat: Repeat,
    /// The row and its version: whoever writes must have read that one.
    row: (Option<Record>, u64),
    /// What somebody slow has read.
    older: (Option<Record>, u64),
    holders: Vec<Holder>,
    now_ms: u64,
    kept: u64,
    effects: u64,
    unknown: u64,
    answer: Option<CallResult>,
}

impl Life {
    fn write(&mut self, read: u64, next: Record) -> bool {
        let is_taken = self.row.1 == read;
        if is_taken {
            self.row = (Some(next), read + 1);
        }
        is_taken
    }

    fn begin(&mut self, (row, version): (Option<Record>, u64)) {
        let pay = tool("pay", "1");
        match begin(row.as_ref(), request(&pay, self.repeat), "node", &SETTINGS, self.now_ms) {
            Begin::Run(next) | Begin::Again(next) => {
                let epoch = next.epoch;
                if self.write(version, next) {
                    self.holders.push(Holder { epoch, has_run: false });
                }
            }
            Begin::OutcomeUnknown(next, _) => self.unknown += u64::from(self.write(version, next)),
            Begin::Answer(seen) => {
                let first = self.answer.get_or_insert_with(|| seen.clone());
                assert_eq!(*first, seen, "seed {}", self.seed);
                assert_eq!(self.kept, 1, "seed {}", self.seed);
            }
            Begin::Waiting { .. } | Begin::Refuse(_) => {}
        }
    }

    /// A holder runs the tool, and when it has, tells what came of it.
    fn work(&mut self, place: usize, read: (Option<Record>, u64), number: u64) {
        if !self.holders[place].has_run {
            self.holders[place].has_run = true;
            self.effects += 1;
            return;
        }
        let (Some(row), version) = read else { return };
        match finish(&row, self.holders[place].epoch, Ok(result(number)), false, self.now_ms) {
            Finish::Kept(next) => {
                if self.write(version, next) {
                    self.kept += 1;
                    self.holders.remove(place);
                }
            }
            // What was read may be old: read it again.
            Finish::Stale { .. } if version != self.row.1 => {}
            Finish::Stale { .. } => drop(self.holders.remove(place)),
            Finish::Freed => panic!("seed {}", self.seed),
        }
    }

    fn step(&mut self, draws: &mut Draws, number: u64) {
        self.now_ms += draws.below(60);
        let read = if draws.percent(20) { self.older.clone() } else { self.row.clone() };
        if draws.percent(30) {
            self.older = self.row.clone();
        }
        let place = draws.below(self.holders.len() as u64) as usize;
        match draws.below(10) {
            0..4 => self.begin(read),
            _ if self.holders.is_empty() => {}
            4..7 => self.work(place, read, number),
            7 => {
                let (epoch, now_ms) = (self.holders[place].epoch, self.now_ms);
                let extended = read.0.map(|row| extend(&row, epoch, &SETTINGS, now_ms));
                if let Some(Finish::Kept(next)) = extended {
                    self.write(read.1, next);
                }
            }
            8 => drop(self.holders.remove(place)),
            _ => {}
        }
        assert!(self.kept <= 1, "seed {}: kept {} results", self.seed, self.kept);
        if self.repeat == Repeat::Unsafe {
            assert!(self.effects <= 1, "seed {}: done {} times", self.seed, self.effects);
        }
    }
}

#[test]
fn whatever_stalls_or_dies_an_unsafe_tool_runs_once() {
    let (mut runs, mut repeated, mut unknown) = (0, 0, 0);
    for seed in 0..5_000 {
        let mut draws = Draws::new(seed);
        let repeat =
            [Repeat::ReadOnly, Repeat::SafeWithId, Repeat::Unsafe][draws.below(3) as usize];
        let mut life = Life {
            seed,
            repeat,
            row: (None, 0),
            older: (None, 0),
            holders: Vec::new(),
            now_ms: 0,
            kept: 0,
            effects: 0,
            unknown: 0,
            answer: None,
        };
        for number in 0..60 {
            life.step(&mut draws, number);
        }
        runs += life.effects;
        repeated += u64::from(life.effects > 1);
        unknown += life.unknown;
        // Where a repetition is allowed, it comes to a result in the end.
        if repeat != Repeat::Unsafe && life.kept == 0 {
            let (pay, now_ms) = (tool("pay", "1"), life.now_ms + 1_000);
            let row = life.row.0.as_ref();
            let begun = begin(row, request(&pay, repeat), "node", &SETTINGS, now_ms);
            assert!(matches!(begun, Begin::Run(_) | Begin::Again(_)), "seed {seed}: {begun:?}");
        }
    }
    // The rare branches were seen.
    assert!(runs > 3_000 && repeated > 200 && unknown > 200, "{runs} {repeated} {unknown}");
}
