//! Layout of rows and what pooling picks from them.

use headwater_models::Pooling;

use super::Rows;

const SEQUENCES: [&[u32]; 2] = [&[5, 6], &[7, 8, 9]];

#[test]
fn rows_are_packed_or_padded_to_the_longest() {
    let packed = Rows::packed(&SEQUENCES);
    assert_eq!(packed.ids, [5, 6, 7, 8, 9]);
    assert_eq!(packed.positions, [0, 1, 0, 1, 2]);
    assert_eq!(packed.spans, [0..2, 2..5]);
    let padded = Rows::padded(&SEQUENCES);
    assert_eq!(padded.ids, [5, 6, 0, 7, 8, 9]);
    assert_eq!(padded.positions, [0, 1, 0, 0, 1, 2]);
    assert_eq!(padded.spans, [0..2, 3..6]);
}

#[test]
fn pooling_never_counts_padding() {
    let cases = [
        (Pooling::Cls, [1., 0., 0., 0., 0., 0., 0., 0., 0., 1., 0., 0.]),
        (Pooling::Mean, [1., 1., 0., 0., 0., 0., 0., 0., 0., 1., 1., 1.]),
        (Pooling::LastToken, [0., 1., 0., 0., 0., 0., 0., 0., 0., 0., 0., 1.]),
    ];
    for (pooling, expected) in cases {
        assert_eq!(Rows::padded(&SEQUENCES).pooling_matrix(pooling), expected, "{pooling:?}");
    }
}
