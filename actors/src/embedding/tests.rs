//! The embedding actors over the double: answers, limits, faults, departures, metrics.

mod answers;
mod bounds;
mod departures;
mod faults;
mod gated;
mod service;
