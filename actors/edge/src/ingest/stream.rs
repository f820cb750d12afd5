//! A body of JSON lines, taken in at the store's pace.

use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, header};
use headwater_actors::ingest::{IngestHandle, JobKey};
use http_body_util::BodyExt;
use tokio::time::timeout;

use crate::error::ApiError;
use crate::router::Edge;

const LINES: [&str; 4] =
    ["application/x-ndjson", "application/jsonl", "application/x-jsonlines", "application/ndjson"];

/// Whether the body is JSON lines.
pub(super) fn is_lines(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let kind = kind.unwrap_or_default().split(';').next().unwrap_or_default().trim();
    LINES.contains(&kind.to_ascii_lowercase().as_str())
}

/// Takes a body in. When the client breaks off, the lines that were complete are in, and the
/// error says from where to go on.
pub(super) async fn receive(
    edge: &Edge,
    handle: &IngestHandle,
    key: &JobKey,
    offset: u64,
    mut body: Body,
) -> Result<(), ApiError> {
    let mut intake = handle.intake(key, offset).await.map_err(ApiError::from_ingest)?;
    let timeout_ms = edge.settings.body_timeout_ms;
    loop {
        let frame = timeout(Duration::from_millis(timeout_ms), body.frame()).await;
        let broken = match frame {
            Ok(None) => break,
            Ok(Some(Ok(frame))) => {
                if let Ok(data) = frame.into_data() {
                    intake.push(&data).await.map_err(ApiError::from_ingest)?;
                }
                match edge.gate.draining() {
                    true => Some(ApiError::draining()),
                    false => None,
                }
            }
            Ok(Some(Err(error))) => {
                let received = intake.received().lines;
                Some(ApiError::bad_body(format!(
                    "the request body could not be read: {error}; at least {received} lines are \
                     in, look at the job and send from there on"
                )))
            }
            Err(_) => Some(ApiError::body_too_slow(timeout_ms)),
        };
        if let Some(error) = broken {
            intake.flush().await.map_err(ApiError::from_ingest)?;
            return Err(error);
        }
    }
    intake.finish().await.map_err(ApiError::from_ingest)?;
    Ok(())
}
