//! Evals and judged answers over a model that says back what it is asked.

mod live;
mod pairs;
mod spread;
mod world;
