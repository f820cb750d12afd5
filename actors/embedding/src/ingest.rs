//! Bulk ingest, decided: what a job is, which document goes first, who may hold a partition,
//! when to try again. Rows in the store and calls to the sink are the shell's.

mod counts;
mod hold;
mod job;
mod lines;
mod pace;
mod partition;
mod retry;
#[cfg(test)]
mod tests;
mod turns;

pub use counts::{Counts, Lane, Progress, progress};
pub use hold::{Hold, HoldProblem, claim, next_partition};
pub use job::{JobState, NearDuplicates, Refusal, SpecProblem, Standing, check_name};
pub use lines::{Line, LineProblem, Lines};
pub use pace::pass_at;
pub use partition::{DocumentKey, PARTITIONS, document_key, partition_of};
pub use retry::{AttemptSettings, Verdict, after_failure};
pub use turns::{Turn, Turns};
