//! Counting frames, and what may be read of them.

use super::{AHEAD_BYTES, Meter, Standing};

#[test]
fn frames_are_counted_however_they_are_cut() {
    // HEADERS of 3 bytes, DATA of 2, DATA of none, a frame of a long type with 1, DATA of
    // 100 with a length of two bytes.
    let mut frames = vec![1, 3, 9, 9, 9, 0, 2, 7, 7, 0, 0, 0x80, 0, 1, 0, 1, 5, 0, 0x40, 100];
    frames.extend([7; 100]);
    for cut in 1..frames.len() {
        let meter = Meter::default();
        frames.chunks(cut).for_each(|chunk| meter.read(chunk));
        assert_eq!(meter.standing(), Standing::Open);
        meter.end();
        assert_eq!(meter.standing(), Standing::Open, "nothing was taken yet");
        meter.take(102);
        assert_eq!(meter.standing(), Standing::Whole, "cut at {cut}");
    }
    let meter = Meter::default();
    meter.read(&frames[..frames.len() - 1]);
    meter.take(101);
    meter.end();
    assert_eq!(meter.standing(), Standing::CutOff);
}

#[test]
fn reading_ahead_has_a_bound() {
    let meter = Meter::default();
    assert!(meter.may_read());
    // One frame of many bytes, all of them data.
    meter.read(&[0, 0x81, 0, 0, 0]);
    meter.read(&vec![7; AHEAD_BYTES as usize]);
    assert!(!meter.was_refused());
    assert!(!meter.may_read());
    assert!(meter.was_refused() && !meter.was_refused());
    meter.take(10);
    assert!(meter.may_read());
}
