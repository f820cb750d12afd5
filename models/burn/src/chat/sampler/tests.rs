//! Draws that must be certain, shares that must be met, and seeds that must repeat.

use super::{Draw, Sampler};

const PLAIN: Draw = Draw {
    temperature: 1.0,
    top_p: 1.0,
    top_k: None,
    seed: Some(1),
    presence: 0.0,
    frequency: 0.0,
};

/// How often each of the tokens comes in 20,000 draws.
fn shares(draw: &Draw, logits: &[f32]) -> Vec<f64> {
    const DRAWS: usize = 20_000;
    let mut counts = vec![0usize; logits.len()];
    let mut sampler = Sampler::new(draw.clone());
    for _ in 0..DRAWS {
        counts[sampler.next(&mut logits.to_vec()).unwrap() as usize] += 1;
    }
    counts.iter().map(|count| *count as f64 / DRAWS as f64).collect()
}

#[test]
fn shares_follow_the_logits() {
    let thirds = [4f32.ln(), 2f32.ln(), 1f32.ln(), 1f32.ln()];
    let check = |draw: Draw, expected: [f64; 4]| {
        for (found, expected) in shares(&draw, &thirds).iter().zip(expected) {
            assert!((found - expected).abs() < 0.015, "{draw:?}: {found} for {expected}");
        }
    };
    check(PLAIN, [0.5, 0.25, 0.125, 0.125]);
    check(Draw { temperature: 0.5, ..PLAIN }, [16.0 / 22.0, 4.0 / 22.0, 1.0 / 22.0, 1.0 / 22.0]);
    check(Draw { temperature: 0.0, ..PLAIN }, [1.0, 0.0, 0.0, 0.0]);
    check(Draw { top_k: Some(2), ..PLAIN }, [2.0 / 3.0, 1.0 / 3.0, 0.0, 0.0]);
    check(Draw { top_k: Some(99), ..PLAIN }, [0.5, 0.25, 0.125, 0.125]);
    check(Draw { top_p: 0.45, ..PLAIN }, [1.0, 0.0, 0.0, 0.0]);
    check(Draw { top_p: 0.6, ..PLAIN }, [2.0 / 3.0, 1.0 / 3.0, 0.0, 0.0]);
    // Of two that are as likely the first is kept.
    check(Draw { top_p: 0.8, ..PLAIN }, [4.0 / 7.0, 2.0 / 7.0, 1.0 / 7.0, 0.0]);
    check(Draw { top_p: 0.0, ..PLAIN }, [1.0, 0.0, 0.0, 0.0]);
    check(Draw { top_p: 0.9, top_k: Some(2), ..PLAIN }, [2.0 / 3.0, 1.0 / 3.0, 0.0, 0.0]);
    check(Draw { temperature: 1e-30, ..PLAIN }, [1.0, 0.0, 0.0, 0.0]);
}

/// So many as likely candidates that the first sort is not enough.
#[test]
fn many_candidates_are_all_drawn() {
    let logits = vec![0.0; 1000];
    let shares = shares(&Draw { top_p: 0.8, ..PLAIN }, &logits);
    let drawn = shares.iter().filter(|share| **share > 0.0).count();
    assert!(drawn > 780, "{drawn} of 800 were drawn");
    assert!(shares[801..].iter().all(|share| *share == 0.0));
}

#[test]
fn a_seed_repeats_itself_and_another_does_not() {
    let logits: Vec<f32> = (0..1000).map(|i| (i % 13) as f32 / 4.0).collect();
    let run = |seed: Option<i64>, top_p: f32| -> Vec<u32> {
        let mut sampler = Sampler::new(Draw { seed, top_p, ..PLAIN });
        (0..50).map(|_| sampler.next(&mut logits.clone()).unwrap()).collect()
    };
    for top_p in [1.0, 0.9] {
        assert_eq!(run(Some(-7), top_p), run(Some(-7), top_p));
        assert_ne!(run(Some(-7), top_p), run(Some(8), top_p));
        assert_ne!(run(None, top_p), run(None, top_p));
    }
}

#[test]
fn what_was_written_loses_by_its_penalties() {
    let logits = [1.0, 0.5, 0.0];
    let run = |presence: f32, frequency: f32| -> Vec<u32> {
        let draw = Draw { temperature: 0.0, presence, frequency, ..PLAIN };
        let mut sampler = Sampler::new(draw);
        (0..6).map(|_| sampler.next(&mut logits.to_vec()).unwrap()).collect()
    };
    assert_eq!(run(0.0, 0.0), [0, 0, 0, 0, 0, 0]);
    // Once written all lose the same.
    assert_eq!(run(1.2, 0.0), [0, 1, 2, 0, 0, 0]);
    assert_eq!(run(0.0, 0.3), [0, 0, 1, 0, 1, 0]);
    assert_eq!(run(-1.0, 0.0), [0, 0, 0, 0, 0, 0]);
}

#[test]
fn what_is_no_number_is_never_drawn() {
    for logits in [vec![], vec![0.0, f32::NAN], vec![f32::INFINITY], vec![f32::NEG_INFINITY, 0.0]] {
        assert_eq!(Sampler::new(PLAIN).next(&mut logits.clone()), None, "{logits:?}");
    }
}
