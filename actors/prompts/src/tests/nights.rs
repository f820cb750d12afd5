//! Which night's run is due.

use crate::Nightly;

const HOUR_MS: u64 = 3_600_000;
const DAY_MS: u64 = 24 * HOUR_MS;

#[test]
fn a_time_is_read_or_refused() {
    for good in ["00:00", "02:30", "23:59"] {
        assert_eq!(Nightly::read(good, None, 0).unwrap().to_string(), good);
    }
    for bad in ["", "2:30", "24:00", "12:60", "12", "+1:00", "02:30:00", "0２:30"] {
        let refused = Nightly::read(bad, None, 0).unwrap_err().to_string();
        assert!(refused.starts_with("nightly: must be a time"), "{bad}: {refused}");
    }
    let free = Nightly::read("02:30", Some(0), 0).unwrap_err().to_string();
    assert!(free.starts_with("nightly_budget_micro_usd: "), "{free}");
}

#[test]
fn asking_again_for_the_same_leaves_no_night_out() {
    let (first, again) = (
        Nightly::read("02:00", None, DAY_MS).unwrap(),
        Nightly::read("02:00", Some(7), 2 * DAY_MS + 3 * HOUR_MS).unwrap(),
    );
    let now_ms = 2 * DAY_MS + 4 * HOUR_MS;
    assert_eq!(again.due(now_ms, None), None);
    let kept = again.after(Some(first));
    assert_eq!((kept.due(now_ms, None), kept.budget_micro_usd), (Some(2), 7));
    let moved = Nightly::read("01:00", None, now_ms).unwrap().after(Some(first));
    assert_eq!(moved.due(now_ms, None), None);
}

#[test]
fn each_day_is_due_once_and_a_late_one_still_is() {
    let at = |day: u64, hours: u64| day * DAY_MS + hours * HOUR_MS;
    // Asked for at four in the morning of day 100, to run at two.
    let nightly = Nightly::read("02:00", None, at(100, 4)).unwrap();
    let cases = [
        (at(100, 5), None, None),
        (at(101, 1), None, None),
        (at(101, 2), None, Some(101)),
        (at(101, 23), None, Some(101)),
        (at(101, 23), Some(101), None),
        (at(102, 1), None, Some(101)),
        (at(102, 1), Some(101), None),
        (at(102, 2), Some(101), Some(102)),
        // Nodes were down for days: the newest night is run, the others are over.
        (at(110, 3), Some(101), Some(110)),
        // A clock that went back.
        (at(101, 3), Some(110), None),
        (0, None, None),
    ];
    for (now_ms, done, expected) in cases {
        assert_eq!(nightly.due(now_ms, done), expected, "{now_ms} after {done:?}");
    }
}
