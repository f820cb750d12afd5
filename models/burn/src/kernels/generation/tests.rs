//! The steps against their formulas in f64.

use super::{Seen, attend, rms_norm, silu_gate, turn};
use crate::config::decoder::Heads;
use crate::kernels::workers::Workers;

fn numbers(count: usize, seed: usize) -> Vec<f32> {
    (0..count).map(|i| ((i * 31 + seed * 7) % 23) as f32 / 6.0 - 1.8).collect()
}

fn close(found: &[f32], expected: &[f64]) {
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        assert!((f64::from(*found) - expected).abs() < 1e-5, "{found} for {expected}");
    }
}

#[test]
fn rows_are_divided_by_the_root_of_their_mean_square() {
    let (rows, weight) = (numbers(3 * 40, 1), numbers(40, 2));
    let mut found = vec![9.0];
    rms_norm(&rows, &weight, 0.01, &mut found);
    let expected: Vec<f64> = rows
        .chunks(40)
        .flat_map(|row| {
            let squares: f64 = row.iter().map(|x| f64::from(*x).powi(2)).sum();
            let root = (squares / 40.0 + f64::from(0.01f32)).sqrt();
            row.iter().zip(&weight).map(move |(x, w)| f64::from(*x) / root * f64::from(*w))
        })
        .collect();
    close(&found, &expected);
}

#[test]
fn neighbours_are_turned_together() {
    let mut heads = [1.0, 0.0, 0.0, 1.0, 2.0, 0.0, 0.0, 2.0];
    turn(&mut heads, &[(0.0, 1.0), (0.6, 0.8)]);
    close(&heads, &[0.0, 1.0, -0.8, 0.6, 0.0, 2.0, -1.6, 1.2]);
}

#[test]
fn the_gate_is_silu_for_both_signs() {
    let rows = [[-90.0f32, -3.0, 0.0, 0.5, 40.0], [2.0, 2.0, 2.0, -1.0, 0.25]].concat();
    let mut found = Vec::new();
    silu_gate(&rows, 10, &mut found);
    let silu = |x: f64| x / (1.0 + (-x).exp());
    let expected = [2.0 * silu(-90.0), 2.0 * silu(-3.0), 0.0, -silu(0.5), 0.25 * silu(40.0)];
    close(&found, &expected);
}

/// Each query head looks at its group's key head, and at nothing later than itself.
#[test]
fn attention_sees_the_past_and_its_own_group() {
    let heads = Heads { queries: 6, keys: 2, size: 4 };
    let (tokens, width) = (7, 24 + 16);
    let (keys, values) = (numbers(tokens * 8, 3), numbers(tokens * 8, 5));
    for (count, threads) in [(1, 1), (3, 1), (7, 2)] {
        let rows = numbers(count * width, 4);
        let mut found = vec![0.0; count * 24];
        let seen = Seen { keys: &keys, values: &values };
        attend(&Workers { threads, pace: None }, &rows, width, seen, heads, &mut found);
        let mut expected = Vec::new();
        for (place, row) in rows.chunks(width).enumerate() {
            let past = tokens - count + place + 1;
            for query in 0..6 {
                let at = |token: usize| token * 8 + query / 3 * 4;
                let shares: Vec<f64> = (0..past)
                    .map(|token| {
                        let pairs = row[query * 4..].iter().zip(&keys[at(token)..at(token) + 4]);
                        let dot: f64 = pairs.map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
                        (dot / 2.0).exp()
                    })
                    .collect();
                let whole: f64 = shares.iter().sum();
                expected.extend((0..4).map(|column| {
                    let part = |token: usize| f64::from(values[at(token) + column]);
                    shares.iter().enumerate().map(|(t, share)| share / whole * part(t)).sum::<f64>()
                }));
            }
        }
        close(&found, &expected);
    }
}
