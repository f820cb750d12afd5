//! The embedding actors over the double: answers, limits, faults, departures, metrics, pools,
//! cached vectors, changes at run time, and the replica controller.

mod answers;
mod bounds;
mod cache;
mod calibrations;
mod changes;
mod departures;
mod faults;
mod gated;
mod output;
mod pools;
mod remote;
mod scaling;
mod service;
