//! Compressed bodies: requests that come so, and answers that are worth it.

use axum::body::HttpBody;
use axum::http::{HeaderMap, Response, header};
use tower_http::compression::{CompressionLayer, Predicate};
use tower_http::decompression::RequestDecompressionLayer;

use crate::error::ApiError;

/// Requests may come compressed; the limit of a body is what it is in full.
pub(crate) fn requests() -> RequestDecompressionLayer {
    RequestDecompressionLayer::new().gzip(true)
}

/// A request whose encoding nobody here reads is told which ones are read.
pub(crate) fn check(headers: &HeaderMap) -> Result<(), ApiError> {
    let Some(encoding) = headers.get(header::CONTENT_ENCODING) else { return Ok(()) };
    let known = |name: &str| ["gzip", "identity"].iter().any(|one| name.eq_ignore_ascii_case(one));
    let encoding = encoding.to_str().unwrap_or("unreadable").trim();
    if known(encoding) { Ok(()) } else { Err(ApiError::unknown_encoding(encoding)) }
}

/// Answers are compressed from this size on, in bytes.
pub(crate) fn answers(least_bytes: usize) -> CompressionLayer<Worthwhile> {
    CompressionLayer::new().gzip(true).compress_when(Worthwhile { least_bytes: least_bytes as u64 })
}

/// An answer of a known size, which no stream has.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Worthwhile {
    least_bytes: u64,
}

impl Predicate for Worthwhile {
    fn should_compress<B: HttpBody>(&self, response: &Response<B>) -> bool {
        response.body().size_hint().exact().is_some_and(|size| size >= self.least_bytes)
    }
}
