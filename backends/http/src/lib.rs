//! Tools over HTTP: one request a call, and OpenAPI documents read as tools.
