//! Requests of every kind of input survive the way to another node.

use headwater_embedding::Pool;

use super::super::handle::{EmbedCall, Inputs, Purpose};
use super::{decode_call, encode_call};

#[test]
fn a_call_arrives_as_it_was_sent() {
    let inputs = [
        Inputs::Texts(vec!["a".to_owned(), "日本".to_owned()]),
        Inputs::Tokens(vec![vec![1, 2], vec![3]]),
        Inputs::Pairs(vec![("query".to_owned(), "passage".to_owned())]),
        Inputs::Images(vec![vec![0x89, 0x50], Vec::new()]),
    ];
    for inputs in inputs {
        let call =
            EmbedCall { inputs, purpose: Purpose::Query, truncate: true, pool: Pool::Ingest };
        let bytes = encode_call("model", &call).unwrap();
        assert_eq!(decode_call(&bytes).unwrap(), ("model".to_owned(), call));
    }
}
