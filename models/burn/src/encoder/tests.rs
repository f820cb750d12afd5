//! Scaling of vectors.

use super::normalise;

#[test]
fn vectors_get_length_one_and_zeros_stay() {
    let mut values = [3.0, 4.0, 0.0, 0.0];
    normalise(&mut values, 2);
    assert_eq!(values, [0.6, 0.8, 0.0, 0.0]);
}
