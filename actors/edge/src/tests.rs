//! The whole router over the double: requests in, statuses and bodies out.

mod body;
mod embeddings;
mod identity;
mod ingest;
mod invalid;
mod quotas;
mod secrets;
mod status;
mod strain;
mod tei;
mod tenants;
mod world;
