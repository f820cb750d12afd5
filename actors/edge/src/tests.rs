//! The whole router over the double: requests in, statuses and bodies out.

mod audit;
mod body;
mod charges;
mod chat;
mod collections;
mod embeddings;
mod formats;
mod gateway;
mod identity;
mod images;
mod ingest;
mod invalid;
mod issuers;
mod keys;
mod manage;
mod policy;
mod quotas;
mod ranks;
mod secrets;
mod signals;
mod sparse;
mod status;
mod strain;
mod tei;
mod tenants;
mod world;
