//! Blocks against their formulas, and products against plain sums.

use half::f16;

use super::{BLOCK, Matrix, product};
use crate::gguf::{Kind, Tensor};
use crate::kernels::workers::Workers;

/// Bytes of `blocks` blocks of a kind, and the numbers that ggml's formulas make of them.
fn blocks(kind: Kind, blocks: usize) -> (Vec<u8>, Vec<f32>) {
    let (mut bytes, mut numbers) = (Vec::new(), Vec::new());
    for block in 0..blocks {
        let scale = f16::from_f32(0.25 + block as f32 / 64.0);
        let least = f16::from_f32(-1.5 - block as f32 / 32.0);
        let (scale_f32, least_f32) = (scale.to_f32(), least.to_f32());
        let raw = |index: usize| (index * 37 + block * 11 + index * index) as u8;
        let nibbles = |index: usize| {
            let byte = raw(index % 16);
            if index < 16 { byte & 15 } else { byte >> 4 }
        };
        match kind {
            Kind::F32 | Kind::F16 => {
                for index in 0..BLOCK {
                    let value = f16::from_f32(f32::from(raw(index)) / 16.0 - 8.0);
                    numbers.push(value.to_f32());
                    match kind {
                        Kind::F16 => bytes.extend(value.to_le_bytes()),
                        _ => bytes.extend(value.to_f32().to_le_bytes()),
                    }
                }
            }
            Kind::Q8_0 => {
                bytes.extend(scale.to_le_bytes());
                bytes.extend((0..BLOCK).map(raw));
                numbers.extend((0..BLOCK).map(|i| f32::from(raw(i).cast_signed()) * scale_f32));
            }
            Kind::Q4_0 | Kind::Q4_1 => {
                bytes.extend(scale.to_le_bytes());
                if kind == Kind::Q4_1 {
                    bytes.extend(least.to_le_bytes());
                }
                bytes.extend((0..16).map(raw));
                numbers.extend((0..BLOCK).map(|index| match kind {
                    Kind::Q4_0 => (f32::from(nibbles(index)) - 8.0) * scale_f32,
                    _ => f32::from(nibbles(index)) * scale_f32 + least_f32,
                }));
            }
        }
    }
    (bytes, numbers)
}

fn matrix(kind: Kind, columns: usize, rows: usize) -> (Matrix, Vec<f32>) {
    let (bytes, numbers) = blocks(kind, columns / BLOCK * rows);
    (Matrix::read(&Tensor { kind, columns, rows, bytes: &bytes }).unwrap(), numbers)
}

const KINDS: [Kind; 5] = [Kind::F32, Kind::F16, Kind::Q4_0, Kind::Q4_1, Kind::Q8_0];

#[test]
fn rows_are_what_the_formulas_say() {
    for kind in KINDS {
        let (matrix, numbers) = matrix(kind, 64, 3);
        for (row, expected) in numbers.chunks(64).enumerate() {
            let mut found = vec![0.0; 64];
            matrix.row(row, &mut found);
            for (found, expected) in found.iter().zip(expected) {
                assert!((found - expected).abs() < 1e-5, "{kind:?}: {found} for {expected}");
            }
        }
    }
}

/// One row goes another way than several; both, on one thread and on two, give the plain sums.
#[test]
fn products_are_the_plain_sums() {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
    for (first, second) in
        KINDS.into_iter().zip([Kind::Q4_1, Kind::F32, Kind::Q8_0].into_iter().cycle())
    {
        for (rows, threads) in [(1, 1), (1, 2), (2, 1), (33, 2)] {
            let (columns, outputs) = (96, [130, 7]);
            let (a, a_numbers) = matrix(first, columns, outputs[0]);
            let (b, b_numbers) = matrix(second, columns, outputs[1]);
            let x: Vec<f32> =
                (0..rows * columns).map(|i| ((i * 29) % 17) as f32 / 8.0 - 1.0).collect();
            let mut found = vec![0.0; rows * 137];
            let workers = Workers { threads, pace: None };
            pool.install(|| product(&workers, &x, &[&a, &b], &mut found));
            let weights = [a_numbers, b_numbers].concat();
            for (x, found) in x.chunks(columns).zip(found.chunks(137)) {
                for (weight, found) in weights.chunks(columns).zip(found) {
                    let sum = |all: &[f32]| {
                        let pairs = all.iter().zip(x);
                        pairs.map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>()
                    };
                    let size: f64 = weight.iter().map(|w| f64::from(w.abs())).sum();
                    let difference = (f64::from(*found) - sum(weight)).abs();
                    assert!(difference <= 5e-6 * size, "{first:?} {rows}: off by {difference}");
                }
            }
        }
    }
}

#[test]
fn rows_of_broken_blocks_are_none() {
    let bytes = vec![0; 33 * 4];
    let tensor = Tensor { kind: Kind::F32, columns: 33, rows: 1, bytes: &bytes };
    assert!(Matrix::read(&tensor).is_none());
}
