//! Damaged bytes are told, whatever they claim.

use super::{decode, encode};
use crate::StoreError;

#[test]
fn a_text_that_claims_more_than_there_is_is_damage() {
    // Version 1, then a length of 2^62 as bincode's varint writes it.
    let mut bytes = vec![1, 253];
    bytes.extend_from_slice(&(1_u64 << 62).to_le_bytes());
    let read = decode::<String>(1, &bytes);
    assert!(matches!(read, Err(StoreError::Corrupt(_))), "{read:?}");
    let whole = encode(1, &"a text").unwrap();
    assert_eq!(decode::<String>(1, &whole), Ok("a text".to_owned()));
    for damaged in [&whole[..4], &[whole.as_slice(), &[0]].concat(), &[], &[2, 0]] {
        assert!(matches!(decode::<String>(1, damaged), Err(StoreError::Corrupt(_))));
    }
}
