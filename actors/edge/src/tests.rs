//! The whole router over the double: requests in, statuses and bodies out.

mod body;
mod embeddings;
mod formats;
mod identity;
mod invalid;
mod manage;
mod quotas;
mod secrets;
mod signals;
mod status;
mod strain;
mod tei;
mod tenants;
mod world;
