//! Why a call of the collections failed, as clients see it.

use axum::http::StatusCode;
use headwater_actors::collection::{CollectionError, SinkError};

use crate::error::{ApiError, INVALID, UNAVAILABLE};

impl ApiError {
    pub(crate) fn from_collection(error: CollectionError) -> ApiError {
        let message = error.to_string();
        let refused =
            |status, code, param| ApiError::new(status, INVALID, code, message.clone()).at(param);
        match error {
            CollectionError::NoCollection { .. } => {
                refused(StatusCode::NOT_FOUND, "collection_not_found", "collection")
            }
            CollectionError::Exists { .. } => {
                refused(StatusCode::CONFLICT, "collection_exists", "name")
            }
            CollectionError::NoDocument { .. } => {
                refused(StatusCode::NOT_FOUND, "document_not_found", "document")
            }
            CollectionError::NoModel { .. } => {
                refused(StatusCode::NOT_FOUND, "model_not_found", "model")
            }
            CollectionError::Invalid { field, problem } => {
                ApiError::invalid(field, "invalid_field", format!("{field}: {problem}"))
            }
            CollectionError::Superseded { .. } => {
                refused(StatusCode::CONFLICT, "document_changed", "document").retry(1000)
            }
            CollectionError::NotLive { .. } => {
                refused(StatusCode::CONFLICT, "version_given_up", "model_version").retry(1000)
            }
            CollectionError::OtherVersion { .. } => {
                refused(StatusCode::CONFLICT, "version_mismatch", "model_version")
            }
            CollectionError::StillBuilding { .. } => {
                refused(StatusCode::CONFLICT, "version_not_ready", "model_version")
            }
            CollectionError::Version(_) => {
                refused(StatusCode::CONFLICT, "version_change_refused", "version")
            }
            CollectionError::NotServed { .. } => {
                let status = StatusCode::SERVICE_UNAVAILABLE;
                ApiError::new(status, UNAVAILABLE, "version_not_served", message).retry(5000)
            }
            CollectionError::Store(_) => ApiError::store_down(),
            CollectionError::Sink(SinkError::Request(_)) => {
                refused(StatusCode::BAD_REQUEST, "refused_by_sink", "vector")
            }
            CollectionError::Sink(_) => {
                let status = StatusCode::SERVICE_UNAVAILABLE;
                ApiError::new(status, UNAVAILABLE, "sink_unavailable", message).retry(1000)
            }
            CollectionError::Embed { error, .. } => ApiError::from_embed(error, "query"),
        }
    }
}
