//! Bicubic resampling as Pillow does it, so that a model reads the pixels it was trained on:
//! the window grows with the reduction, rows before columns, bytes in between.

/// An image of three channels, pixel by pixel, row by row.
pub(super) struct Source<'a> {
    pub(super) width: usize,
    pub(super) height: usize,
    pub(super) values: &'a [u8],
}

/// Some of the pixels along one side of the resampled image.
#[derive(Clone, Copy)]
pub(super) struct Window {
    /// All pixels of that side.
    pub(super) length: usize,
    pub(super) start: usize,
    pub(super) count: usize,
}

/// The weights of the source's pixels, from `start` on, in one pixel.
struct Taps {
    start: usize,
    weights: Vec<f32>,
}

/// The pixels in both windows, three bytes each, row by row. What lies outside is never
/// computed, so that a long strip costs no more than its middle.
pub(super) fn bicubic(source: &Source<'_>, columns: Window, rows: Window) -> Vec<u8> {
    let column_taps = taps(source.width, columns);
    let row_taps = taps(source.height, rows);
    let first = row_taps.iter().map(|taps| taps.start).min().unwrap_or(0);
    let end = row_taps.iter().map(|taps| taps.start + taps.weights.len()).max().unwrap_or(0);
    let stride = columns.count * 3;
    let mut narrow = Vec::with_capacity((end - first) * stride);
    for row in source.values.chunks_exact(source.width * 3).take(end).skip(first) {
        for taps in &column_taps {
            let pixels = &row[taps.start * 3..];
            narrow.extend([0, 1, 2].map(|channel| blend(taps, pixels, channel, 3)));
        }
    }
    let mut answer = Vec::with_capacity(rows.count * stride);
    for taps in &row_taps {
        let pixels = &narrow[(taps.start - first) * stride..];
        answer.extend((0..stride).map(|place| blend(taps, pixels, place, stride)));
    }
    answer
}

fn blend(taps: &Taps, pixels: &[u8], place: usize, stride: usize) -> u8 {
    let values = pixels[place..].iter().step_by(stride);
    let sum: f32 =
        taps.weights.iter().zip(values).map(|(weight, value)| weight * f32::from(*value)).sum();
    // Saturates at both ends.
    (sum + 0.5).floor() as u8
}

fn taps(length: usize, window: Window) -> Vec<Taps> {
    /// Half the width of the filter.
    const SUPPORT: f64 = 2.0;
    let scale = length as f64 / window.length as f64;
    // Only a reduction widens the filter.
    let stretch = scale.max(1.0);
    let support = SUPPORT * stretch;
    let of_pixel = |place: usize| {
        let centre = (place as f64 + 0.5) * scale;
        let start = (centre - support + 0.5).max(0.0) as usize;
        let end = ((centre + support + 0.5) as usize).min(length);
        let raw: Vec<f64> =
            (start..end).map(|source| cubic((source as f64 - centre + 0.5) / stretch)).collect();
        let total: f64 = raw.iter().sum();
        Taps { start, weights: raw.into_iter().map(|weight| (weight / total) as f32).collect() }
    };
    (window.start..window.start + window.count).map(of_pixel).collect()
}

/// Keys' cubic convolution (IEEE TASSP 29, 1981) with a = −0.5.
fn cubic(x: f64) -> f64 {
    const A: f64 = -0.5;
    let x = x.abs();
    if x < 1.0 {
        ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        (((x - 5.0) * x + 8.0) * x - 4.0) * A
    } else {
        0.0
    }
}
