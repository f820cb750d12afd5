//! Frames of the spill.

use crate::audit::frame::{unwrap, wrap};

#[test]
fn good_frames_are_read_up_to_the_first_bad_one() {
    let frames: Vec<Vec<u8>> =
        [b"one".as_slice(), b"second", b"3"].iter().filter_map(|body| wrap(body)).collect();
    let all = frames.concat();
    assert_eq!(unwrap(&all), (vec![b"one".as_slice(), b"second", b"3"], all.len()));
    let ends: Vec<usize> = frames
        .iter()
        .scan(0, |end, frame| {
            *end += frame.len();
            Some(*end)
        })
        .collect();
    for cut in 0..=all.len() {
        let (bodies, good) = unwrap(&all[..cut]);
        let whole = ends.iter().filter(|end| **end <= cut).count();
        assert_eq!((bodies.len(), good), (whole, if whole == 0 { 0 } else { ends[whole - 1] }));
    }
    for place in 0..all.len() {
        let mut damaged = all.clone();
        damaged[place] ^= 0x10;
        let (_, good) = unwrap(&damaged);
        assert!(good <= place, "the damage at {place} is not in the first {good} bytes");
    }
    assert_eq!(unwrap(&[0; 64]), (Vec::new(), 0), "zeros are no frames");
}
