//! What the store refused, as the sink tells it.

use headwater_storage::StoreError;
use headwater_vectors::SinkError;

pub(crate) fn of_store(error: StoreError) -> SinkError {
    match error {
        StoreError::Limit { .. } => SinkError::Request(error.to_string()),
        other => SinkError::Unavailable(other.to_string()),
    }
}

pub(crate) fn no_space(name: &str) -> SinkError {
    SinkError::Space(format!("there is no space '{name}'; create it first"))
}

pub(crate) fn recreated(name: &str) -> SinkError {
    SinkError::Space(format!(
        "the space '{name}' was dropped and created anew during the call; repeat the call if the \
         new one is meant"
    ))
}
