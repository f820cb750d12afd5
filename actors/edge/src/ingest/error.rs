//! Why a call of ingest failed, as clients see it.

use axum::http::StatusCode;
use headwater_actors::ingest::IngestError;

use crate::error::{ApiError, INVALID};

impl ApiError {
    pub(crate) fn from_ingest(error: IngestError) -> ApiError {
        let message = error.to_string();
        let refused = |status, code, param| ApiError::new(status, INVALID, code, message).at(param);
        match error {
            IngestError::NoJob(_) => refused(StatusCode::NOT_FOUND, "job_not_found", "id"),
            IngestError::Exists(_) => refused(StatusCode::CONFLICT, "job_exists", "id"),
            IngestError::Invalid { field, .. } => {
                refused(StatusCode::BAD_REQUEST, "invalid_field", field)
            }
            IngestError::Refused(_) => refused(StatusCode::CONFLICT, "job_state", "id"),
            IngestError::Gap { .. } => refused(StatusCode::CONFLICT, "wrong_offset", "offset"),
            IngestError::TooManyJobs { .. } => {
                refused(StatusCode::TOO_MANY_REQUESTS, "too_many_jobs", "id")
            }
            IngestError::TooLarge { .. } => {
                refused(StatusCode::PAYLOAD_TOO_LARGE, "too_large", "documents")
            }
            IngestError::Collection(error) => ApiError::from_collection(error),
            IngestError::Store(_) => ApiError::store_down(),
        }
    }
}
