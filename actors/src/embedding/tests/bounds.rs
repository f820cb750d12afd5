//! The bound that an edge reserves before a text is read.

use headwater_models::double::DoubleModel;

use super::service::{Service, batching, call, limits};
use crate::embedding::{EmbedCall, EmbeddingFleet, Purpose};

#[tokio::test]
async fn a_token_needs_a_byte_and_a_text_two_more() {
    let model =
        DoubleModel::new("wide", 8, 32).with_card(|card| card.query_prefix = "질 ".to_owned());
    let service = Service::start(model, 1, batching(), limits()).await;
    let fleet = EmbeddingFleet::local(service.handle.clone());
    let model = fleet.model("wide").expect("served");
    // Encoders split a Hangul syllable into its three letters, each a token of its own.
    for (texts, bound) in [
        (vec!["ab"], 4),
        (vec![""], 2),
        (vec!["한국어"], 11),
        (vec!["ab", "한"], 9),
        (vec!["a text that is longer than all that the model reads"], 32),
    ] {
        assert_eq!(model.token_bound(&call(&texts)), bound, "{texts:?}");
    }
    let query = EmbedCall { purpose: Purpose::Query, ..call(&["ab"]) };
    assert_eq!(model.token_bound(&query), 8, "the prefix is read too");
}
