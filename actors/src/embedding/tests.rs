//! The embedding actors over the double: answers, limits, faults, departures, metrics, cached vectors.

mod answers;
mod bounds;
mod cache;
mod departures;
mod faults;
mod gated;
mod service;
